//! What would end the account session, and with it the rooms of all the account's clients: stanzas that are too large
//! (S12), a server that gives the session's place to others (S8); and the bounds on rooms and on clients in them (S17).

mod support;

use std::time::Duration;

use serde_json::json;
use support::PATIENCE;
use support::driver::{Client, Driver, Event, Login};
use support::proxy::{Proxy, Setup};
use support::raw::{self, Raw};
use support::scripted::Scripted;
use support::scripted_room::{ROOM, Rooms, answer};
use support::server::{KINDS, Kind, Options, Server};
use support::slix;
use tokio::time::{Instant, sleep};

/// The proxy with a configuration file.
fn configured(setup: Setup, text: &str) -> (tempfile::TempDir, Proxy) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let proxy = setup.args(["--config", file.to_str().unwrap()]).start();
    (dir, proxy)
}

/// A client at the server itself.
async fn directly(slix: &Driver, server: &Server, user: &str) -> Client {
    let client = slix.client(user);
    client.connect(&Login::new(server.starttls(), user, &server.certs.ca)).await;
    client
}

/// A client through the proxy, in a room.
async fn inside(slix: &Driver, proxy: &Proxy, name: &str, room: &str) -> Client {
    let client = slix.client(name);
    client.connect(&proxy.login(name)).await;
    client.join(room, name.split('/').next().unwrap()).await;
    client
}

/// Says something, which all of them get.
async fn says(speaker: &Client, room: &str, id: &str, listeners: &[&Client]) {
    let marks: Vec<usize> = listeners.iter().map(|l| l.mark()).collect();
    speaker.groupchat(room, id, "hello").await;
    for (listener, mark) in listeners.iter().zip(marks) {
        listener.wait_since(mark, &format!("{id} of {}", speaker.name), |e| e.is("message", &[id])).await;
    }
}

fn lost(proxy: &Proxy) -> Vec<String> {
    let lines = ["account session is lost", "session ended"];
    proxy.log().lines().filter(|l| lines.iter().any(|line| l.contains(line))).map(str::to_owned).collect()
}

