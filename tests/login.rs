//! Logging in and enrolment (DESIGN §5) with real clients at real servers, whose passwords are kept as SCRAM keys or
//! in the clear. An observer who owns the room, and so is shown real JIDs, tells whether an account joined by its
//! account session or a client by itself.

mod support;

use std::process::Output;

use support::driver::{Client, Driver, Login};
use support::proxy::{Proxy, Setup};
use support::server::{Kind, Options, Server, password};
use support::slix;

/// Each of these tests on Prosody and ejabberd, with keys that stay the same and with a new salt at each login.
macro_rules! on_each_server {
    ($($test:ident),* $(,)?) => {
        mod prosody {
            use super::support::server::Kind;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(Kind::Prosody, true).await;
            })*
        }
        mod prosody_in_the_clear {
            use super::support::server::Kind;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(Kind::Prosody, false).await;
            })*
        }
        mod ejabberd {
            use super::support::server::Kind;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(Kind::Ejabberd, true).await;
            })*
        }
        mod ejabberd_in_the_clear {
            use super::support::server::Kind;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(Kind::Ejabberd, false).await;
            })*
        }
    };
}

on_each_server!(learn, mixed, relay, a_restart_keeps_the_enrolments, a_new_password_on_the_server);

struct World {
    server: Server,
    proxy: Proxy,
    slix: Driver,
    observer: Client,
}

impl World {
    async fn new(server: Server, setup: Setup) -> World {
        let proxy = setup.start();
        let slix = slix::start();
        let observer = slix.client("observer");
        observer.connect(&Login::new(server.starttls(), "carol", &server.certs.ca)).await;
        World { server, proxy, slix, observer }
    }

    async fn before(kind: Kind, hashed: bool, auth: &'static str) -> World {
        let server = Server::start(kind, Options { hashed, ..Options::default() });
        let setup = Setup::before(&server).auth(auth);
        World::new(server, setup).await
    }

    /// A client that logs in through the proxy by this mechanism, and its full JID.
    async fn client(&self, name: &str, mechanism: &str) -> (Client, String) {
        let client = self.slix.client(name);
        let jid = client.connect(&self.proxy.login(name).with("mechanism", mechanism)).await;
        (client, jid)
    }

    /// A new room that the observer owns.
    async fn room(&self, name: &str) -> String {
        let room = self.server.room(name);
        self.observer.join(&room, "carol").await;
        room
    }

    /// The real JID of the room's one occupant alice, after `client` has joined as that.
    async fn joins(&self, client: &Client, room: &str) -> String {
        client.join(room, "alice").await;
        let from = format!("{room}/alice");
        let there = |e: &support::driver::Event| e.is("presence", &[]) && e.attr("from").as_ref() == Some(&from);
        self.observer.wait_for("alice in the room", there).await;
        let view = self.observer.view(room).await;
        let alice = view.iter().find(|o| o.nick == "alice").expect("alice is there");
        assert_eq!(view.len(), 2, "{view:?}");
        alice.jid.clone()
    }

    /// These clients join a new room through the account session: its real JID.
    async fn attach(&self, room: &str, clients: &[&(Client, String)]) -> String {
        let room = self.room(room).await;
        let mut session = None;
        for (client, own) in clients {
            let jid = self.joins(client, &room).await;
            assert!(jid.starts_with("alice@localhost/"), "{jid}");
            assert!(clients.iter().all(|(_, own)| *own != jid), "{own} joined by itself");
            assert_eq!(*session.get_or_insert(jid.clone()), jid, "one session for all clients");
        }
        self.observer.sync().await;
        let from = format!("{room}/alice");
        let seen: Vec<_> = self.observer.transcript();
        let seen = seen.iter().filter(|e| e.is("presence", &[]) && e.attr("from").as_ref() == Some(&from)).count();
        assert_eq!(seen, 1, "the room sees one join");
        session.expect("a client")
    }

    /// This client joins a new room on its own stream.
    async fn pass_through(&self, room: &str, (client, own): &(Client, String)) {
        let room = self.room(room).await;
        assert_eq!(self.joins(client, &room).await, *own, "the client joined by itself");
    }

    /// What `account list` says.
    fn enrolled(&self) -> String {
        let listed = self.proxy.admin(["account", "list"], "");
        assert!(listed.status.success(), "{listed:?}");
        String::from_utf8(listed.stdout).expect("text")
    }

