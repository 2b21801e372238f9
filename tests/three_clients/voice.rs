//! Voice: revoked, asked for, granted (XEP-0045 §7.13, §8.3, §8.4, §8.6).

use super::*;
use crate::support::stage::configure;

const MODERATED: (&str, &str) = ("muc#roomconfig_moderatedroom", "1");

/// Presence of an occupant that is in the room, with this role.
fn role(nick: &'static str, role: &'static str) -> impl Fn(&Seen) -> bool {
    move |s| s.is("presence", &[("nick", nick), ("role", role)]) && s.text("type") != "unavailable"
}

async fn voice(stage: Stage) {
    let [phone, laptop, tablet] = &stage.clients;
    let (bob, carol) = (&stage.bob, &stage.carol);
    let room = &stage.room("carols").await;
    configure(carol, room, "moderated", &[MODERATED]).await;

    // Revoked: all three see it, once.
    let (marks, bob_mark) = (stage.marks(), bob.mark());
    carol.set_role(room, "alice", "visitor", "quiet").await.expect("the owner may");
    for (client, mark) in stage.since(marks) {
        let own = client.sees_once(mark, "its new role", role("alice", "visitor")).await;
        assert_eq!((own.codes().as_slice(), own.text("reason")), (&[110][..], "quiet"), "{}", client.name);
    }
    bob.sees_once(bob_mark, "alice's new role", role("alice", "visitor")).await;

    // What a visitor says is refused, to who said it.
    let (marks, carol_mark) = (stage.marks(), carol.mark());
    tablet.groupchat(room, "muted", "can you hear me?").await;
    let error = tablet.sees_once(marks[2], "the refusal", |s| s.what() == "error").await;
    assert_eq!((error.text("id"), error.text("condition")), ("muted", "forbidden"), "{error:?}");
    for (client, mark) in [(phone, marks[0]), (laptop, marks[1]), (carol, carol_mark)] {
        client.sees_no(mark, "anything", |_| true).await;
    }

    // One asks for it: the moderator is asked once, by the one occupant; what she grants is for all three.
    laptop.ask_for_voice(room).await;
    let asked = carol.sees_once(carol_mark, "the request", |s| s.what() == "voice request").await;
    assert_eq!((asked.text("asker"), asked.text("role")), ("alice", "participant"), "{asked:?}");
    let marks = stage.marks();
    carol.grant_voice(room).await;
    for (client, mark) in stage.since(marks) {
        let own = client.sees_once(mark, "its voice", role("alice", "participant")).await;
        assert_eq!(own.codes(), [110], "{}", client.name);
        names(&own, client);
    }
    phone.groupchat(room, "heard", "and now?").await;
    for (client, mark) in stage.since(marks).chain([(carol, carol_mark)]) {
        client.sees_once(mark, "the message", |s| s.is("groupchat", &[("id", "heard"), ("nick", "alice")])).await;
    }

    // In a room of alice's each of her clients is a moderator: each is asked, one answers.
    let room = &stage.server.room("alices");
    for client in &stage.clients {
        client.join(room, "alice").await;
    }
    bob.join(room, "bob").await;
    configure(phone, room, "moderated-too", &[MODERATED]).await;
    let (marks, bob_mark) = (stage.marks(), bob.mark());
    phone.set_role(room, "bob", "visitor", "").await.expect("an owner may");
    bob.sees_once(bob_mark, "his new role", role("bob", "visitor")).await;
    for (client, mark) in stage.since(marks) {
        client.sees_once(mark, "bob's new role", role("bob", "visitor")).await;
    }
    bob.ask_for_voice(room).await;
    for (client, mark) in stage.since(marks) {
        let asked = client.sees_once(mark, "the request", |s| s.what() == "voice request").await;
        assert_eq!((asked.text("asker"), asked.text("role")), ("bob", "participant"), "{}", client.name);
    }
    let marks = stage.marks();
    tablet.grant_voice(room).await;
    bob.sees_once(bob_mark, "his voice", role("bob", "participant")).await;
    for (client, mark) in stage.since(marks) {
        client.sees_once(mark, "bob's voice", role("bob", "participant")).await;
    }
    all_understood(&stage);
}

on_all!(voice);
