//! What goes wrong outside the proxy: each fault is told to the client as XMPP, without the operator's addresses, and
//! to the operator in the log or on standard error, with the thing and the remedy.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};

use support::certs::{self, Certs};
use support::driver::{Client, Event, Login};
use support::proxy::{Proxy, Setup, binary};
use support::scripted::Scripted;
use support::server::{KINDS, Kind, Options, Server};
use support::{free_port, slix};

/// A login that ends with this stream error, and the line that the operator finds.
async fn unreachable(proxy: &Proxy, text: &str, remedies: &[&str]) {
    let slix = slix::start();
    let client = slix.client("alice");
    client.try_connect(&proxy.login("alice/x")).await.expect_err("the server cannot be had");
    let error = client.wait_for("the stream error", |e| e.kind == "nonza" && e.name() == "stream:error").await;
    for piece in ["<remote-connection-failed ", text] {
        assert!(error.xml.contains(piece), "{piece}: {}", error.xml);
    }
    assert!(!error.xml.contains("127.0.0.1"), "no addresses for clients: {}", error.xml);
    let line = proxy.wait_log("cannot reach the server").await;
    assert!(line.contains(" WARN ") && line.contains("domain=\"localhost\""), "{line}");
    for remedy in remedies {
        assert!(line.contains(remedy), "{remedy}: {line}");
    }
    let added = proxy.admin(["account", "add", "alice@localhost", "--password-stdin"], "alice-password");
    assert_eq!(added.status.code(), Some(1), "{added:?}");
    let told = stderr(&added);
    assert!(remedies.iter().all(|remedy| told.contains(remedy)), "{told}");
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    for kind in KINDS {
        let server = Server::start(kind, Options::default());
        let proxy = Proxy::start(&server);
        let slix = slix::start();
        let client = slix.client("alice");
        client.try_connect(&proxy.login("alice/x").password("wrong")).await.expect_err("it is wrong");
        let failure = client.wait_for("the failure", |e| e.kind == "nonza" && e.name() == "failure").await;
        assert!(failure.xml.contains("<not-authorized"), "{}", failure.xml);
        let line = proxy.wait_log("login failed").await;
        for piece in ["domain=\"localhost\"", "account=\"alice\"", "the server refused the login: not-authorized"] {
            assert!(line.contains(piece), "{line}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens_upstream() {
    let upstream = loopback(free_port());
    let dir = tempfile::tempdir().expect("a directory");
    let ca = certs::make(dir.path(), &["localhost"], false).ca;
    let refused = format!("cannot connect to {upstream}: ");
    let remedies = [refused.as_str(), "Connection refused", "is the server running there"];
    for tls in ["starttls", "direct"] {
        let proxy = Setup::upstream(upstream, tls).upstream_ca(&ca).start();
        unreachable(&proxy, "the server cannot be reached", &remedies).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_without_starttls() {
    let server = Scripted::start(|_, _| {}).await;
    let dir = tempfile::tempdir().expect("a directory");
    let ca = certs::make(dir.path(), &["localhost"], false).ca;
    let proxy = Setup::upstream(server.address, "starttls").upstream_ca(&ca).start();
    let who = format!("{} offers no STARTTLS", server.address);
    unreachable(&proxy, "the server offers no encryption", &[&who, "enable TLS on the server", "--upstream-tls"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_upstream() {
    for kind in KINDS {
        let server = Server::start(kind, Options { expired: true, ..Options::default() });
        for setup in [Setup::before(&server), Setup::direct(&server)] {
            let remedies = ["cannot be trusted", "its certificate has expired", "renew it on the server"];
            unreachable(&setup.start(), "the server&apos;s certificate is not valid", &remedies).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_upstream() {
    let server = Server::start(Kind::Prosody, Options::default());
    let dir = tempfile::tempdir().expect("a directory");
    // One of the same name with another key, as one that was made anew, and one of another name.
    let namesake = certs::make(dir.path(), &["localhost"], false).ca;
    let other = tempfile::tempdir().expect("a directory");
    minimix_proxy::net::dev_certs::make(other.path(), &["localhost".to_owned()]).expect("certificates");
    let other = other.path().join("ca.pem");
    for (ca, why) in
        [(&namesake, "was not signed by the issuer that is trusted here"), (&other, "comes from an unknown issuer")]
    {
        let proxy = Setup::before(&server).upstream_ca(ca).start();
        let remedies = ["its certificate for localhost", why, "set upstream.ca (--upstream-ca)"];
        unreachable(&proxy, "the server&apos;s certificate is not valid", &remedies).await;
    }
}

/// What the proxy is started with; any of it may be wrong.
struct Start {
    dir: tempfile::TempDir,
    certs: Certs,
    listen: SocketAddr,
    more: Vec<String>,
}

impl Start {
    fn new() -> Start {
        let dir = tempfile::tempdir().expect("a directory");
        let certs = certs::make(dir.path(), &["localhost"], false);
        Start { dir, certs, listen: loopback(0), more: Vec::new() }
    }

    /// Runs it until it ends by itself, as it must, and says so.
    fn fails(&self, code: i32, pieces: &[&str]) {
        let path = |path: &Path| path.display().to_string();
        let mut command = Command::new("timeout");
        command.args(["--signal", "KILL", "20", binary(), "--domain", "localhost", "--listen"]);
        command.arg(self.listen.to_string()).args(["--upstream", "127.0.0.1:9", "--upstream-tls", "none"]);
        command.args(["--cert", &path(&self.certs.chain), "--key", &path(&self.certs.key)]);
        command.args(["--data", &path(&self.dir.path().join("data"))]).args(&self.more);
        let ended = command.env("NO_COLOR", "1").output().expect("run the proxy");
        let told = stderr(&ended);
        assert_eq!(ended.status.code(), Some(code), "{told}");
        let last = told.lines().skip_while(|line| !line.starts_with("minimix-proxy: ")).collect::<Vec<_>>().join("\n");
        for piece in pieces {
            assert!(last.contains(piece), "{piece}: {told}");
        }
        assert!(!told.contains("panicked"), "{told}");
    }
}

#[test]
fn files_that_are_missing_or_wrong() {
    let mut start = Start::new();
    let key = std::mem::replace(&mut start.certs.key, "/nowhere/server.key".into());
    start
        .fails(78, &["cannot read key /nowhere/server.key: No such file", "check the path; `minimix-proxy dev-certs`"]);
    start.certs.key = start.certs.ca.clone();
    let path = start.certs.key.display().to_string();
    start.fails(78, &[&format!("no private key in {path}"), "it must be a PEM file"]);
    let other = tempfile::tempdir().expect("a directory");
    start.certs.key = certs::make(other.path(), &["localhost"], false).key;
    start.fails(78, &["does not belong to the certificate", "set `certificate` and `key` to files made together"]);
    start.certs.key = key;
    start.certs.chain = "/nowhere/server.pem".into();
    start.fails(78, &["cannot read certificate /nowhere/server.pem: No such file", "check the path"]);

    let mut start = Start::new();
    let config = start.dir.path().join("config.toml");
    let file = config.display().to_string();
    start.more = vec!["--config".to_owned(), file.clone()];
    start.fails(78, &[&format!("cannot read the configuration {file}"), "--config"]);
    std::fs::write(&config, "[limits]\nstanza = \"1 MiB\"\nfrobnicate = 1\n").expect("write");
    start.fails(78, &[&file, "line 3", "frobnicate", "see docs/configuration.md"]);
    std::fs::write(&config, "[limits]\nstanza = 5\n").expect("write");
    start.fails(78, &[&file, "limits.stanza", "5 is out of bounds; it must be between"]);
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind(loopback(0)).expect("a port");
    let mut start = Start::new();
    start.listen = taken.local_addr().expect("its address");
    let what = format!("cannot listen on {}: Address already in use", start.listen);
    start.fails(69, &[&what, "stop it, or choose another port"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_one_process_to_a_store() {
    let server = Scripted::start(|_, _| {}).await;
    let proxy = Setup::upstream(server.address, "none").start();
    let mut start = Start::new();
    std::os::unix::fs::symlink(proxy.data(), start.dir.path().join("data")).expect("a link");
    start.fails(78, &["another minimix-proxy has", "stop it first, or use another data directory"]);
    start.listen = loopback(free_port());
    start.fails(78, &["another minimix-proxy has"]);
    // The one that has it is none the worse for it: its control socket answers.
    assert!(proxy.admin(["account", "list"], "").status.success());
}

fn nicks(view: &[support::driver::Occupant]) -> Vec<&str> {
    view.iter().map(|o| o.nick.as_str()).collect()
}

/// The server goes away, in good order or not, and comes back: the streams end, and then all is as it was.
async fn the_server_restarts(kind: Kind, crash: bool) {
    let mut server = Server::start(kind, Options::default());
    let proxy = Proxy::start(&server);
    let slix = slix::start();
    let room = server.room("restart");
    let clients = [slix.client("alice/1"), slix.client("alice/2")];
    let observer = slix.client("observer");
    let direct = Login::new(server.starttls(), "carol", &server.certs.ca);
    observer.connect(&direct).await;
    observer.join(&room, "carol").await;
    for client in &clients {
        client.connect(&proxy.login(&client.name)).await;
        client.join(&room, "alice").await;
    }
    let marks = clients.each_ref().map(Client::mark);
    if crash {
        server.kill();
    } else {
        server.stop();
    }
    let mut farewells = 0;
    for (client, mark) in clients.iter().zip(marks) {
        client.wait_since(mark, "the end of the connection", |e| e.kind == "disconnected").await;
        let line = proxy.wait_log(&format!("jid=alice@localhost/{} why=", &client.name[6..])).await;
        let farewell = line.contains("the server ended the stream: system-shutdown");
        farewells += usize::from(farewell);
        let told = client.since(mark).iter().any(|e| e.xml.contains("<system-shutdown"));
        assert_eq!(told, farewell, "the server's farewell is handed on: {line}");
    }
    // Servers do not take leave of every stream; ejabberd often of none, Prosody seldom not of one that is busy.
    assert!(farewells > 0 || crash || kind == Kind::Ejabberd, "no farewell was seen");
    proxy.wait_log("account session is lost").await;
    let failed = clients[0].try_connect(&proxy.login("alice/1")).await;
    assert!(failed.is_err(), "the server is down");
    proxy.wait_log("cannot reach the server").await;

    server.start_again();
    let mark = observer.mark();
    observer.connect(&direct).await;
    observer.join(&room, "carol").await;
    // Without any client the account is back: its session and its room outlive the outage.
    let back = |e: &Event| e.is("presence", &["/alice"]) && e.attr("type").is_none();
    observer.wait_since(mark, "the account", back).await;
    for client in &clients {
        client.connect(&proxy.login(&client.name)).await;
        assert_eq!(nicks(&client.join(&room, "alice").await), ["alice", "carol"]);
    }
    let marks = clients.each_ref().map(Client::mark);
    clients[0].groupchat(&room, "after", "we are back").await;
    for (client, mark) in clients.iter().zip(marks) {
        client.wait_since(mark, "the message", |e| e.is("message", &["we are back"])).await;
    }
    observer.wait_since(mark, "the message", |e| e.is("message", &["we are back"])).await;
    assert_eq!(nicks(&observer.view(&room).await), ["alice", "carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn prosody_restarts() {
    the_server_restarts(Kind::Prosody, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prosody_crashes() {
    the_server_restarts(Kind::Prosody, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ejabberd_restarts() {
    the_server_restarts(Kind::Ejabberd, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ejabberd_crashes() {
    the_server_restarts(Kind::Ejabberd, true).await;
}