    /// `account list` shows alice, and what is kept of her.
    fn assert_enrolled(&self, hashed: bool) {
        let kept = if hashed { "keys for SCRAM-SHA-1" } else { "password" };
        let upstream = self.server.starttls();
        assert_eq!(self.enrolled(), format!("alice@localhost\t{kept}\t{upstream}\n"));
    }

    async fn refused(&self, name: &str, login: Login) {
        let client = self.slix.client(name);
        let failure = client.try_connect(&login).await.expect_err("a wrong password");
        assert!(failure.text.contains("failed_auth"), "{failure:?}");
        let seen = client.wait_for("the failure", |e| e.kind == "nonza" && e.name() == "failure").await;
        assert!(seen.xml.contains("<not-authorized"), "{}", seen.xml);
    }
}

/// The SASL mechanisms a client was offered.
async fn offered(client: &Client) -> Vec<String> {
    let list = |e: &support::driver::Event| e.kind == "nonza" && e.xml.contains("<mechanism>");
    let features = client.wait_for("the mechanisms", list).await;
    features.xml.split("<mechanism>").skip(1).map(|m| m.split('<').next().unwrap_or_default().to_owned()).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// PLAIN only; a success enrols, a failure changes nothing.
async fn learn(kind: Kind, hashed: bool) {
    let world = World::before(kind, hashed, "learn").await;
    world.refused("wrong", world.proxy.login("alice/0").password("wrong")).await;
    assert_eq!(offered(&world.slix.client("wrong")).await, ["PLAIN"]);
    assert_eq!(world.enrolled(), "", "a failed login enrols nobody");

    // The proxy never uses PLAIN upstream unless it is allowed to, so this is SCRAM.
    let first = world.client("alice/1", "PLAIN").await;
    world.assert_enrolled(hashed);
    world.refused("wrong again", world.proxy.login("alice/0").password("wrong")).await;
    world.assert_enrolled(hashed);
    let second = world.client("alice/2", "PLAIN").await;
    world.attach("learn", &[&first, &second]).await;
}

/// The server's mechanisms are relayed beside PLAIN: pass-through until somebody enrols the account by PLAIN.
async fn mixed(kind: Kind, hashed: bool) {
    let world = World::before(kind, hashed, "mixed").await;
    let scram = world.client("alice/1", "SCRAM-SHA-1").await;
    let offered = offered(&scram.0).await;
    assert!(offered.iter().any(|m| m == "PLAIN") && offered.iter().any(|m| m == "SCRAM-SHA-1"), "{offered:?}");
    assert!(!offered.iter().any(|m| m.ends_with("-PLUS")), "no channel binding through a proxy: {offered:?}");
    assert_eq!(world.enrolled(), "");
    world.pass_through("before", &scram).await;

    let plain = world.client("alice/2", "PLAIN").await;
    world.assert_enrolled(hashed);
    let scram = world.client("alice/3", "SCRAM-SHA-1").await;
    world.attach("after", &[&scram, &plain]).await;
    world.refused("wrong", world.proxy.login("alice/0").password("wrong").with("mechanism", "SCRAM-SHA-1")).await;
    world.assert_enrolled(hashed);
}

/// The operator enrols, while the proxy runs and while it does not.
async fn relay(kind: Kind, hashed: bool) {
    let mut world = World::before(kind, hashed, "relay").await;
    let add = ["account", "add", "alice@localhost", "--password-stdin"];
    let scram = world.client("alice/1", "SCRAM-SHA-1").await;
    world.pass_through("nobody", &scram).await;

    let wrong = world.proxy.admin(add, "wrong\n");
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    for piece in ["alice@localhost could not log in", "not-authorized", "check the password"] {
        assert!(said(&wrong).contains(piece), "{wrong:?}");
    }
    let foreign = world.proxy.admin(["account", "add", "alice@elsewhere.test", "--password-stdin"], "x\n");
    assert_eq!(foreign.status.code(), Some(1), "{foreign:?}");
    assert!(said(&foreign).contains("alice@elsewhere.test is not of a domain that is configured here"), "{foreign:?}");
    assert_eq!(world.enrolled(), "");

    let added = world.proxy.admin(add, &password("alice"));
    assert!(added.status.success() && said(&added).contains("alice@localhost is enrolled"), "{added:?}");
    world.assert_enrolled(hashed);
    let clients = [world.client("alice/2", "SCRAM-SHA-1").await, world.client("alice/3", "SCRAM-SHA-1").await];
    world.attach("enrolled", &[&clients[0], &clients[1]]).await;

    let removed = world.proxy.admin(["account", "remove", "alice@localhost"], "");
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(world.enrolled(), "");
    let again = world.proxy.admin(["account", "remove", "alice@localhost"], "");
    assert!(again.status.code() == Some(1) && said(&again).contains("is not enrolled"), "{again:?}");
    let scram = world.client("alice/4", "SCRAM-SHA-1").await;
    world.pass_through("removed", &scram).await;

    world.proxy.stop();
    let wrong = world.proxy.admin(add, "wrong\n");
    assert!(wrong.status.code() == Some(1) && said(&wrong).contains("not-authorized"), "{wrong:?}");
    let added = world.proxy.admin(add, &password("alice"));
    assert!(added.status.success(), "{added:?}");
    world.assert_enrolled(hashed);
    world.proxy.start_again();
    let scram = world.client("alice/5", "SCRAM-SHA-1").await;
    world.attach("offline", &[&scram]).await;
}

/// Ended in good order or killed, the proxy knows the account, and its session keeps its resource.
async fn a_restart_keeps_the_enrolments(kind: Kind, hashed: bool) {
    let mut world = World::before(kind, hashed, "mixed").await;
    let plain = world.client("alice/1", "PLAIN").await;
    let before = world.attach("before", &[&plain]).await;
    world.proxy.stop();
    world.assert_enrolled(hashed);
    world.proxy.start_again();
    world.assert_enrolled(hashed);
    let scram = world.client("alice/2", "SCRAM-SHA-1").await;
    assert_eq!(world.attach("after", &[&scram]).await, before);
    world.proxy.kill();
    world.proxy.start_again();
    let clients = [world.client("alice/3", "SCRAM-SHA-1").await, world.client("alice/4", "PLAIN").await];
    assert_eq!(world.attach("after-a-crash", &[&clients[0], &clients[1]]).await, before);
}

/// The kept keys are dead: joins pass through until a login with the new password.
async fn a_new_password_on_the_server(kind: Kind, hashed: bool) {
    let server = Server::start(kind, Options { hashed, ..Options::default() });
    // An account session that is up outlives its password on ejabberd: here the first join opens it.
    let setup = Setup::before(&server).auth("mixed").config("[rooms]\nbookmarks = false\n");
    let mut world = World::new(server, setup).await;
    world.client("alice/1", "PLAIN").await;
    world.assert_enrolled(hashed);
    world.server.set_password("alice", "new");
    world.refused("old", world.proxy.login("alice/0").with("mechanism", "PLAIN")).await;
    world.assert_enrolled(hashed);

    let login = |name: &str, mechanism: &str| world.proxy.login(name).password("new").with("mechanism", mechanism);
    let scram = world.slix.client("alice/2");
    let scram = (scram.clone(), scram.connect(&login("alice/2", "SCRAM-SHA-1")).await);
    world.pass_through("dead-keys", &scram).await;
    world.proxy.wait_log("no account session: joins pass through").await;

    let plain = world.slix.client("alice/3");
    let plain = (plain.clone(), plain.connect(&login("alice/3", "PLAIN")).await);
    world.assert_enrolled(hashed);
    world.attach("new-keys", &[&plain, &scram]).await;
}

/// Every way up and down: TLS from the first byte, and plaintext to a server on this machine.
async fn transports(kind: Kind) {
    let server = Server::start(kind, Options { plaintext: true, ..Options::default() });
    let (direct, plaintext) = (Setup::direct(&server), Setup::upstream(server.plain(), "none"));
    let mut world = World::new(server, direct).await;
    for name in ["direct", "plaintext"] {
        let (starttls, tls) = (world.slix.client("alice/1"), world.slix.client("alice/2"));
        let starttls = (starttls.clone(), starttls.connect(&world.proxy.login("alice/1")).await);
        let login = Login::new(world.proxy.direct_tls(), "alice/2", &world.proxy.certs.ca).direct();
        let tls = (tls.clone(), tls.connect(&login).await);
        world.attach(name, &[&starttls, &tls]).await;
        if name == "direct" {
            world.proxy = plaintext.clone().start();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transports_on_prosody() {
    transports(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transports_on_ejabberd() {
    transports(Kind::Ejabberd).await;
}
