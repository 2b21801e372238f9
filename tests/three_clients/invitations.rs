//! Invitations: by the room, declined or followed (XEP-0045 §7.8.2), and past it (XEP-0249).

use super::*;
use crate::support::driver::Event;

async fn invitations(stage: Stage) {
    let [phone, laptop, tablet] = &stage.clients;
    let (bob, carol) = (&stage.bob, &stage.carol);

    // Out of a room that all three are in: bob is invited once, and what he declines is told to who invited him.
    let room = &stage.server.room("alices");
    for client in &stage.clients {
        client.join(room, "alice").await;
    }
    let (marks, bob_mark) = (stage.marks(), bob.mark());
    laptop.invite(room, "bob@localhost", "come").await;
    let seen = bob.sees_once(bob_mark, "the invitation", |s| s.what() == "invitation").await;
    assert!(seen.is("invitation", &[("room", room), ("reason", "come")]), "{seen:?}");
    let inviter = seen.text("inviter").to_owned();
    bob.decline(room, &inviter, "no time").await;
    let seen = laptop.sees_once(marks[1], "the answer", |s| s.what() == "declined").await;
    assert_eq!((seen.text("room"), seen.text("reason")), (room.as_str(), "no time"), "{seen:?}");
    assert!(seen.text("invited").starts_with("bob@localhost"), "{seen:?}");
    for (client, mark) in [(phone, marks[0]), (tablet, marks[2])] {
        client.sees_no(mark, "the answer", |s| s.what() == "declined").await;
    }

    // Past the room.
    let carol_mark = carol.mark();
    tablet.invite_directly(room, "carol@localhost", "").await;
    let direct = |s: &Seen| s.what() == "direct invitation";
    let seen = carol.sees_once(carol_mark, "the invitation", direct).await;
    assert_eq!((seen.text("room"), seen.text("inviter")), (room.as_str(), "alice@localhost/tablet"), "{seen:?}");
    carol.join(room, "carol").await;
    for client in stage.clients.iter().chain([carol]) {
        client.sees(0, "carol", |s| s.is("presence", &[("room", room), ("nick", "carol")])).await;
        assert_eq!(nicks(client, room).await, ["alice", "carol"], "{}", client.name);
    }

    // Into bob's room: each client is asked once, one declines, bob is told once; asked again, one follows.
    let room = &stage.server.room("bobs");
    bob.join(room, "bob").await;
    let (marks, bob_mark) = (stage.marks(), bob.mark());
    bob.invite(room, "alice@localhost", "come along").await;
    for (client, mark) in stage.since(marks) {
        let seen = client.sees_once(mark, "the invitation", |s| s.what() == "invitation").await;
        assert!(seen.is("invitation", &[("room", room), ("reason", "come along")]), "{}: {seen:?}", client.name);
    }
    phone.decline(room, "bob@localhost", "not now").await;
    let seen = bob.sees_once(bob_mark, "the answer", |s| s.what() == "declined").await;
    assert!(seen.is("declined", &[("room", room), ("reason", "not now")]), "{seen:?}");
    let (marks, bob_mark) = (stage.marks(), bob.mark());
    bob.invite_directly(room, "alice@localhost", "do come").await;
    for (client, mark) in stage.since(marks) {
        let seen = client.sees_once(mark, "the invitation", direct).await;
        assert!(seen.is("direct invitation", &[("room", room), ("reason", "do come")]), "{}: {seen:?}", client.name);
    }
    tablet.join(room, "alice").await;
    bob.sees_once(bob_mark, "alice", |s| s.is("presence", &[("nick", "alice")])).await;

    // The account is in now, with one client: an invitation still reaches all, though slixmpp does not tell who is in.
    let marks = stage.marks();
    bob.invite(room, "alice@localhost", "all of you").await;
    for (client, mark) in stage.since(marks) {
        let invited = |e: &Event| e.is("message", &["<invite", "all of you"]);
        client.wait_since(mark, "the invitation", invited).await;
        client.settle().await;
        assert_eq!(client.since(mark).iter().filter(|e| invited(e)).count(), 1, "{}", client.name);
    }
    all_understood(&stage);
}

on_all!(invitations);
