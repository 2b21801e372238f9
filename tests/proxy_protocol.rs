//! The client's address, end to end: HAProxy before the proxy, real servers behind it, both by the PROXY protocol
//! (versions 1 and 2). The client is at 127.0.0.7, HAProxy and the proxy at 127.0.0.1.

mod support;

use std::time::Duration;

use support::driver::{Driver, Event};
use support::haproxy::Haproxy;
use support::proxy::{Proxy, Setup};
use support::raw::{self, HEADER, Raw, connect_from};
use support::scripted::{Scripted, Stream};
use support::server::{KINDS, Kind, Options, Server};
use support::slix;
use tokio::io::AsyncWriteExt;

/// The client.
const CLIENT: &str = "127.0.0.7";
/// A header of version 1 that tells another.
const SPOOFED: &str = "PROXY TCP4 192.0.2.66 198.51.100.1 6666 5222\r\n";

/// Answers IQs, and nothing else.
fn quiet(stream: &Stream, stanza: &str) {
    if stanza.starts_with("<iq") {
        stream.result(stanza);
    }
}

/// A header of version 2: LOCAL, or with the source 192.0.2.7:1234.
fn version_2(local: bool) -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x04, 0xd2, 0x14, 0x66];
    let (command, length) = if local { (0x20, [0, 0]) } else { (0x21, [0, 12]) };
    let fixed = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, 0x11], &length].concat();
    if local { fixed } else { [fixed.as_slice(), &addresses].concat() }
}

/// The proxy, which takes headers from HAProxy's address and not from the client's.
fn behind_haproxy(setup: Setup) -> Setup {
    setup.proxy_protocol(["127.0.0.1/32"]).log("info,minimix_proxy=debug")
}

