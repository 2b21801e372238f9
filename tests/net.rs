//! Floor 3 over real sockets and real TLS on loopback: dialling a scripted server, logging in to it, accepting clients.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minimix_proxy::config::{self, Address, Config, Flags, UpstreamTls};
use minimix_proxy::net::dev_certs;
use minimix_proxy::net::dial::{DialError, Dialled, Upstream};
use minimix_proxy::net::link::Socket;
use minimix_proxy::net::listen::Listener;
use minimix_proxy::net::login::{self, LoginError};
use minimix_proxy::net::proxy_protocol::Origin;
use minimix_proxy::net::tls::{Accepted, CertificateFiles, ServerTls};
use minimix_proxy::stream::sasl::{Mechanism, Policy, Secret};
use minimix_proxy::xmpp::conditions::StreamCondition;
use minimix_proxy::xmpp::header::Header;
use rcgen::{CertificateParams, KeyPair};
use ring::{digest, hmac, pbkdf2};
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const HEADER: &str = "<?xml version='1.0'?><stream:stream from='xmpp.test' id='1' version='1.0' \
    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";

fn features(content: &str) -> String {
    format!("{HEADER}<stream:features>{content}</stream:features>")
}

fn mechanisms(names: &[&str]) -> String {
    let names: String = names.iter().map(|n| format!("<mechanism>{n}</mechanism>")).collect();
    features(&format!("<mechanisms {SASL}>{names}</mechanisms>"))
}

/// Certificates for xmpp.test by a CA of its own, and a listening socket.
struct World {
    directory: tempfile::TempDir,
    listener: TcpListener,
    address: SocketAddr,
    limits: config::Limits,
}

impl World {
    async fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        dev_certs::make(path, &["xmpp.test".into(), "other.test".into()]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config::load(&Flags {
            domain: Some("xmpp.test".into()),
            listen: Some("127.0.0.1:0".into()),
            cert: Some(path.join("xmpp.test.pem")),
            key: Some(path.join("xmpp.test.key")),
            data: Some(path.join("data")),
            ..Flags::default()
        });
        World { limits: config.unwrap().limits, directory, listener, address }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn files(&self, domain: &str) -> CertificateFiles {
        let (certificate, key) = (self.file(&format!("{domain}.pem")), self.file(&format!("{domain}.key")));
        CertificateFiles { domain: domain.into(), certificate, key }
    }

    fn tls(&self, domain: &str) -> ServerTls {
        ServerTls::new(vec![self.files(domain)]).unwrap().0
    }

    fn upstream_config(&self, tls: UpstreamTls) -> config::Upstream {
        config::Upstream {
            address: Some(Address { host: self.address.ip().to_string(), port: self.address.port() }),
            tls,
            ca: Some(self.file("ca.pem")),
            insecure: false,
            allow_plain: false,
            keep_password: true,
            proxy_protocol: false,
        }
    }

    fn upstream(&self, tls: UpstreamTls) -> Upstream {
        self.upstream_from(&self.upstream_config(tls))
    }

    fn upstream_from(&self, config: &config::Upstream) -> Upstream {
        Upstream::new(config, &self.limits, Arc::new([])).unwrap()
    }

    /// Runs the server's part beside the dial.
    async fn dial<T: Send + 'static>(
        self,
        upstream: Upstream,
        server: impl AsyncFnOnce(TcpStream) -> T,
    ) -> (Result<Dialled, DialError>, T) {
        let serve = async {
            let (stream, _) = self.listener.accept().await.unwrap();
            server(stream).await
        };
        let dial = upstream.dial("xmpp.test", Origin::Own);
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(dial, serve) }).await.unwrap()
    }
}

/// Reads until `end` has come; panics at the end of the stream.
async fn expect(io: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut got = Vec::new();
    while !got.ends_with(end.as_bytes()) {
        got.push(io.read_u8().await.unwrap_or_else(|e| panic!("{e} after {:?}", String::from_utf8_lossy(&got))));
    }
    String::from_utf8(got).unwrap()
}

async fn say(io: &mut (impl AsyncWrite + Unpin), text: &str) {
    io.write_all(text.as_bytes()).await.unwrap();
    io.flush().await.unwrap();
}

