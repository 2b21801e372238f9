//! The rules of THREATS.md that keep people apart, attacked through the running proxy; each test bears its rule's number.

mod support;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use support::PATIENCE;
use support::driver::{Client, Event, Login};
use support::proxy::{Proxy, Setup};
use support::raw::Raw;
use support::scripted::{Stream, attribute};
use support::scripted_room::{ROOM, Rooms, enter, is_account_session};
use support::server::{Kind, Options, Server};
use support::slix;
use support::tap::Tap;
use tokio::time::{Instant, sleep};

const MUC_USER: &str = "xmlns='http://jabber.org/protocol/muc#user'";
/// In all that is hostile.
const MARK: &str = "evil-";

/// Everything that happened to a client but answers to IQs.
fn disturbances(client: &Client, mark: usize) -> Vec<Event> {
    client.since(mark).into_iter().filter(|e| !e.is("iq", &[])).collect()
}

async fn is_inside(client: &Client, nick: &str) {
    let answer = client.self_ping(ROOM, nick).await;
    assert_eq!(answer.attr("type").as_deref(), Some("result"), "{} is in the room: {answer:?}", client.name);
}

/// Two clients of alice, attached in the room as `me`.
async fn two_inside(proxy: &Proxy, slix: &support::driver::Driver) -> [Client; 2] {
    let both = [slix.client("alice/1"), slix.client("alice/2")];
    for client in &both {
        client.connect(&proxy.login(&client.name)).await;
        client.join(ROOM, "me").await;
        client.sync().await;
    }
    both
}

/// A client of alice that joins now is served from what is known, as `me`, with nothing asked upstream.
async fn late_client_is_served(rooms: &Rooms, proxy: &Proxy, slix: &support::driver::Driver, name: &str) {
    let before = rooms.account_presences("alice");
    let late = slix.client(name);
    late.connect(&proxy.login(name)).await;
    let mark = late.mark();
    let nicks: Vec<String> = late.join(ROOM, "me").await.into_iter().map(|o| o.nick).collect();
    assert_eq!(nicks, ["evil", "me"]);
    let own = format!("from='{ROOM}/me'");
    late.wait_since(mark, "its own presence", |e| e.is("presence", &["110", &own])).await;
    assert_eq!(rooms.account_presences("alice"), before, "nothing was asked upstream");
    late.cut().await;
}

/// What every reader must refuse, and quick-xml does not (S10).
const SMUGGLED: [&[u8]; 19] = [
    b"\0",
    "\u{FFFF}".as_bytes(),
    b"&#0;",
    b"&#xD800;",
    b"&undefined;",
    b"<a b='<'/>",
    b"]]>",
    b"<1m/>",
    b"<m a='1'b='2'/>",
    b"<nobody:a/>",
    b"<a nobody:b='1'/>",
    b"<a xmlns:p='urn:u' xmlns:q='urn:u' p:b='1' q:b='2'/>",
    b"<a b='1' b='2'/>",
    b"\xC0\xBC",
    b"\xED\xA0\x80",
    b"<a></b>",
    b"<!-- -->",
    b"<?x?>",
    b"</body></message><message to='evil-victim@localhost'><body>\x0B",
];

