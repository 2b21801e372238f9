//! What an operator can do (S25), and how the store's key is kept (S22): the commands against a running proxy with a
//! real server behind it. An observer who owns the room, and so is shown real JIDs, tells who is in it.

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use jid::BareJid;
use minimix_proxy::store::{SqliteStore, Store};
use minimix_proxy::stream::sasl::Secret;
use secrecy::SecretString;
use serde_json::Value;
use support::driver::{Client, Driver, Event, Login};
use support::proxy::{Proxy, Setup, binary};
use support::server::{Kind, Options, Server, password};
use support::slix;
use support::tap::Tap;

/// A command that must do; what it says with `--json`.
fn json<const N: usize>(proxy: &Proxy, args: [&str; N]) -> Value {
    let output = proxy.admin(args, "");
    let value = parsed(&output);
    assert!(output.status.success() && value["ok"] == true, "{args:?}: {output:?}");
    value
}

fn parsed(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 1, "one line: {output:?}");
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// As [`json`], of the plain form.
fn plain<const N: usize>(proxy: &Proxy, args: [&str; N]) -> String {
    let output = proxy.admin(args, "");
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The account session's state, `None` where it has none.
fn state(proxy: &Proxy, account: &str) -> Option<String> {
    let list = json(proxy, ["session", "list", "--json"]);
    let all = list["account_sessions"].as_array().expect("a list").clone();
    let found = all.iter().find(|s| s["jid"].as_str().is_some_and(|jid| jid.starts_with(&format!("{account}/"))))?;
    found["state"].as_str().map(str::to_owned)
}

struct World {
    proxy: Proxy,
    server: Server,
    slix: Driver,
    observer: Client,
    room: String,
}

impl World {
    async fn new(options: Options, setup: impl FnOnce(&Server) -> Setup) -> World {
        let server = Server::start(Kind::Prosody, options);
        let proxy = setup(&server).start();
        let slix = slix::start();
        let observer = slix.client("observer");
        let room = server.room("operated");
        observer.connect(&Login::new(server.starttls(), "carol", &server.certs.ca)).await;
        observer.join(&room, "carol").await;
        World { proxy, server, slix, observer, room }
    }

    async fn with_defaults() -> World {
        World::new(Options::default(), Setup::before).await
    }

    /// The observer sees this nick come in; the resource it came by.
    async fn comes(&self, mark: usize, nick: &str) -> String {
        let comes = |e: &Event| e.is("presence", &[&format!("/{nick}")]) && e.attr("type").is_none();
        let seen = self.observer.wait_since(mark, &format!("{nick} to come"), comes).await;
        let element = seen.element();
        let x = element.get_child("x", "http://jabber.org/protocol/muc#user").expect("muc#user");
        let item = x.get_child("item", "http://jabber.org/protocol/muc#user").expect("an item");
        let jid = item.attr("jid").expect("the owner sees JIDs").to_owned();
        jid.split_once('/').expect("a full JID").1.to_owned()
    }

    async fn leaves(&self, mark: usize, nick: &str) -> Event {
        let leaves =
            |e: &Event| e.is("presence", &[&format!("/{nick}")]) && e.attr("type").as_deref() == Some("unavailable");
        self.observer.wait_since(mark, &format!("{nick} to leave"), leaves).await
    }

    async fn client(&self, user: &str) -> Client {
        let client = self.slix.client(user);
        client.connect(&self.proxy.login(user)).await;
        client
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_sessions_are_listed_and_killed() {
    let world = World::with_defaults().await;
    let (proxy, room) = (&world.proxy, &world.room);
    let one = world.client("alice/1").await;
    let two = world.slix.client("alice/2");
    let direct = Login { address: proxy.direct_tls(), ..proxy.login("alice/2") }.direct();
    two.connect(&direct).await;
    let mark = world.observer.mark();
    one.join(room, "alice").await;
    two.join(room, "alice").await;
    let account = world.comes(mark, "alice").await;
    assert!(account != "1" && account != "2", "the account session has a resource of its own");

    let list = json(proxy, ["session", "list", "--json"]);
    let clients = list["clients"].as_array().expect("a list").clone();
    assert_eq!(clients.len(), 2, "{list}");
    for (client, jid, tls) in
        [(&clients[0], "alice@localhost/1", "starttls"), (&clients[1], "alice@localhost/2", "direct")]
    {
        assert_eq!((client["jid"].as_str(), client["tls"].as_str()), (Some(jid), Some(tls)), "{list}");
        assert_eq!((client["attached"].as_bool(), client["rooms"].as_u64()), (Some(true), Some(1)), "{list}");
        assert!(client["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")), "{list}");
        assert!(client["since"].as_u64().is_some_and(|since| since > 1_700_000_000), "{list}");
    }
    let accounts = &list["account_sessions"];
    assert_eq!(accounts[0]["jid"], format!("alice@localhost/{account}"), "{list}");
    assert_eq!(
        (&accounts[0]["state"], &accounts[0]["rooms"], &accounts[0]["clients"]),
        (&"up".into(), &1.into(), &2.into())
    );
    let text = plain(proxy, ["session", "list"]);
    assert!(text.contains("\talice@localhost/2\t127.0.0.1:") && text.contains("\tup\trooms 1\tclients 2\n"), "{text}");

    // One client's stream, by its JID: a stream error that says so; nobody else notices.
    let (mark, others) = (one.mark(), (two.mark(), world.observer.mark()));
    json(proxy, ["session", "kill", "alice@localhost/1", "--json"]);
    let error = one.wait_since(mark, "the end", |e| e.kind == "nonza" && e.name() == "stream:error").await;
    assert!(error.xml.contains("<reset ") && error.xml.contains("ended by the operator"), "{}", error.xml);
    world.observer.groupchat(room, "still", "still there").await;
    two.wait_since(others.0, "a message", |e| e.is("message", &["still there"])).await;
    assert!(!world.observer.since(others.1).iter().any(|e| e.is("presence", &["/alice"])));
    // And by its number.
    let list = json(proxy, ["session", "list", "--json"]);
    assert_eq!(list["clients"].as_array().map(Vec::len), Some(1), "{list}");
    let (id, mark) = (list["clients"][0]["id"].to_string(), two.mark());
    json(proxy, ["session", "kill", &id, "--json"]);
    two.wait_since(mark, "the end", |e| e.kind == "nonza" && e.xml.contains("<reset ")).await;
    for nobody in ["alice@localhost/1", &id, "bob@localhost", "99999"] {
        let output = proxy.admin(["session", "kill", nobody, "--json"], "");
        assert_eq!((output.status.code(), &parsed(&output)["ok"]), (Some(1), &false.into()), "{output:?}");
    }
    let line = proxy.wait_log("asked on the control socket").await;
    assert!(line.contains("command=\"session list\"") && line.contains("ok=true"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_a_killed_account_session_stays_down_until_a_login() {
    // By SCRAM, which the proxy hands on: a login need not show it the password.
    let world = World::new(Options::default(), |server| Setup::before(server).auth("mixed")).await;
    let (proxy, room) = (&world.proxy, &world.room);
    let one = world.slix.client("alice/1");
    one.connect(&proxy.login("alice/1").with("mechanism", "PLAIN")).await;
    one.join(room, "alice").await;
    assert_eq!(state(proxy, "alice@localhost").as_deref(), Some("up"));

    let (mark, own) = (world.observer.mark(), one.mark());
    plain(proxy, ["session", "kill", "alice@localhost"]);
    world.leaves(mark, "alice").await;
    one.wait_since(own, "the leave", |e| e.is("presence", &["/alice", "unavailable"])).await;
    assert_eq!(state(proxy, "alice@localhost").as_deref(), Some("killed"));
    // Meanwhile joins pass through.
    let mark = world.observer.mark();
    one.join(room, "alice").await;
    assert_eq!(world.comes(mark, "alice").await, "1");
    assert_eq!(state(proxy, "alice@localhost").as_deref(), Some("killed"));
    one.leave(room, "alice").await;

    let two = world.slix.client("alice/2");
    two.connect(&proxy.login("alice/2").with("mechanism", "SCRAM-SHA-1")).await;
    for client in [&two, &one] {
        let mark = world.observer.mark();
        client.join(room, "alice").await;
        if client.name == two.name {
            assert!(!["1", "2"].contains(&world.comes(mark, "alice").await.as_str()), "the account has joined");
        }
    }
    assert_eq!(state(proxy, "alice@localhost").as_deref(), Some("up"));
    let list = json(proxy, ["session", "list", "--json"]);
    assert_eq!(list["account_sessions"][0]["clients"], 2, "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_a_denied_account_is_never_enrolled() {
    let mut world = World::with_defaults().await;
    let room = world.room.clone();
    let alice = world.client("alice/1").await;
    alice.join(&room, "alice").await;
    let mark = world.observer.mark();
    plain(&world.proxy, ["account", "deny", "alice@localhost"]);
    let left = world.leaves(mark, "alice").await;
    assert!(!left.xml.contains("'333'"), "in good order: {}", left.xml);
    assert_eq!(plain(&world.proxy, ["account", "list"]), "alice@localhost\tdenied\n");

    // It still logs in, and joins by itself; after a restart too.
    for restarted in [false, true] {
        if restarted {
            world.proxy.stop();
            world.proxy.start_again();
        }
        let client = world.client("alice/2").await;
        let mark = world.observer.mark();
        client.join(&room, "alice").await;
        assert_eq!(world.comes(mark, "alice").await, "2");
        let list = json(&world.proxy, ["account", "list", "--json"]);
        assert_eq!(list["accounts"].as_array().map(Vec::len), Some(1), "{list}");
        assert_eq!((&list["accounts"][0]["denied"], &list["accounts"][0]["kept"]), (&true.into(), &Value::Null));
        client.leave(&room, "alice").await;
        client.disconnect().await;
    }
    let added = world.proxy.admin(["account", "add", "alice@localhost", "--password-stdin"], &password("alice"));
    assert_eq!(added.status.code(), Some(1), "{added:?}");
    assert!(String::from_utf8_lossy(&added.stderr).contains("account allow alice@localhost"), "{added:?}");

    plain(&world.proxy, ["account", "allow", "alice@localhost"]);
    let client = world.client("alice/3").await;
    let mark = world.observer.mark();
    client.join(&room, "alice").await;
    assert_ne!(world.comes(mark, "alice").await, "3");
    assert!(plain(&world.proxy, ["account", "list"]).starts_with("alice@localhost\tkeys for SCRAM-SHA-1\t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_kept_keys_are_not_sent_to_another_server() {
    let options = Options { plaintext: true, ..Options::default() };
    let mut world = World::new(options, |server| Setup::upstream(server.plain(), "none")).await;
    let room = world.room.clone();
    let alice = world.client("alice/1").await;
    alice.join(&room, "alice").await;
    alice.disconnect().await;
    world.proxy.stop();
    world.leaves(0, "alice").await;

    // The domain points elsewhere now. (Relayed logins show the proxy nothing: the keys stay those of the old server.)
    let tap = Tap::before(world.server.plain()).await;
    world.proxy.change(|setup| setup.upstream_named(&tap.address.to_string()).auth("relay"));
    world.proxy.start_again();
    let old = world.server.plain().to_string();
    let warning = world.proxy.wait_log("are of another server").await;
    assert!(warning.contains(&old) && warning.contains("account rebind --all-of localhost"), "{warning}");
    let listed = plain(&world.proxy, ["account", "list"]);
    assert!(
        listed.contains(&format!("not used: bound to {old}; `minimix-proxy account rebind alice@localhost`")),
        "{listed}"
    );
    assert_eq!(json(&world.proxy, ["account", "list", "--json"])["accounts"][0]["bound"], false);

    let scram = world.proxy.login("alice/2").with("mechanism", "SCRAM-SHA-1");
    let client = world.slix.client("alice/2");
    client.connect(&scram).await;
    let mark = world.observer.mark();
    client.join(&room, "alice").await;
    assert_eq!(world.comes(mark, "alice").await, "2", "it joins by itself");
    assert_eq!(state(&world.proxy, "alice@localhost"), None);
    let logins = || tap.count("<auth ");
    assert_eq!(logins(), 1, "the client's own");
    client.leave(&room, "alice").await;
    client.disconnect().await;

    plain(&world.proxy, ["account", "rebind", "alice@localhost"]);
    assert_eq!(json(&world.proxy, ["account", "list", "--json"])["accounts"][0]["bound"], true);
    client.connect(&scram).await;
    let mark = world.observer.mark();
    client.join(&room, "alice").await;
    assert_ne!(world.comes(mark, "alice").await, "2");
    assert_eq!(logins(), 3, "and the account session's");
    let listed = plain(&world.proxy, ["account", "rebind", "--all-of", "localhost"]);
    assert!(listed.contains(": 0\n"), "{listed}");
    let unknown = world.proxy.admin(["account", "rebind", "bob@localhost"], "");
    assert_eq!(unknown.status.code(), Some(1));
}

/// Every byte in the data directory.
fn bytes(data: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(data).expect("the data directory").flatten();
    let files = files.filter(|entry| entry.file_type().is_ok_and(|t| t.is_file()));
    files.flat_map(|entry| std::fs::read(entry.path()).expect("read it")).collect()
}

fn has(bytes: &[u8], needle: &str) -> bool {
    memchr::memmem::find(bytes, needle.as_bytes()).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn s25_a_purge_leaves_nothing_on_the_disk() {
    let world = World::with_defaults().await;
    let alice = world.client("alice/1").await;
    world.client("bob/1").await;
    alice.join(&world.room, "alice").await;
    let data = world.proxy.data();
    assert!(has(&bytes(&data), "alice@localhost"));
    let mark = world.observer.mark();
    let done = json(&world.proxy, ["account", "remove", "alice@localhost", "--purge", "--json"]);
    assert!(done["message"].as_str().is_some_and(|m| m.contains("wiped")), "{done}");
    world.leaves(mark, "alice").await;
    let left = bytes(&data);
    assert!(!has(&left, "alice"), "something of alice is left");
    assert!(has(&left, "bob@localhost"), "the search finds what is there");
    let again = world.proxy.admin(["account", "remove", "alice@localhost", "--purge"], "");
    assert_eq!(again.status.code(), Some(1), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_keys_are_rotated_while_clients_log_in() {
    let mut world = World::with_defaults().await;
    let room = world.room.clone();
    let alice = world.client("alice/1").await;
    alice.join(&room, "alice").await;
    let key_file = world.proxy.key_file();
    let mut keys = vec![std::fs::read(&key_file).expect("the key")];
    for round in 0..3 {
        let bob = world.slix.client(&format!("bob/{round}"));
        let login = world.proxy.login(&format!("bob/{round}"));
        let (rotated, _) = tokio::join!(async { plain(&world.proxy, ["key", "rotate"]) }, bob.connect(&login));
        assert!(rotated.contains("new key"), "{rotated}");
        keys.push(std::fs::read(&key_file).expect("the key"));
    }
    assert!(keys.iter().all(|key| key.len() == 32));
    assert!(keys.windows(2).all(|two| two[0] != two[1]));
    assert_eq!(std::fs::metadata(&key_file).expect("the key").permissions().mode() & 0o777, 0o600);
    world.proxy.stop();
    world.leaves(0, "alice").await;
    // Offline too.
    assert_eq!(json(&world.proxy, ["key", "rotate", "--json"])["ok"], true);
    world.proxy.start_again();
    let mark = world.observer.mark();
    alice.connect(&world.proxy.login("alice/1")).await;
    alice.join(&room, "alice").await;
    assert_ne!(world.comes(mark, "alice").await, "1");
    assert_eq!(plain(&world.proxy, ["account", "list"]).lines().count(), 2);
}

/// The arguments of a proxy that needs no server: for commands on the store.
fn offline(dir: &Path) -> Vec<String> {
    let path = |name: &str| dir.join(name).display().to_string();
    let pairs = [
        ("--domain", "localhost".to_owned()),
        ("--listen", "127.0.0.1:0".to_owned()),
        ("--upstream", "127.0.0.1:9".to_owned()),
        ("--upstream-tls", "none".to_owned()),
        ("--cert", path("cert.pem")),
        ("--key", path("cert.key")),
        ("--data", path("data")),
    ];
    pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

#[test]
fn s22_a_rotation_survives_being_killed_at_any_instant() {
    const ACCOUNTS: usize = 1500;
    let dir = tempfile::tempdir().expect("a directory");
    let (data, key_file) = (dir.path().join("data"), dir.path().join("data.key"));
    let account = |i: usize| BareJid::new(&format!("user{i}@localhost")).expect("a JID");
    let secret = |i: usize| Secret::Password(SecretString::from(format!("password {i}")));
    let store = SqliteStore::open(&data, &key_file).expect("a store");
    for i in 0..ACCOUNTS {
        store.put_enrolment(&account(i), "127.0.0.1:9", &secret(i), 1).expect("written");
    }
    drop(store);
    let rotate = || {
        let mut command = Command::new(binary());
        command.args(offline(dir.path())).args(["key", "rotate"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("run it")
    };
    let started = Instant::now();
    assert!(rotate().wait().expect("its end").success());
    let whole = started.elapsed();
    let (mut interrupted, mut drawn) = (0, 1_u64);
    for round in 0..20 {
        let mut child = rotate();
        // Instants all over the run, from a generator with a fixed seed.
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(whole.mul_f64((drawn >> 33) as f64 / f64::from(1_u32 << 31)));
        let _ = child.kill();
        child.wait().expect("its end");
        interrupted += usize::from(std::fs::read(&key_file).expect("the key").len() == 64);
        let store = SqliteStore::open(&data, &key_file).unwrap_or_else(|e| panic!("after kill {round}: {e}"));
        for i in 0..ACCOUNTS {
            let found = store.enrolment(&account(i)).unwrap_or_else(|e| panic!("after kill {round}: {e}"));
            assert_eq!(found.map(|e| e.secret), Some(secret(i)), "after kill {round}");
        }
        assert_eq!(std::fs::read(&key_file).expect("the key").len(), 32, "opening has finished it");
        assert!(!dir.path().join("data.key.new").exists(), "no draft is left");
    }
    println!("20 kills within {whole:?}: {interrupted} between the first and the last step");
}

#[test]
fn s22_no_core_dump_and_no_look_into_the_process() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("chmod");
    let copy = dir.path().join("minimix-proxy");
    std::fs::copy(binary(), &copy).expect("copy the binary");
    // As nobody, if this is root: what belongs to root then does not because of us.
    let root = std::fs::metadata("/proc/self").expect("proc").uid() == 0;
    let mut command = Command::new(if root { "setpriv" } else { "env" });
    if root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.arg(&copy).args(offline(dir.path())).args(["account", "add", "a@localhost", "--password-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run it");
    let proc = format!("/proc/{}", child.id());
    let deadline = Instant::now() + Duration::from_secs(30);
    let limited = || {
        let limits = std::fs::read_to_string(format!("{proc}/limits")).unwrap_or_default();
        let line = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap_or_default().to_owned();
        line.split_whitespace().skip(4).take(2).eq(["0", "0"])
    };
    let hidden = || std::fs::metadata(format!("{proc}/environ")).is_ok_and(|meta| meta.uid() == 0);
    // It waits for a password, so it is there for as long as we look.
    while !(limited() && hidden()) {
        assert!(Instant::now() < deadline, "core dumps: {}, hidden: {}", !limited(), hidden());
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(child.stdin.take());
    assert!(!child.wait().expect("its end").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_the_running_proxy_dumps_no_core() {
    let server = support::scripted::Scripted::start(|_, _| {}).await;
    let proxy = Setup::upstream(server.address, "none").start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", proxy.pid())).expect("its limits");
    let line = limits.lines().find(|l| l.starts_with("Max core file size")).expect("a line");
    assert!(line.split_whitespace().skip(4).take(2).eq(["0", "0"]), "{line}");
    let environ = std::fs::metadata(format!("/proc/{}/environ", proxy.pid())).expect("it is there");
    assert_eq!(environ.uid(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_the_control_socket_is_bounded_and_private() {
    let server = support::scripted::Scripted::start(|_, _| {}).await;
    let proxy = Setup::upstream(server.address, "none").log("debug").start();
    let path = proxy.data().join("control.sock");
    assert_eq!(std::fs::metadata(&path).expect("the socket").permissions().mode() & 0o777, 0o600);
    // Some that say nothing hold nobody up: they are still there when another is answered. (On a machine so slow that
    // their patience ends before, once more.)
    let not_held_up = || {
        let silent: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(&path).expect("connect")).collect();
        assert_eq!(json(&proxy, ["session", "list", "--json"])["clients"], Value::Array(Vec::new()));
        silent.iter().all(|mut stream| {
            stream.set_nonblocking(true).expect("a socket");
            stream.read(&mut [0]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
        })
    };
    assert!((0..3).any(|_| not_held_up()), "one request after the other");
    // Too long, and no request at all.
    let say = |text: &[u8]| {
        let mut stream = UnixStream::connect(&path).expect("connect");
        let _ = stream.write_all(text);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert_eq!(say(&vec![b'x'; 70 * 1024]), "");
    assert!(
        say(b"{\"command\":\"account-add\",\"account\":\"a\",\"password\":\"pass-4711\"}\n").contains("\"ok\":false")
    );
    assert!(say(b"hello\n").contains("no request"));
    let added = proxy.admin(["account", "add", "a@elsewhere", "--password-stdin", "--json"], "pass-4711\n");
    assert_eq!(parsed(&added)["ok"], false, "{added:?}");
    let line = proxy.wait_log("account add").await;
    assert!(line.contains("about=\"a@elsewhere\"") && line.contains("ok=false uid="), "{line}");
    assert!(!proxy.log().contains("pass-4711") && !proxy.log().contains("cGFzcy00NzEx"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_in_json_too() {
    let server = support::scripted::Scripted::start(|_, _| {}).await;
    let mut proxy = Setup::upstream(server.address, "none").start();
    let fails = |proxy: &Proxy, args: &[&str], code: i32, why: &str| {
        for json in [false, true] {
            let mut command = Command::new(binary());
            command.args(offline(proxy.data().parent().expect("a directory"))).args(args).env("RUST_LOG", "off");
            let output = command.args(json.then_some("--json")).stdin(Stdio::null()).output().expect("run it");
            assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
            let told = match json {
                true => parsed(&output)["error"].as_str().unwrap_or_default().to_owned(),
                false => String::from_utf8_lossy(&output.stderr).into_owned(),
            };
            assert!(told.contains(why), "{args:?}: {told}");
            assert!(!json || parsed(&output)["ok"] == false);
        }
    };
    for running in [true, false] {
        if !running {
            proxy.stop();
            fails(&proxy, &["session", "list"], 1, "no proxy runs");
            fails(&proxy, &["session", "kill", "1"], 1, "no proxy runs");
        }
        fails(&proxy, &["account", "remove", "a@localhost"], 1, "a@localhost is not enrolled");
        fails(&proxy, &["account", "remove", "a@localhost", "--purge"], 1, "a@localhost is not enrolled");
        fails(&proxy, &["account", "allow", "a@localhost"], 1, "a@localhost is not denied");
        fails(&proxy, &["account", "deny", "a@elsewhere"], 1, "not of a domain that is configured");
        fails(&proxy, &["account", "rebind", "a@localhost"], 1, "a@localhost is not enrolled");
        fails(&proxy, &["account", "rebind", "--all-of", "elsewhere"], 1, "elsewhere is not configured");
        fails(&proxy, &["domain", "reset", "elsewhere"], 1, "elsewhere is not configured");
    }
    assert_eq!(plain(&proxy, ["account", "list"]), "");
    plain(&proxy, ["account", "deny", "b@localhost"]);
    assert_eq!(plain(&proxy, ["account", "list"]), "b@localhost\tdenied\n");
    std::fs::set_permissions(proxy.key_file(), std::fs::Permissions::from_mode(0o644)).expect("chmod");
    fails(&proxy, &["key", "rotate"], 78, "chmod 600");
    std::fs::remove_file(proxy.key_file()).expect("remove the key");
    fails(&proxy, &["account", "list"], 78, "data.key is missing");
    assert!(!proxy.key_file().exists(), "no new key for an old store");
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_listed_and_left() {
    let world = World::with_defaults().await;
    let (proxy, room) = (&world.proxy, &world.room);
    let (one, two) = (world.client("alice/1").await, world.client("alice/2").await);
    one.join(room, "alice").await;
    two.join(room, "alice").await;
    let list = json(proxy, ["rooms", "list", "--json"]);
    let all = list["rooms"].as_array().expect("a list").clone();
    assert_eq!(all.len(), 1, "{list}");
    let expected = serde_json::json!({
        "account": "alice@localhost", "room": room, "nick": "alice", "state": "joined",
        "clients": ["alice@localhost/1", "alice@localhost/2"], "occupants": 2,
    });
    assert_eq!(all[0], expected);
    let text = plain(proxy, ["rooms", "list", "alice@localhost"]);
    assert_eq!(text, format!("alice@localhost\t{room}\talice\tjoined\toccupants 2\tclients 1, 2\n"));
    assert_eq!(json(proxy, ["rooms", "list", "bob@localhost", "--json"])["rooms"], serde_json::json!([]));

    // Out, at once, everybody; and nobody goes back by himself.
    let (mark, marks) = (world.observer.mark(), [one.mark(), two.mark()]);
    plain(proxy, ["rooms", "leave", "alice@localhost", room]);
    world.leaves(mark, "alice").await;
    for (client, mark) in [&one, &two].into_iter().zip(marks) {
        let own = |e: &Event| e.is("presence", &["'110'", "type='unavailable'"]) && e.xml.contains(room.as_str());
        let gone = client.wait_since(mark, "its own leave", own).await;
        assert_eq!(gone.attr("from"), Some(format!("{room}/alice")), "{}", gone.xml);
        let ping = client.self_ping(room, "alice").await;
        assert_eq!(ping.attr("type").as_deref(), Some("error"), "{}", ping.xml);
        assert_eq!(client.since(mark).iter().filter(|e| own(e)).count(), 1);
    }
    let deadline = Instant::now() + support::PATIENCE;
    while json(proxy, ["rooms", "list", "--json"])["rooms"] != serde_json::json!([]) {
        assert!(Instant::now() < deadline, "the room is still listed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for nobody in [["alice@localhost", room], ["bob@localhost", room], ["alice@localhost", "no room"]] {
        let output = proxy.admin(["rooms", "leave", nobody[0], nobody[1], "--json"], "");
        assert_eq!((output.status.code(), &parsed(&output)["ok"]), (Some(1), &false.into()), "{output:?}");
    }
    // Until a client joins.
    let mark = world.observer.mark();
    two.join(room, "alice").await;
    world.comes(mark, "alice").await;
    one.sync().await;
    assert!(!one.since(marks[0]).iter().any(|e| e.is("presence", &["<item"]) && e.attr("type").is_none()));
}
