//! The rules that keep people apart, each attacked (docs: the threat model). Tests are named after the rule's number.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use support::driver::Login;
use support::proxy::{Proxy, Setup};
use support::raw::{self, Raw, SASL, TLS, header, plain};
use support::scripted::{Scripted, Stream, between};
use support::server::{Kind, Options, Server, password};
use support::{certs, slix};

/// Answers IQs, and nothing else.
fn quiet(stream: &Stream, stanza: &str) {
    if stanza.starts_with("<iq") {
        stream.result(stanza);
    }
}

async fn tls(proxy: &Proxy) -> Raw {
    Raw::direct_to(proxy.direct_tls(), "localhost", &raw::tls(&proxy.certs.ca)).await
}

/// All that comes until the connection ends, which must be with this stream error.
async fn ends_with(client: &mut Raw, condition: &str) -> String {
    let rest = client.rest().await.0;
    let error = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
    let told = rest.split_once("<stream:error").is_some_and(|(_, told)| told.contains(&error));
    assert!(told && rest.ends_with("</stream:error></stream:stream>"), "{condition}: {rest}");
    rest
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_only_configured_domains_are_dialled() {
    let server = Scripted::start(quiet).await;
    let proxy = Setup::upstream(server.address, "none").start();
    for to in ["elsewhere.test", "localhost.elsewhere.test", "user@localhost", "127.0.0.1", ""] {
        let mut plaintext = Raw::plain(proxy.starttls()).await;
        plaintext.send(&header(to)).await;
        ends_with(&mut plaintext, "host-unknown").await;
        let mut client = tls(&proxy).await;
        client.send(&header(to)).await;
        ends_with(&mut client, "host-unknown").await;
    }
    // After login, too.
    let mut client = tls(&proxy).await;
    client.open().await;
    client.send(&plain("", "alice", &password("alice"))).await;
    client.expect("<success").await;
    let dialled = server.connections();
    client.send(&header("elsewhere.test")).await;
    ends_with(&mut client, "host-unknown").await;
    assert_eq!(server.connections(), dialled);
    assert!(!server.received().contains("elsewhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_the_domain_is_one_of_the_certificate_that_was_shown() {
    let server = Scripted::start(quiet).await;
    let dir = tempfile::tempdir().expect("a directory");
    let other = certs::make(dir.path(), &["other.test"], false);
    let config = dir.path().join("config.toml");
    let text = format!(
        "[[domain]]\nname = \"other.test\"\ncertificate = {:?}\nkey = {:?}\nupstream.address = \"{}\"\n\
         upstream.tls = \"none\"\n",
        other.chain, other.key, server.address
    );
    std::fs::write(&config, text).expect("write the configuration");
    let proxy = Setup::upstream(server.address, "none").args(["--config", config.to_str().expect("UTF-8")]).start();

    let mut client = Raw::direct_to(proxy.direct_tls(), "other.test", &raw::tls(&other.ca)).await;
    client.send(&header("localhost")).await;
    ends_with(&mut client, "host-unknown").await;
    let mut client = tls(&proxy).await;
    client.send(&header("other.test")).await;
    ends_with(&mut client, "host-unknown").await;
    assert_eq!(server.connections(), 0);
    // Each is served where it was asked for by its own name.
    tls(&proxy).await.open().await;
    let mut client = Raw::direct_to(proxy.direct_tls(), "other.test", &raw::tls(&other.ca)).await;
    client.send(&header("other.test")).await;
    client.expect("</stream:features>").await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn s01_the_proxy_does_not_dial_itself() {
    let proxy = Setup::itself().start();
    let mut client = tls(&proxy).await;
    client.send(&header("localhost")).await;
    let told = ends_with(&mut client, "internal-server-error").await;
    assert!(told.contains("misconfigured") && !told.contains("127.0.0.1"), "{told}");
    let line = proxy.wait_log("cannot reach the server").await;
    assert!(line.contains("is this proxy itself; set upstream.address (--upstream)"), "{line}");
    let added = proxy.admin(["account", "add", "alice@localhost", "--password-stdin"], "x");
    assert_eq!(added.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&added.stderr).contains("is this proxy itself"), "{added:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_a_bound_jid_of_another_domain_ends_the_stream() {
    let server = Scripted::start(quiet).await;
    let proxy = Setup::upstream(server.address, "none").start();
    server.bind_to("elsewhere.test");
    let mut client = tls(&proxy).await;
    client.open().await;
    client.send(&plain("", "alice", &password("alice"))).await;
    client.expect("<success").await;
    client.open().await;
    client.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>").await;
    let told = ends_with(&mut client, "undefined-condition").await;
    assert!(!told.contains("<jid>"), "{told}");
    proxy.wait_log("the bound JID is of another domain").await;
    assert!(!proxy.log().contains("logged in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn s02_a_foreign_authzid_is_refused() {
    for auth in ["learn", "mixed", "relay"] {
        let server = Scripted::start(quiet).await;
        let proxy = Setup::upstream(server.address, "none").auth(auth).start();
        let mut client = tls(&proxy).await;
        client.open().await;
        for foreign in ["bob@localhost", "alice@elsewhere.test", "bob"] {
            client.send(&plain(foreign, "alice", &password("alice"))).await;
            let told = client.expect("</failure>").await;
            assert!(told.contains("<invalid-authzid/>"), "{auth} {foreign}: {told}");
        }
        assert!(!server.received().contains("<auth"), "{auth}: {}", server.received());
        // Her own is allowed, and a stanza from somebody else is not.
        let mut client = tls(&proxy).await;
        client.open().await;
        client.send(&plain("alice@localhost", "alice", &password("alice"))).await;
        client.expect("<success").await;
        client.open().await;
        assert_eq!(client.bind("x").await, "alice@localhost/x", "{auth}");
        client.send("<message from='bob@localhost/x' to='carol@localhost'><body>I am Bob</body></message>").await;
        ends_with(&mut client, "invalid-from").await;
        assert!(!server.received().contains("I am Bob"));
    }
}

/// A server that binds somebody else than who logged in: that stream has no part in the other's account.
#[tokio::test(flavor = "multi_thread")]
async fn s02_who_is_bound_as_somebody_else_passes_through() {
    let server = Scripted::start(quiet).await;
    let proxy = Setup::upstream(server.address, "none").start();
    tls(&proxy).await.log_in("bob", "own").await;
    let line = proxy.wait_log("jid=bob@localhost/own").await;
    assert!(line.contains("joined once per account"), "{line}");
    server.bind_as("bob");
    let mut alice = tls(&proxy).await;
    assert_eq!(alice.log_in("alice", "foreign").await, "bob@localhost/foreign");
    let line = proxy.wait_log("jid=bob@localhost/foreign").await;
    assert!(line.contains("pass through"), "{line}");
}

/// A stream that nobody's name logged in to is pass-through, whatever JID the server binds.
#[tokio::test(flavor = "multi_thread")]
async fn s02_anonymous_streams_pass_through() {
    let joins: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&joins);
    let join = move |stream: &Stream, stanza: &str| {
        quiet(stream, stanza);
        if stanza.starts_with("<presence") && stanza.contains("room@") {
            seen.lock().expect("joins").push(stream.jid.clone());
            stream.send(format!("<message from='room@conference.localhost' to='{}' id='came'/>", stream.jid));
        }
    };
    let server = Scripted::offering(&["SCRAM-SHA-256", "PLAIN", "ANONYMOUS"], "", join).await;
    let proxy = Setup::upstream(server.address, "none").auth("mixed").start();
    let presence =
        "<presence to='room@conference.localhost/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>";

    let mut alice = tls(&proxy).await;
    alice.log_in("alice", "phone").await;
    alice.send(presence).await;
    let mut anonymous = tls(&proxy).await;
    anonymous.open().await;
    anonymous.send(&format!("<auth {SASL} mechanism='ANONYMOUS'/>")).await;
    anonymous.expect("<success").await;
    anonymous.open().await;
    assert_eq!(anonymous.bind("nobody").await, "alice@localhost/nobody");
    anonymous.send(presence).await;
    anonymous.expect("id='came'").await;

    let joins = joins.lock().expect("joins").clone();
    assert!(joins.contains(&"alice@localhost/nobody".to_owned()), "the anonymous stream joined by itself: {joins:?}");
    assert!(!joins.contains(&"alice@localhost/phone".to_owned()), "Alice's client did not: {joins:?}");
    let line = proxy.wait_log("jid=alice@localhost/nobody").await;
    assert!(line.contains("pass through"), "{line}");
    let line = proxy.wait_log("jid=alice@localhost/phone").await;
    assert!(line.contains("joined once per account"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s05_plain_upstream_needs_to_be_allowed() {
    let server = Scripted::offering(&["PLAIN"], "", quiet).await;
    let proxy = Setup::upstream(server.address, "none").start();
    let mut client = tls(&proxy).await;
    client.open().await;
    client.send(&plain("", "alice", &password("alice"))).await;
    assert!(client.expect("</failure>").await.contains("<temporary-auth-failure/>"));
    let line = proxy.wait_log("login failed").await;
    assert!(line.contains("it offers: PLAIN") && line.contains("allow_plain"), "{line}");
    assert!(!server.received().contains("<auth"), "no password was sent: {}", server.received());
}

/// A server that had SCRAM and now has only PLAIN gets nothing, even where PLAIN is allowed and after a restart, until
/// the operator says that it is right.
#[tokio::test(flavor = "multi_thread")]
async fn s05_the_best_mechanism_of_a_domain_is_remembered() {
    let server = Scripted::offering(&["SCRAM-SHA-256", "PLAIN"], "", quiet).await;
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[[domain]]\nname = \"localhost\"\nupstream.allow_plain = true\n").expect("write");
    let setup = Setup::upstream(server.address, "none").args(["--config", config.to_str().expect("UTF-8")]);
    let mut proxy = setup.start();
    tls(&proxy).await.log_in("alice", "x").await;
    let before = server.received();
    assert!(before.contains("mechanism='SCRAM-SHA-256'") && !before.contains("mechanism='PLAIN'"), "{before}");

    server.offer(&["PLAIN"]);
    for _ in 0..2 {
        let mut client = tls(&proxy).await;
        client.open().await;
        client.send(&plain("", "alice", &password("alice"))).await;
        assert!(client.expect("</failure>").await.contains("<temporary-auth-failure/>"));
        proxy
            .wait_log("refused as a possible downgrade; if the server was reconfigured, run `minimix-proxy domain")
            .await;
        proxy.stop();
        proxy.start_again();
    }
    assert!(!server.received().contains("mechanism='PLAIN'"), "{}", server.received());
    assert!(proxy.admin(["domain", "reset", "localhost"], "").status.success());
    tls(&proxy).await.log_in("alice", "x").await;
    assert!(server.received().contains("mechanism='PLAIN'"));
}

/// A server in between that asks for what would give the password away, or does not know it.
#[tokio::test(flavor = "multi_thread")]
async fn s05_a_downgrade_gets_no_password_and_no_success() {
    let server = Scripted::offering(&["SCRAM-SHA-256"], "", quiet).await;
    let proxy = Setup::upstream(server.address, "none").start();
    let attempt = async || {
        let mut client = tls(&proxy).await;
        client.open().await;
        client.send(&plain("", "alice", &password("alice"))).await;
        client.expect("</failure>").await
    };
    // The last two would keep a core busy for an hour, or could not be counted at all.
    for iterations in ["1", "4095", "1000001", "4294967295", "99999999999999999999"] {
        server.iterate(iterations);
        let told = attempt().await;
        assert!(told.contains("<temporary-auth-failure/>"), "{iterations}: {told}");
        proxy.wait_log(&format!("asks for {iterations} SCRAM iterations")).await;
    }
    let received = server.received();
    assert!(!received.contains("<response"), "no proof was sent: {received}");
    assert_eq!(received.matches("<abort").count(), 5, "{received}");

    server.iterate("4096");
    server.lie();
    let told = attempt().await;
    assert!(told.contains("<temporary-auth-failure/>") && !told.contains("<success"), "{told}");
    proxy.wait_log("signature is wrong").await;
    assert!(proxy.admin(["account", "list"], "").stdout.is_empty(), "nobody is enrolled");

    server.offer(&["PLAIN"]);
    assert!(attempt().await.contains("<temporary-auth-failure/>"));
    let received = server.received();
    assert!(!received.contains("mechanism='PLAIN'"), "{received}");
    for (what, form) in forms("the password", password("alice").as_bytes()) {
        assert!(!received.contains(&form), "{what} was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s06_a_server_without_tls_gets_nothing() {
    let server = Scripted::start(quiet).await;
    let dir = tempfile::tempdir().expect("a directory");
    let ca = certs::make(dir.path(), &["localhost"], false).ca;
    for auth in ["learn", "relay"] {
        let proxy = Setup::upstream(server.address, "starttls").upstream_ca(&ca).auth(auth).start();
        let mut client = tls(&proxy).await;
        client.send(&(header("localhost") + &plain("", "alice", &password("alice")))).await;
        let told = ends_with(&mut client, "remote-connection-failed").await;
        assert!(told.contains("the server offers no encryption"), "{told}");
        let line = proxy.wait_log("cannot reach the server").await;
        assert!(line.contains("offers no STARTTLS: not going on in plaintext; enable TLS on the server"), "{line}");
        let added = proxy.admin(["account", "add", "alice@localhost", "--password-stdin"], &password("alice"));
        assert_eq!(added.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&added.stderr).contains("offers no STARTTLS"), "{added:?}");
    }
    assert_eq!(server.connections(), 4);
    let received = server.received();
    assert_eq!(received.matches("<stream:stream").count(), 4, "{received}");
    assert!(!received.contains("<auth") && !received.contains("alice"), "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_what_was_not_offered_is_refused() {
    let server = Scripted::start(quiet).await;
    let proxy = Setup::upstream(server.address, "none").start();
    let authenticate = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'>\
                        <initial-response>AGFsaWNlAHg=</initial-response></authenticate>";
    let enable = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
    let resume = "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>";
    let compress = "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>";
    let answered = [(enable, "</failed>"), (resume, "</failed>"), (compress, "</failure>")];

    for logged_in in [false, true] {
        let mut client = tls(&proxy).await;
        let features = match logged_in {
            false => client.open().await,
            true => client.log_in("alice", "x").await,
        };
        for unoffered in ["urn:xmpp:sasl:2", "urn:xmpp:sm:", "compress", "xmpp-tls"] {
            assert!(!features.contains(unoffered), "{features}");
        }
        for (attempt, answer) in answered {
            client.send(attempt).await;
            client.expect(answer).await;
        }
        client.send(authenticate).await;
        ends_with(&mut client, "unsupported-stanza-type").await;
        // No TLS inside TLS, no login after the login, no stanza before it.
        let again =
            if logged_in { plain("", "bob", &password("bob")) } else { format!("<response {SASL}>AA==</response>") };
        for fatal in [format!("<starttls {TLS}/>"), again] {
            let mut client = tls(&proxy).await;
            if logged_in {
                client.log_in("alice", "x").await;
            } else {
                client.open().await;
            }
            client.send(&fatal).await;
            ends_with(&mut client, "policy-violation").await;
        }
    }
    let mut client = tls(&proxy).await;
    client.open().await;
    client
        .send("<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>mallory</username></query></iq>")
        .await;
    ends_with(&mut client, "not-authorized").await;
    let received = server.received();
    for never in [
        "authenticate",
        "<enable",
        "<resume ",
        "<compress",
        "<starttls",
        "mallory",
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>AA==",
    ] {
        assert!(!received.contains(never), "{never} reached the server: {received}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s09_what_is_glued_behind_starttls_has_no_effect() {
    let server = Scripted::start(quiet).await;
    let proxy = Setup::upstream(server.address, "none").start();
    let glued = [
        "<iq type='set' id='glued'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>".to_owned(),
        header("localhost") + &plain("", "alice", &password("alice")),
        " ".to_owned(),
    ];
    for glued in glued {
        let mut client = Raw::plain(proxy.starttls()).await;
        client.open().await;
        client.send(&format!("<starttls {TLS}/>{glued}")).await;
        let told = ends_with(&mut client, "policy-violation").await;
        assert!(!told.contains("<proceed"), "{told}");
    }
    // Before TLS there is neither login nor stanza.
    let mut client = Raw::plain(proxy.starttls()).await;
    client.open().await;
    client.send(&plain("", "alice", &password("alice"))).await;
    assert!(client.expect("</failure>").await.contains("<encryption-required/>"));
    client.send("<message to='bob@localhost'><body>hello</body></message>").await;
    ends_with(&mut client, "not-authorized").await;
    assert_eq!(server.connections(), 0);
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o7777
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn s22_the_store_is_private_and_tells_nothing() {
    // In the clear the server makes a new salt for every login: the password itself is kept.
    let server = Server::start(Kind::Prosody, Options { hashed: false, ..Options::default() });
    let mut proxy = Setup::before(&server).start();
    let slix = slix::start();
    slix.client("alice").connect(&proxy.login("alice/x")).await;
    let listed = proxy.admin(["account", "list"], "");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("alice@localhost\tpassword"), "{listed:?}");

    let look = |proxy: &Proxy| {
        assert_eq!(mode(&proxy.data()), 0o700);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(proxy.data()).expect("the data directory").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            assert_eq!(mode(&entry.path()), 0o600, "{name}");
            if entry.file_type().expect("a type").is_file() {
                let bytes = std::fs::read(entry.path()).expect("read it");
                assert!(!contains(&bytes, password("alice").as_bytes()), "{name} holds the password");
            }
            names.push(name);
        }
        names
    };
    let names = look(&proxy);
    assert!(names.iter().any(|name| name == "control.sock"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("key")), "the key lies elsewhere: {names:?}");
    proxy.stop();
    let names = look(&proxy);
    assert!(!names.iter().any(|n| n == "control.sock"), "{names:?}");

    let key = proxy.key_file();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    let refused = proxy.admin(["account", "list"], "");
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains(key.to_str().expect("UTF-8")) && told.contains("chmod 600"), "{told}");
}

/// Every form in which bytes might be logged.
fn forms(what: &str, bytes: &[u8]) -> Vec<(String, String)> {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let all = [
        ("as text", String::from_utf8_lossy(bytes).into_owned()),
        ("as base64", BASE64.encode(bytes).trim_end_matches('=').to_owned()),
        ("as hex", hex.clone()),
        ("as HEX", hex.to_uppercase()),
        ("as a list", format!("{bytes:?}").trim_matches(['[', ']']).to_owned()),
    ];
    all.into_iter().map(|(how, text)| (format!("{what} {how}"), text)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn s23_no_log_holds_secrets_or_messages() {
    let server = Server::start(Kind::Prosody, Options::default());
    let mut proxy = Setup::before(&server).auth("mixed").log("trace").start();
    let slix = slix::start();
    let clients = [slix.client("plain"), slix.client("scram"), slix.client("wrong"), slix.client("bob")];
    let [plain, scram, wrong, bob] = &clients;
    let room = server.room("secrets");
    let login = |user: &str, mechanism: &str| proxy.login(user).with("mechanism", mechanism);
    plain.connect(&login("alice/1", "PLAIN")).await;
    scram.connect(&login("alice/2", "SCRAM-SHA-1")).await;
    bob.connect(&login("bob/1", "SCRAM-SHA-1")).await;
    let failed = wrong.try_connect(&login("alice/3", "PLAIN").password("wrong-0815-password")).await;
    assert!(failed.is_err());
    let added = proxy.admin(["account", "add", "bob@localhost", "--password-stdin"], &password("bob"));
    assert!(added.status.success(), "{added:?}");
    for (client, nick) in [(plain, "alice"), (scram, "alice"), (bob, "bob")] {
        client.join(&room, nick).await;
    }
    plain.groupchat(&room, "g", "groupchat-body-4711").await;
    for client in [plain, scram, bob] {
        client.wait_for("the message", |e| e.is("message", &["groupchat-body-4711"])).await;
    }
    bob.chat(&format!("{room}/alice"), "p", "private-body-4712").await;
    plain.wait_for("the private message", |e| e.is("message", &["private-body-4712"])).await;
    scram.chat("bob@localhost/1", "c", "chat-body-4713").await;
    bob.wait_for("the chat message", |e| e.is("message", &["chat-body-4713"])).await;

    let mut secrets = Vec::new();
    for body in ["groupchat-body-4711", "private-body-4712", "chat-body-4713"] {
        secrets.extend(forms("a body", body.as_bytes()));
    }
    for (user, password) in
        [("alice", password("alice")), ("bob", password("bob")), ("alice", "wrong-0815-password".into())]
    {
        secrets.extend(forms("a password", password.as_bytes()));
        secrets.extend(forms("a PLAIN message", format!("\0{user}\0{password}").as_bytes()));
    }
    // The keys of Alice and Bob, by the salt that the server told their clients, and the nonces of those logins.
    for (client, user) in [(scram, "alice"), (bob, "bob")] {
        let challenge = client.wait_for("the challenge", |e| e.kind == "nonza" && e.name() == "challenge").await;
        let text = BASE64.decode(between(&challenge.xml, ">", "</").expect("data")).expect("base64");
        let text = String::from_utf8(text).expect("text");
        let field = |name: &str| text.split(',').find_map(|f| f.strip_prefix(name)).expect("a field").to_owned();
        secrets.extend(forms("a nonce", field("r=").as_bytes()));
        let rounds = field("i=").parse::<u32>().ok().and_then(std::num::NonZeroU32::new).expect("a count");
        let (salt, mut salted) = (BASE64.decode(field("s=")).expect("a salt"), [0; 20]);
        let algorithm = ring::pbkdf2::PBKDF2_HMAC_SHA1;
        ring::pbkdf2::derive(algorithm, rounds, &salt, password(user).as_bytes(), &mut salted);
        secrets.extend(forms("a SaltedPassword", &salted));
    }
    secrets.extend(forms("the store's key", &std::fs::read(proxy.key_file()).expect("the key")));
    proxy.stop();
    let log = proxy.log();
    assert!(log.contains("TRACE") && log.contains("account session is up"), "a full log");
    for (what, secret) in secrets {
        assert!(!log.contains(&secret), "{what} is in the log: {secret}");
    }
}

/// The same for what the proxy itself says in its logins: as written, decoded, and the nonces in it.
#[tokio::test(flavor = "multi_thread")]
async fn s23_no_log_holds_what_logs_in() {
    let server = Scripted::start(quiet).await;
    let mut proxy = Setup::upstream(server.address, "none").log("trace").start();
    let mut client = tls(&proxy).await;
    client.log_in("alice", "x").await;
    proxy.wait_log("account session is up").await;
    let added = proxy.admin(["account", "add", "bob@localhost", "--password-stdin"], &password("bob"));
    assert!(added.status.success(), "{added:?}");
    proxy.stop();
    let received = server.received();
    let said: Vec<&str> = received.split(SASL).skip(1).filter_map(|part| between(part, ">", "</")).collect();
    assert_eq!(said.len(), 10, "two logins of each account and Alice's session, two messages each: {received}");
    let log = proxy.log();
    assert!(log.contains("TRACE"), "a full log");
    for message in said {
        let decoded = String::from_utf8(BASE64.decode(message).expect("base64")).expect("text");
        let nonce = decoded.split(',').find_map(|f| f.strip_prefix("r=")).expect("a nonce");
        let proof = decoded.split(',').find_map(|f| f.strip_prefix("p=")).unwrap_or(message);
        for secret in [message, &decoded, nonce, proof] {
            assert!(!log.contains(secret), "{secret} is in the log");
        }
    }
}

/// What a server says cannot make a line of its own in the log, nor move an operator's cursor.
#[tokio::test(flavor = "multi_thread")]
async fn s23_control_characters_of_a_server_are_escaped() {
    let server = Scripted::start(quiet).await;
    let proxy = Setup::upstream(server.address, "none").start();
    server.explain("first&#10;2026-01-01 ERROR forged&#x9b;31m line");
    let mut client = tls(&proxy).await;
    client.open().await;
    client.send(&plain("", "alice", "wrong")).await;
    client.expect("</failure>").await;
    proxy.wait_log("forged").await;
    let added = proxy.admin(["account", "add", "alice@localhost", "--password-stdin"], "wrong");
    assert_eq!(added.status.code(), Some(1));
    for text in [proxy.log(), String::from_utf8_lossy(&added.stderr).into_owned()] {
        assert!(text.contains("forged") && !text.contains('\u{9b}'), "{text:?}");
        assert!(text.lines().all(|line| !line.starts_with("2026-01-01 ERROR")), "{text:?}");
    }
    // Another client is none the worse for it.
    let slix = slix::start();
    slix.client("bob").connect(&Login::new(proxy.direct_tls(), "bob/x", &proxy.certs.ca).direct()).await;
}
