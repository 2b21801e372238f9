//! What happens in rooms, in front of each real server: refused joins, nicks, presence, private messages, IQs, new
//! rooms, a lost account session.

mod support;

use serde_json::json;
use support::driver::{Client, Driver, Event, Login, Occupant};
use support::proxy::Proxy;
use support::server::{Kind, Options, Server};
use support::slix;
use support::stage::configure;

/// A server, the proxy, two clients of alice behind it, and carol, who talks to the server herself.
struct Stage {
    server: Server,
    proxy: Proxy,
    _slix: Driver,
    phone: Client,
    laptop: Client,
    carol: Client,
}

impl Stage {
    async fn new(kind: Kind, options: Options) -> Stage {
        let server = Server::start(kind, options);
        let proxy = Proxy::start(&server);
        let slix = slix::start();
        let (phone, laptop, carol) = (slix.client("phone"), slix.client("laptop"), slix.client("carol"));
        phone.connect(&proxy.login("alice/phone")).await;
        laptop.connect(&proxy.login("alice/laptop")).await;
        carol.connect(&Login::new(server.starttls(), "carol/desk", &server.certs.ca)).await;
        Stage { server, proxy, _slix: slix, phone, laptop, carol }
    }
}

fn nicks(view: &[Occupant]) -> Vec<&str> {
    view.iter().map(|o| o.nick.as_str()).collect()
}

fn join(room: &str, nick: &str, id: &str, inner: &str) -> String {
    format!("<presence to='{room}/{nick}' id='{id}'><x xmlns='http://jabber.org/protocol/muc'>{inner}</x></presence>")
}