/// The server's part of STARTTLS, up to `<proceed/>` (and what is glued to it).
async fn offer_starttls(stream: &mut TcpStream, proceed: &str) {
    assert!(expect(stream, "streams'>").await.contains("to='xmpp.test'"));
    say(stream, &features(STARTTLS)).await;
    expect(stream, STARTTLS).await;
    say(stream, proceed).await;
}

#[tokio::test]
async fn starttls_secures_and_binds_both_sides_alike() {
    let world = World::new().await;
    let (upstream, tls) = (world.upstream(UpstreamTls::StartTls), world.tls("xmpp.test"));
    let (dialled, accepted) = world
        .dial(upstream, async |mut stream| {
            offer_starttls(&mut stream, PROCEED).await;
            tls.accept_starttls(stream, "xmpp.test").await.unwrap()
        })
        .await;
    let dialled = dialled.unwrap();
    assert!(dialled.encrypted);
    assert_eq!(accepted.sni.as_deref(), Some("xmpp.test"));
    assert_eq!(dialled.binding.exporter.as_ref().unwrap().len(), 32);
    assert_eq!(dialled.binding.exporter, accepted.binding.exporter);
    assert_eq!(dialled.binding.server_end_point.as_ref().unwrap().len(), 32);
    assert_eq!(dialled.binding.server_end_point, accepted.binding.server_end_point);
}

#[tokio::test]
async fn direct_tls_secures_and_binds_both_sides_alike() {
    let world = World::new().await;
    let (upstream, tls) = (world.upstream(UpstreamTls::Direct), world.tls("xmpp.test"));
    let (dialled, accepted) = world.dial(upstream, async |stream| tls.accept_direct(stream).await.unwrap()).await;
    let dialled = dialled.unwrap();
    assert!(dialled.encrypted);
    assert_eq!(dialled.binding.exporter, accepted.binding.exporter);
    assert_eq!(dialled.binding.server_end_point, accepted.binding.server_end_point);
}

/// What the dialler says of a server that shows the certificate in `files`.
async fn refusal(world: World, files: CertificateFiles) -> String {
    let upstream = world.upstream(UpstreamTls::Direct);
    let tls = ServerTls::new(vec![files]).unwrap().0;
    let (dialled, accepted) = world.dial(upstream, async |stream| tls.accept_direct(stream).await).await;
    assert!(accepted.is_err());
    let error = dialled.unwrap_err();
    assert!(matches!(error, DialError::Certificate { .. }), "{error}");
    assert_eq!(error.condition(), StreamCondition::RemoteConnectionFailed);
    error.to_string()
}

