//! The limits (S11 and the table in docs/configuration.md), each reached against the running proxy: what the client
//! is told, what is logged, and that nobody else feels it.

mod support;

use std::time::{Duration, Instant};

use support::proxy::{Proxy, Setup};
use support::raw::{self, HEADER, Raw};
use support::scripted::{Scripted, Stream};

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

/// Open files of a process.
fn files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count()
}