async fn refused_joins(kind: Kind) {
    let stage = Stage::new(kind, Options::default()).await;
    let (phone, laptop, carol) = (&stage.phone, &stage.laptop, &stage.carol);
    let error = |condition: &'static str, id: &'static str| {
        move |e: &Event| e.is("presence", &["type='error'", &format!("<{condition}"), &format!("id='{id}'")])
    };

    // Another person has the nick: the asker alone is told, and the next join is the next client's own.
    let room = stage.server.room("conflict");
    carol.join(&room, "alice").await;
    let marks = [phone.mark(), laptop.mark()];
    phone.raw(&join(&room, "alice", "c1", "")).await;
    phone.wait_since(marks[0], "the conflict", error("conflict", "c1")).await;
    laptop.join(&room, "alice2").await;
    assert!(!laptop.since(marks[1]).iter().any(error("conflict", "c1")));
    assert_eq!(nicks(&phone.join(&room, "alice2").await), ["alice", "alice2"]);

    // Two clients, two passwords: the one that knows it gets in.
    let room = stage.server.room("password");
    carol.join(&room, "carol").await;
    let protect = [("muc#roomconfig_passwordprotectedroom", "1"), ("muc#roomconfig_roomsecret", "secret")];
    configure(carol, &room, "protect", &protect).await;
    let mark = phone.mark();
    phone.raw(&join(&room, "alice", "p1", "<password>wrong</password>")).await;
    phone.wait_since(mark, "the refusal", error("not-authorized", "p1")).await;
    laptop.try_join(&room, "alice", json!({ "password": "secret" })).await.expect("the password is right");
    carol.wait_for("alice", |e| e.is("presence", &[&format!("from='{room}/alice'")])).await;

    // Members only.
    let room = stage.server.room("members");
    carol.join(&room, "carol").await;
    configure(carol, &room, "members", &[("muc#roomconfig_membersonly", "1")]).await;
    phone.raw(&join(&room, "alice", "m1", "")).await;
    phone.wait_for("the refusal", error("registration-required", "m1")).await;
    // Of a room that refused her, her stanzas go their own way again: the server answers her.
    let ping = phone.self_ping(&room, "alice").await;
    assert!(ping.xml.contains("not-acceptable"), "{}", ping.xml);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_joins_on_prosody() {
    refused_joins(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_joins_on_ejabberd() {
    refused_joins(Kind::Ejabberd).await;
}

async fn nicks_and_presence(kind: Kind) {
    let stage = Stage::new(kind, Options::default()).await;
    let (phone, laptop, carol) = (&stage.phone, &stage.laptop, &stage.carol);
    let room = stage.server.room("nicks");
    carol.join(&room, "carol").await;
    phone.join(&room, "alice").await;

    // Another nick asked for by a later client: the account's is kept, and the client is told.
    let mark = laptop.mark();
    laptop.join(&room, "other").await;
    let own = laptop.wait_since(mark, "its presence", |e| e.is("presence", &["'210'", "'110'"])).await;
    assert_eq!(own.attr("from"), Some(format!("{room}/alice")));

    // A taken nick: an error for the asker only.
    let mark = phone.mark();
    laptop.raw(&format!("<presence to='{room}/carol' id='n1'/>")).await;
    laptop.wait_for("the conflict", |e| e.is("presence", &["<conflict", "n1"])).await;
    phone.sync().await;
    assert!(!phone.since(mark).iter().any(|e| e.is("presence", &["<conflict"])));

    // The room sees the best of the clients' presences, and each update comes back to who sent it.
    let mark = carol.mark();
    phone.raw(&format!("<presence to='{room}/alice' id='u1'><show>away</show></presence>")).await;
    phone.wait_for("its reflection", |e| e.is("presence", &["'110'", "u1"])).await;
    laptop.raw(&format!("<presence to='{room}/alice' id='u2'><show>xa</show><status>out</status></presence>")).await;
    let seen = |e: &Event| e.is("presence", &[&format!("from='{room}/alice'"), "<show>"]);
    let shown = carol.wait_since(mark, "alice's presence", seen).await;
    assert!(shown.xml.contains("<show>away</show>"), "the better of the two: {}", shown.xml);
    phone.raw(&format!("<presence to='{room}/alice' id='u3'><show>dnd</show></presence>")).await;
    carol.wait_since(mark, "the other's", |e| seen(e) && e.xml.contains("<show>xa</show>")).await;

    // Unavailable to everybody: the client is out of its rooms, the account is not.
    let mark = phone.mark();
    phone.raw("<presence type='unavailable'/>").await;
    let left = |e: &Event| e.is("presence", &["type='unavailable'", "'110'", &format!("from='{room}/alice'")]);
    phone.wait_since(mark, "its leave", left).await;
    laptop.disconnect().await;
    carol.sync().await;
    assert_eq!(nicks(&carol.view(&room).await), ["alice", "carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nicks_and_presence_on_prosody() {
    nicks_and_presence(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nicks_and_presence_on_ejabberd() {
    nicks_and_presence(Kind::Ejabberd).await;
}

async fn private_messages_and_iqs(kind: Kind) {
    let stage = Stage::new(kind, Options::default()).await;
    let (phone, laptop, carol) = (&stage.phone, &stage.laptop, &stage.carol);
    let room = stage.server.room("private");
    carol.join(&room, "carol").await;
    for client in [phone, laptop] {
        let carbons = client.iq("<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        assert_eq!(carbons.attr("type").as_deref(), Some("result"));
        client.join(&room, "alice").await;
    }

    // In: every client once. Out: once at the other end; one copy for the sibling, and none comes back to the author.
    let marks = [phone.mark(), laptop.mark()];
    carol.chat(&format!("{room}/alice"), "in", "psst").await;
    for (client, mark) in [phone, laptop].into_iter().zip(marks) {
        client.wait_since(mark, "the private message", |e| e.is("message", &["psst"])).await;
    }
    phone.chat(&format!("{room}/carol"), "out", "what?").await;
    carol.wait_for("the answer", |e| e.is("message", &["what?"])).await;
    laptop.wait_since(marks[1], "the copy", |e| e.is("message", &["what?", "<sent"])).await;
    for (client, (mark, copies)) in [phone, laptop].into_iter().zip(marks.into_iter().zip([0, 1])) {
        client.sync().await;
        let seen = client.since(mark);
        assert_eq!(seen.iter().filter(|e| e.is("message", &["psst"])).count(), 1, "{}: {seen:#?}", client.name);
        assert_eq!(seen.iter().filter(|e| e.is("message", &["what?"])).count(), copies, "{}: {seen:#?}", client.name);
    }

    // Both ask the same at the same time, with the same id; each gets its own answer.
    let ask = |to: &str| format!("<iq to='{room}/{to}' type='get' id='same'><query xmlns='jabber:iq:version'/></iq>");
    let (first, second) = (ask("carol"), ask("carol"));
    let (first, second) = tokio::join!(phone.iq(&first), laptop.iq(&second));
    for answer in [first, second] {
        assert!(answer.xml.contains("<name>"), "{}", answer.xml);
        assert_eq!(answer.attr("from"), Some(format!("{room}/carol")));
    }
    // Carol asks alice: one of the clients answers.
    let answer = carol.iq(&ask("alice").replace("same", "theirs")).await;
    assert!(answer.xml.to_lowercase().contains("slixmpp"), "{}", answer.xml);
    // Nobody is there: the account answers, and stays in the room.
    phone.cut().await;
    laptop.cut().await;
    let answer = carol.iq(&ask("alice").replace("same", "alone")).await;
    assert!(answer.xml.contains("minimix-proxy"), "{}", answer.xml);
    let answer =
        carol.iq(&format!("<iq to='{room}/alice' type='get' id='what'><query xmlns='urn:unknown'/></iq>")).await;
    assert!(answer.xml.contains("service-unavailable"), "{}", answer.xml);
    assert_eq!(nicks(&carol.view(&room).await), ["alice", "carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_messages_and_iqs_on_prosody() {
    private_messages_and_iqs(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_messages_and_iqs_on_ejabberd() {
    private_messages_and_iqs(Kind::Ejabberd).await;
}

/// Prosody keeps everybody out of a room that nobody has configured yet: who created it is told, nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_room_is_its_creators_to_configure() {
    let stage = Stage::new(Kind::Prosody, Options { locked_rooms: true, ..Options::default() }).await;
    let (phone, laptop, carol) = (&stage.phone, &stage.laptop, &stage.carol);
    let room = stage.server.room("new");
    let marks = [phone.mark(), laptop.mark()];
    phone.join(&room, "alice").await;
    laptop.join(&room, "alice").await;
    let created = |e: &Event| e.is("presence", &["'201'", "'110'"]);
    assert_eq!(phone.since(marks[0]).iter().filter(|e| created(e)).count(), 1);
    assert_eq!(laptop.since(marks[1]).iter().filter(|e| created(e)).count(), 0);
    assert!(carol.try_join(&room, "carol", json!({})).await.is_err(), "it is locked");
    configure(phone, &room, "instant", &[]).await;
    assert_eq!(nicks(&carol.join(&room, "carol").await), ["alice", "carol"]);

    // Nobody configured it, and the creator is gone: the room is given up.
    let room = stage.server.room("unwanted");
    phone.join(&room, "alice").await;
    phone.cut().await;
    let mark = carol.mark();
    for attempt in 0.. {
        assert!(attempt < 50, "the room is still locked");
        carol.raw(&join(&room, "carol", &format!("try{attempt}"), "")).await;
        let id = format!("try{attempt}");
        let answer = carol.wait_since(mark, "an answer", |e| e.is("presence", &[&id])).await;
        if answer.attr("type").is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The account session is lost: clients are told by 110 and 333, and in the end all is as it was.
async fn lost_session(kind: Kind) {
    let mut stage = Stage::new(kind, Options::default()).await;
    let room = stage.server.room("lost");
    stage.carol.join(&room, "carol").await;
    stage.phone.join(&room, "alice").await;
    stage.carol.sync().await;
    let jid = stage.carol.view(&room).await.into_iter().find(|o| o.nick == "alice").expect("alice is there").jid;
    assert!(jid.starts_with("alice@localhost/") && !jid.ends_with("/phone"), "{jid}");
    let (mark, phone_mark) = (stage.carol.mark(), stage.phone.mark());
    let (account, resource) = jid.split_once('/').expect("a full JID");
    match kind {
        Kind::Prosody => stage.server.control(&format!("c2s:close(\"{account}/{resource}\")")),
        Kind::Ejabberd => {
            let user = account.split('@').next().unwrap_or_default();
            stage.server.control(&format!("ejabberd_c2s:close(ejabberd_sm:get_session_pid(<<\"{user}\">>, <<\"localhost\">>, <<\"{resource}\">>))."))
        }
    };
    let told = |e: &Event| e.is("presence", &["type='unavailable'", "'333'", "'110'", &format!("from='{room}/alice'")]);
    let notice = stage.phone.wait_since(phone_mark, "that it is out", told).await;
    assert_eq!(notice.attr("to").as_deref(), Some("alice@localhost/phone"));
    let seen = stage.phone.join(&room, "alice").await;
    assert_eq!(nicks(&seen), ["alice", "carol"]);
    stage
        .carol
        .wait_since(mark, "alice again", |e| e.is("presence", &[&format!("from='{room}/alice'"), "<item"]))
        .await;
    let again = stage.carol.view(&room).await.into_iter().find(|o| o.nick == "alice").expect("alice is back").jid;
    assert_eq!(again, jid, "the same resource as before");
    drop(stage.proxy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_account_session_on_prosody() {
    lost_session(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_account_session_on_ejabberd() {
    lost_session(Kind::Ejabberd).await;
}