fn xs(kib: usize) -> String {
    "x".repeat(kib * 1024)
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_what_the_server_would_not_take_is_bounced() {
    for kind in KINDS {
        let server = Server::start(kind, Options::default());
        let proxy = Proxy::start(&server);
        let slix = slix::start();
        let room = server.room("poison");
        let (a, b) = (inside(&slix, &proxy, "alice/1", &room).await, inside(&slix, &proxy, "alice/2", &room).await);
        let bob = directly(&slix, &server, "bob").await;
        bob.join(&room, "bob").await;
        let late = slix.client("alice/3");
        late.connect(&proxy.login("alice/3")).await;
        for client in [&a, &b] {
            client.wait_for("bob", |e| e.is("presence", &["/bob"])).await;
            client.sync().await;
        }
        let marks = [&a, &b, &late].map(Client::mark);

        let big = xs(300);
        a.raw(&format!("<message to='{room}' type='groupchat' id='big'><body>{big}</body></message>")).await;
        let bounced = a.wait_since(marks[0], "the bounce", |e| e.is("message", &["<policy-violation"])).await;
        assert_eq!((bounced.attr("id").as_deref(), bounced.attr("type").as_deref()), (Some("big"), Some("error")));
        assert_eq!(bounced.attr("from").as_deref(), Some(room.as_str()));
        late.raw(&format!(
            "<presence to='{room}/alice' id='join'><x xmlns='http://jabber.org/protocol/muc'/><status>{big}</status></presence>"
        ))
        .await;
        let bounced = late.wait_since(marks[2], "the bounce", |e| e.is("presence", &["<policy-violation"])).await;
        assert_eq!((bounced.attr("id").as_deref(), bounced.attr("type").as_deref()), (Some("join"), Some("error")));
        let line = proxy.wait_log("a stanza too large for the server is bounced").await;
        assert!(line.contains("peer=127.0.0.1:") && line.contains("alice@localhost/"), "{line}");

        // It alone: the sibling has seen nothing, and whoever speaks next is heard by all.
        b.sync().await;
        let seen: Vec<Event> = b.since(marks[1]).into_iter().filter(|e| !e.is("iq", &[])).collect();
        assert!(seen.is_empty(), "{seen:?}");
        says(&a, &room, "next-a", &[&a, &b, &bob]).await;
        says(&bob, &room, "next-b", &[&a, &b]).await;
        assert_eq!(late.join(&room, "alice").await.len(), 2, "a smaller join is let in");
        assert_eq!(lost(&proxy), [""; 0], "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_an_oversize_stanza_of_the_servers_is_skipped() {
    for kind in KINDS {
        let server = Server::start(kind, Options::default());
        let (_dir, proxy) = configured(Setup::before(&server), "[limits]\nstanza = \"20 KiB\"\n");
        let slix = slix::start();
        let room = server.room("poison");
        let (a, b) = (inside(&slix, &proxy, "alice/1", &room).await, inside(&slix, &proxy, "alice/2", &room).await);
        let bob = directly(&slix, &server, "bob/x").await;
        bob.join(&room, "bob").await;
        let big = xs(60);
        bob.raw(&format!("<message to='{room}' type='groupchat' id='big-1'><body>{big}</body></message>")).await;
        bob.raw(&format!("<message to='{room}/alice' type='chat' id='big-2'><body>{big}</body></message>")).await;
        bob.raw(&format!("<presence to='{room}/bob'><status>{big}</status></presence>")).await;
        bob.raw(&format!("<message to='alice@localhost/1' type='chat' id='big-3'><body>{big}</body></message>")).await;
        let mark = a.mark();
        says(&bob, &room, "next-b", &[&a, &b]).await;
        bob.chat("alice@localhost/1", "next-own", "hello").await;
        a.wait_since(mark, "what is behind it on her own stream", |e| e.is("message", &["next-own"])).await;
        let own = proxy.wait_log("a stanza too large came from the server: skipped").await;
        assert!(own.contains("peer=127.0.0.1:") && own.contains("alice@localhost/1"), "{own}");
        let shared = proxy.wait_log("a stanza larger than limits.stanza came from the server: skipped").await;
        assert!(shared.contains("account=alice@localhost"), "{shared}");
        says(&a, &room, "next-a", &[&a, &b, &bob]).await;
        for client in [&a, &b] {
            let seen = client.transcript().into_iter().find(|e| e.xml.contains("big-") || e.xml.len() > 20 * 1024);
            assert!(seen.is_none(), "{}: {seen:?}", client.name);
        }
        assert_eq!(lost(&proxy), [""; 0], "{kind:?}");
    }
}

/// XEP-0478
#[tokio::test(flavor = "multi_thread")]
async fn s12_the_limit_that_the_server_announces_counts() {
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>20000</max-bytes></limits>";
    let server = Scripted::offering(&["SCRAM-SHA-256", "PLAIN"], limits, answer).await;
    let proxy = Setup::upstream(server.address, "none").start();
    let mut client = Raw::bound(proxy.direct_tls(), &raw::tls(&proxy.certs.ca), "alice/1").await;
    client.send(format!("<presence to='{ROOM}/me'><x xmlns='http://jabber.org/protocol/muc'/></presence>")).await;
    client.expect("<subject/></message>").await;
    for (id, bytes, taken) in [("small", 18_000, true), ("large", 20_000, false), ("next", 100, true)] {
        let body = "x".repeat(bytes);
        client.send(format!("<message to='{ROOM}' type='groupchat' id='{id}'><body>{body}</body></message>")).await;
        let seen = client.expect("</message>").await;
        assert!(seen.contains(&format!("id='{id}'")), "{id}: {seen:.300}");
        assert_eq!(seen.contains("<policy-violation"), !taken, "{id}: {seen:.300}");
        assert_eq!(server.received().contains(&format!("id='{id}'")), taken, "{id}");
    }
    assert_eq!(lost(&proxy), [""; 0]);
}

/// The real JID of an occupant, as an owner of the room sees it.
async fn real_jid(owner: &Client, room: &str, nick: &str) -> String {
    owner.view(room).await.into_iter().find(|o| o.nick == nick).expect("an occupant").jid
}

/// Waits until the owner of the room, whose stream is another, sees that real JID.
async fn sees_jid(owner: &Client, room: &str, nick: &str, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let view = owner.view(room).await;
        if view.iter().any(|o| o.nick == nick && o.jid == wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "no {wanted} as {nick}: {view:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn count_log(proxy: &Proxy, text: &str, wanted: usize) {
    let deadline = Instant::now() + PATIENCE;
    while proxy.log().matches(text).count() < wanted {
        assert!(Instant::now() < deadline, "{wanted} times {text:?} in\n{}", proxy.log());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s08_a_second_conflict_leaves_the_session_down_until_a_client_ends() {
    let server = Server::start(Kind::Prosody, Options { plaintext: true, ..Options::default() });
    let proxy = Proxy::start(&server);
    let slix = slix::start();
    let (room, other) = (server.room("contested"), server.room("other"));
    let carol = directly(&slix, &server, "carol").await;
    for room in [&room, &other] {
        carol.join(room, "carol").await;
    }
    let (a, b) = (inside(&slix, &proxy, "alice/1", &room).await, inside(&slix, &proxy, "alice/2", &room).await);
    let session = real_jid(&carol, &room, "alice").await;
    let resource = session.strip_prefix("alice@localhost/").expect("hers").to_owned();
    assert!(resource.len() > 10, "the account session's: {session}");

    // Once is an accident: it comes back, with its clients' rooms when they join.
    let mark = a.mark();
    let mut thief = Raw::plain(server.plain()).await;
    assert_eq!(thief.log_in("alice", &resource).await, session);
    a.wait_since(mark, "her removal", |e| e.is("presence", &["unavailable", "'110'", "'333'"])).await;
    count_log(&proxy, "account session is lost", 1).await;
    for client in [&a, &b] {
        client.join(&room, "alice").await;
    }
    sees_jid(&carol, &room, "alice", &session).await;
    assert!(thief.rest().await.0.contains("<conflict "));

    // Twice is no accident: the clients join by themselves.
    let mark = a.mark();
    let mut thief = Raw::plain(server.plain()).await;
    thief.log_in("alice", &resource).await;
    a.wait_since(mark, "her removal", |e| e.is("presence", &["unavailable", "'110'", "'333'"])).await;
    proxy.wait_log("stays down until a client of the account ends").await;
    a.join(&room, "alice").await;
    // The join passed through.
    sees_jid(&carol, &room, "alice", "alice@localhost/1").await;
    thief.send("<iq type='get' id='alive'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    thief.expect("alive").await;

    // A client that ends makes room.
    b.disconnect().await;
    count_log(&proxy, "session ended", 1).await;
    a.join(&other, "alice").await;
    sees_jid(&carol, &other, "alice", &session).await;
    assert!(thief.rest().await.0.contains("<conflict "));
    assert_eq!(proxy.log().matches("account session is lost").count(), 2);
}

/// Two clients and the account session, where the server allows two sessions and replaces the oldest: three that come
/// back whenever they are replaced would never end.
#[tokio::test(flavor = "multi_thread")]
async fn s08_a_servers_session_limit_is_no_ring_of_evictions() {
    let extra = "shaper_rules:\n  max_user_sessions: 2\n".to_owned();
    let server = Server::start(Kind::Ejabberd, Options { extra, ..Options::default() });
    let proxy = Proxy::start(&server);
    let slix = slix::start();
    let room = server.room("crowded");
    let clients = [slix.client("alice/1"), slix.client("alice/2")];
    let mut evictions = 0;
    // The account session may come, to look at the bookmarks, before the second one does.
    let mut marks = clients.each_ref().map(Client::mark);
    for client in &clients {
        client.connect(&proxy.login(&client.name)).await;
    }
    let deadline = Instant::now() + 2 * PATIENCE;
    let mut quiet = Instant::now();
    let join = format!("<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    let join = json!({ "xml": join });
    let _ = clients[0].run("raw", join.clone()).await;
    // Clients that come back at once, and join again.
    while quiet.elapsed() < Duration::from_secs(8) {
        assert!(Instant::now() < deadline, "it does not end: {evictions} evictions\n{}", proxy.log());
        for (client, mark) in clients.iter().zip(&mut marks) {
            let events = client.since(*mark);
            let ended = events.iter().any(|e| e.kind == "disconnected");
            if !ended && !events.iter().any(|e| e.is("presence", &["unavailable", "'110'", "'333'"])) {
                continue;
            }
            *mark = client.mark();
            if ended {
                evictions += 1;
                client.connect(&proxy.login(&client.name)).await;
            }
            let _ = client.run("raw", join.clone()).await;
            quiet = Instant::now();
        }
        sleep(Duration::from_millis(100)).await;
    }
    let (lost, opened) =
        (proxy.log().matches("account session is lost").count(), proxy.log().matches("account session is up").count());
    eprintln!("{evictions} evictions of clients, {lost} of the account session");
    assert!(evictions > 0 && lost >= 2, "the limit was met: {evictions} and {lost}\n{}", proxy.log());
    assert!(evictions <= 8 && lost <= 4, "{evictions} and {lost}\n{}", proxy.log());
    assert_eq!(lost, opened, "it is down");
    proxy.wait_log("stays down until a client of the account ends").await;
    for client in &clients {
        client.sync().await;
        assert_eq!(client.self_ping(&room, "alice").await.attr("type").as_deref(), Some("result"), "{}", client.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s17_rooms_and_clients_beyond_the_most() {
    let rooms = Rooms::start().await;
    let (_dir, proxy) = configured(rooms.proxy(), "[rooms]\nmax_rooms = 1\nmax_attached = 1\n");
    let slix = slix::start();
    let a = inside(&slix, &proxy, "alice/1", ROOM).await;
    let b = slix.client("alice/2");
    b.connect(&proxy.login("alice/2")).await;
    let refused = b.try_join(ROOM, "me", json!({})).await.unwrap_err();
    assert_eq!(refused.error, "resource-constraint");
    let line = proxy.wait_log("rooms.max_attached").await;
    assert!(line.contains("peer=127.0.0.1:") && line.contains("alice@localhost/2"), "{line}");
    // One room more is the client's own.
    let second = "second@conference.localhost";
    a.join(second, "me").await;
    let (jid, _) = rooms.wait("the join", |_, s| s.starts_with("<presence") && s.contains(second)).await;
    assert_eq!(jid, "alice@localhost/1");
    let line = proxy.wait_log("rooms.max_rooms").await;
    assert!(line.contains("peer=127.0.0.1:") && line.contains("alice@localhost/1"), "{line}");
    says(&a, ROOM, "still", &[&a]).await;
    says(&a, second, "there", &[&a]).await;
}
