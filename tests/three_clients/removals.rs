//! Kicking and banning (XEP-0045 §8.2, §9.1), as those who are put out and as those who do it.

use super::*;

/// Each of alice's clients has seen itself being put out with this code, once, and is out.
async fn out(stage: &Stage, room: &str, marks: [usize; 3], code: u64, reason: &str) {
    for (client, mark) in stage.since(marks) {
        let own = client.sees_once(mark, "its removal", |s| s.is_own("alice", true, code)).await;
        assert_eq!(own.codes(), [110, code], "{}", client.name);
        assert_eq!((own.text("role"), own.text("reason")), ("none", reason), "{}: {own:?}", client.name);
        // This ejabberd does not say who did it.
        let actor = if stage.server.kind == Kind::Prosody { "carol" } else { "" };
        assert_eq!(own.text("actor"), actor, "{}: {own:?}", client.name);
        assert!(!client.finds_itself_in(room, "alice").await, "{}", client.name);
    }
}

async fn put_out(stage: Stage) {
    let (bob, carol) = (&stage.bob, &stage.carol);
    let leave = |nick: &'static str, code: u64| {
        move |s: &Seen| s.is("presence", &[("nick", nick), ("type", "unavailable")]) && s.codes().contains(&code)
    };

    // Kicked, once for all. Who joins again is in again.
    let room = &stage.room("kick").await;
    let (marks, bob_mark) = (stage.marks(), bob.mark());
    carol.set_role(room, "alice", "none", "enough").await.expect("the owner may");
    out(&stage, room, marks, 307, "enough").await;
    bob.sees_once(bob_mark, "alice's removal", leave("alice", 307)).await;
    let bob_mark = bob.mark();
    stage.clients[2].join(room, "alice").await;
    bob.sees_once(bob_mark, "alice", |s| s.is("presence", &[("nick", "alice")])).await;
    assert_eq!(nicks(bob, room).await, ["alice", "bob", "carol"]);

    // Banned. Who tries to join again is refused, and only that one hears of it.
    let room = &stage.room("ban").await;
    let (marks, bob_mark) = (stage.marks(), bob.mark());
    carol.set_affiliation(room, "alice@localhost", "outcast", "never again").await.expect("the owner may");
    out(&stage, room, marks, 301, "never again").await;
    bob.sees_once(bob_mark, "alice's removal", leave("alice", 301)).await;
    let marks = stage.marks();
    let again = stage.clients[1].try_join(room, "alice", serde_json::json!({})).await;
    assert_eq!(condition(again), "forbidden");
    for (client, mark) in [(&stage.clients[0], marks[0]), (&stage.clients[2], marks[2])] {
        client.sees_no(mark, "anything", |_| true).await;
    }
    all_understood(&stage);
}

mod of_the_account {
    use super::*;
    on_all!(put_out);
}

/// How many IQs a client has got from the room; slixmpp asks it by itself what it can do.
fn answers(client: &Client, room: &str, mark: usize) -> usize {
    client.since(mark).iter().filter(|e| e.is("iq", &[room]) && !e.xml.contains("disco#info")).count()
}

async fn putting_out(stage: Stage) {
    let [phone, laptop, tablet] = &stage.clients;
    let (bob, carol) = (&stage.bob, &stage.carol);

    // A room of alice's: the first client made it, and each has its rights.
    let room = &stage.server.room("alices");
    for client in &stage.clients {
        let mark = client.mark();
        client.join(room, "alice").await;
        let own = client.sees_once(mark, "itself", |s| s.is_own("alice", false, 110)).await;
        assert_eq!(own.codes().contains(&201), client.name == "phone", "{}: {own:?}", client.name);
        assert_eq!((own.text("role"), own.text("affiliation")), ("moderator", "owner"), "{}", client.name);
    }
    for (client, nick) in [(bob, "bob"), (carol, "carol")] {
        client.join(room, nick).await;
    }
    for (n, kicker, victim, code) in [(0, laptop, (bob, "bob"), 307), (1, tablet, (carol, "carol"), 301)] {
        let (victim, nick) = victim;
        let (marks, victim_mark) = (stage.marks(), victim.mark());
        match n {
            0 => kicker.set_role(room, nick, "none", "enough").await,
            _ => kicker.set_affiliation(room, &format!("{nick}@localhost"), "outcast", "enough").await,
        }
        .expect("an owner may");
        let own = victim.sees_once(victim_mark, "its removal", |s| s.is_own(nick, true, code)).await;
        // Who did it is the one occupant.
        let actor = if stage.server.kind == Kind::Prosody { "alice" } else { "" };
        assert_eq!((own.text("actor"), own.text("reason")), (actor, "enough"), "{own:?}");
        for (client, mark) in stage.since(marks) {
            let removal = |s: &Seen| s.is("presence", &[("nick", nick), ("type", "unavailable")]);
            let seen = client.sees_once(mark, "the removal", removal).await;
            assert_eq!((seen.codes().as_slice(), seen.text("actor")), (&[code][..], actor), "{}", client.name);
            let view = nicks(client, room).await;
            assert!(!view.contains(&nick.to_owned()), "{}: {view:?} {:#?}", client.name, client.since(mark));
            let expected = usize::from(client.name == kicker.name);
            assert_eq!(answers(client, room, mark), expected, "{}: the kicker's answer", client.name);
        }
    }

    // Where alice has no right, only the client that tried is told.
    let room = &stage.server.room("carols");
    carol.join(room, "carol").await;
    for client in &stage.clients {
        client.join(room, "alice").await;
    }
    carol.sees(0, "alice", |s| s.is("presence", &[("room", room), ("nick", "alice")])).await;
    let (marks, carol_mark) = (stage.marks(), carol.mark());
    let refused = condition(phone.set_role(room, "carol", "none", "").await);
    assert!(["forbidden", "not-allowed"].contains(&refused.as_str()), "{refused}");
    for (client, mark) in [(laptop, marks[1]), (tablet, marks[2]), (carol, carol_mark)] {
        client.sees_no(mark, "anything", |_| true).await;
        assert_eq!(answers(client, room, mark), 0, "{}: somebody else's answer", client.name);
    }
    all_understood(&stage);
}

mod by_the_account {
    use super::*;
    on_all!(putting_out);
}
