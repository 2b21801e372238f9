//! What accounts keep of their rooms is bounded (S20), at each real server: a room that takes too much is given up, its
//! joins pass through and show all there is, and the account's other rooms stay.

mod support;

use support::driver::{Client, Event, Login};
use support::proxy::Setup;
use support::server::{Kind, Options, Server};
use support::slix;

/// Joins a room by a bare stanza, and returns all that came until the subject, which ends a join.
async fn joins(client: &Client, room: &str, nick: &str) -> Vec<Event> {
    let mark = client.mark();
    let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
    client.raw(&format!("<presence to='{room}/{nick}' id='join{mark}'>{x}</presence>")).await;
    let ends = |e: &Event| e.is("message", &["<subject", room]) && !e.xml.contains("<body");
    client.wait_since(mark, &format!("the subject of {room}"), ends).await;
    client.since(mark)
}

/// Says something in the room; each listener gets it once.
async fn says(speaker: &Client, room: &str, id: &str, listeners: &[&Client]) {
    let marks: Vec<usize> = listeners.iter().map(|listener| listener.mark()).collect();
    speaker.groupchat(room, id, "hello").await;
    for (listener, mark) in listeners.iter().zip(marks) {
        listener.wait_since(mark, &format!("{id} in {room}"), |e| e.is("message", &[id, room])).await;
        listener.sync().await;
        let got = listener.since(mark).iter().filter(|e| e.is("message", &[id, room])).count();
        assert_eq!(got, 1, "{} got {id} {got} times", listener.name);
    }
}

/// Shows itself in the room with that much to say.
async fn shows(client: &Client, room: &str, kib: usize) {
    let (status, nick) = ("s".repeat(kib * 1024), client.name.as_str());
    let mark = client.mark();
    client.raw(&format!("<presence to='{room}/{nick}'><status>{status}</status></presence>")).await;
    client.wait_since(mark, "its own presence", |e| e.is("presence", &["sssss", "110"])).await;
}

async fn a_room_that_takes_too_much(kind: Kind) {
    let server = Server::start(kind, Options::default());
    let proxy = Setup::before(&server).config("[rooms]\nmemory = \"512 KiB\"\n").start();
    let slix = slix::start();
    let client = |name: &str| slix.client(name);
    let (phone, laptop, bob, carol) = (client("phone"), client("laptop"), client("bob"), client("carol"));
    for (client, user) in [(&phone, "alice/phone"), (&laptop, "alice/laptop")] {
        client.connect(&proxy.login(user)).await;
    }
    for (client, user) in [(&bob, "bob/desk"), (&carol, "carol/desk")] {
        client.connect(&Login::new(server.starttls(), user, &server.certs.ca)).await;
    }
    let (large, small) = (server.room("large"), server.room("small"));
    for room in [&large, &small] {
        carol.join(room, "carol").await;
        bob.join(room, "bob").await;
        joins(&phone, room, "alice").await;
        says(&bob, room, "early", &[&phone]).await;
    }
    shows(&carol, &large, 120).await;
    // The account takes two thirds of what there is now: more than is left.
    let mark = phone.mark();
    shows(&bob, &large, 160).await;
    let gone = phone.wait_since(mark, "its removal", |e| e.is("presence", &["unavailable", "110"])).await;
    assert!(gone.xml.contains("'333'") || gone.xml.contains("\"333\""), "{}", gone.xml);
    assert!(gone.attr("from").is_some_and(|from| from == format!("{large}/alice")), "{}", gone.xml);
    let line = proxy.wait_log("rooms.memory: a room is given up").await;
    assert!(line.contains("alice@localhost"), "{line}");
    // Whoever joins it now passes through, and is shown all there is.
    for client in [&phone, &laptop] {
        let shown = joins(client, &large, "alice").await;
        let full = |nick: &str| shown.iter().any(|e| e.is("presence", &[&format!("{large}/{nick}"), "sssss"]));
        assert!(full("carol") && full("bob"), "{} is shown both", client.name);
        assert!(shown.iter().any(|e| e.is("message", &["early"])), "and the history");
    }
    assert_eq!(proxy.log().matches("rooms.memory: a join passes through").count(), 2, "{}", proxy.log());
    says(&bob, &large, "to-large", &[&phone, &laptop]).await;
    says(&phone, &large, "from-phone", &[&phone, &laptop, &bob]).await;
    // The other room stays, with one occupant for both clients.
    let mark = bob.mark();
    joins(&laptop, &small, "alice").await;
    says(&bob, &small, "to-small", &[&phone, &laptop]).await;
    says(&laptop, &small, "from-laptop", &[&phone, &laptop, &bob]).await;
    assert!(!bob.since(mark).iter().any(|e| e.is("presence", &[&format!("{small}/alice")])), "nobody else came");
    assert_eq!(proxy.log().matches("a room is given up").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_a_room_that_takes_too_much_passes_through_on_prosody() {
    a_room_that_takes_too_much(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s20_a_room_that_takes_too_much_passes_through_on_ejabberd() {
    a_room_that_takes_too_much(Kind::Ejabberd).await;
}
