//! What an operator does to the running process: SIGHUP, SIGTERM, a restart of the server behind it.

mod support;

use support::driver::Event;
use support::proxy::Proxy;
use support::server::{Kind, Options, Server};
use support::{PATIENCE, certs, signal, slix};

#[tokio::test(flavor = "multi_thread")]
async fn sighup_takes_new_certificates_and_keeps_the_old_ones_if_they_are_broken() {
    let server = Server::start(Kind::Prosody, Options::default());
    let proxy = Proxy::start(&server);
    let slix = slix::start();
    let (before, after) = (slix.client("before"), slix.client("after"));
    before.connect(&proxy.login("alice/before")).await;

    let fresh = tempfile::tempdir().expect("a temporary directory");
    let fresh = certs::make(fresh.path(), &["localhost"], false);
    let copy = |from, to| assert!(std::fs::copy(from, to).is_ok(), "replace a file");
    copy(&fresh.chain, &proxy.certs.chain);
    // The key does not fit yet: the old pair stays in use.
    signal(proxy.pid(), "HUP");
    proxy.wait_log("the old certificates stay in use").await;
    after.connect(&proxy.login("alice/after")).await;
    copy(&fresh.key, &proxy.certs.key);
    signal(proxy.pid(), "HUP");
    proxy.wait_log("certificates are read anew").await;
    let mut login = proxy.login("alice/after");
    assert!(after.try_connect(&login).await.is_err(), "the old authority is no good any more");
    login.ca = fresh.ca.clone();
    after.connect(&login).await;
    // Connections that stood go on.
    before.sync().await;
    let mut proxy = proxy;
    proxy.allow("the old certificates stay in use");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_tells_the_clients_and_ends_soon() {
    let server = Server::start(Kind::Prosody, Options::default());
    let mut proxy = Proxy::start(&server);
    let slix = slix::start();
    let (alice, observer) = (slix.client("alice"), slix.client("observer"));
    alice.connect(&proxy.login("alice/x")).await;
    observer.connect(&support::driver::Login::new(server.starttls(), "carol", &server.certs.ca)).await;
    let room = server.room("term");
    alice.join(&room, "alice").await;
    observer.join(&room, "carol").await;
    let begun = std::time::Instant::now();
    let status = proxy.stop();
    assert_eq!(status.code(), Some(0));
    assert!(begun.elapsed() < PATIENCE / 2, "it took {:?}", begun.elapsed());
    alice.wait_for("system-shutdown", |e| e.kind == "stream_error" && e.json["condition"] == "system-shutdown").await;
    observer.wait_for("the account's end", |e| e.is("presence", &["unavailable", "/alice"])).await;
    // With the same data it starts again, and knows the account.
    proxy.start_again();
    alice.connect(&proxy.login("alice/x")).await;
    alice.join(&room, "alice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_server_ends_the_clients_streams_and_nothing_else() {
    let mut server = Server::start(Kind::Ejabberd, Options::default());
    let proxy = Proxy::start(&server);
    let slix = slix::start();
    let alice = slix.client("alice");
    alice.connect(&proxy.login("alice/x")).await;
    let room = server.room("restart");
    alice.join(&room, "alice").await;
    let mark = alice.mark();
    server.kill();
    alice.wait_since(mark, "the end of her stream", |e: &Event| e.kind == "disconnected").await;
    let refused = alice.try_connect(&proxy.login("alice/x")).await.expect_err("there is no server");
    assert!(!refused.text.is_empty());
    proxy.wait_log("cannot reach the server").await;
    server.start_again();
    alice.connect(&proxy.login("alice/x")).await;
    assert_eq!(alice.join(&room, "alice").await.len(), 1);
}
