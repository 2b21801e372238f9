//! Many clients log in at once, each account with bookmarks to look for: few account sessions are opened at a time, and one
//! that a client waits for does not wait behind the others.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::PATIENCE;
use support::proxy::Setup;
use support::raw::{self, Raw};
use support::server::{Kind, Options, Server, password};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const ACCOUNTS: usize = 20;

/// Stands before the server, and holds sessions back that are just binding their resource, but for `client`.
struct Gate {
    address: SocketAddr,
    held: Arc<AtomicUsize>,
    open: watch::Sender<bool>,
}

impl Gate {
    async fn before(server: SocketAddr) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind on 127.0.0.1");
        let address = listener.local_addr().expect("the address of a bound socket");
        let (held, open) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(false));
        let (count, gate) = (held.clone(), open.clone());
        tokio::spawn(async move {
            while let Ok((proxy, _)) = listener.accept().await {
                let (count, mut opened) = (count.clone(), gate.subscribe());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let ((mut from_proxy, mut to_proxy), (mut from_server, mut to_server)) =
                        (proxy.into_split(), server.into_split());
                    tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_proxy).await });
                    let mut buffer = vec![0; 16 * 1024];
                    while let Ok(n @ 1..) = from_proxy.read(&mut buffer).await {
                        let text = String::from_utf8_lossy(&buffer[..n]);
                        if text.contains("<resource>") && !text.contains("<resource>client<") {
                            count.fetch_add(1, Ordering::SeqCst);
                            let _ = opened.wait_for(|open| *open).await;
                        }
                        if to_server.write_all(&buffer[..n]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Gate { address, held, open }
    }

    async fn holds(&self, count: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.held.load(Ordering::SeqCst) < count {
            assert!(tokio::time::Instant::now() < deadline, "{} of {count}", self.held.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // No more come.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(self.held.load(Ordering::SeqCst), count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_login_does_not_hold_up_a_join() {
    let names: Vec<String> = (0..ACCOUNTS).map(|n| format!("user{n}")).collect();
    let users = names.iter().map(|name| (name.clone(), password(name))).collect();
    let server = Server::start(Kind::Prosody, Options { users, plaintext: true, ..Options::default() });
    let gate = Gate::before(server.plain()).await;
    let proxy = Setup::upstream(gate.address, "none").config("[rooms]\nconnect_timeout = \"60s\"\n").start();
    let tls = raw::tls(&proxy.certs.ca);
    let mut clients = Vec::new();
    for name in &names {
        clients.push(Raw::bound(proxy.direct_tls(), &tls, &format!("{name}/client")).await);
    }
    gate.holds(8).await;
    // The last one's session has to wait for its turn, until its client waits for it.
    let last = clients.last_mut().expect("clients");
    let room = server.room("room");
    let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
    last.send(format!("<presence to='{room}/nick' id='j'>{x}</presence>")).await;
    gate.holds(9).await;
    gate.open.send_replace(true);
    let entry = last.expect("<subject").await;
    assert!(entry.contains("'110'") && entry.contains("nick"), "{entry}");
    gate.holds(ACCOUNTS).await;
}
