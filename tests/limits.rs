//! The limits (S11 and the table in docs/configuration.md), each reached against the running proxy: what the client
//! is told, what is logged, and that nobody else feels it.

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::proxy::{Proxy, Setup};
use support::raw::{self, HEADER, Raw};
use support::scripted::{Scripted, Stream, attribute};

/// Answers IQs, and nothing else.
fn quiet(stream: &Stream, stanza: &str) {
    if stanza.starts_with("<iq") {
        stream.result(stanza);
    }
}

/// In front of a scripted server, with these limits.
async fn world(limits: &str) -> (Scripted, Proxy) {
    let server = Scripted::start(quiet).await;
    let proxy = Setup::upstream(server.address, "none").config(&format!("[limits]\n{limits}\n")).start();
    (server, proxy)
}

/// The connection ends at once, and the client is told why.
async fn is_refused(proxy: &Proxy, source: u8, condition: &str, limit: &str) {
    let mut refused = Raw::plain_from([127, 0, 0, source], proxy.starttls()).await;
    refused.send(HEADER).await;
    let (told, _) = refused.rest().await;
    let error = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
    assert!(told.starts_with("<?xml version='1.0'?><stream:stream "), "{told}");
    assert!(told.contains(&error) && told.ends_with("</stream:error></stream:stream>"), "{told}");
    let line = proxy.wait_log(&format!("limit=\"{limit}\"")).await;
    assert!(line.contains("connection refused") && line.contains(&format!("peer=127.0.0.{source}:")), "{line}");
    // With direct TLS it is just closed.
    let (told, _) = Raw::plain_from([127, 0, 0, source], proxy.direct_tls()).await.rest().await;
    assert_eq!(told, "");
}

