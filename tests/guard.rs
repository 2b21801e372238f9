//! Failed logins (S3) against the running proxy, each from its own address of loopback: limited before they reach the
//! server, which sees one address for everybody.

mod support;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use support::PATIENCE;
use support::proxy::{Proxy, Setup};
use support::raw::{self, Raw, SASL, plain};
use support::scripted::{Scripted, Stream, between};
use support::server::{KINDS, Kind, Options, Server, password};
use tokio_rustls::TlsConnector;

const LATER: &str = "<temporary-auth-failure/>";

fn quiet(stream: &Stream, stanza: &str) {
    if stanza.starts_with("<iq") {
        stream.result(stanza);
    }
}

/// A proxy with these `[limits]`, and who connects to it.
struct World {
    proxy: Proxy,
    tls: TlsConnector,
    _config: tempfile::TempDir,
}

impl World {
    fn start(setup: Setup, limits: &str) -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("config.toml");
        std::fs::write(&config, format!("[limits]\n{limits}\n")).expect("write the configuration");
        let proxy = setup.args(["--config", config.to_str().expect("UTF-8")]).start();
        let tls = raw::tls(&proxy.certs.ca);
        World { proxy, tls, _config: dir }
    }

    /// A stream from `127.0.0.<last>`, opened.
    async fn from(&self, last: u8) -> Raw {
        let from = Ipv4Addr::new(127, 0, 0, last);
        let mut client = Raw::direct_from(from, self.proxy.direct_tls(), &self.tls).await;
        client.open().await;
        client
    }

    /// One attempt with PLAIN on a stream of its own: `success`, or the SASL condition.
    async fn attempt(&self, last: u8, user: &str, password: &str) -> String {
        let mut client = self.from(last).await;
        client.send(plain("", user, password)).await;
        outcome(&mut client).await
    }

    async fn wrong(&self, last: u8, user: &str) {
        assert_eq!(self.attempt(last, user, "wrong").await, "not-authorized", "127.0.0.{last} as {user}");
    }

    async fn right(&self, last: u8, user: &str) {
        assert_eq!(self.attempt(last, user, &password(user)).await, "success", "127.0.0.{last} as {user}");
    }

    /// Even the right password is refused.
    async fn refused(&self, last: u8, user: &str, limit: &str) {
        let condition = self.attempt(last, user, &password(user)).await;
        assert_eq!(condition, "temporary-auth-failure", "127.0.0.{last} as {user}");
        let line = self.proxy.wait_log(&format!("peer=127.0.0.{last}:")).await;
        assert!(!line.is_empty());
        let log = self.proxy.log();
        let told = log.lines().filter(|l| l.contains("login refused: too many failed logins"));
        let about = |l: &&str| {
            l.contains(&format!("peer=127.0.0.{last}:"))
                && l.contains(&format!("{}@localhost", user.to_lowercase()))
                && l.contains(&format!("limit=login_failures_per_{limit}"))
        };
        assert!(told.clone().any(|l| about(&l)), "{:?}", told.collect::<Vec<_>>());
    }
}

/// What a SASL exchange ends with.
async fn outcome(client: &mut Raw) -> String {
    let Ok(answer) = client.try_expect(">").await else { return "the end".to_owned() };
    if answer.contains("<success") {
        return "success".to_owned();
    }
    let rest = client.try_expect("</failure>").await.unwrap_or_default();
    let all = answer + &rest;
    if all.contains(LATER) {
        assert!(all.contains("too many failed logins") || all.contains("<text"), "{all}");
    }
    let inner = all.split_once("xmpp-sasl").map_or("", |(_, inner)| inner);
    let condition = between(inner, "<", "/>").or_else(|| between(inner, "<", " "));
    condition.map_or(all.clone(), |c| c.split(' ').next().unwrap_or_default().to_owned())
}

/// A SCRAM exchange up to the challenge; then a proof that is none.
async fn guess_by_scram(client: &mut Raw, user: &str) -> String {
    let first = BASE64.encode(format!("n,,n={user},r=guess"));
    client.send(format!("<auth {SASL} mechanism='SCRAM-SHA-1'>{first}</auth>")).await;
    let Ok(answer) = client.try_expect(">").await else { return "the end".to_owned() };
    if !answer.contains("<challenge") {
        let rest = client.try_expect("</failure>").await.unwrap_or_default();
        return if (answer + &rest).contains(LATER) { "temporary-auth-failure".into() } else { "failure".into() };
    }
    let Ok(challenge) = client.try_expect("</challenge>").await else { return "the end".to_owned() };
    let data = BASE64.decode(challenge.trim_end_matches("</challenge>")).expect("base64");
    let data = String::from_utf8(data).expect("text");
    let nonce = data.split(',').find_map(|f| f.strip_prefix("r=")).expect("a nonce");
    let last = BASE64.encode(format!("c=biws,r={nonce},p={}", BASE64.encode([0; 20])));
    client.send(format!("<response {SASL}>{last}</response>")).await;
    outcome(client).await
}