#[tokio::test(flavor = "multi_thread")]
async fn s10_nothing_of_what_readers_disagree_about_reaches_a_peer() {
    let rooms = Rooms::start().await;
    let tap = Tap::before(rooms.server.address).await;
    let proxy = Setup::upstream(tap.address, "none").start();
    let tls = support::raw::tls(&proxy.certs.ca);
    let mut watcher = Raw::bound(proxy.direct_tls(), &tls, "alice/w").await;
    let join = format!("<presence to='{ROOM}/me'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    watcher.send(&join).await;
    watcher.expect("<subject/></message>").await;
    for (n, bytes) in SMUGGLED.into_iter().enumerate() {
        let shown = String::from_utf8_lossy(bytes);
        // Up, on the client's own stream and on the way to the account session.
        for to in ["bob@localhost", ROOM] {
            let mut sender = Raw::bound(proxy.direct_tls(), &tls, &format!("alice/{n}")).await;
            sender.send(&join).await;
            sender.expect("<subject/></message>").await;
            let start = format!("<message to='{to}' type='groupchat' id='{MARK}{n}'><body>");
            sender.send([start.as_bytes(), bytes, b"</body></message>"].concat()).await;
            let (rest, _) = sender.rest().await;
            // Of the last one the first half is good by itself, and is delivered.
            let rest = rest.split_once("<stream:error").unwrap_or_else(|| panic!("{shown:?} to {to}: {rest}")).1;
            assert!(rest.ends_with("</stream:error></stream:stream>"), "{shown:?} to {to}: {rest}");
        }
    }
    let halves = SMUGGLED.len() - 1;
    for n in 0..halves {
        assert_eq!(tap.has(format!("{MARK}{n}'")), None);
    }
    assert!(tap.has(format!("{MARK}{halves}'")).is_some(), "what is good before it goes up");
    assert_eq!(tap.has(format!("{MARK}victim")), None);
    // Down, from the room: what the other clients of the account are shown.
    let account = rooms.account("alice").await;
    account.send(format!(
        "<message from='{ROOM}/evil' to='{0}' type='groupchat'><body>good</body></message>",
        account.jid
    ));
    account.send(
        [
            format!("<message from='{ROOM}/evil' to='{0}' type='groupchat' id='{MARK}d'><body>", account.jid)
                .as_bytes(),
            b"\x0B</body></message>",
        ]
        .concat(),
    );
    watcher.expect("good</body></message>").await;
    let removed = watcher.expect("</presence>").await;
    assert!(removed.contains("333") && !removed.contains(&format!("{MARK}d")), "{removed}");
    watcher.send("</stream:stream>").await;
    assert!(!watcher.rest().await.0.contains(&format!("{MARK}d")));
}

/// Presences with somebody else's real JID in them.
fn shows_jids(client: &Client, own: &str) -> Vec<String> {
    let presences = client.transcript().into_iter().filter(|e| e.is("presence", &["muc#user"]));
    presences
        .filter(|e| {
            let jids = e.xml.split("jid=").skip(1).map(|rest| &rest[1..]);
            jids.clone().any(|jid| jid.contains("@localhost") && !jid.starts_with(&format!("{own}@localhost")))
        })
        .map(|e| e.xml)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s13_one_accounts_real_jids_are_not_shown_to_another() {
    let server = Server::start(Kind::Prosody, Options::default());
    let slix = slix::start();
    let carol = slix.client("carol");
    carol.connect(&Login::new(server.starttls(), "carol/x", &server.certs.ca)).await;
    for (n, order) in
        [["alice", "bob", "alice", "bob"], ["bob", "alice", "bob", "alice"], ["alice", "alice", "bob", "bob"]]
            .into_iter()
            .enumerate()
    {
        let proxy = Setup::before(&server).start();
        let room = server.room(&format!("half-{n}"));
        // Carol makes the room; alice is an owner of it and sees real JIDs, bob does not.
        carol.join(&room, "carol").await;
        let owner = format!(
            "<iq to='{room}' type='set' id='own-{n}'><query xmlns='http://jabber.org/protocol/muc#admin'>\
             <item affiliation='owner' jid='alice@localhost'/></query></iq>"
        );
        assert_eq!(carol.iq(&owner).await.attr("type").as_deref(), Some("result"));
        let mut clients = Vec::new();
        for (at, user) in order.into_iter().enumerate() {
            let client = slix.client(&format!("{user}/{n}-{at}"));
            client.connect(&proxy.login(&client.name)).await;
            client.join(&room, user).await;
            carol.raw(&format!("<presence to='{room}/carol'><status>{n}-{at}</status></presence>")).await;
            client.wait_for("carol's status", |e| e.is("presence", &[&format!("{n}-{at}")])).await;
            clients.push((user, client));
        }
        // And the late ones, once everything has been stored.
        for user in order {
            let client = slix.client(&format!("{user}/late-{n}-{}", clients.len()));
            client.connect(&proxy.login(&client.name)).await;
            let seen = client.join(&room, user).await;
            assert_eq!(seen.len(), 3, "{seen:?}");
            clients.push((user, client));
        }
        for (user, client) in &clients {
            client.sync().await;
            let shown = shows_jids(client, user);
            match *user {
                "alice" => {
                    assert!(shown.iter().any(|p| p.contains("carol@localhost")), "an owner sees JIDs: {shown:?}")
                }
                _ => assert!(shown.is_empty(), "{} was shown {shown:#?}", client.name),
            }
            client.disconnect().await;
        }
    }
}

/// The room's words, in the mouth of somebody who is not the room.
fn forged_codes() -> Vec<String> {
    let codes = |codes: &[u16]| codes.iter().map(|c| format!("<status code='{c}'/>")).collect::<String>();
    let item = "<item affiliation='none' role='none' nick='taken'/>";
    vec![
        format!("<x {MUC_USER}>{item}{}</x>", codes(&[110, 307])),
        format!("<x {MUC_USER}>{item}{}</x>", codes(&[110, 301])),
        format!("<x {MUC_USER}>{item}{}</x>", codes(&[110, 332])),
        format!("<x {MUC_USER}>{item}{}</x>", codes(&[110, 333, 307])),
        format!("<x {MUC_USER}>{item}{}</x>", codes(&[110, 303])),
        format!("<x {MUC_USER}>{}</x>", codes(&[110, 201])),
        format!("<x {MUC_USER}>{}</x>", codes(&[110, 100, 172])),
        format!("<x {MUC_USER}>{item}<destroy jid='{MARK}x@conference.localhost'/></x>"),
        format!("<x xmlns='urn:x'><x {MUC_USER}>{item}{}</x></x>", codes(&[110, 307])),
        format!(
            "<forwarded xmlns='urn:xmpp:forward:0'><presence xmlns='jabber:client' type='unavailable' from='{ROOM}/me'>\
            <x {MUC_USER}>{item}{}<destroy/></x></presence></forwarded>",
            codes(&[110, 307])
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_an_occupants_or_a_strangers_codes_change_nothing() {
    let rooms = Rooms::start().await;
    let proxy = rooms.proxy().start();
    let slix = slix::start();
    let both = two_inside(&proxy, &slix).await;
    let account = rooms.account("alice").await;
    let before = rooms.account_presences("alice");
    let mut forgeries = Vec::new();
    for codes in forged_codes() {
        let to = &account.jid;
        for from in [
            format!("{ROOM}/evil"),
            "evil-stranger@localhost/x".into(),
            "other@conference.localhost".into(),
            format!("{ROOM}.example"),
        ] {
            forgeries.push((
                from.clone(),
                format!("<message from='{from}' to='{to}' type='chat'><body>m</body>{codes}</message>"),
            ));
            forgeries
                .push((from.clone(), format!("<message from='{from}' to='{to}' type='headline'>{codes}</message>")));
            forgeries.push((from.clone(), format!("<message from='{from}' to='{to}' type='error'>{codes}</message>")));
            forgeries
                .push((from.clone(), format!("<presence from='{from}' to='{to}' type='error'>{codes}</presence>")));
            forgeries.push((
                from.clone(),
                format!("<message from='{from}' to='{to}' type='groupchat'><body>m</body>{codes}</message>"),
            ));
            if from != format!("{ROOM}/evil") {
                forgeries.push((
                    from.clone(),
                    format!("<presence from='{from}' to='{to}' type='unavailable'>{codes}</presence>"),
                ));
            }
        }
        // Their own presence, with the room's own <x/> beside theirs.
        let own = format!("<x {MUC_USER}><item affiliation='none' role='participant'/></x>");
        forgeries.push((format!("{ROOM}/evil"), format!("<presence from='{ROOM}/evil' to='{to}'>{codes}</presence>")));
        forgeries
            .push((format!("{ROOM}/evil"), format!("<presence from='{ROOM}/evil' to='{to}'>{codes}{own}</presence>")));
        // A reflection of what another client of the account's said, and a message by the own nick.
        forgeries.push((
            format!("{ROOM}/me"),
            format!("<message from='{ROOM}/me' to='{to}' type='groupchat'><body>m</body>{codes}</message>"),
        ));
        forgeries.push((
            format!("{ROOM}/me"),
            format!("<message from='{ROOM}/me' to='{to}' type='chat'><body>m</body>{codes}</message>"),
        ));
    }
    for (n, (from, forged)) in forgeries.into_iter().enumerate() {
        let marks = [both[0].mark(), both[1].mark()];
        account.send(forged.as_str());
        // What is behind it has come, so it has been dealt with.
        let (to, behind) = (&account.jid, format!("behind-{n}"));
        account.send(format!(
            "<message from='{ROOM}/evil' to='{to}' type='groupchat' id='{behind}'><body>b</body></message>"
        ));
        for (client, mark) in both.iter().zip(marks) {
            let what = format!("what is behind {forged}");
            client.wait_since(mark, &what, |e| e.is("message", &[&behind])).await;
            for e in client.since(mark).iter().filter(|e| !e.is("iq", &[])) {
                let sender = e.attr("from");
                assert_eq!(e.kind, "stanza", "{forged}: {e:?}");
                assert!(sender == Some(from.clone()) || sender == Some(format!("{ROOM}/evil")), "{forged}: {e:?}");
            }
        }
    }
    for client in &both {
        is_inside(client, "me").await;
        assert!(client.transcript().iter().all(|e| e.kind != "disconnected"));
    }
    // Strangers that seem to have let us in are told that we are not there: no more than that goes up.
    let after = rooms.account_presences("alice");
    let about_room: Vec<&String> =
        after[before.len()..].iter().filter(|p| p.contains(ROOM) && !p.contains(".example")).collect();
    assert!(about_room.is_empty(), "{about_room:?}");
    let mark = both[1].mark();
    both[0].groupchat(ROOM, "still", "still here").await;
    both[1].wait_since(mark, "her message", |e| e.is("message", &["still here"])).await;
    late_client_is_served(&rooms, &proxy, &slix, "alice/3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s14_an_occupants_codes_change_nothing_on_prosody() {
    let server = Server::start(Kind::Prosody, Options::default());
    let proxy = Setup::before(&server).start();
    let slix = slix::start();
    let (alice, mallory) = (slix.client("alice"), slix.client("bob"));
    let room = server.room("forged");
    alice.connect(&proxy.login("alice")).await;
    alice.join(&room, "alice").await;
    mallory.connect(&Login::new(server.starttls(), "bob", &server.certs.ca)).await;
    mallory.join(&room, "bob").await;
    alice.wait_for("bob", |e| e.is("presence", &["/bob"])).await;
    let mark = alice.mark();
    for codes in forged_codes() {
        mallory.raw(&format!("<presence to='{room}/bob'>{codes}</presence>")).await;
        mallory.raw(&format!("<message to='{room}' type='groupchat'><body>m</body>{codes}</message>")).await;
        mallory.raw(&format!("<message to='{room}/alice' type='chat'><body>p</body>{codes}</message>")).await;
    }
    mallory.raw(&format!("<message to='{room}' type='groupchat'><body>the last</body></message>")).await;
    alice.wait_since(mark, "the last", |e| e.is("message", &["the last"])).await;
    let away: Vec<Event> =
        disturbances(&alice, mark).into_iter().filter(|e| e.attr("from") != Some(format!("{room}/bob"))).collect();
    assert!(away.is_empty(), "{away:#?}");
    assert_eq!(alice.self_ping(&room, "alice").await.attr("type").as_deref(), Some("result"));
    assert_eq!(alice.view(&room).await.len(), 2);
}

/// Answers an IQ as `from`.
fn reply(stream: &Stream, from: &str, id: &str, what: &str) {
    stream.send(format!(
        "<iq from='{from}' to='{}' id='{id}' type='result'><q xmlns='urn:q' a='{what}'/></iq>",
        stream.jid
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn s15_an_answer_from_another_jid_or_with_a_guessed_id_is_nobodys() {
    let held: Arc<Mutex<Vec<(Stream, String)>>> = Arc::default();
    let keep = held.clone();
    let rooms = Rooms::scripted(move |stream, stanza| {
        let asked = stanza.starts_with("<iq") && stanza.contains("urn:question");
        if asked {
            keep.lock().unwrap().push((stream.clone(), stanza.to_owned()));
        }
        asked
    })
    .await;
    let proxy = rooms.proxy().start();
    let slix = slix::start();
    let both = two_inside(&proxy, &slix).await;
    let marks = [both[0].mark(), both[1].mark()];
    // Both ask at the same time, under the same id.
    for (n, client) in both.iter().enumerate() {
        client
            .raw(&format!("<iq to='{ROOM}/evil' type='get' id='same'><question xmlns='urn:question' n='{n}'/></iq>"))
            .await;
    }
    let deadline = Instant::now() + PATIENCE;
    while held.lock().unwrap().len() < 2 {
        assert!(Instant::now() < deadline, "both questions go up");
        sleep(Duration::from_millis(10)).await;
    }
    let asked = held.lock().unwrap().clone();
    let ids: Vec<String> = asked.iter().map(|(_, iq)| attribute(iq, "id").unwrap()).collect();
    assert!(asked.iter().all(|(stream, _)| is_account_session(&stream.jid, "alice")));
    assert!(ids.iter().all(|id| id.len() >= 22 && id != "same") && ids[0] != ids[1], "128 random bits each: {ids:?}");
    for ((stream, _), id) in asked.iter().zip(&ids) {
        for from in [
            ROOM,
            "room@conference.localhost/other",
            "evil-stranger@localhost/x",
            "localhost",
            "alice@localhost",
            "ROOM@conference.localhost/Evil",
        ] {
            reply(stream, from, id, "wrong");
        }
        stream.send(format!("<iq to='{}' id='{id}' type='result'><q xmlns='urn:q' a='wrong'/></iq>", stream.jid));
        for guessed in ["same", "1", "", "alice"] {
            reply(stream, &format!("{ROOM}/evil"), guessed, "wrong");
        }
    }
    // The answers come in the other order.
    let n = |iq: &str| iq.split(" n='").nth(1).unwrap()[..1].to_owned();
    for ((stream, iq), id) in asked.iter().zip(&ids).rev() {
        reply(stream, &format!("{ROOM}/evil"), id, &format!("right-{}", n(iq)));
        reply(stream, &format!("{ROOM}/evil"), id, "wrong again");
    }
    for (n, client) in both.iter().enumerate() {
        client.wait_since(marks[n], "its answer", |e| e.is("iq", &["right-"])).await;
        client.sync().await;
        is_inside(client, "me").await;
        let answers: Vec<Event> = client.since(marks[n]).into_iter().filter(|e| e.is("iq", &["urn:q"])).collect();
        assert_eq!(answers.len(), 1, "{answers:#?}");
        assert!(answers[0].is("iq", &[&format!("right-{n}"), "id='same'"]), "{answers:?}");
        assert_eq!(answers[0].attr("to"), Some(format!("alice@localhost/{}", n + 1)));
    }
}

/// A configuration with short deadlines in the room's business.
fn with_config(rooms: &Rooms, text: &str) -> (tempfile::TempDir, Proxy) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, text).unwrap();
    let proxy = rooms.proxy().args(["--config", file.to_str().unwrap()]).start();
    (dir, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn s19_a_join_that_succeeds_too_late_is_left_at_once() {
    let joins: Arc<Mutex<Vec<(Stream, String, String)>>> = Arc::default();
    let keep = joins.clone();
    let rooms = Rooms::scripted(move |stream, stanza| {
        if !stanza.starts_with("<presence") || !stanza.contains(ROOM) {
            return false;
        }
        if attribute(stanza, "type").is_none() {
            let (to, id) = (attribute(stanza, "to").unwrap(), attribute(stanza, "id").unwrap_or_default());
            keep.lock().unwrap().push((stream.clone(), to, id));
        }
        true
    })
    .await;
    let (_dir, proxy) = with_config(&rooms, "[rooms]\njoin_timeout = \"1s\"\n");
    let slix = slix::start();
    let alice = slix.client("alice/1");
    alice.connect(&proxy.login("alice/1")).await;
    let refused = alice.try_join(ROOM, "me", json!({})).await.unwrap_err();
    assert_eq!(refused.error, "remote-server-timeout");
    let leaves = || rooms.account_presences("alice").into_iter().filter(|p| p.contains("type='unavailable'")).count();
    rooms.wait("the leave", |jid, s| is_account_session(jid, "alice") && s.contains("type='unavailable'")).await;
    let mark = alice.mark();
    let (stream, to, id) = joins.lock().unwrap().first().cloned().unwrap();
    assert!(is_account_session(&stream.jid, "alice"));
    // The leave is not answered either: when its deadline has passed as well, the room lets us in after all.
    sleep(Duration::from_millis(1500)).await;
    let before = leaves();
    enter(&stream, &to, &id);
    let deadline = Instant::now() + PATIENCE;
    while leaves() == before {
        assert!(Instant::now() < deadline, "it is not left");
        sleep(Duration::from_millis(10)).await;
    }
    alice.sync().await;
    assert_eq!(
        disturbances(&alice, mark).len(),
        0,
        "the client is told nothing of it: {:?}",
        disturbances(&alice, mark)
    );
    // The path: what the client sends to the room now is its own stream's business, not the account's.
    alice.raw(&format!("<message to='{ROOM}' type='groupchat' id='own-path'><body>x</body></message>")).await;
    let (jid, _) = rooms.wait("her message", |_, s| s.contains("own-path")).await;
    assert_eq!(jid, "alice@localhost/1");
}

/// Carbons, archive results and pushes that only the own account may send.
fn forged_extensions(session: &str) -> Vec<(&'static str, String)> {
    let inner = format!(
        "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='bob@localhost/x' to='{session}' type='chat'><body>{MARK}inner</body></message></forwarded>"
    );
    let presence = format!(
        "<forwarded xmlns='urn:xmpp:forward:0'><presence xmlns='jabber:client' from='{ROOM}/me' type='unavailable'/></forwarded>"
    );
    vec![
        ("received carbon", format!("<received xmlns='urn:xmpp:carbons:2'>{inner}</received>")),
        ("sent carbon", format!("<sent xmlns='urn:xmpp:carbons:2'>{inner}</sent>")),
        ("carbon of a presence", format!("<received xmlns='urn:xmpp:carbons:2'>{presence}</received>")),
        ("archive result", format!("<result xmlns='urn:xmpp:mam:2' queryid='q' id='1'>{inner}</result>")),
        ("event", "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:xmpp:bookmarks:1'><item id='evil@conference.localhost'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'/></item></items></event>".into()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_carbons_archive_results_and_pushes_change_nothing() {
    let rooms = Rooms::start().await;
    let proxy = rooms.proxy().start();
    let slix = slix::start();
    let both = two_inside(&proxy, &slix).await;
    let account = rooms.account("alice").await;
    let own = rooms.stream("alice@localhost/1").await;
    let before = rooms.account_presences("alice");
    let mut number = 0;
    for from in
        ["evil-stranger@localhost/x", "evil-room@conference.localhost/x", "room@conference.localhost/evil", ROOM]
    {
        for (what, payload) in forged_extensions(&account.jid) {
            for stream in [&account, &own] {
                number += 1;
                let message =
                    format!("<message from='{from}' to='{}' id='{MARK}{number}'>{payload}</message>", stream.jid);
                let mark = both[0].mark();
                stream.send(message.as_str());
                // As it would come without the proxy: whole, from whom it is.
                let is = |e: &Event| e.is("message", &[]) && e.attr("id") == Some(format!("{MARK}{number}"));
                let seen = both[0].wait_since(mark, &format!("{what} from {from}"), is).await;
                assert_eq!(seen.attr("from").as_deref(), Some(from), "{what}");
                assert_eq!(
                    seen.xml,
                    message.replacen(&format!("to='{}'", stream.jid), "to='alice@localhost/1'", 1),
                    "{what}"
                );
            }
        }
        // A push to the account session is turned away and goes no further; on the client's own stream it passes.
        let push = |jid: &str, n: usize| {
            format!(
                "<iq from='{from}' to='{jid}' type='set' id='{MARK}push-{n}'><query xmlns='jabber:iq:roster'><item jid='evil@localhost' subscription='both'/></query></iq>"
            )
        };
        number += 1;
        let marks = [both[0].mark(), both[1].mark()];
        let id = format!("{MARK}push-{number}");
        account.send(push(&account.jid, number));
        let answered =
            |jid: &str, s: &str| s.starts_with("<iq") && s.contains(&id) && jid.starts_with("alice@localhost/");
        if from != format!("{ROOM}/evil") {
            let (by, answer) = rooms.wait("the push's refusal", answered).await;
            assert!(by == account.jid && answer.contains("service-unavailable"), "{from}: {by} {answer}");
            for (client, mark) in both.iter().zip(marks) {
                client.sync().await;
                let pushes: Vec<Event> = client.since(mark).into_iter().filter(|e| e.is("iq", &["roster"])).collect();
                assert!(pushes.is_empty(), "{from}: {pushes:?}");
            }
        } else {
            // An occupant's IQ is a client's to answer, which sees whose it is.
            let (client, mark) = (&both[1], marks[1]);
            let handed = client.wait_since(mark, "the occupant's IQ", |e| e.is("iq", &["jabber:iq:roster"])).await;
            assert_eq!(handed.attr("from").as_deref(), Some(from));
        }
        number += 1;
        let mark = both[0].mark();
        own.send(push(&own.jid, number));
        let id = format!("{MARK}push-{number}");
        let passed = both[0].wait_since(mark, "the push on its own stream", |e| e.is("iq", &[&id])).await;
        assert_eq!(passed.xml, push(&own.jid, number));
    }
    assert_eq!(rooms.account_presences("alice"), before, "no room was joined or left");
    for client in &both {
        is_inside(client, "me").await;
    }
    late_client_is_served(&rooms, &proxy, &slix, "alice/3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_reading_harms_only_itself() {
    const MESSAGES: usize = 3000;
    let rooms = Rooms::start().await;
    let limits = "[limits]\nclient_queue_frames = 256\nclient_queue_bytes = \"1 MiB\"\n";
    let (_dir, proxy) = with_config(&rooms, limits);
    let tls = support::raw::tls(&proxy.certs.ca);
    let mut clients = Vec::new();
    for name in ["alice/1", "alice/2", "alice/3", "bob/1"] {
        let mut client = Raw::bound(proxy.direct_tls(), &tls, name).await;
        client.send(format!("<presence to='{ROOM}/me'><x xmlns='http://jabber.org/protocol/muc'/></presence>")).await;
        client.expect("<subject/></message>").await;
        clients.push(client);
    }
    let mut stuck = clients.remove(0);
    let body = "x".repeat(8 * 1024);
    let accounts = [rooms.account("alice").await, rooms.account("bob").await];
    let read: Arc<[AtomicUsize]> = clients.iter().map(|_| AtomicUsize::new(0)).collect();
    let reading = clients.into_iter().enumerate().map(|(at, mut client)| {
        let read = read.clone();
        tokio::spawn(async move {
            for n in 0..MESSAGES {
                read[at].store(n, Ordering::SeqCst);
                let message = client.expect("</message>").await;
                assert!(message.contains(&format!("id='m-{n}'")), "{}: wanted {n}, got {:.200}", client.jid, message);
            }
            client.send("<iq type='get' id='well'><ping xmlns='urn:xmpp:ping'/></iq>").await;
            client.expect("id='well'").await;
            client
        })
    });
    let reading: Vec<_> = reading.collect();
    for n in 0..MESSAGES {
        for account in &accounts {
            account.send(format!(
                "<message from='{ROOM}/evil' to='{}' type='groupchat' id='m-{n}'><body>{body}</body></message>",
                account.jid
            ));
        }
        // As fast as those that read can follow, well within what may wait for them.
        while read.iter().any(|read| read.load(Ordering::SeqCst) + 64 < n) && !reading.iter().any(|r| r.is_finished()) {
            sleep(Duration::from_millis(2)).await;
        }
    }
    let mut well = Vec::new();
    for task in reading {
        let client = tokio::time::timeout(2 * PATIENCE, task).await.expect("the others get everything");
        well.push(client.expect("in order"));
    }
    // When it reads again, there is what had waited for it, in order, and then the end.
    let (rest, _) = stuck.rest().await;
    let ids: Vec<usize> = rest.split("id='m-").skip(1).filter_map(|r| r.split('\'').next()?.parse().ok()).collect();
    assert!(ids.iter().copied().eq(0..ids.len()) && ids.len() < MESSAGES, "{} of them", ids.len());
    let error = rest.split_once("<stream:error").map(|(_, error)| error);
    assert!(error.is_some_and(|e| e.contains("<resource-constraint ") && e.ends_with("</stream:stream>")), "{error:?}");
    let ended: Vec<String> = proxy.log().lines().filter(|l| l.contains("session ended")).map(str::to_owned).collect();
    assert!(ended.len() == 1 && ended[0].contains("alice@localhost/1"), "{ended:?}");
}
