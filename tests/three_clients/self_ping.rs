//! A client asks whether it is in the room (XEP-0410).

use super::*;
use crate::support::driver::Event;

async fn self_ping(stage: Stage) {
    let room = &stage.room("ping").await;
    let [phone, laptop, tablet] = &stage.clients;
    let inside = async |client: &Client, nick: &str| client.finds_itself_in(room, nick).await;
    let carol_mark = stage.carol.mark();
    for client in &stage.clients {
        assert!(inside(client, "alice").await, "{}", client.name);
    }

    // Who has left is not in, though the account is.
    let marks = stage.marks();
    laptop.leave(room, "alice").await;
    assert!(!inside(laptop, "alice").await);
    let refusal = |e: &Event| e.is("iq", &["not-acceptable", room.as_str()]);
    assert!(laptop.since(marks[1]).iter().any(refusal), "{:#?}", laptop.since(marks[1]));
    assert!(inside(phone, "alice").await && inside(tablet, "alice").await);

    // Under the new nick, too; who joins again is in again.
    phone.nick(room, "alice2").await.expect("the nick is free");
    assert!(inside(phone, "alice2").await);
    tablet.sees(marks[2], "its new nick", |s| s.is_own("alice2", false, 110)).await;
    assert!(inside(tablet, "alice2").await);
    laptop.join(room, "alice2").await;
    assert!(inside(laptop, "alice2").await);

    // Nobody else was asked.
    stage.carol.settle().await;
    assert!(!stage.carol.since(carol_mark).iter().any(|e| e.is("iq", &["urn:xmpp:ping", room.as_str()])));
    all_understood(&stage);
}

on_all!(self_ping);
