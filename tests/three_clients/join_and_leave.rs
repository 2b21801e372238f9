//! Joining, being in, leaving (XEP-0045 §7.2, §7.4, §7.14).

use super::*;
use crate::support::driver::Occupant;

async fn join_and_leave(stage: Stage) {
    let room = &stage.server.room("meeting");
    let [phone, laptop, tablet] = &stage.clients;
    let carol = &stage.carol;
    carol.join(room, "carol").await;

    // Each is shown the same, whether it brings the account in or comes later, and nothing of the others' joins; the
    // room sees one occupant come.
    let (marks, carol_mark) = (stage.marks(), carol.mark());
    let of_alice = |s: &Seen| s.is("presence", &[("nick", "alice")]);
    for (client, mark) in stage.since(marks) {
        let shown = client.join(room, "alice").await;
        let own = client.sees(mark, "itself", |s| s.is_own("alice", false, 110)).await;
        assert!(own.is("presence", &[("role", "participant"), ("affiliation", "none")]), "{}: {own:?}", client.name);
        names(&own, client);
        let of = |o: &Occupant| [&o.nick, &o.role, &o.affiliation].map(String::clone);
        let shown: Vec<[String; 3]> = shown.iter().map(of).collect();
        assert_eq!(shown, [["alice", "participant", "none"], ["carol", "moderator", "owner"]], "{}", client.name);
    }
    for (client, mark) in stage.since(marks).chain([(carol, carol_mark)]) {
        client.sees_once(mark, "alice", of_alice).await;
    }

    // What anyone says, all see once.
    let said = |id: &'static str, nick: &'static str| move |s: &Seen| s.is("groupchat", &[("id", id), ("nick", nick)]);
    for (n, (author, id)) in stage.clients.iter().chain([carol]).zip(["m0", "m1", "m2", "m3"]).enumerate() {
        let (marks, carol_mark) = (stage.marks(), carol.mark());
        let nick = if n == 3 { "carol" } else { "alice" };
        author.groupchat(room, id, "hello <all> & everyone").await;
        for (client, mark) in stage.since(marks).chain([(carol, carol_mark)]) {
            let seen = client.sees_once(mark, "the message", said(id, nick)).await;
            assert_eq!(seen.text("body"), "hello <all> & everyone", "{}", client.name);
        }
    }

    // One leaves: it is out, and nobody else hears of it.
    let (marks, carol_mark) = (stage.marks(), carol.mark());
    laptop.leave(room, "alice").await;
    laptop.sees_once(marks[1], "its own leave", |s| s.is_own("alice", true, 110)).await;
    phone.groupchat(room, "after", "still here").await;
    for (client, mark) in [(phone, marks[0]), (tablet, marks[2]), (carol, carol_mark)] {
        client.sees_once(mark, "the message", said("after", "alice")).await;
        client.sees_no(mark, "a leave", |s| s.is("presence", &[("type", "unavailable")])).await;
        assert_eq!(nicks(client, room).await, ["alice", "carol"], "{}", client.name);
    }
    laptop.sees_no(marks[1], "what is said without it", |s| s.what() == "groupchat").await;
    assert!(nicks(laptop, room).await.is_empty());

    // It comes back, which is nobody's business either.
    let (marks, carol_mark) = (stage.marks(), carol.mark());
    laptop.join(room, "alice").await;
    for (client, mark) in [(phone, marks[0]), (tablet, marks[2]), (carol, carol_mark)] {
        client.sees_no(mark, "somebody's presence", |s| s.what() == "presence").await;
    }
    laptop.groupchat(room, "again", "so am I").await;
    for (client, mark) in stage.since(marks).chain([(carol, carol_mark)]) {
        client.sees_once(mark, "the message", said("again", "alice")).await;
    }

    // All leave, and stay online: the one occupant goes.
    for client in &stage.clients {
        client.leave(room, "alice").await;
    }
    carol.sees_once(carol_mark, "alice's leave", |s| of_alice(s) && s.text("type") == "unavailable").await;
    assert_eq!(nicks(carol, room).await, ["carol"]);
    all_understood(&stage);
}

on_all!(join_and_leave);
