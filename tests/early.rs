//! What passes before login (S4): registration (XEP-0077) and the login of before SASL (XEP-0078), on real servers;
//! refused unless they are enabled.

mod support;

use support::proxy::{Proxy, Setup};
use support::raw::{self, Raw, plain};
use support::server::{KINDS, Kind, Options, Server, password};

const REGISTER: &str = "http://jabber.org/features/iq-register";
const AUTH: &str = "http://jabber.org/features/iq-auth";

/// A server that offers both.
fn server(kind: Kind) -> Server {
    let extra = match kind {
        Kind::Ejabberd => "  mod_legacy_auth: {}\nregistration_timeout: infinity".to_owned(),
        Kind::Prosody => "allow_registration = true\nmodules_enabled = { \"disco\", \"roster\", \"saslauth\", \
                          \"tls\", \"posix\", \"ping\", \"admin_shell\", \"register_ibr\", \"legacyauth\" }"
            .to_owned(),
    };
    // ejabberd's mod_legacy_auth finds no password right where keys are kept.
    let hashed = kind == Kind::Prosody;
    Server::start(kind, Options { extra, hashed, ..Options::default() })
}

fn start(server: &Server, domain: &str) -> (Proxy, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    let limits = "[limits]\nlogin_failures_per_account = 2\n";
    std::fs::write(&config, format!("{limits}[[domain]]\nname = \"localhost\"\n{domain}")).expect("write");
    (Setup::before(server).auth("mixed").args(["--config", config.to_str().expect("UTF-8")]).start(), dir)
}

async fn open(proxy: &Proxy) -> (Raw, String) {
    let mut client = Raw::direct(proxy.direct_tls(), &raw::tls(&proxy.certs.ca)).await;
    let features = client.open().await;
    (client, features)
}

async fn iq(client: &mut Raw, kind: &str, query: &str) -> String {
    client.send(format!("<iq type='{kind}' id='early'>{query}</iq>")).await;
    client.expect(if query.contains("/resource") || kind == "set" { ">" } else { "</iq>" }).await
}

fn legacy(user: &str, password: &str) -> String {
    format!(
        "<query xmlns='jabber:iq:auth'><username>{user}</username><password>{password}</password>\
         <resource>old</resource></query>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_neither_passes_unless_it_is_enabled() {
    for kind in KINDS {
        let server = server(kind);
        // That the server offers both shows without the proxy.
        let mut direct = Raw::direct(server.direct_tls(), &raw::tls(&server.certs.ca)).await;
        let features = direct.open().await;
        assert!(features.contains(REGISTER) && features.contains(AUTH), "{kind:?}: {features}");
        let (proxy, _config) = start(&server, "");
        let register = "<query xmlns='jabber:iq:register'><username>dave</username><password>x</password></query>";
        for query in [register, &legacy("alice", &password("alice"))] {
            let (mut client, features) = open(&proxy).await;
            assert!(!features.contains(REGISTER) && !features.contains(AUTH), "{kind:?}: {features}");
            client.send(format!("<iq type='set' id='early'>{query}</iq>")).await;
            let (rest, _) = client.rest().await;
            assert!(rest.contains("<not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"), "{kind:?}: {rest}");
        }
        let (mut client, _) = open(&proxy).await;
        client.send(plain("", "dave", "x")).await;
        client.expect("<not-authorized").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_registration_if_it_is_enabled() {
    for kind in KINDS {
        let server = server(kind);
        let (proxy, _config) = start(&server, "registration = true");
        let (mut client, features) = open(&proxy).await;
        assert!(features.contains(REGISTER) && !features.contains(AUTH), "{kind:?}: {features}");
        let form = iq(&mut client, "get", "<query xmlns='jabber:iq:register'/>").await;
        assert!(form.contains("type='result'") && form.contains("<username"), "{kind:?}: {form}");
        let query =
            "<query xmlns='jabber:iq:register'><username>dave</username><password>dave-password</password></query>";
        let answer = iq(&mut client, "set", query).await;
        assert!(answer.contains("type='result'"), "{kind:?}: {answer}");
        let listed = proxy.admin(["account", "list"], "");
        assert!(listed.stdout.is_empty(), "who registers is not enrolled: {listed:?}");
        // An account cannot be removed before login.
        let (mut other, _) = open(&proxy).await;
        let remove = "<query xmlns='jabber:iq:register'><remove/><username>dave</username><password>dave-password</password></query>";
        other.send(format!("<iq type='set' id='early'>{remove}</iq>")).await;
        assert!(other.rest().await.0.contains("<not-authorized"));
        // On the same stream, or on another, dave can log in.
        let mut dave = Raw::direct(proxy.direct_tls(), &raw::tls(&proxy.certs.ca)).await;
        assert_eq!(dave.log_in("dave", "x").await, "dave@localhost/x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s04_a_login_of_before_sasl_if_it_is_enabled() {
    for kind in KINDS {
        let server = server(kind);
        let (proxy, _config) = start(&server, "legacy_auth = true");
        let mut bob = Raw::direct(proxy.direct_tls(), &raw::tls(&proxy.certs.ca)).await;
        bob.log_in("bob", "x").await;
        let (mut client, features) = open(&proxy).await;
        assert!(features.contains(AUTH) && !features.contains(REGISTER), "{kind:?}: {features}");
        let form = iq(&mut client, "get", "<query xmlns='jabber:iq:auth'><username>alice</username></query>").await;
        assert!(form.contains("<password"), "{kind:?}: {form}");
        let answer = iq(&mut client, "set", &legacy("alice", &password("alice"))).await;
        assert!(answer.contains("type='result'"), "{kind:?}: {answer}");
        let line = proxy.wait_log("jid=alice@localhost/old").await;
        assert!(line.contains("pass through"), "{line}");
        client.send("<message to='bob@localhost/x' type='chat'><body>old school</body></message>").await;
        let message = bob.expect("</message>").await;
        assert!(message.contains("from='alice@localhost/old'") && message.contains("old school"), "{message}");
        // The limits hold here too (S3); Alice is known at this address.
        let (mut client, _) = open(&proxy).await;
        for _ in 0..2 {
            let answer = iq(&mut client, "set", &legacy("carol", "wrong")).await;
            assert!(answer.contains("type='error'"), "{kind:?}: {answer}");
            client.expect("</iq>").await;
        }
        let answer = iq(&mut client, "set", &legacy("carol", &password("carol"))).await;
        assert!(answer.contains("type='error'"), "{kind:?}: {answer}");
        assert!(client.expect("</iq>").await.contains("<resource-constraint"));
        proxy.wait_log("login refused: too many failed logins").await;
    }
}
