//! Bad input: 500 kinds of it, made from a printed seed, each on a connection of its own to the running proxy. Each ends
//! that one stream with the stream error that RFC 6120 §4.9.3 has for it; nothing of it reaches the server; two real
//! clients go on chatting in a room meanwhile; and nothing is left of it afterwards.

mod cases;
#[path = "../support/mod.rs"]
mod support;

use cases::*;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use support::PATIENCE;
use support::driver::{Client, Event};
use support::proxy::Setup;
use support::raw::{HEADER, Raw};
use support::scripted_room::{ROOM, Rooms};
use support::server::{Kind, Options, Server, password};
use support::slix;
use support::tap::Tap;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

const KINDS: usize = 500;
/// How many connections do harm at a time.
const AT_ONCE: usize = 12;
/// What is sent in small pieces must not be long.
const MOST_TRICKLED: usize = 600;
/// In every piece of bad input that may go to the server if the proxy errs.
const MARK: &str = "evil-";

fn seed() -> u64 {
    let seed = std::env::var("MINIMIX_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_260_101);
    eprintln!("seed {seed} (set MINIMIX_TEST_SEED for another)");
    seed
}

/// Does the harm, and says what was wrong with what came of it.
async fn attack(
    proxy: (std::net::SocketAddr, std::net::SocketAddr),
    tls: &TlsConnector,
    case: &Case,
) -> Option<String> {
    let (starttls, direct) = proxy;
    let mut raw = match case.position {
        BeforeTls => Raw::plain(starttls).await,
        InsteadOfTls => Raw::plain(direct).await,
        FirstHeader => Raw::direct(direct, tls).await,
        InsteadOfStartTls => {
            let mut raw = Raw::plain(starttls).await;
            raw.send(HEADER).await;
            raw.expect("</stream:features>").await;
            raw
        }
        BeforeLogin | InSasl => Raw::opened(direct, tls).await,
        BeforeBind => Raw::logged_in(direct, tls, "mallory").await,
        Stanza | Nested => Raw::bound(direct, tls, "mallory").await,
    };
    if case.trickled {
        raw.trickle(&case.bytes).await;
    } else {
        raw.send(&case.bytes).await;
    }
    if matches!(case.wanted, Wanted::Closed) {
        raw.finish().await;
    }
    let Some((rest, clean)) = raw.rest_within(PATIENCE).await else { return Some("its stream does not end".into()) };
    let Wanted::Error(conditions) = case.wanted else { return rest.contains("<stream:error").then_some(rest) };
    let first = matches!(case.position, BeforeTls | FirstHeader);
    // RFC 6120 §4.9.1.2: a header that cannot be accepted is answered by one, and the error behind it.
    let header = rest.starts_with("<?xml version='1.0'?><stream:stream ") && !rest.contains(" from=''");
    let opened = header == first;
    let told = told(&rest).is_some_and(|told| conditions.contains(&told)) && rest.ends_with("</stream:stream>");
    (!told || !opened || !clean).then(|| format!("wanted {conditions:?}, got {rest:?} (clean: {clean})"))
}

/// The condition of the one stream error in what was received.
fn told(received: &str) -> Option<&str> {
    let (_, error) = received.split_once("<stream:error")?;
    let (_, condition) = error.split_once('>')?;
    let (condition, rest) = condition.strip_prefix('<')?.split_once(' ')?;
    let alone = !error.contains("<stream:error") && rest.starts_with("xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
    alone.then_some(condition)
}

/// What a process holds: file descriptors, established connections, threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holds {
    descriptors: usize,
    connections: usize,
    threads: usize,
}

impl Holds {
    fn of(pid: u32) -> Holds {
        let entries = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).expect("the proxy lives").flatten();
        let links: Vec<String> = entries("fd")
            .filter_map(|fd| Some(std::fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned()))
            .collect();
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("a table of connections");
        let established = table.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(3) == Some(&"01")).then(|| format!("socket:[{}]", fields[9]))
        });
        let connections = established.filter(|socket| links.contains(socket)).count();
        Holds { descriptors: links.len(), connections, threads: entries("task").count() }
    }

    /// Waits until nothing is held that was not before. (Threads that do blocking work end after a while.)
    async fn return_to(self, pid: u32) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Holds::of(pid);
            let fewer = now.descriptors <= self.descriptors && now.threads <= self.threads;
            if fewer && now.connections == self.connections {
                return;
            }
            assert!(Instant::now() < deadline, "held before {self:?}, now {now:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Two real clients in a room that go on talking until they are told to stop; each message must arrive at both.
struct Neighbours {
    both: [Client; 2],
    marks: [usize; 2],
    room: String,
    said: Arc<AtomicUsize>,
    stop: tokio::sync::watch::Sender<bool>,
    talk: tokio::task::JoinHandle<()>,
}

impl Neighbours {
    async fn meet(both: [Client; 2], room: &str) -> Neighbours {
        for client in &both {
            client.sync().await;
        }
        let marks = [both[0].mark(), both[1].mark()];
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let said = Arc::new(AtomicUsize::new(0));
        let (count, clients, to) = (said.clone(), both.clone(), room.to_owned());
        let talk = tokio::spawn(async move {
            while !*stopped.borrow() {
                let n = count.fetch_add(1, Ordering::SeqCst);
                clients[n % 2].groupchat(&to, &format!("good-{n}"), &format!("message {n} <&>")).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Neighbours { both, marks, room: room.to_owned(), said, stop, talk }
    }

    /// Every message arrived at both, once, in the room's order and each sender's own; and nothing else happened.
    async fn part(self) -> usize {
        self.stop.send_replace(true);
        self.talk.await.expect("they could talk");
        let said = self.said.load(Ordering::SeqCst);
        let number = |e: &Event| e.attr("id").and_then(|id| id.strip_prefix("good-")?.parse::<usize>().ok());
        let mut orders = Vec::new();
        for (client, mark) in self.both.iter().zip(self.marks) {
            // The room decides whose of two messages that are sent at a time is first.
            for last in said.saturating_sub(2)..said {
                client.wait_since(mark, "the last messages", |e| number(e) == Some(last)).await;
            }
            client.sync().await;
            let events = client.since(mark);
            let (messages, other): (Vec<&Event>, Vec<&Event>) =
                events.iter().filter(|e| !e.is("iq", &[])).partition(|e| e.is("message", &["<body>", &self.room]));
            assert!(other.is_empty(), "{} was disturbed: {other:#?}", client.name);
            let order: Vec<usize> = messages.into_iter().filter_map(number).collect();
            let mut once = order.clone();
            once.sort_unstable();
            assert!(once.into_iter().eq(0..said), "{} has every message once: {order:?}", client.name);
            for sender in 0..2 {
                assert!(order.iter().filter(|n| *n % 2 == sender).is_sorted(), "{}: {order:?}", client.name);
            }
            orders.push(order);
        }
        assert_eq!(orders[0], orders[1], "both see the room's order");
        said
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_kinds_of_bad_input() {
    let mut random = StdRng::seed_from_u64(seed());
    let users = ["alice", "bob", "mallory"].map(|u| (u.to_owned(), password(u)));
    let server = Server::start(Kind::Prosody, Options { users: users.into(), plaintext: true, ..Options::default() });
    let tap = Tap::before(server.plain()).await;
    let proxy = Setup::upstream(tap.address, "none").start();
    let tls = support::raw::tls(&proxy.certs.ca);
    let slix = slix::start();
    let both = [slix.client("alice"), slix.client("bob")];
    let room = server.room("quiet");
    for client in &both {
        client.connect(&proxy.login(&client.name)).await;
        client.join(&room, &client.name).await;
    }
    // A good stanza passes, so the tap can tell; and mallory is enrolled.
    let mut good = Raw::bound(proxy.direct_tls(), &tls, "mallory").await;
    good.send("<iq type='get' id='good-iq'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    good.expect("good-iq").await;
    assert!(tap.has("good-iq").is_some(), "what is good reaches the server");
    good.send("</stream:stream>").await;
    good.rest().await;
    tokio::time::sleep(Duration::from_millis(500)).await;

    let before = Holds::of(proxy.pid());
    let neighbours = Neighbours::meet(both.clone(), &room).await;
    let started = Instant::now();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let addresses = (proxy.starttls(), proxy.direct_tls());
    let running: Vec<_> = cases(&mut random, KINDS)
        .into_iter()
        .map(|case| {
            let (turns, tls) = (turns.clone(), tls.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire().await.expect("open");
                let fault = attack(addresses, &tls, &case).await;
                fault.map(|fault| {
                    let shown = String::from_utf8_lossy(&case.bytes[..case.bytes.len().min(300)]).into_owned();
                    format!("{:?}: {} (trickled: {}): {shown:?}\n    {fault}", case.position, case.what, case.trickled)
                })
            })
        })
        .collect();
    let count = running.len();
    let outcomes = futures::future::join_all(running).await;
    let faults: Vec<String> = outcomes.into_iter().filter_map(|o| o.expect("an attack is made")).collect();
    let took = started.elapsed();
    assert!(faults.is_empty(), "{} of {count} went wrong:\n{}", faults.len(), faults.join("\n"));
    let said = neighbours.part().await;
    eprintln!("{count} kinds in {took:?}, {said} messages meanwhile");
    assert!(said >= 20, "the neighbours talked: {said}");
    if let Some(passed) = tap.has(MARK) {
        panic!("bad input reached the server: {passed}");
    }
    assert!(!proxy.log().contains("panicked"), "the proxy panicked");
    before.return_to(proxy.pid()).await;
    for client in &both {
        assert_eq!(client.self_ping(&room, &client.name).await.attr("type").as_deref(), Some("result"));
    }
}

/// What a server might say that is no XMPP, in a message.
fn servers_faults(random: &mut StdRng) -> Vec<Fault> {
    let mut all: Vec<Fault> = contents(random).into_iter().filter(|(_, bytes, _)| bytes.len() < 2000).collect();
    all.shuffle(random);
    all.truncate(25);
    all.push(fault("too large", "x".repeat((1 << 20) + 1), POLICY));
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