/// As soon as who left is forgotten, which takes a moment.
async fn is_let_in(proxy: &Proxy, source: u8) -> Raw {
    let start = Instant::now();
    loop {
        let mut client = Raw::plain_from([127, 0, 0, source], proxy.starttls()).await;
        client.send(HEADER).await;
        if client.try_expect("</stream:features>").await.is_ok() {
            return client;
        }
        assert!(start.elapsed() < support::PATIENCE, "the places were not given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_connections_before_login_are_capped() {
    let (_server, proxy) = world("connections_before_login = 3\nconnections_before_login_per_address = 2").await;
    let tls = raw::tls(&proxy.certs.ca);
    for _ in 0..2 {
        let one = is_let_in(&proxy, 2).await;
        let two = is_let_in(&proxy, 2).await;
        is_refused(&proxy, 2, "policy-violation", "limits.connections_before_login_per_address").await;
        let three = is_let_in(&proxy, 3).await;
        is_refused(&proxy, 4, "resource-constraint", "limits.connections_before_login").await;
        drop((one, two, three));
        // All places are given back, and one that logs in gives its place to the next.
        let mut clients = Vec::new();
        for n in 0..5 {
            drop(is_let_in(&proxy, 2).await);
            let mut client = Raw::direct_from([127, 0, 0, 5], proxy.direct_tls(), &tls).await;
            client.log_in("alice", &format!("r{n}")).await;
            clients.push(client);
        }
        for client in &mut clients {
            client.send("<iq type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>").await;
            client.expect("id='still'").await;
        }
    }
    assert!(proxy.log().matches("connection refused").count() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_connections_are_capped() {
    let (_server, proxy) = world("connections = 3\nconnections_per_address = 2").await;
    let tls = raw::tls(&proxy.certs.ca);
    for _ in 0..2 {
        drop(is_let_in(&proxy, 2).await);
        let mut one = Raw::direct_from([127, 0, 0, 2], proxy.direct_tls(), &tls).await;
        one.log_in("alice", "one").await;
        let mut two = Raw::direct_from([127, 0, 0, 2], proxy.direct_tls(), &tls).await;
        two.log_in("alice", "two").await;
        is_refused(&proxy, 2, "policy-violation", "limits.connections_per_address").await;
        let three = is_let_in(&proxy, 3).await;
        is_refused(&proxy, 4, "resource-constraint", "limits.connections").await;
        for client in [&mut one, &mut two] {
            client.send("<iq type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>").await;
            client.expect("id='still'").await;
        }
        drop((one, two, three));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_flood_of_refusals_fills_no_log_and_keeps_no_socket() {
    let (_server, proxy) = world("connections_before_login = 1").await;
    let inside = is_let_in(&proxy, 2).await;
    let mut held = Vec::new();
    for _ in 0..1000 {
        held.push(raw::connect_from("127.0.0.3", proxy.starttls()).await);
    }
    proxy.wait_log("connection refused").await;
    // Those that are told linger for two seconds at most, if they do not close; the others are gone at once.
    let start = Instant::now();
    while files(proxy.pid()) > 60 {
        assert!(start.elapsed() < support::PATIENCE, "{} files are open", files(proxy.pid()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let lines = proxy.log().matches("connection refused").count();
    assert!(lines < 100, "{lines} lines for 1000 connections");
    drop((held, inside));
    drop(is_let_in(&proxy, 2).await);
}

/// The stream ends with this condition, told on an open stream.
async fn ends_with(client: &mut Raw, condition: &str) -> String {
    let (told, _) = client.rest().await;
    let error = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
    assert!(told.contains(&error) && told.ends_with("</stream:error></stream:stream>"), "{condition}: {told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_before_login() {
    let (server, proxy) = world("handshake_timeout = \"20s\"\nnegotiation_timeout = \"3s\"").await;
    let tls = raw::tls(&proxy.certs.ca);
    // The server is dialled after TLS and a valid header, and not before.
    let mut plaintext = Raw::plain(proxy.starttls()).await;
    plaintext.open().await;
    let silent = Raw::direct(proxy.direct_tls(), &tls).await;
    let mut unfinished = Raw::direct(proxy.direct_tls(), &tls).await;
    unfinished.send(&HEADER[..HEADER.len() - 1]).await;
    let mut elsewhere = Raw::direct(proxy.direct_tls(), &tls).await;
    elsewhere.send(raw::header("elsewhere.test")).await;
    ends_with(&mut elsewhere, "host-unknown").await;
    let mut large = Raw::direct(proxy.direct_tls(), &tls).await;
    large.send(HEADER.replace(" to=", &format!(" xmlns:x='{}' to=", "x".repeat(16 << 10)))).await;
    ends_with(&mut large, "policy-violation").await;
    assert_eq!(server.connections(), 0);
    // A stanza before login: 16 KiB, not more, however it arrives.
    let mut large = Raw::opened(proxy.direct_tls(), &tls).await;
    assert_eq!(server.connections(), 1);
    let auth = format!("<auth {} mechanism='PLAIN'>{}", raw::SASL, "A".repeat(16 << 10));
    large.send(&auth[..16 << 10]).await;
    assert!(large.rest_within(Duration::from_millis(200)).await.is_none());
    large.send(&auth[16 << 10..]).await;
    ends_with(&mut large, "policy-violation").await;
    // The deadline is absolute: who keeps talking, or tries one password after the other, gains nothing.
    let start = Instant::now();
    let mut talker = Raw::opened(proxy.direct_tls(), &tls).await;
    let talk = async {
        loop {
            talker.send(" ").await;
            if let Some((told, _)) = talker.rest_within(Duration::from_millis(300)).await {
                return told;
            }
        }
    };
    let told = tokio::time::timeout(support::PATIENCE, talk).await.expect("it talks for ever");
    assert!(told.contains("<connection-timeout"), "{told}");
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
    drop((plaintext, silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_hold_everywhere() {
    let limits = "handshake_timeout = \"2s\"\nnegotiation_timeout = \"4s\"\nidle_timeout = \"1s\"";
    let (_server, proxy) = world(limits).await;
    let tls = raw::tls(&proxy.certs.ca);
    let log = async |client: &str, text: &str| {
        let line = proxy.wait_log(text).await;
        assert!(line.contains("peer=127.0.0.1:"), "{client}: {line}");
    };
    // All wait at the same time, each for its own deadline.
    let before_tls = async {
        for said in ["", &HEADER[..40], HEADER] {
            let mut client = Raw::plain(proxy.starttls()).await;
            client.send(said).await;
            ends_with(&mut client, "connection-timeout").await;
        }
        log("before TLS", "TLS did not start in time").await;
    };
    let within_tls = async {
        let mut client = Raw::plain(proxy.starttls()).await;
        client.open().await;
        client.send(format!("<starttls {}/>", raw::TLS)).await;
        client.expect("<proceed").await;
        client.send([22, 3, 1, 2, 0, 1]).await;
        client.rest().await;
        let mut direct = Raw::plain(proxy.direct_tls()).await;
        direct.send([22, 3, 1, 2, 0, 1]).await;
        direct.rest().await;
        log("within TLS", "no TLS with the client").await;
    };
    let negotiating = async {
        let mut silent = Raw::direct(proxy.direct_tls(), &tls).await;
        let mut in_header = Raw::direct(proxy.direct_tls(), &tls).await;
        in_header.send(&HEADER[..60]).await;
        let mut in_sasl = Raw::opened(proxy.direct_tls(), &tls).await;
        in_sasl.send(format!("<auth {} mechanism='PLAIN'>AAAA", raw::SASL)).await;
        let mut in_bind = Raw::logged_in(proxy.direct_tls(), &tls, "alice").await;
        in_bind.send("<iq type='set'").await;
        for client in [&mut silent, &mut in_header, &mut in_sasl, &mut in_bind] {
            ends_with(client, "connection-timeout").await;
        }
        log("negotiating", "not logged in in time").await;
    };
    let idle = async {
        let mut silent = Raw::bound(proxy.direct_tls(), &tls, "alice/silent").await;
        let mut in_stanza = Raw::bound(proxy.direct_tls(), &tls, "alice/halfway").await;
        in_stanza.send("<message><body>").await;
        for client in [&mut silent, &mut in_stanza] {
            ends_with(client, "connection-timeout").await;
        }
        log("idle", "silent for too long").await;
    };
    tokio::join!(before_tls, within_tls, negotiating, idle);
    assert!(files(proxy.pid()) < 60, "{} files are open", files(proxy.pid()));
}

/// Notes the `id` of what comes, in order; the first stream's hands are kept to write to it.
fn noting(notes: &Arc<Mutex<Vec<String>>>, first: &Arc<Mutex<Option<Stream>>>) -> impl Fn(&Stream, &str) + use<> {
    let (notes, first) = (notes.clone(), first.clone());
    move |stream, stanza| {
        first.lock().expect("first").get_or_insert_with(|| stream.clone());
        notes.lock().expect("notes").push(attribute(stanza, "id").unwrap_or_default());
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < 3 * support::PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends `stanzas` at once; they all arrive, in order, and not before `at_least`. Meanwhile the client is sent to,
/// and a neighbour is not slowed.
async fn is_slowed(limits: &str, limit: &str, size: usize, count: usize, at_least: Duration) {
    let (notes, first) = (Arc::default(), Arc::default());
    let server = Scripted::start(noting(&notes, &first)).await;
    // No account session looks at bookmarks: all streams are the clients'.
    let config = format!("[limits]\n{limits}\n[rooms]\nbookmarks = false\n");
    let proxy = Setup::upstream(server.address, "none").config(&config).start();
    let tls = raw::tls(&proxy.certs.ca);
    let mut client = Raw::bound(proxy.direct_tls(), &tls, "alice/fast").await;
    let mut neighbour = Raw::bound(proxy.direct_tls(), &tls, "bob/slow").await;
    let ids: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
    let body = "x".repeat(size);
    let all: String = ids.iter().map(|id| format!("<message id='{id}'><body>{body}</body></message>")).collect();
    let start = Instant::now();
    client.send(&all).await;
    until("the first arrives", || first.lock().expect("first").is_some()).await;
    let stream = first.lock().expect("first").clone().expect("just seen");
    for n in 0..5 {
        stream.send(format!("<message id='down-{n}'/> "));
        client.expect(&format!("down-{n}'/>")).await;
    }
    neighbour.send("<message id='neighbour'/>").await;
    let has = |id: &str| notes.lock().expect("notes").iter().any(|noted: &String| noted == id);
    until("the neighbour's arrives", || has("neighbour")).await;
    assert!(!has(&ids[count - 1]), "all arrived before five messages went the other way");
    until("the last arrives", || has(&ids[count - 1])).await;
    let took = start.elapsed();
    assert!(took >= at_least, "{took:?}");
    let mut arrived = notes.lock().expect("notes").clone();
    arrived.retain(|id| id != "neighbour");
    assert_eq!(arrived, ids);
    let line = proxy.wait_log("slowed").await;
    assert!(line.contains("alice@localhost/fast") && line.contains(limit) && line.contains("peer=127.0.0.1"), "{line}");
    assert_eq!(proxy.log().matches("slowed").count(), 1);
    println!("{limit}: {count} stanzas of {size} bytes in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_stanzas_slow_the_reader() {
    let limits = "stanzas_per_second = 10\nstanzas_burst = 10";
    is_slowed(limits, "limits.stanzas_per_second", 1, 70, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_bytes_slow_the_reader() {
    let limits = "bytes_per_second = \"32 KiB\"\nbytes_burst = \"32 KiB\"";
    is_slowed(limits, "limits.bytes_per_second", 40_000, 6, Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_more_room_than_there_is_ends_alone() {
    let (_server, proxy) = world("stanza = \"64 KiB\"\nbuffers = \"256 KiB\"\nclient_queue_bytes = \"1 MiB\"").await;
    let tls = raw::tls(&proxy.certs.ca);
    let mut neighbour = Raw::bound(proxy.direct_tls(), &tls, "bob").await;
    for round in 0..2 {
        let mut clients = Vec::new();
        for n in 0..6 {
            // 48 KiB of the budget each, in three steps of 16 KiB: five fit.
            let mut client = Raw::bound(proxy.direct_tls(), &tls, &format!("alice/{round}-{n}")).await;
            client.send(format!("<message><body>{}", "x".repeat(60 << 10))).await;
            clients.push(client);
        }
        let ended = || -> Option<String> {
            let log = proxy.log();
            log.lines().filter(|l| l.contains("all room for buffers")).nth(round).map(str::to_owned)
        };
        until("one has to go", || ended().is_some()).await;
        let line = ended().expect("just seen");
        assert!(line.contains("limits.buffers") && line.contains("peer=127.0.0.1:"), "{line}");
        let at = clients.iter().position(|client| line.contains(&format!("jid={} ", client.jid)));
        let mut one = clients.remove(at.unwrap_or_else(|| panic!("whose is it? {line}")));
        ends_with(&mut one, "resource-constraint").await;
        let ping = "<iq type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>";
        neighbour.send(ping).await;
        neighbour.expect("id='still'").await;
        for client in &mut clients {
            client.send(format!("</body></message>{ping}")).await;
            client.expect("id='still'").await;
        }
        assert_eq!(proxy.log().matches("all room for buffers").count(), round + 1);
        // The room is free again, once the last has been sent on.
        let mut again = Raw::bound(proxy.direct_tls(), &tls, &format!("alice/{round}-again")).await;
        again.send(format!("<message><body>{}</body></message>{ping}", "x".repeat(60 << 10))).await;
        again.expect("id='still'").await;
    }
}

/// Seconds of processor time that a process has taken.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_files_it_waits_and_does_not_spin() {
    let (_server, proxy) = world("").await;
    let most = (files(proxy.pid()) + 20).to_string();
    let (pid, limit) = (proxy.pid().to_string(), format!("--nofile={most}:{most}"));
    let set = std::process::Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(set.is_ok_and(|s| s.success()), "prlimit (util-linux)");
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(raw::connect_from("127.0.0.2", proxy.starttls()).await);
    }
    let line = proxy.wait_log("cannot accept").await;
    assert!(line.contains("LimitNOFILE"), "{line}");
    let (start, before) = (Instant::now(), cpu(proxy.pid()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (taken, passed) = (cpu(proxy.pid()) - before, start.elapsed().as_secs_f64());
    assert!(taken < passed / 4.0, "{taken} s of processor time in {passed} s");
    let lines = proxy.log().matches("cannot accept").count() as f64;
    assert!(lines < passed + 10.0, "{lines} lines");
    drop(held);
    drop(is_let_in(&proxy, 2).await);
}

/// Open files of a process.
fn files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count()
}
