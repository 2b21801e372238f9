//! Bad input: 10,000 malformed streams, made from a printed seed, from 50 connections at once to the running proxy: every
//! kind in every position, whole and byte by byte. Each ends that one stream with the stream error that RFC 6120 §4.9.3
//! has for it; nothing of it reaches the server; twenty real clients go on chatting in their rooms meanwhile, and miss
//! nothing; and nothing is left of it afterwards.

mod cases;
mod chat;
mod holds;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use cases::*;
use chat::Chat;
use holds::{Holds, memory};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use support::PATIENCE;
use support::driver::Event;
use support::proxy::Setup;
use support::raw::{HEADER, Raw};
use support::scripted_room::{ROOM, Rooms};
use support::server::{Kind, Options, Server, password};
use support::slix;
use support::tap::Tap;
use tokio::sync::Semaphore;

/// How many malformed streams there are; MINIMIX_TEST_STREAMS asks for more.
const STREAMS: usize = 10_000;
/// How many connections do harm at a time.
const AT_ONCE: usize = 50;
/// In every piece of bad input that may go to the server if the proxy errs.
const MARK: &str = "evil-";
/// The attackers are one address with one account, and some of what they send is a failed login.
const LIMITS: &str = "[limits]\nlogin_failures_per_address = 1000000\nlogin_failures_per_account = 1000000\n\
    login_failures_per_server = 1000000\n";