/// A certificate for xmpp.test by a new CA that takes the place of the trusted one, made by `change`.
fn certificate(world: &World, trusted: bool, change: impl Fn(&mut CertificateParams)) -> CertificateFiles {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["xmpp.test".to_owned()]).unwrap();
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = rcgen::CertifiedIssuer::self_signed(ca, ca_key).unwrap();
    change(&mut params);
    let files =
        CertificateFiles { domain: "xmpp.test".into(), certificate: world.file("x.pem"), key: world.file("x.key") };
    std::fs::write(&files.certificate, params.signed_by(&key, &ca).unwrap().pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    if trusted {
        std::fs::write(world.file("ca.pem"), ca.as_ref().pem()).unwrap();
    }
    files
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let world = World::new().await;
    let week = time::OffsetDateTime::now_utc() + time::Duration::days(7);
    let soon = certificate(&world, false, |params| params.not_after = week);
    assert!(soon.load().unwrap().1[0].contains("expires on"));
    let files = certificate(&world, true, |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    assert!(files.load().unwrap().1[0].contains("expired on"));
    let error = refusal(world, files).await;
    assert!(error.contains("127.0.0.1") && error.contains("has expired") && error.contains("renew it"), "{error}");
}

#[tokio::test]
async fn s06_a_certificate_for_another_name_is_refused() {
    let world = World::new().await;
    let files = world.files("other.test");
    let error = refusal(world, files).await;
    assert!(error.contains("is not for xmpp.test"), "{error}");
}

#[tokio::test]
async fn s06_a_certificate_for_the_target_only_is_refused() {
    let world = World::new().await;
    let files = certificate(&world, true, |params| {
        params.subject_alt_names = vec![rcgen::SanType::IpAddress("127.0.0.1".parse().unwrap())];
    });
    assert!(refusal(world, files).await.contains("is not for xmpp.test"));
}

#[tokio::test]
async fn a_certificate_of_an_unknown_issuer_is_refused() {
    let world = World::new().await;
    let files = certificate(&world, false, |_| {});
    let error = refusal(world, files).await;
    assert!(error.contains("unknown issuer") && error.contains("upstream.ca"), "{error}");
}

#[tokio::test]
async fn s06_a_server_without_starttls_gets_nothing_more() {
    let world = World::new().await;
    let upstream = world.upstream(UpstreamTls::StartTls);
    let (dialled, rest) = world
        .dial(upstream, async |mut stream| {
            expect(&mut stream, "streams'>").await;
            say(&mut stream, &mechanisms(&["PLAIN"])).await;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            rest
        })
        .await;
    assert!(matches!(dialled, Err(DialError::NoStartTls { .. })));
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn s09_plaintext_behind_proceed_ends_it() {
    let glued = format!("{PROCEED}{}", mechanisms(&["PLAIN"]));
    for proceed in [glued, format!("{PROCEED}<iq/>"), format!("{PROCEED} ")] {
        let world = World::new().await;
        let upstream = world.upstream(UpstreamTls::StartTls);
        let (dialled, ()) = world.dial(upstream, async |mut stream| offer_starttls(&mut stream, &proceed).await).await;
        let error = dialled.unwrap_err().to_string();
        assert!(error.contains("plaintext behind <proceed/>"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_starttls_or_the_stream_is_an_error() {
    let world = World::new().await;
    let upstream = world.upstream(UpstreamTls::StartTls);
    let no = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>";
    let (dialled, ()) = world.dial(upstream, async |mut stream| offer_starttls(&mut stream, no).await).await;
    assert!(matches!(dialled, Err(DialError::Protocol { .. })));

    let world = World::new().await;
    let upstream = world.upstream(UpstreamTls::StartTls);
    let unknown = "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let (dialled, ()) = world
        .dial(upstream, async |mut stream| {
            expect(&mut stream, "streams'>").await;
            say(&mut stream, &format!("{HEADER}{unknown}</stream:stream>")).await;
        })
        .await;
    let Err(DialError::Refused { condition, .. }) = dialled else { panic!("{dialled:?}") };
    assert_eq!(condition, "host-unknown");
}

#[tokio::test]
async fn something_else_than_xmpp_is_an_error() {
    let world = World::new().await;
    let upstream = world.upstream(UpstreamTls::StartTls);
    let (dialled, ()) =
        world.dial(upstream, async |mut stream| say(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n").await).await;
    let error = dialled.unwrap_err();
    assert!(matches!(error, DialError::Protocol { .. }), "{error}");

    let world = World::new().await;
    let upstream = world.upstream(UpstreamTls::Direct);
    let (dialled, ()) = world.dial(upstream, async |mut stream| say(&mut stream, HEADER).await).await;
    let error = dialled.unwrap_err().to_string();
    assert!(error.contains("\"starttls\""), "{error}");
}

#[tokio::test]
async fn plaintext_goes_to_loopback() {
    let world = World::new().await;
    let upstream = world.upstream_from(&config::Upstream { ca: None, ..world.upstream_config(UpstreamTls::None) });
    let (dialled, _stream) = world.dial(upstream, async |stream| stream).await;
    let dialled = dialled.unwrap();
    assert!(!dialled.encrypted && dialled.binding.exporter.is_none() && dialled.binding.server_end_point.is_none());
}

/// An address of this machine that is not loopback, if it has one.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: this only asks which way it would go.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[tokio::test]
async fn plaintext_beyond_loopback_is_refused_unless_allowed() {
    let Some(ip) = outer_address() else { return eprintln!("skipped: this machine has only loopback") };
    let mut world = World::new().await;
    world.listener = TcpListener::bind((ip, 0)).await.unwrap();
    world.address = world.listener.local_addr().unwrap();
    let config = config::Upstream { ca: None, ..world.upstream_config(UpstreamTls::None) };
    let error = world.upstream_from(&config).dial("xmpp.test", Origin::Own).await.unwrap_err();
    assert!(matches!(error, DialError::Plaintext { .. }), "{error}");
    assert_eq!(error.condition(), StreamCondition::InternalServerError);
    let allowed = config::Upstream { insecure: true, ..config };
    assert!(world.upstream_from(&allowed).dial("xmpp.test", Origin::Own).await.is_ok());
}

#[tokio::test]
async fn s01_the_proxy_does_not_dial_itself() {
    let world = World::new().await;
    let config = world.upstream_config(UpstreamTls::StartTls);
    let everywhere = SocketAddr::from(([0; 4], world.address.port()));
    for own in [world.address, everywhere] {
        let upstream = Upstream::new(&config, &world.limits, Arc::new([own])).unwrap();
        let error = upstream.dial("xmpp.test", Origin::Own).await.unwrap_err();
        assert!(matches!(error, DialError::Oneself { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    for tls in [UpstreamTls::StartTls, UpstreamTls::Direct] {
        let mut world = World::new().await;
        world.limits.dial_timeout = Duration::from_millis(100);
        let upstream = world.upstream(tls);
        let (dialled, _stream) = world.dial(upstream, async |stream| stream).await;
        let error = dialled.unwrap_err().to_string();
        assert!(error.contains("127.0.0.1") && error.contains("within 100ms"), "{error}");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_the_cause() {
    let world = World::new().await;
    let upstream = world.upstream(UpstreamTls::StartTls);
    let address = world.address;
    drop(world.listener);
    let error = upstream.dial("xmpp.test", Origin::Own).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("refused") && text.contains("running"), "{text}");
    assert!(!error.client_text().contains("127.0.0.1"));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    let world = World::new().await;
    let mut config = world.upstream_config(UpstreamTls::StartTls);
    config.address = Some(Address { host: "nowhere.invalid".into(), port: 5222 });
    let error = world.upstream_from(&config).dial("xmpp.test", Origin::Own).await.unwrap_err().to_string();
    assert!(error.contains("nowhere.invalid"), "{error}");
}

#[tokio::test]
async fn a_name_with_two_families_is_tried_in_both() {
    // "localhost" is ::1 first where there is IPv6; the server listens on IPv4 only.
    let world = World::new().await;
    let mut config = world.upstream_config(UpstreamTls::None);
    config.ca = None;
    config.address = Some(Address { host: "localhost".into(), port: world.address.port() });
    let upstream = world.upstream_from(&config);
    let (dialled, _stream) = world.dial(upstream, async |stream| stream).await;
    assert_eq!(dialled.unwrap().peer.ip(), IpAddr::from([127, 0, 0, 1]));
}

// --- logging in ------------------------------------------------------------------------------------------------------

/// A dialled link over TLS, and the server's end of it.
async fn connected() -> (Dialled, Accepted) {
    let world = World::new().await;
    let (upstream, tls) = (world.upstream(UpstreamTls::Direct), world.tls("xmpp.test"));
    let (dialled, accepted) = world.dial(upstream, async |stream| tls.accept_direct(stream).await.unwrap()).await;
    (dialled.unwrap(), accepted)
}

fn password(text: &str) -> Secret {
    Secret::Password(SecretString::from(text))
}

/// The content of `<auth/>` or `<response/>`, decoded.
fn payload(element: &str) -> String {
    let text = element.split_once('>').unwrap().1.rsplit_once("</").unwrap().0;
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

fn field(message: &str, name: char) -> &str {
    message.split(',').find_map(|part| part.strip_prefix(&format!("{name}="))).unwrap()
}

/// The server's part of SCRAM-SHA-256(-PLUS), for the password "secret": checks proof and channel binding.
async fn serve_scram(io: &mut Socket, gs2_wanted: &str, binding: &[u8]) {
    let first = payload(&expect(io, "</auth>").await);
    let gs2_end = first.match_indices(',').nth(1).unwrap().0 + 1;
    let (gs2, bare) = first.split_at(gs2_end);
    assert_eq!(gs2, gs2_wanted);
    let salt = b"salty salt";
    let server_first = format!("r={}srv,s={},i=4096", field(bare, 'r'), STANDARD.encode(salt));
    say(io, &format!("<challenge {SASL}>{}</challenge>", STANDARD.encode(&server_first))).await;
    let last = payload(&expect(io, "</response>").await);
    assert_eq!(STANDARD.decode(field(&last, 'c')).unwrap(), [gs2.as_bytes(), binding].concat());
    let (without_proof, proof) = last.rsplit_once(",p=").unwrap();
    let auth_message = format!("{bare},{server_first},{without_proof}");
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, 4096.try_into().unwrap(), salt, b"secret", &mut salted);
    let mac = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec();
    let client_key = mac(&salted, b"Client Key");
    let stored = digest::digest(&digest::SHA256, &client_key);
    let signature = mac(stored.as_ref(), auth_message.as_bytes());
    let expected: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
    assert_eq!(STANDARD.decode(proof).unwrap(), expected);
    let v = STANDARD.encode(mac(&mac(&salted, b"Server Key"), auth_message.as_bytes()));
    say(io, &format!("<success {SASL}>{}</success>", STANDARD.encode(format!("v={v}")))).await;
}

#[tokio::test]
async fn scram_plus_is_bound_as_the_server_lists() {
    scram_over_tls_then_bind(&["tls-exporter", "tls-server-end-point"], "p=tls-exporter,,").await;
    scram_over_tls_then_bind(&["tls-server-end-point"], "p=tls-server-end-point,,").await;
}

#[tokio::test]
async fn scram_plus_is_not_used_without_a_binding_type_in_common() {
    scram_over_tls_then_bind(&["tls-unique"], "n,,").await;
    scram_over_tls_then_bind(&[], "n,,").await;
}

/// A login at a server that offers `-PLUS` and lists these binding types (XEP-0440; nothing: no list at all), which
/// wants to see this gs2 header; then a bind and a session.
async fn scram_over_tls_then_bind(listed: &[&str], gs2: &'static str) {
    let (mut dialled, mut server) = connected().await;
    let listed: String = listed.iter().map(|t| format!("<channel-binding type='{t}'/>")).collect();
    let list = match listed.as_str() {
        "" => String::new(),
        listed => format!("<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>{listed}</sasl-channel-binding>"),
    };
    let serve: JoinHandle<()> = tokio::spawn(async move {
        let io = &mut server.socket;
        expect(io, "streams'>").await;
        let offered = mechanisms(&["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN"]);
        say(io, &offered.replace("</stream:features>", &format!("{list}</stream:features>"))).await;
        let binding = match gs2 {
            "p=tls-exporter,," => server.binding.exporter.unwrap(),
            "p=tls-server-end-point,," => server.binding.server_end_point.unwrap(),
            _ => Vec::new(),
        };
        serve_scram(io, gs2, &binding).await;
        expect(io, "streams'>").await;
        let session = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>";
        say(io, &features(&format!("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>{session}"))).await;
        assert!(expect(io, "</iq>").await.contains("<resource>r&amp;r</resource>"));
        let bound = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@xmpp.test/r&amp;r</jid></bind>";
        say(io, &format!("<message/><iq type='result' id='bind'>{bound}</iq>")).await;
        assert!(expect(io, "</iq>").await.contains("xmpp-session"));
        say(io, "<iq type='result' id='session'/>").await;
    });
    let header = Header::client("xmpp.test", None);
    let opened = login::open(&mut dialled.link, header.as_bytes()).await.unwrap();
    assert_eq!(opened.header.from.as_deref(), Some("xmpp.test"));
    let policy = Policy { tls: true, ..Policy::default() };
    let logged_in =
        login::login(&mut dialled.link, &opened.features, "juliet", password("secret"), &dialled.binding, &policy);
    let logged_in = logged_in.await.unwrap();
    let used = if gs2 == "n,," { "SCRAM-SHA-256" } else { "SCRAM-SHA-256-PLUS" };
    assert_eq!(logged_in.mechanism.name(), used);
    assert_eq!(logged_in.learned.unwrap().iterations, 4096);
    let opened = login::open(&mut dialled.link, header.as_bytes()).await.unwrap();
    let jid = login::bind(&mut dialled.link, &opened.features, Some("r&r")).await.unwrap();
    assert_eq!(jid.to_string(), "juliet@xmpp.test/r&r");
    serve.await.unwrap();
}

#[tokio::test]
async fn a_refusal_keeps_the_condition_and_the_stream() {
    let (mut dialled, mut server) = connected().await;
    let refusal = format!("<failure {SASL}><account-disabled/><text>come back later</text></failure>");
    let raw = refusal.clone();
    tokio::spawn(async move {
        let io = &mut server.socket;
        expect(io, "streams'>").await;
        say(io, &mechanisms(&["PLAIN"])).await;
        assert_eq!(payload(&expect(io, "</auth>").await), "\0juliet\0wrong");
        say(io, &refusal).await;
        assert_eq!(payload(&expect(io, "</auth>").await), "\0juliet\0right");
        say(io, &format!("<success {SASL}/>")).await;
        expect(io, "never").await;
    });
    let opened = login::open(&mut dialled.link, Header::client("xmpp.test", None).as_bytes()).await.unwrap();
    let policy = Policy { tls: true, allow_plain: true, ..Policy::default() };
    let Dialled { link, binding, .. } = &mut dialled;
    let error = login::login(link, &opened.features, "juliet", password("wrong"), binding, &policy).await.unwrap_err();
    let LoginError::Refused { condition, text, raw: came } = error else { panic!("{error}") };
    assert_eq!((condition.as_str(), text.as_deref()), ("account-disabled", Some("come back later")));
    assert_eq!(came, raw);
    let second = login::login(link, &opened.features, "juliet", password("right"), binding, &policy).await.unwrap();
    assert_eq!(second.mechanism, Mechanism::Plain);
    assert!(second.learned.is_none());
}

#[tokio::test]
async fn s05_no_password_without_a_mechanism_that_protects_it() {
    let (mut dialled, mut server) = connected().await;
    let serve = tokio::spawn(async move {
        let io = &mut server.socket;
        expect(io, "streams'>").await;
        say(io, &mechanisms(&["PLAIN", "X-NEW"])).await;
        let mut rest = Vec::new();
        let _ = io.read_to_end(&mut rest).await;
        rest
    });
    let opened = login::open(&mut dialled.link, Header::client("xmpp.test", None).as_bytes()).await.unwrap();
    assert_eq!(login::mechanisms(&opened.features), ["PLAIN", "X-NEW"]);
    let Dialled { mut link, binding, .. } = dialled;
    let policy = Policy { tls: true, ..Policy::default() };
    let error = login::login(&mut link, &opened.features, "juliet", password("p"), &binding, &policy).await;
    assert!(matches!(error, Err(LoginError::Sasl(_))), "{error:?}");
    drop(link);
    assert_eq!(serve.await.unwrap(), b"");
}

#[tokio::test]
async fn a_bad_challenge_is_aborted_and_a_lost_link_is_lost() {
    let (mut dialled, mut server) = connected().await;
    tokio::spawn(async move {
        let io = &mut server.socket;
        expect(io, "streams'>").await;
        say(io, &mechanisms(&["SCRAM-SHA-1"])).await;
        let first = payload(&expect(io, "</auth>").await);
        let nonce = field(&first, 'r').to_owned();
        let weak = STANDARD.encode(format!("r={nonce}x,s=QUFB,i=1"));
        say(io, &format!("<challenge {SASL}>{weak}</challenge>")).await;
        expect(io, "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
        say(io, &format!("<failure {SASL}><aborted/></failure>")).await;
        expect(io, "</auth>").await;
    });
    let opened = login::open(&mut dialled.link, Header::client("xmpp.test", None).as_bytes()).await.unwrap();
    let Dialled { link, binding, .. } = &mut dialled;
    let policy = Policy { tls: true, ..Policy::default() };
    let error = login::login(link, &opened.features, "juliet", password("p"), binding, &policy).await;
    assert!(matches!(error, Err(LoginError::Sasl(_))), "{error:?}");
    let error = login::login(link, &opened.features, "juliet", password("p"), binding, &policy).await;
    assert!(matches!(error, Err(LoginError::Lost(_))), "{error:?}");
}

#[tokio::test]
async fn a_deadline_is_kept() {
    let (mut dialled, _server) = connected().await;
    let limit = Duration::from_millis(20);
    let opened = login::within(limit, login::open(&mut dialled.link, b"<stream:stream>")).await;
    assert!(matches!(opened, Err(LoginError::Timeout(_))));
}

// --- accepting clients -----------------------------------------------------------------------------------------------

/// What a rustls client of `name` with these ALPN protocols makes of the server.
async fn client(
    ca: &Path,
    address: SocketAddr,
    name: &str,
    alpn: &[&[u8]],
    sni: bool,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    use tokio_rustls::rustls;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in minimix_proxy::net::tls::load_certificates("CA file", ca).unwrap() {
        roots.add(certificate).unwrap();
    }
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    config.enable_sni = sni;
    let stream = TcpStream::connect(address).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name.to_owned().try_into().unwrap(), stream).await
}

#[tokio::test]
async fn s01_each_domain_shows_its_own_certificate() {
    let world = World::new().await;
    let (tls, warnings) = ServerTls::new(vec![world.files("xmpp.test"), world.files("other.test")]).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let ca = world.file("ca.pem");
    // The name asked for, whether it is sent, the stream header's `to`, and whose certificate is shown.
    let cases = [
        ("other.test", true, "xmpp.test", "other.test"),
        ("xmpp.test", true, "xmpp.test", "xmpp.test"),
        ("other.test", false, "other.test", "other.test"),
        ("xmpp.test", false, "unknown.test", "xmpp.test"),
    ];
    for (name, sni, to, shown) in cases {
        let accept = async {
            let (stream, _) = world.listener.accept().await.unwrap();
            tls.accept_starttls(stream, to).await.unwrap()
        };
        let (connected, accepted) = tokio::join!(client(&ca, world.address, name, &[], sni), accept);
        connected.unwrap();
        assert_eq!(accepted.domain(), shown);
        assert!(accepted.covers(shown));
        assert_eq!(accepted.covers("other.test"), shown == "other.test");
        assert_eq!(accepted.sni.as_deref(), sni.then_some(name));
    }
}

#[tokio::test]
async fn direct_tls_speaks_xmpp_client_only() {
    let world = World::new().await;
    let tls = world.tls("xmpp.test");
    let ca = world.file("ca.pem");
    for (alpn, fine) in [(&[b"xmpp-client".as_slice()][..], true), (&[], true), (&[b"h2".as_slice()], false)] {
        let accept = async {
            let (stream, _) = world.listener.accept().await.unwrap();
            tls.accept_direct(stream).await
        };
        let (connected, accepted) = tokio::join!(client(&ca, world.address, "xmpp.test", alpn, true), accept);
        assert_eq!((connected.is_ok(), accepted.is_ok()), (fine, fine), "{alpn:?}");
        if let (Ok(connected), false) = (connected, alpn.is_empty()) {
            assert_eq!(connected.get_ref().1.alpn_protocol(), Some(b"xmpp-client".as_slice()));
        }
    }
}

#[tokio::test]
async fn certificates_are_read_anew_and_kept_when_that_fails() {
    let world = World::new().await;
    let tls = world.tls("xmpp.test");
    let ca = world.file("ca.pem");
    let shown = async || {
        let accept = async {
            let (stream, _) = world.listener.accept().await.unwrap();
            tls.accept_direct(stream).await.unwrap()
        };
        let (connected, _) = tokio::join!(client(&ca, world.address, "xmpp.test", &[], true), accept);
        connected.unwrap().get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    std::fs::remove_file(world.file("xmpp.test.pem")).unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("xmpp.test.pem"), "{error}");
    assert_eq!(shown().await, first);
    dev_certs::make(world.directory.path(), &["xmpp.test".into()]).unwrap();
    tls.reload().unwrap();
    assert_ne!(shown().await, first);
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_remedy() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = Listener::bind(address.parse().unwrap()).await else { continue };
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.address()), listener.accept());
        assert_eq!(accepted.unwrap().1, client.unwrap().local_addr().unwrap());
        let error = Listener::bind(listener.address()).await.unwrap_err().to_string();
        assert!(error.contains(&listener.address().to_string()) && error.contains("another port"), "{error}");
    }
}

#[tokio::test]
async fn both_families_can_be_listened_on_side_by_side() {
    let v4 = Listener::bind("0.0.0.0:0".parse().unwrap()).await.unwrap();
    let port = v4.address().port();
    let Ok(v6) = Listener::bind(SocketAddr::from(([0u16; 8], port))).await else {
        return eprintln!("skipped: this machine has no IPv6, or the port was taken");
    };
    assert_eq!(v6.address().port(), port);
}