/// The `peer` of a line of the log, without its port.
fn peer_of(line: &str) -> String {
    let (_, peer) = line.split_once("peer=").unwrap_or_else(|| panic!("no peer: {line}"));
    peer.split(':').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_tells_the_clients_address_in_both_versions() {
    let server = Scripted::start(quiet).await;
    let proxy = behind_haproxy(Setup::upstream(server.address, "none")).start();
    let slix = slix::start();
    for (n, version) in ["send-proxy", "send-proxy-v2"].into_iter().enumerate() {
        // STARTTLS, by a real client.
        let haproxy = Haproxy::start(proxy.starttls(), version);
        let mut login = proxy.login(&format!("alice/{version}")).with("source", CLIENT);
        login.address = haproxy.address();
        let client = slix.client(version);
        client.connect(&login).await;
        let line = proxy.wait_log(&format!("jid=alice@localhost/{version}")).await;
        assert_eq!(peer_of(&line), CLIENT, "{line}");
        // Direct TLS.
        let haproxy = Haproxy::start(proxy.direct_tls(), version);
        let socket = connect_from(&format!("127.0.0.{}", 70 + n), haproxy.address()).await;
        let mut client = Raw::direct_over(socket, "localhost", &raw::tls(&proxy.certs.ca)).await;
        client.log_in("bob", &format!("direct{n}")).await;
        let line = proxy.wait_log(&format!("jid=bob@localhost/direct{n}")).await;
        assert_eq!(peer_of(&line), format!("127.0.0.{}", 70 + n), "{line}");
    }
    assert!(!proxy.log().contains("connection closed"), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxys_health_checks_are_no_clients() {
    let server = Scripted::start(quiet).await;
    let proxy = behind_haproxy(Setup::upstream(server.address, "none")).start();
    let before = proxy.log().matches("without a word").count();
    let _haproxy = Haproxy::start(proxy.starttls(), "send-proxy-v2 check check-send-proxy inter 100ms");
    for _ in 0..1500 {
        if proxy.log().matches("without a word").count() >= before + 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let log = proxy.log();
    let checks: Vec<_> = log.lines().filter(|l| l.contains("without a word")).skip(before).collect();
    assert!(checks.len() >= 3 && checks.iter().all(|l| peer_of(l) == "127.0.0.1"), "{log}");
    assert!(!log.contains("connection closed"), "{log}");
}

/// From a load balancer: LOCAL and UNKNOWN, and headers in chunks of a byte with the stream glued to them.
#[tokio::test(flavor = "multi_thread")]
async fn headers_in_every_form() {
    let server = Scripted::start(quiet).await;
    let proxy = behind_haproxy(Setup::upstream(server.address, "none")).start();
    let tls = raw::tls(&proxy.certs.ca);
    let headers: [(Vec<u8>, &str); 6] = [
        (version_2(false), "192.0.2.7"),
        (version_2(true), "127.0.0.1"),
        (b"PROXY TCP4 192.0.2.8 198.51.100.1 1 5222\r\n".into(), "192.0.2.8"),
        (b"PROXY UNKNOWN\r\n".into(), "127.0.0.1"),
        (b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n".into(), "127.0.0.1"),
        (b"PROXY TCP6 ::ffff:192.0.2.9 ::1 1 5222\r\n".into(), "192.0.2.9"),
    ];
    for (n, (header, address)) in headers.into_iter().enumerate() {
        let mut socket = connect_from("127.0.0.1", proxy.direct_tls()).await;
        socket.set_nodelay(true).expect("set TCP_NODELAY");
        for byte in &header {
            socket.write_all(&[*byte]).await.expect("send");
        }
        let mut client = Raw::direct_over(socket, "localhost", &tls).await;
        client.log_in("alice", &format!("form{n}")).await;
        let line = proxy.wait_log(&format!("jid=alice@localhost/form{n}")).await;
        assert_eq!(peer_of(&line), address, "{line}");
        // Before STARTTLS, all at once.
        let mut client = Raw::over(connect_from("127.0.0.1", proxy.starttls()).await);
        client.send([&header, HEADER.as_bytes()].concat()).await;
        client.expect("</stream:features>").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_nobody_else_can_claim_an_address() {
    let server = Scripted::start(quiet).await;
    let proxy = behind_haproxy(Setup::upstream(server.address, "none")).start();
    for header in [SPOOFED.as_bytes(), &version_2(false)] {
        let mut client = Raw::over(connect_from(CLIENT, proxy.starttls()).await);
        client.send([header, HEADER.as_bytes()].concat()).await;
        let (told, _) = client.rest().await;
        assert!(told.contains("<bad-format ") || told.contains("<not-well-formed "), "{told}");
        assert!(!told.contains("<stream:features"), "{told}");
        // Nor before TLS: the bytes are no handshake.
        let mut client = Raw::over(connect_from(CLIENT, proxy.direct_tls()).await);
        client.send([header, b"\x16\x03\x01"].concat()).await;
        client.rest().await;
    }
    let line = proxy.wait_log("no TLS with the client").await;
    assert_eq!(peer_of(&line), CLIENT);
    // Without a header such a client is served, by its own address.
    let socket = connect_from(CLIENT, proxy.direct_tls()).await;
    let mut client = Raw::direct_over(socket, "localhost", &raw::tls(&proxy.certs.ca)).await;
    client.log_in("alice", "x").await;
    assert_eq!(peer_of(&proxy.wait_log("logged in").await), CLIENT);
    assert!(!proxy.log().contains("192.0.2."), "{}", proxy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_a_load_balancer_must_send_a_header() {
    let server = Scripted::start(quiet).await;
    let proxy = behind_haproxy(Setup::upstream(server.address, "none")).start();
    for address in [proxy.starttls(), proxy.direct_tls()] {
        for (bytes, told) in [
            (HEADER, "no PROXY protocol header"),
            ("\u{16}\u{3}\u{1}\u{2}", "no PROXY protocol header"),
            ("PROXY TCP4 192.0.2.66 198.51.100.1 6666\r\n", "malformed"),
            ("PROXY TCP4 192.0.2.66", "ended before"),
        ] {
            let before = proxy.log().len();
            let mut client = Raw::over(connect_from("127.0.0.1", address).await);
            client.send(bytes).await;
            if told == "ended before" {
                client.finish().await;
            }
            assert_eq!(client.rest().await.0, "", "no answer");
            // It is logged before the connection is closed.
            let log = proxy.log().split_off(before);
            let line = log.lines().find(|l| l.contains("connection closed")).unwrap_or_else(|| panic!("{told}: {log}"));
            assert!(line.contains(" WARN ") && line.contains(told), "{told}: {line}");
            assert_eq!(peer_of(line), "127.0.0.1");
        }
    }
    assert!(proxy.log().contains("send-proxy-v2"), "the remedy is told");
    assert_eq!(server.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_a_slow_header_ends_by_the_deadline() {
    let server = Scripted::start(quiet).await;
    let setup = behind_haproxy(Setup::upstream(server.address, "none"));
    let proxy = setup.config("[limits]\nhandshake_timeout = \"1s\"\n").start();
    for address in [proxy.starttls(), proxy.direct_tls()] {
        let mut socket = connect_from("127.0.0.1", address).await;
        // Longer than the deadline: a byte every 100 ms does not move it.
        for byte in SPOOFED.bytes() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if socket.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        assert_eq!(Raw::over(socket).rest().await.0, "");
    }
    proxy.wait_log("no whole PROXY protocol header in time (limits.handshake_timeout)").await;
    assert!(!proxy.log().contains("192.0.2.66"));
}

/// HAProxy, the proxy, a server: the server sees the client's address, whatever the client does in rooms.
struct Chain {
    server: Server,
    proxy: Proxy,
    haproxy: Haproxy,
    slix: Driver,
}

impl Chain {
    fn new(kind: Kind, direct: bool) -> Chain {
        let server = Server::start(kind, Options { proxy_protocol: true, ..Options::default() });
        let setup = match direct {
            true => Setup::upstream(server.proxied_tls(), "direct"),
            false => Setup::upstream(server.proxied(), "starttls"),
        };
        let setup = setup.upstream_ca(&server.certs.ca).args(["--upstream-proxy-protocol"]);
        let proxy = behind_haproxy(setup).start();
        let haproxy = Haproxy::start(proxy.starttls(), "send-proxy-v2");
        Chain { server, proxy, haproxy, slix: slix::start() }
    }

    async fn client(&mut self, user: &str, source: &str) -> support::driver::Client {
        let client = self.slix.client(user);
        let mut login = self.proxy.login(user).with("source", source);
        login.address = self.haproxy.address();
        client.connect(&login).await;
        let jid = login.jid;
        assert_eq!(self.server.address_of(&jid), source, "what the server knows of {jid}");
        let line = self.proxy.wait_log(&format!("jid={jid}")).await;
        assert_eq!(peer_of(&line), source, "{line}");
        client
    }
}

async fn from_end_to_end(kind: Kind, direct: bool) {
    let mut chain = Chain::new(kind, direct);
    let phone = chain.client("alice/phone", "127.0.0.7").await;
    let laptop = chain.client("alice/laptop", "127.0.0.8").await;
    let carol = chain.client("carol/desk", "127.0.0.9").await;
    // The account session's own connection takes the same way in.
    let room = chain.server.room("chain");
    carol.join(&room, "carol").await;
    for client in [&phone, &laptop] {
        client.join(&room, "alice").await;
    }
    carol.wait_for("alice", |e: &Event| e.is("presence", &[&format!("from='{room}/alice'")])).await;
    let seen = carol.view(&room).await;
    assert_eq!(seen.iter().map(|o| o.nick.as_str()).collect::<Vec<_>>(), ["alice", "carol"]);
    let jid = seen[0].jid.clone();
    assert!(jid.starts_with("alice@localhost/") && !jid.ends_with("/phone") && !jid.ends_with("/laptop"), "{jid}");
    assert_eq!(chain.server.address_of(&jid), "127.0.0.1", "the account session comes from the proxy");
    phone.groupchat(&room, "g1", "hello from behind two proxies").await;
    for client in [&phone, &laptop, &carol] {
        client.wait_for("the message", |e: &Event| e.is("message", &["hello from behind two proxies"])).await;
    }
    // IPv6, and an IPv4 address beside it: what is sent is of one family.
    for (n, (client, shown)) in
        [("2001:db8::7", "2001:db8::7"), ("::ffff:192.0.2.9", "::ffff:192.0.2.9")].into_iter().enumerate()
    {
        let mut socket = connect_from("127.0.0.1", chain.proxy.direct_tls()).await;
        let header = format!("PROXY TCP6 {client} 2001:db8::1 1234 5222\r\n");
        socket.write_all(header.as_bytes()).await.expect("send");
        let mut client = Raw::direct_over(socket, "localhost", &raw::tls(&chain.proxy.certs.ca)).await;
        let jid = client.log_in("bob", &format!("v6-{n}")).await;
        assert_eq!(chain.server.address_of(&jid), shown);
    }
    // A proof by an operator.
    let added = chain.proxy.admin(["account", "add", "bob@localhost", "--password-stdin"], "bob-password\n");
    assert!(added.status.success(), "{added:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_end_to_end_on_prosody() {
    from_end_to_end(Kind::Prosody, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_end_to_end_on_ejabberd() {
    from_end_to_end(Kind::Ejabberd, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_end_to_end_on_ejabberd_with_direct_tls() {
    from_end_to_end(Kind::Ejabberd, true).await;
}

/// Where only one side is set up for it: the operator is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_set_up_otherwise() {
    for kind in KINDS {
        let server = Server::start(kind, Options { proxy_protocol: true, ..Options::default() });
        let told = Setup::before(&server).args(["--upstream-proxy-protocol"]);
        let untold = Setup::upstream(server.proxied(), "starttls").upstream_ca(&server.certs.ca);
        // Prosody's module waits for a header without an end.
        let untold = untold.config("[limits]\ndial_timeout = \"3s\"\n");
        for setup in [told, untold] {
            let proxy = setup.start();
            let mut client = Raw::direct(proxy.direct_tls(), &raw::tls(&proxy.certs.ca)).await;
            client.send(HEADER).await;
            let (told, _) = client.rest().await;
            assert!(told.contains("<remote-connection-failed "), "{kind:?}: {told}");
            let line = proxy.wait_log("cannot reach the server").await;
            assert!(line.contains("upstream.proxy_protocol"), "{kind:?}: {line}");
        }
    }
}
