//! Private messages (XEP-0045 §7.5) and their copies (XEP-0280).

use super::*;

async fn private_messages(stage: Stage) {
    let room = &stage.room("whispers").await;
    let [phone, laptop, tablet] = &stage.clients;
    let carol = &stage.carol;
    for client in [phone, laptop] {
        client.enable_carbons().await;
    }

    // In: once for each client, and for nobody else.
    let (marks, bob_mark) = (stage.marks(), stage.bob.mark());
    carol.whisper(room, "alice", "in", "psst").await;
    for (client, mark) in stage.since(marks) {
        let seen = client.sees_once(mark, "the message", |s| s.text("body") == "psst").await;
        assert!(seen.is("chat", &[("room", room), ("nick", "carol"), ("id", "in")]), "{}: {seen:?}", client.name);
    }
    stage.bob.sees_no(bob_mark, "anything", |_| true).await;

    // Out: once at the other end, from the one occupant; a copy for the sibling that wants copies.
    let (marks, carol_mark) = (stage.marks(), carol.mark());
    phone.whisper(room, "carol", "out", "what?").await;
    let seen = carol.sees_once(carol_mark, "the answer", |s| s.text("body") == "what?").await;
    assert!(seen.is("chat", &[("room", room), ("nick", "alice"), ("id", "out")]), "{seen:?}");
    let copy = laptop.sees_once(marks[1], "the copy", |s| s.text("body") == "what?").await;
    assert!(copy.is("sent copy", &[("room", room), ("nick", "carol"), ("id", "out")]), "{copy:?}");
    for (client, mark) in [(phone, marks[0]), (tablet, marks[2])] {
        client.sees_no(mark, "what was said to carol", |s| s.text("body") == "what?").await;
    }

    // To nobody: only the author is told.
    let marks = stage.marks();
    laptop.whisper(room, "nobody", "lost", "hello?").await;
    let error = laptop.sees_once(marks[1], "the refusal", |s| s.what() == "error").await;
    assert_eq!((error.text("id"), error.text("condition")), ("lost", "item-not-found"), "{error:?}");
    for (client, mark) in [(phone, marks[0]), (tablet, marks[2])] {
        client.sees_no(mark, "an error", |s| s.what() == "error").await;
    }
    all_understood(&stage);
}

on_all!(private_messages);
