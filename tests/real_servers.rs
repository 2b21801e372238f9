//! The test support itself: on each real server both kinds of real client log in, join a room and see each other.

mod support;

use serde_json::json;
use support::driver::Login;
use support::scripted::Scripted;
use support::server::{KINDS, Kind, Options, Server};
use support::{slix, tokio_client};

async fn clients_meet(kind: Kind) {
    // ejabberd 23.01 does not accept tokio-xmpp's tls-exporter binding.
    let server = Server::start(kind, Options { channel_binding: kind == Kind::Prosody, ..Options::default() });
    let (slix, tokio) = (slix::start(), tokio_client::start(&server.certs.ca));
    let (alice, bob, carol) = (slix.client("alice"), tokio.client("bob"), slix.client("carol"));
    let room = server.room("meeting");

    let jid = alice.connect(&Login::new(server.starttls(), "alice/phone", &server.certs.ca)).await;
    assert_eq!(jid, "alice@localhost/phone");
    bob.connect(&Login::new(server.starttls(), "bob", &server.certs.ca)).await;
    carol.connect(&Login::new(server.direct_tls(), "carol", &server.certs.ca).direct()).await;

    alice.join(&room, "Alice").await;
    assert_eq!(bob.join(&room, "Bob").await.len(), 2, "Bob sees Alice and himself");
    let nicks: Vec<String> = carol.join(&room, "Carol").await.into_iter().map(|o| o.nick).collect();
    assert_eq!(nicks, ["Alice", "Bob", "Carol"]);

    let mark = alice.mark();
    bob.groupchat(&room, "m1", "hello <all> & everyone").await;
    for client in [&alice, &bob, &carol] {
        let said = client.wait_for("Bob's message", |e| e.is("message", &["hello &lt;all", "m1"])).await;
        assert_eq!(said.attr("from"), Some(format!("{room}/Bob")));
    }
    alice.nick(&room, "Alicia").await.expect("the room lets her change her nick");
    bob.wait_for("the rename", |e| e.is("presence", &["303", "Alicia"])).await;

    carol.cut().await;
    let left = |e: &support::driver::Event| {
        e.is("presence", &[]) && e.attr("type").as_deref() == Some("unavailable") && e.xml.contains("/Carol")
    };
    alice.wait_since(mark, "Carol's end", left).await;
    bob.disconnect().await; // a cut would not show: he speaks XEP-0198
    alice.wait_since(mark, "Bob's end", |e| e.is("presence", &["unavailable", "/Bob"])).await;
    assert_eq!(alice.view(&room).await.len(), 1);
    assert_eq!(alice.self_ping(&room, "Alicia").await.attr("type").as_deref(), Some("result"));
    alice.disconnect().await;
}

#[tokio::test]
async fn clients_meet_on_prosody() {
    clients_meet(Kind::Prosody).await;
}

#[tokio::test]
async fn clients_meet_on_ejabberd() {
    clients_meet(Kind::Ejabberd).await;
}

#[tokio::test]
async fn raw_bytes_are_kept() {
    let server = Server::start(Kind::Prosody, Options { plaintext: true, hashed: false, ..Options::default() });
    let slix = slix::start();
    let alice = slix.client("alice");
    alice
        .connect(&Login::new(server.plain(), "alice/x", &server.certs.ca).plaintext().with("mechanism", "PLAIN"))
        .await;
    alice.raw("<message to='alice@localhost/x' id='r'><body>a &lt; b</body><e xmlns='urn:e' a='>'/></message>").await;
    let seen = alice.wait_for("her own message", |e| e.is("message", &["r"])).await;
    assert!(seen.xml.starts_with("<message") && seen.xml.ends_with("</message>"), "{}", seen.xml);
    let features = alice.wait_for("the features", |e| e.kind == "nonza" && e.name() == "stream:features").await;
    assert!(features.xml.contains("<mechanism>PLAIN</mechanism>"), "{}", features.xml);
}

#[tokio::test]
async fn servers_are_as_asked() {
    for kind in KINDS {
        let mut server = Server::start(kind, Options { expired: kind == Kind::Ejabberd, ..Options::default() });
        let slix = slix::start();
        let login = Login::new(server.starttls(), "alice", &server.certs.ca);
        let failed = slix.client("alice").try_connect(&login).await;
        if kind == Kind::Ejabberd {
            assert!(failed.is_err_and(|e| e.text.contains("expired")), "an expired certificate is refused");
            continue;
        }
        let wrong = slix.client("wrong").try_connect(&login.clone().password("wrong")).await;
        assert!(wrong.is_err_and(|e| e.text.contains("failed_auth")));
        server.set_password("dora", "new");
        server.stop();
        server.start_again();
        let dora = Login::new(server.starttls(), "dora", &server.certs.ca).password("new");
        slix.client("dora").connect(&dora).await;
        assert!(server.control("c2s:count()").contains('1'), "the shell answers");
    }
}

#[tokio::test]
async fn ejabberd_takes_commands() {
    let mut server = Server::start(Kind::Ejabberd, Options { hashed: false, plaintext: true, ..Options::default() });
    server.set_password("dora", "new");
    let slix = slix::start();
    let dora = Login::new(server.plain(), "dora", &server.certs.ca).password("new").plaintext();
    slix.client("dora").connect(&dora).await;
    assert!(server.control("ejabberd_sm:connected_users().").contains("dora@localhost"));
    server.kill();
    server.start_again();
    slix.client("dora").connect(&dora).await;
}

#[tokio::test]
async fn a_locked_room_keeps_others_out() {
    let server = Server::start(Kind::Prosody, Options { locked_rooms: true, ..Options::default() });
    let slix = slix::start();
    let (alice, bob) = (slix.client("alice"), slix.client("bob"));
    for client in [&alice, &bob] {
        client.connect(&Login::new(server.starttls(), &client.name, &server.certs.ca)).await;
    }
    let room = server.room("locked");
    alice.join(&room, "Alice").await;
    let refused = bob.try_join(&room, "Bob", json!({})).await.expect_err("the room is locked");
    assert_eq!(refused.error, "item-not-found");
}

#[tokio::test]
async fn the_scripted_server_logs_in_real_clients() {
    let server = Scripted::start(|stream, stanza| {
        if stanza.starts_with("<iq") {
            stream.result(stanza);
        } else if stanza.contains("hello") {
            stream.send(format!("<message to='{}' id='answer'><body>hi</body></message>", stream.jid));
        } else if stanza.contains("die") {
            stream.error("system-shutdown");
        }
    })
    .await;
    let slix = slix::start();
    let alice = slix.client("alice");
    let login = Login::new(server.address, "alice/x", std::path::Path::new("")).plaintext();
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        assert_eq!(alice.connect(&login.clone().with("mechanism", mechanism)).await, "alice@localhost/x");
    }
    assert!(alice.try_connect(&login.clone().password("wrong")).await.is_err());
    alice.connect(&login).await;
    let mark = alice.mark();
    alice.raw("<message to='bob@localhost'><body>hello</body></message>").await;
    alice.wait_since(mark, "the answer", |e| e.is("message", &["answer"])).await;
    alice.raw("<message to='bob@localhost'><body>die</body></message>").await;
    alice.wait_since(mark, "the stream error", |e| e.kind == "stream_error").await;
    alice.wait_since(mark, "the end", |e| e.kind == "disconnected").await;
    assert_eq!(server.connections(), 4);
}
