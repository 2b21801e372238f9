//! Changing the nick (XEP-0045 §7.6).

use super::*;

async fn change_of_nick(stage: Stage) {
    let room = &stage.room("nicks").await;
    let [phone, laptop, tablet] = &stage.clients;
    let (bob, carol) = (&stage.bob, &stage.carol);

    // One changes it, all have it; others see one occupant change it.
    let renamed = |old: &'static str, new: &'static str| {
        move |s: &Seen| s.is("presence", &[("nick", old), ("type", "unavailable"), ("new_nick", new)])
    };
    let present = |s: &Seen| s.is("presence", &[("nick", "alice2")]) && s.text("type") != "unavailable";
    let (marks, carol_mark) = (stage.marks(), carol.mark());
    tablet.nick(room, "alice2").await.expect("the nick is free");
    for (client, mark) in stage.since(marks) {
        let change = client.sees_once(mark, "the change", renamed("alice", "alice2")).await;
        assert_eq!(change.codes(), [110, 303], "{}", client.name);
        let own = client.sees_once(mark, "itself", present).await;
        assert_eq!(own.codes(), [110], "{}", client.name);
        names(&own, client);
    }
    let change = carol.sees_once(carol_mark, "the change", renamed("alice", "alice2")).await;
    assert_eq!(change.codes(), [303]);
    carol.sees_once(carol_mark, "alice", present).await;
    for client in stage.clients.iter().chain([bob, carol]) {
        assert_eq!(nicks(client, room).await, ["alice2", "bob", "carol"], "{}", client.name);
    }

    // Somebody else's change: each of them sees it once.
    let marks = stage.marks();
    bob.nick(room, "robert").await.expect("the nick is free");
    for (client, mark) in stage.since(marks) {
        let change = client.sees_once(mark, "bob's change", renamed("bob", "robert")).await;
        assert_eq!(change.codes(), [303], "{}", client.name);
    }

    carol.sees(carol_mark, "bob's change", renamed("bob", "robert")).await;
    carol.sees(carol_mark, "robert", |s| s.is("presence", &[("nick", "robert")])).await;

    // The nick is taken: who asked is told, and nothing changes.
    let (marks, carol_mark) = (stage.marks(), carol.mark());
    assert_eq!(condition(laptop.nick(room, "carol").await), "conflict");
    for (client, mark) in [(phone, marks[0]), (tablet, marks[2]), (carol, carol_mark)] {
        client.sees_no(mark, "anything", |_| true).await;
    }
    laptop.groupchat(room, "m", "still the same").await;
    for (client, mark) in stage.since(marks).chain([(carol, carol_mark)]) {
        client.sees_once(mark, "the message", |s| s.is("groupchat", &[("id", "m"), ("nick", "alice2")])).await;
    }
    all_understood(&stage);
}

on_all!(change_of_nick);