/// How many attempts a scripted server has heard of.
fn heard(server: &Scripted) -> usize {
    server.received().matches("<auth").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_per_address() {
    for kind in KINDS {
        let server = Server::start(kind, Options::default());
        let limits = "login_failures_per_address = 3\nlogin_failures_per_server = 1000";
        let world = World::start(Setup::before(&server).auth("mixed"), limits);
        for user in ["alice", "bob", "nobody"] {
            world.wrong(2, user).await;
        }
        world.refused(2, "carol", "address").await;
        world.right(3, "carol").await;
        // What never reached the server counts too.
        let mut client = world.from(4).await;
        for _ in 0..2 {
            client.send(format!("<auth {SASL} mechanism='NONSENSE'/>")).await;
            assert_eq!(outcome(&mut client).await, "invalid-mechanism", "{kind:?}");
        }
        assert_ne!(guess_by_scram(&mut client, "bob").await, "temporary-auth-failure", "{kind:?}");
        world.refused(4, "carol", "address").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_per_account_and_whoever_is_known_there() {
    let server = Scripted::start(quiet).await;
    let world = World::start(
        Setup::upstream(server.address, "none"),
        "login_failures_per_account = 3\nlogin_failures_per_server = 1000",
    );
    world.right(1, "alice").await;
    for last in [2, 3, 4] {
        world.wrong(last, "alice").await;
    }
    let before = heard(&server);
    world.refused(5, "alice", "account").await;
    world.refused(2, "Alice", "account").await;
    assert_eq!(heard(&server), before, "the server hears of no attempt that is refused");
    // Nobody is locked out of her own account from elsewhere, and her login forgives.
    world.right(1, "alice").await;
    world.right(5, "alice").await;
}

/// Fifty at once, when four are left.
#[tokio::test(flavor = "multi_thread")]
async fn s03_parallel_guesses() {
    let server = Scripted::start(quiet).await;
    let limits = "login_failures_per_account = 4\nlogin_failures_per_address = 1000\nlogin_failures_per_server = 1000";
    let world = World::start(Setup::upstream(server.address, "none"), limits);
    let guesses = futures::future::join_all((0..50).map(|_| world.attempt(1, "alice", "wrong"))).await;
    assert!(guesses.iter().all(|g| g == "not-authorized" || g == "temporary-auth-failure"), "{guesses:?}");
    assert_eq!(guesses.iter().filter(|g| *g == "not-authorized").count(), 4, "{guesses:?}");
    assert_eq!(heard(&server), 4);
}

/// Fifty honest ones at once are not taken for guesses: they wait for each other.
#[tokio::test(flavor = "multi_thread")]
async fn s03_honest_logins_in_parallel() {
    let server = Scripted::start(quiet).await;
    let world = World::start(Setup::upstream(server.address, "none"), "login_failures_per_server = 2");
    let users: Vec<String> = (0..50).map(|n| format!("user{n}")).collect();
    let logins = users.iter().enumerate().map(|(n, user)| world.right(10 + n as u8, user));
    futures::future::join_all(logins).await;
}

/// Who hangs up in the midst may have learned enough.
#[tokio::test(flavor = "multi_thread")]
async fn s03_attempts_that_are_given_up() {
    let server = Scripted::start(quiet).await;
    let limits = "login_failures_per_account = 3\nlogin_failures_per_server = 1000";
    let world = World::start(Setup::upstream(server.address, "none").auth("relay"), limits);
    let first = BASE64.encode("n,,n=alice,r=guess");
    let begin = format!("<auth {SASL} mechanism='SCRAM-SHA-256'>{first}</auth>");
    let mut client = world.from(2).await;
    client.send(&begin).await;
    client.expect("</challenge>").await;
    drop(client);
    let mut client = world.from(3).await;
    client.send(&begin).await;
    client.expect("</challenge>").await;
    client.send(format!("<abort {SASL}/>")).await;
    client.expect("<aborted/>").await;
    // The name may come late.
    let mut client = world.from(4).await;
    client.send(format!("<auth {SASL} mechanism='SCRAM-SHA-256'/>")).await;
    client.expect("<challenge").await;
    client.send(format!("<response {SASL}>{first}</response>")).await;
    client.expect("</challenge>").await;
    client.send(format!("<response {SASL}>{}</response>", BASE64.encode("c=biws,r=guessscripted,p=AAAA"))).await;
    client.expect("<not-authorized/>").await;
    world.refused(5, "alice", "account").await;
    let heard = heard(&server);
    client.send(&begin).await;
    client.expect(LATER).await;
    client.send(format!("<auth {SASL} mechanism='SCRAM-SHA-256'/>")).await;
    client.expect("<challenge").await;
    client.send(format!("<response {SASL}>{first}</response>")).await;
    client.expect(LATER).await;
    assert_eq!(self::heard(&server), heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn s03_the_window() {
    let server = Scripted::start(quiet).await;
    let window = Duration::from_secs(4);
    let limits = "login_failures_per_account = 2\nlogin_failures_window = \"4s\"";
    let world = World::start(Setup::upstream(server.address, "none"), limits);
    world.wrong(2, "alice").await;
    let last = Instant::now();
    world.wrong(2, "alice").await;
    loop {
        let asked = Instant::now();
        let outcome = world.attempt(3, "alice", &password("alice")).await;
        if outcome == "success" {
            assert!(last.elapsed() >= window, "let in after {:?}", last.elapsed());
            break;
        }
        assert_eq!(outcome, "temporary-auth-failure");
        assert!(asked.duration_since(last) < PATIENCE, "refused for ever");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// At the server's limit the kept keys tell who may still be let in, and her success lets everybody in again.
#[tokio::test(flavor = "multi_thread")]
async fn s03_the_kept_keys_vouch() {
    for hashed in [true, false] {
        let server = Server::start(Kind::Prosody, Options { hashed, ..Options::default() });
        let world = World::start(Setup::before(&server), "login_failures_per_server = 4");
        world.right(1, "alice").await;
        // In the clear, enrolling has cost a failure already: the keys were of no use a second time.
        for last in if hashed { 2..6 } else { 2..5 } {
            world.wrong(last, &format!("nobody{last}")).await;
        }
        world.refused(9, "bob", "server").await;
        assert_eq!(world.attempt(9, "alice", "wrong").await, "temporary-auth-failure");
        world.right(9, "alice").await;
        world.right(9, "bob").await;
    }
}

/// A guesser at ten addresses: several accounts, PLAIN and SCRAM, sixty guesses.
async fn guess(world: &World) -> Vec<String> {
    let mut outcomes = Vec::new();
    for round in 0..3 {
        for last in 2..12 {
            let user = ["alice", "bob", "carol", "nobody"][(round + usize::from(last)) % 4];
            let from = Ipv4Addr::new(127, 0, 0, last);
            let mut client = Raw::direct_from(from, world.proxy.direct_tls(), &world.tls).await;
            client.send(raw::HEADER).await;
            if client.try_expect("</stream:features>").await.is_err() {
                outcomes.push("no stream".to_owned());
                continue;
            }
            client.send(plain("", user, "wrong")).await;
            outcomes.push(outcome(&mut client).await);
            outcomes.push(guess_by_scram(&mut client, user).await);
        }
    }
    outcomes
}

/// What ejabberd says on its standard output; its log file comes later.
fn said(server: &Server) -> String {
    std::fs::read_to_string(server.dir().join("output.log")).expect("ejabberd's output")
}

fn fail2ban() -> (Server, Setup) {
    // The module as it is packaged: 20 failures in a row, an hour.
    let extra = "  mod_fail2ban: {}".to_owned();
    let mut options = Options { extra, ..Options::default() };
    options.users.extend(["dave", "erin"].map(|user| (user.to_owned(), password(user))));
    let server = Server::start(Kind::Ejabberd, options);
    let setup = Setup::before(&server).auth("mixed");
    (server, setup)
}

/// ejabberd's mod_fail2ban would ban the proxy, and so everybody.
#[tokio::test(flavor = "multi_thread")]
async fn s03_a_guesser_is_stopped_before_ejabberd_bans_the_proxy() {
    let (server, setup) = fail2ban();
    let world = World::start(setup, "");
    world.right(1, "alice").await;
    world.right(1, "dave").await;
    let guesses = guess(&world).await;
    assert!(guesses.iter().any(|g| g == "not-authorized"), "{guesses:?}");
    let stopped = guesses.iter().position(|g| g == "temporary-auth-failure").expect("the guesser is stopped");
    assert!(guesses[stopped..].iter().all(|g| g == "temporary-auth-failure"), "{guesses:?}");
    // Who is known at her address, and whom the kept keys vouch for at another; and then anybody.
    world.right(1, "alice").await;
    assert_eq!(guess(&world).await.len(), 60);
    world.right(20, "dave").await;
    world.right(21, "erin").await;
    // While he goes on.
    let logins = async {
        for _ in 0..10 {
            world.right(1, "alice").await;
        }
    };
    tokio::join!(guess(&world), logins);
    world.right(1, "alice").await;
    let log = said(&server);
    assert!(log.contains("Failed c2s"), "{log}");
    assert!(!log.contains("failed authentications"), "{log}");
}

/// The same without limits: so it is they who prevented it.
#[tokio::test(flavor = "multi_thread")]
async fn s03_without_limits_ejabberd_bans_the_proxy() {
    let (server, setup) = fail2ban();
    let limits = ["address", "account", "server"].map(|what| format!("login_failures_per_{what} = 1000\n")).concat();
    let world = World::start(setup, &limits);
    world.right(1, "alice").await;
    let guesses = guess(&world).await;
    assert!(guesses.iter().any(|g| g == "no stream"), "{guesses:?}");
    let log = said(&server);
    assert!(log.contains("(20) failed authentications"), "{log}");
    let mut client = Raw::direct(world.proxy.direct_tls(), &world.tls).await;
    client.send(raw::HEADER).await;
    assert!(client.try_expect("</stream:features>").await.is_err(), "the ban is everybody's");
}

/// Kept keys that failed once are not tried again until a login; account sessions count at the server like all else.
#[tokio::test(flavor = "multi_thread")]
async fn s03_kept_keys_are_tried_once() {
    use minimix_proxy::account::connect::{ConnectError, Connector};
    use minimix_proxy::account::domain::Domain;
    use minimix_proxy::account::guard::{Guard, Limit};
    use minimix_proxy::account::keys::DeadKeys;
    use minimix_proxy::config::{Config, Flags};
    use minimix_proxy::net::dial::Upstream;
    use minimix_proxy::store::{MemoryStore, Store};
    use minimix_proxy::stream::sasl::Secret;
    use std::sync::{Arc, Mutex};

    let server = Scripted::start(quiet).await;
    let text = |text: &str| Some(text.to_owned());
    let flags = Flags {
        domain: text("localhost"),
        listen: text("127.0.0.1:0"),
        cert: Some("cert".into()),
        key: Some("key".into()),
        data: Some("data".into()),
        upstream: text(&server.address.to_string()),
        upstream_tls: Some(minimix_proxy::config::UpstreamTls::None),
        ..Flags::default()
    };
    let mut config = Config::load(&flags).expect("a configuration");
    config.limits.logins.per_server = 2;
    let domain = Domain {
        name: "localhost".into(),
        upstream: Upstream::new(&config.domains[0].upstream, &config.limits, Arc::new([])).expect("an upstream"),
        upstream_id: "here".into(),
        allow_plain: false,
        keep_password: true,
        limits: config.limits.clone(),
        best_mechanism: Mutex::default(),
    };
    let store = Arc::new(MemoryStore::new());
    let keep = |user: &str, password: &str| {
        let account = jid::BareJid::new(&format!("{user}@localhost")).expect("a JID");
        let secret = Secret::Password(secrecy::SecretString::from(password));
        let enrolment = store.put_enrolment(&account, "here", &secret, 1).expect("enrol");
        account.with_resource_str(&enrolment.resource).expect("a full JID")
    };
    let connector = Connector {
        domain: Arc::new(domain),
        store: store.clone(),
        pace: Arc::default(),
        timeout: PATIENCE,
        guard: Guard::new(config.limits.logins, [("localhost".to_owned(), true)]),
        dead_keys: DeadKeys::default(),
    };
    let open = |session: &jid::FullJid| connector.clone().open(session.clone(), tokio::sync::watch::channel(true).1);

    let alice = keep("alice", "old");
    let error = open(&alice).await.expect_err("a wrong password");
    assert!(matches!(error, ConnectError::Login(_)) && error.needs_login(), "{error}");
    for _ in 0..3 {
        let error = open(&alice).await.expect_err("keys that failed");
        assert!(matches!(error, ConnectError::DeadKeys(_)) && error.needs_login(), "{error}");
    }
    assert_eq!((server.connections(), heard(&server)), (1, 1), "the server hears of them once");

    // The second failure is the last that the server is to hear; and that is no fault of the keys.
    let (bob, carol) = (keep("bob", "old"), keep("carol", &password("carol")));
    open(&bob).await.expect_err("a wrong password");
    let error = open(&carol).await.expect_err("too many");
    assert!(matches!(error, ConnectError::Limited(Limit::Server)) && !error.needs_login(), "{error}");
    assert_eq!(heard(&server), 2);

    // After a login with the right password they are tried again, and success forgives.
    let connector =
        Connector { guard: Guard::new(config.limits.logins, [("localhost".to_owned(), true)]), ..connector };
    let open = |session: &jid::FullJid| connector.clone().open(session.clone(), tokio::sync::watch::channel(true).1);
    keep("alice", &password("alice"));
    connector.dead_keys.remove(&alice.to_bare());
    connector.dead_keys.remove(&bob.to_bare());
    open(&bob).await.expect_err("a wrong password");
    open(&alice).await.expect("the right password");
    let erin = keep("erin", "old");
    open(&erin).await.expect_err("a wrong password");
    open(&carol).await.expect("one failure in a row is not too many");
}