fn seed() -> u64 {
    let seed = std::env::var("MINIMIX_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_260_101);
    eprintln!("seed {seed} (set MINIMIX_TEST_SEED for another)");
    seed
}

/// The condition of the one stream error in what was received.
fn told(received: &str) -> Option<&str> {
    let (_, error) = received.split_once("<stream:error")?;
    let (_, condition) = error.split_once('>')?;
    let (condition, rest) = condition.strip_prefix('<')?.split_once(' ')?;
    let alone = !error.contains("<stream:error") && rest.starts_with("xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
    alone.then_some(condition)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_malformed_streams() {
    let mut random = StdRng::seed_from_u64(seed());
    let streams = std::env::var("MINIMIX_TEST_STREAMS").ok().and_then(|s| s.parse().ok()).unwrap_or(STREAMS);
    let users = chat::users().chain(["mallory".to_owned()]).map(|u| (u.clone(), password(&u))).collect();
    let server = Server::start(Kind::Prosody, Options { users, plaintext: true, ..Options::default() });
    let tap = Tap::before(server.plain()).await;
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    // What is held before and after is compared: no account session goes by itself meanwhile.
    std::fs::write(&config, format!("{LIMITS}\n[rooms]\nbookmarks = false\n")).unwrap();
    let proxy = Setup::upstream(tap.address, "none").args(["--config", config.to_str().unwrap()]).start();
    let tls = support::raw::tls(&proxy.certs.ca);
    let slix = slix::start();
    let chat = Chat::meet(&slix, &proxy, &server).await;
    // What is good passes, CDATA too, so the tap can tell; and mallory is enrolled.
    let mut good = Raw::bound(proxy.direct_tls(), &tls, "mallory").await;
    good.send("<message to='nobody@localhost' id='good-m'><body><![CDATA[<good> & ]]></body></message>").await;
    good.send("<iq type='get' id='good-iq'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    good.expect("good-iq").await;
    assert!(tap.has("<![CDATA[<good> & ]]>").is_some(), "what is good reaches the server");
    good.send("</stream:stream>").await;
    good.rest().await;
    tokio::time::sleep(Duration::from_millis(500)).await;

    let before = (Holds::of(proxy.pid()), memory(proxy.pid()));
    let chat = chat.begin();
    let started = Instant::now();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let addresses = (proxy.starttls(), proxy.direct_tls());
    let all = streams::cases(&mut random, streams);
    let mut positions: HashMap<streams::Position, usize> = HashMap::new();
    all.iter().for_each(|case| *positions.entry(case.position).or_default() += 1);
    let running: Vec<_> = all
        .into_iter()
        .map(|case| {
            let (turns, tls) = (turns.clone(), tls.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire().await.expect("open");
                case.attack(addresses, &tls).await
            })
        })
        .collect();
    let count = running.len();
    let outcomes = futures::future::join_all(running).await;
    let faults: Vec<String> = outcomes.into_iter().filter_map(|o| o.expect("an attack is made")).collect();
    let took = started.elapsed();
    let shown = &faults[..faults.len().min(40)];
    assert!(faults.is_empty(), "{} of {count} went wrong:\n{}", faults.len(), shown.join("\n"));
    let said = chat.end().await;
    eprintln!("{count} malformed streams in {took:?}, {said} messages meanwhile; in each position {positions:?}");
    assert!(said >= 100, "the clients talked: {said}");
    if let Some(passed) = tap.has(MARK) {
        panic!("bad input reached the server: {passed}");
    }
    assert!(!proxy.log().contains("panicked"), "the proxy panicked");
    before.0.return_to(proxy.pid()).await;
    let ((start, _), (now, most)) = (before.1, memory(proxy.pid()));
    eprintln!("{:?}; memory {start} KiB before, {now} KiB after, {most} KiB at most", before.0);
    // A task takes 10 KiB and more: one left behind by each stream would show.
    assert!(now < start + 64 * 1024, "memory: {start} KiB before, {now} KiB after");
}

/// What a server might say that is no XMPP, in a message.
fn servers_faults(random: &mut StdRng) -> Vec<Fault> {
    let mut all: Vec<Fault> = contents(random).into_iter().filter(|(_, bytes, _)| bytes.len() < 2000).collect();
    all.shuffle(random);
    all.truncate(25);
    // A stanza that is too large would be skipped (S12); not so a single tag.
    all.push(fault("a tag too large", format!("<c a='{}'/>", "x".repeat((1 << 20) + 1)), POLICY));
    all
}

fn in_message(from: &str, to: &str, bytes: &[u8]) -> Vec<u8> {
    let start = format!("<message from='{from}' to='{to}' type='groupchat' id='{MARK}m'><body>");
    [start.as_bytes(), bytes, b"</body></message>"].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_from_the_server() {
    let mut random = StdRng::seed_from_u64(seed());
    let rooms = Rooms::start().await;
    let proxy = rooms.proxy().start();
    let tls = support::raw::tls(&proxy.certs.ca);
    let slix = slix::start();
    let (alice, bob) = (slix.client("alice"), slix.client("bob"));
    for client in [&alice, &bob] {
        client.connect(&proxy.login(&format!("{}/1", client.name))).await;
        client.join(ROOM, "me").await;
    }
    let bobs_mark = bob.mark();
    let before = Holds::of(proxy.pid());

    // On a client's own stream: that stream ends, at both ends, and the client gets nothing of it.
    let mut wholes: Vec<(String, Vec<u8>)> = servers_faults(&mut random)
        .into_iter()
        .map(|(what, bytes, _)| (what, in_message("localhost", "mallory@localhost", &bytes)))
        .collect();
    wholes.push(("noise".into(), noise(&mut random)));
    wholes.push(("text".into(), format!("{MARK}text").into()));
    wholes.push(("second header".into(), HEADER[21..].replace("localhost", "evil-x").into()));
    wholes.push(("a comment".into(), format!("<!-- {MARK} -->").into()));
    for (n, (what, bytes)) in wholes.iter().enumerate() {
        let mut victim = Raw::bound(proxy.direct_tls(), &tls, &format!("mallory/{n}")).await;
        victim.send("<iq type='get' id='hello'><ping xmlns='urn:xmpp:ping'/></iq>").await;
        victim.expect("/>").await;
        let stream = rooms.stream(&victim.jid).await;
        stream.send("<message from='localhost'><body>good</body></message>");
        stream.send(bytes.clone());
        let (rest, clean) = victim.rest().await;
        let (good, error) = rest.split_once("good</body></message>").unwrap_or_else(|| panic!("{what}: {rest}"));
        assert!(!good.contains(MARK) && !error.contains(MARK), "{what}: it was forwarded: {rest}");
        // The client did nothing wrong, so no condition that blames it.
        assert_eq!(told(error), Some("undefined-condition"), "{what}: {rest}");
        assert!(error.starts_with("<stream:error") && error.ends_with("</stream:stream>") && clean, "{what}: {rest}");
    }
    bob.sync().await;

    // On an account session: its clients are told, their own streams live, it is opened again and goes back.
    for (what, bytes, _) in servers_faults(&mut random).into_iter().rev().take(4) {
        let account = rooms.account("alice").await;
        let (mark, connections) = (alice.mark(), rooms.server.connections());
        let joined = rooms.account_presences("alice").len();
        account.send(format!(
            "<message from='{ROOM}/evil' to='{}' type='groupchat' id='good'><body>a</body></message>",
            account.jid
        ));
        account.send(in_message(&format!("{ROOM}/evil"), &account.jid, &bytes));
        alice.wait_since(mark, "what is good", |e| e.is("message", &["good"])).await;
        alice.wait_since(mark, "her removal", |e| e.is("presence", &["unavailable", "'110'", "'333'"])).await;
        let rejoined = async {
            while rooms.account_presences("alice").len() == joined {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, rejoined).await.unwrap_or_else(|_| panic!("{what}: it does not go back"));
        assert_eq!(rooms.server.connections(), connections + 1, "{what}: one new session");
        alice.sync().await;
        alice.join(ROOM, "me").await;
        assert_eq!(alice.self_ping(ROOM, "me").await.attr("type").as_deref(), Some("result"));
        let events = alice.since(mark);
        let seen = events
            .iter()
            .find(|e| e.xml.contains(MARK) || matches!(e.kind.as_str(), "malformed" | "stream_error" | "disconnected"));
        assert!(seen.is_none(), "{what}: {seen:?}");
    }

    // The neighbour has seen nothing of all that.
    bob.groupchat(ROOM, "good-b", "still here").await;
    bob.wait_since(bobs_mark, "his message", |e| e.is("message", &["good-b"])).await;
    let other: Vec<Event> =
        bob.since(bobs_mark).into_iter().filter(|e| !e.is("iq", &[]) && !e.is("message", &["good-b"])).collect();
    assert!(other.is_empty(), "bob was disturbed: {other:#?}");
    before.return_to(proxy.pid()).await;
}
