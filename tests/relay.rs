//! A client's session over real sockets and TLS on loopback, between a scripted client and a scripted server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jid::BareJid;
use minimix_proxy::account::access::{Accounts, LoginFailure};
use minimix_proxy::account::guard::{Attempt, Guard};
use minimix_proxy::account::handle::{Handle, Queue, ToAccount, ToClient};
use minimix_proxy::config::{self, Address, Auth, Config, Flags, Listen, ListenTls, UpstreamTls};
use minimix_proxy::net::background::Background;
use minimix_proxy::net::budget::Budget;
use minimix_proxy::net::dev_certs;
use minimix_proxy::net::dial::{Dialled, Upstream};
use minimix_proxy::net::link::Socket;
use minimix_proxy::net::tls::{CertificateFiles, ClientTls, ServerTls};
use minimix_proxy::session::accept::{Floor, serve};
use minimix_proxy::session::admission::Admission;
use minimix_proxy::session::refusal::Refusals;
use minimix_proxy::stream::negotiation::Outcome;
use minimix_proxy::stream::sasl::Plain;
use minimix_proxy::xmpp::stanza::Stanza;
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
const HEADER: &str = "<?xml version='1.0'?><stream:stream to='xmpp.test' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const ANSWER: &str = "<?xml version='1.0'?><stream:stream from='xmpp.test' id='1' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const BIND: &str = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
const BOUND: &str = "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>juliet@xmpp.test/phone</jid></bind></iq>";
const BINDING: &str = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";
const CLOSE: &str = "</stream:stream>";

/// Logins succeed for the password `secret`; all share one account, if there is one.
struct TestAccounts {
    handle: Option<Handle>,
    logins: Mutex<Vec<String>>,
}

impl Accounts for TestAccounts {
    async fn login(
        &self,
        domain: &str,
        _: &mut Dialled,
        _: &Stanza,
        plain: Plain,
        attempt: Attempt,
    ) -> Result<Vec<u8>, LoginFailure> {
        use secrecy::ExposeSecret;
        self.logins.lock().unwrap().push(format!("{}@{domain}", plain.authcid));
        match plain.password.expose_secret() {
            "secret" => {
                attempt.settle(Outcome::Success);
                Ok(Vec::new())
            }
            _ => Err(LoginFailure::new("not-authorized", "wrong")),
        }
    }
    async fn vouch(&self, _: &BareJid, _: &SecretString) -> Option<bool> {
        None
    }
    async fn handle(&self, account: &BareJid) -> Option<Handle> {
        assert_eq!(account.as_str(), "juliet@xmpp.test");
        self.handle.clone()
    }
}

struct World {
    directory: tempfile::TempDir,
    server: TcpListener,
    proxy: SocketAddr,
    stop: watch::Sender<bool>,
    floor: Arc<Floor<Arc<TestAccounts>>>,
}

impl World {
    async fn new(auth: Auth, handle: Option<Handle>, change: impl FnOnce(&mut config::Limits)) -> World {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        dev_certs::make(path, &["xmpp.test".into()]).unwrap();
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config::load(&Flags {
            domain: Some("xmpp.test".into()),
            listen: Some("127.0.0.1:0".into()),
            cert: Some(path.join("xmpp.test.pem")),
            key: Some(path.join("xmpp.test.key")),
            data: Some(path.join("data")),
            ..Flags::default()
        });
        let mut limits = config.unwrap().limits;
        change(&mut limits);
        let upstream = config::Upstream {
            address: Some(Address { host: "127.0.0.1".into(), port: server.local_addr().unwrap().port() }),
            tls: UpstreamTls::None,
            ca: None,
            insecure: false,
            allow_plain: false,
            keep_password: false,
            proxy_protocol: false,
        };
        let files = CertificateFiles {
            domain: "xmpp.test".into(),
            certificate: path.join("xmpp.test.pem"),
            key: path.join("xmpp.test.key"),
        };
        let (stop, shutdown) = watch::channel(false);
        let upstream = Upstream::new(&upstream, &limits, Arc::new([])).unwrap();
        let logins = limits.logins;
        let floor = Arc::new(Floor {
            admission: Admission::new(&limits),
            refusals: Refusals::default(),
            background: Background::new().expect("threads"),
            buffers: Budget::new(limits.buffers),
            sessions: Arc::default(),
            limits,
            tls: Arc::new(ServerTls::new(vec![files]).unwrap().0),
            upstreams: HashMap::from([("xmpp.test".to_owned(), upstream)]),
            before_login: HashMap::new(),
            guard: Guard::new(logins, [("xmpp.test".to_owned(), true)]),
            accounts: Arc::new(TestAccounts { handle, logins: Mutex::default() }),
            shutdown,
            next_client: AtomicU64::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let shared = floor.clone();
        tokio::spawn(async move {
            loop {
                let (socket, peer) = listener.accept().await.unwrap();
                // The first byte tells: a TLS record begins with 22.
                let mut first = [0];
                socket.peek(&mut first).await.unwrap();
                let tls = if first[0] == 22 { ListenTls::Direct } else { ListenTls::StartTls };
                let listen = Listen { address: proxy, tls, auth, proxy_protocol: Vec::new() };
                tokio::spawn(serve(socket, peer, Arc::new(listen), shared.clone()));
            }
        });
        World { directory, server, proxy, stop, floor }
    }

    async fn learn() -> World {
        World::new(Auth::Learn, None, |_| {}).await
    }

    async fn secure(&self, stream: TcpStream, direct: bool) -> Socket {
        let tls = ClientTls::new(Some(&self.directory.path().join("ca.pem"))).unwrap();
        tls.connect(stream, "xmpp.test", direct).await.unwrap().socket
    }

    async fn connect(&self) -> Socket {
        self.secure(TcpStream::connect(self.proxy).await.unwrap(), true).await
    }

    /// A client and its server's side, logged in and bound.
    async fn bound(&self) -> (Socket, TcpStream) {
        let client = async {
            let mut client = self.connect().await;
            login(&mut client, "AGp1bGlldABzZWNyZXQ=").await;
            expect(&mut client, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
            say(&mut client, HEADER).await;
            expect(&mut client, &format!("{ANSWER}{BINDING}")).await;
            say(&mut client, BIND).await;
            expect(&mut client, BOUND).await;
            client
        };
        let server = async {
            let (mut server, _) = self.server.accept().await.unwrap();
            open(&mut server).await;
            expect(&mut server, HEADER).await;
            say(&mut server, &format!("{ANSWER}{BINDING}")).await;
            expect(&mut server, BIND).await;
            say(&mut server, BOUND).await;
            server
        };
        tokio::join!(client, server)
    }
}

/// The server's side up to its features.
async fn open(server: &mut TcpStream) {
    expect(server, HEADER).await;
    let features = format!("<mechanisms {SASL}><mechanism>PLAIN</mechanism></mechanisms>");
    say(server, &format!("{ANSWER}<stream:features>{features}</stream:features>")).await;
}

async fn login(client: &mut Socket, plain: &str) {
    say(client, HEADER).await;
    let features = format!("<mechanisms {SASL}><mechanism>PLAIN</mechanism></mechanisms>");
    expect(client, &format!("{ANSWER}<stream:features>{features}</stream:features>")).await;
    say(client, &format!("<auth {SASL} mechanism='PLAIN'>{plain}</auth>")).await;
}

/// Reads exactly `wanted`.
async fn expect(io: &mut (impl AsyncRead + Unpin), wanted: &str) {
    let mut got = vec![0; wanted.len()];
    let mut at = 0;
    while at < got.len() {
        let n = timeout(Duration::from_secs(20), io.read(&mut got[at..])).await;
        let so_far = String::from_utf8_lossy(&got[..at]).into_owned();
        let n = n.unwrap_or_else(|_| panic!("nothing more after {so_far:?}, wanted {wanted:?}")).unwrap();
        assert!(n > 0, "ended after {so_far:?}, wanted {wanted:?}");
        at += n;
        assert!(wanted.as_bytes().starts_with(&got[..at]), "got {:?}", String::from_utf8_lossy(&got[..at]));
    }
}

/// Reads all that comes until the peer ends.
async fn rest(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut got = Vec::new();
    let read = async { while io.read_buf(&mut got).await.is_ok_and(|n| n > 0) {} };
    timeout(Duration::from_secs(20), read).await.expect("the peer does not end");
    String::from_utf8(got).unwrap()
}

async fn say(io: &mut (impl AsyncWrite + Unpin), text: &str) {
    io.write_all(text.as_bytes()).await.unwrap();
    io.flush().await.unwrap();
}

#[tokio::test]
async fn starttls_then_everything_passes_byte_for_byte() {
    let world = World::learn().await;
    let mut plain = TcpStream::connect(world.proxy).await.unwrap();
    say(&mut plain, HEADER).await;
    let features =
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
    let mut got = String::new();
    while !got.ends_with(features) {
        got.push(plain.read_u8().await.unwrap() as char);
    }
    say(&mut plain, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    expect(&mut plain, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
    let mut client = world.secure(plain, false).await;
    let ((), mut server) = tokio::join!(login(&mut client, "AGp1bGlldABzZWNyZXQ="), async {
        let (mut server, _) = world.server.accept().await.unwrap();
        open(&mut server).await;
        server
    });
    expect(&mut client, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
    assert_eq!(*world.floor.accounts.logins.lock().unwrap(), ["juliet@xmpp.test"]);
    // All of a login in one write: what is glued together is still read one by one.
    say(&mut client, &format!("{HEADER}{BIND}<presence/>")).await;
    expect(&mut server, HEADER).await;
    say(&mut server, &format!("{ANSWER}{BINDING}")).await;
    expect(&mut server, BIND).await;
    let odd = "<message  a=\"1\" to='x@y'\n><body>\u{e9} &#x41;<![CDATA[<&]]></body ></message>";
    say(&mut server, &format!("{BOUND}{odd}")).await;
    expect(&mut server, "<presence/>").await;
    expect(&mut client, &format!("{ANSWER}{BINDING}{BOUND}{odd}")).await;
    for byte in odd.as_bytes() {
        client.write_all(&[*byte]).await.unwrap();
    }
    client.flush().await.unwrap();
    expect(&mut server, odd).await;
    say(&mut client, CLOSE).await;
    assert_eq!(rest(&mut client).await, CLOSE);
    assert_eq!(rest(&mut server).await, CLOSE);
}

#[tokio::test]
async fn s09_plaintext_behind_starttls_ends_the_stream() {
    let world = World::learn().await;
    let mut plain = TcpStream::connect(world.proxy).await.unwrap();
    say(&mut plain, HEADER).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    say(&mut plain, &format!("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{BIND}")).await;
    let got = rest(&mut plain).await;
    assert!(got.contains("<policy-violation"), "{got}");
    assert!(!got.contains("<proceed"), "{got}");
}

#[tokio::test]
async fn a_relayed_login_reaches_the_server_as_it_is() {
    let world = World::new(Auth::Relay, None, |_| {}).await;
    let mut client = world.connect().await;
    let (mut server, _) = {
        say(&mut client, HEADER).await;
        world.server.accept().await.unwrap()
    };
    expect(&mut server, HEADER).await;
    let list = |names: &str| format!("<stream:features><mechanisms {SASL}>{names}</mechanisms></stream:features>");
    let scram = "<mechanism>SCRAM-SHA-1</mechanism>";
    say(&mut server, &format!("{ANSWER}{}", list(&format!("<mechanism>SCRAM-SHA-1-PLUS</mechanism>{scram}")))).await;
    expect(&mut client, &format!("{ANSWER}{}", list(scram))).await;
    let auth = format!("<auth {SASL} mechanism='SCRAM-SHA-1'>biwsbj1qdWxpZXQscj1hYmM=</auth>");
    say(&mut client, &auth).await;
    expect(&mut server, &auth).await;
    let failure = format!("<failure {SASL}><account-disabled/><text xml:lang='en'>gone</text></failure>");
    say(&mut server, &failure).await;
    expect(&mut client, &failure).await;
    drop(client);
    assert_eq!(rest(&mut server).await, "");
}

#[tokio::test]
async fn a_refused_login_is_told_and_can_be_repeated() {
    let world = World::learn().await;
    let mut client = world.connect().await;
    let ((), _server) = tokio::join!(login(&mut client, "AGp1bGlldAB3cm9uZw=="), async {
        let (mut server, _) = world.server.accept().await.unwrap();
        open(&mut server).await;
        server
    });
    expect(&mut client, &format!("<failure {SASL}><not-authorized/></failure>")).await;
    say(&mut client, &format!("<auth {SASL} mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>")).await;
    expect(&mut client, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
}

#[tokio::test]
async fn ends_travel_both_ways() {
    let world = World::learn().await;
    let error = "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let (mut client, mut server) = world.bound().await;
    say(&mut server, &format!("<message/>{error}{CLOSE}")).await;
    assert_eq!(rest(&mut client).await, format!("<message/>{error}{CLOSE}"));
    assert_eq!(rest(&mut server).await, CLOSE);

    let (mut client, mut server) = world.bound().await;
    say(&mut client, &format!("<presence/>{error}{CLOSE}")).await;
    assert_eq!(rest(&mut server).await, format!("<presence/>{error}{CLOSE}"));
    assert_eq!(rest(&mut client).await, CLOSE);

    let (mut client, server) = world.bound().await;
    drop(server);
    assert_eq!(rest(&mut client).await, "");

    let (client, mut server) = world.bound().await;
    drop(client);
    assert_eq!(rest(&mut server).await, "");

    let (mut client, mut server) = world.bound().await;
    say(&mut server, CLOSE).await;
    assert_eq!(rest(&mut client).await, CLOSE);
    assert_eq!(rest(&mut server).await, CLOSE);
}

#[tokio::test]
async fn a_spoofed_from_ends_the_stream() {
    let world = World::learn().await;
    let (mut client, mut server) = world.bound().await;
    say(&mut client, "<message from='juliet@xmpp.test'/><message from='romeo@xmpp.test'/><message/>").await;
    let got = rest(&mut client).await;
    assert!(got.contains("<invalid-from") && got.ends_with(CLOSE), "{got}");
    assert_eq!(rest(&mut server).await, format!("<message from='juliet@xmpp.test'/>{CLOSE}"));
}

#[tokio::test]
async fn broken_xml_ends_one_stream_and_no_other() {
    let world = World::learn().await;
    let (mut neighbour, mut neighbours_server) = world.bound().await;
    for (sent, condition) in [
        ("<message", None),
        ("<message><body>\0", Some("not-well-formed")),
        ("<a></b>", Some("not-well-formed")),
        ("<!-- x -->", Some("restricted-xml")),
        ("<!DOCTYPE a>", Some("restricted-xml")),
        ("<message>&lol;</message>", Some("")),
        ("<x:message/>", Some("bad-namespace-prefix")),
        ("<message xmlns='jabber:server'/>", Some("unsupported-stanza-type")),
        ("\u{1}\u{2}\u{3}", Some("")),
    ] {
        let (mut client, mut server) = world.bound().await;
        say(&mut client, sent).await;
        match condition {
            Some(condition) => {
                let got = rest(&mut client).await;
                assert!(
                    got.starts_with(&format!(
                        "<stream:error xmlns:stream='http://etherx.jabber.org/streams'><{condition}"
                    )),
                    "{sent:?}: {got}"
                );
                assert!(got.ends_with(CLOSE), "{sent:?}: {got}");
                assert_eq!(rest(&mut server).await, CLOSE);
            }
            None => {
                drop(client);
                assert_eq!(rest(&mut server).await, "", "half a stanza is not forwarded");
            }
        }
    }
    let (mut client, mut server) = world.bound().await;
    say(&mut server, "<message>&lol;</message>").await;
    assert!(rest(&mut client).await.contains("<undefined-condition"));
    assert!(rest(&mut server).await.ends_with(CLOSE));
    say(&mut neighbour, "<presence/>").await;
    expect(&mut neighbours_server, "<presence/>").await;
}

#[tokio::test]
async fn who_takes_too_long_is_given_up() {
    let world = World::new(Auth::Learn, None, |limits| {
        limits.handshake_timeout = Duration::from_millis(700);
        limits.negotiation_timeout = Duration::from_millis(1500);
        limits.idle_timeout = Some(Duration::from_millis(300));
    })
    .await;
    let mut plain = TcpStream::connect(world.proxy).await.unwrap();
    say(&mut plain, "<?xml version='1.0'?>").await;
    assert!(rest(&mut plain).await.contains("<connection-timeout"));

    let mut client = world.connect().await;
    say(&mut client, HEADER).await;
    let (mut server, _) = world.server.accept().await.unwrap();
    open(&mut server).await;
    let got = rest(&mut client).await;
    assert!(got.contains("<connection-timeout") && got.ends_with(CLOSE), "{got}");
    assert_eq!(rest(&mut server).await, CLOSE);

    let (mut client, mut server) = world.bound().await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        say(&mut client, " ").await;
    }
    say(&mut server, "<message/>").await;
    let got = rest(&mut client).await;
    assert!(got.starts_with("<message/>") && got.contains("<connection-timeout"), "{got}");
}

#[tokio::test]
async fn a_shutdown_is_told_to_both_sides() {
    let world = World::learn().await;
    let (mut client, mut server) = world.bound().await;
    let mut halfway = world.connect().await;
    say(&mut halfway, HEADER).await;
    let (mut halfway_server, _) = world.server.accept().await.unwrap();
    open(&mut halfway_server).await;
    world.stop.send_replace(true);
    for client in [&mut client, &mut halfway] {
        let got = rest(client).await;
        assert!(got.contains("<system-shutdown") && got.ends_with(CLOSE), "{got}");
    }
    assert_eq!(rest(&mut server).await, CLOSE);
    assert_eq!(rest(&mut halfway_server).await, CLOSE);
}

#[tokio::test]
async fn an_unreachable_server_is_told() {
    let World { server, directory, proxy, stop, floor } = World::learn().await;
    let spare = TcpListener::bind("127.0.0.1:0").await.unwrap();
    drop(server);
    let world = World { server: spare, directory, proxy, stop, floor };
    let mut client = world.connect().await;
    say(&mut client, HEADER).await;
    let got = rest(&mut client).await;
    assert!(got.contains("<remote-connection-failed") && got.ends_with(CLOSE), "{got}");
}

/// Neither side reads before it has written everything: nothing blocks for ever, nothing is lost.
#[tokio::test]
async fn two_busy_sides_do_not_block_each_other() {
    let world = World::learn().await;
    let (client, server) = world.bound().await;
    let stanza = format!("<message><body>{}</body></message>", "x".repeat(4000));
    let count = 1000;
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut server_in, mut server_out) = server.into_split();
    let all = async {
        tokio::join!(
            async {
                for _ in 0..count {
                    say(&mut client_out, &stanza).await
                }
            },
            async {
                for _ in 0..count {
                    say(&mut server_out, &stanza).await
                }
            },
            async {
                // A server that reads before the client does.
                for _ in 0..count {
                    expect(&mut server_in, &stanza).await
                }
            },
            async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                for _ in 0..count {
                    expect(&mut client_in, &stanza).await
                }
            },
        )
    };
    timeout(Duration::from_secs(60), all).await.expect("blocked");
}

fn account(room: usize) -> (Handle, mpsc::Receiver<ToAccount>) {
    let (sender, receiver) = mpsc::channel(room);
    (Handle::new(sender, "juliet@xmpp.test/session".into()), receiver)
}

async fn hello(account: &mut mpsc::Receiver<ToAccount>) -> Queue {
    match account.recv().await.unwrap() {
        ToAccount::Hello { jid, queue, .. } => {
            assert_eq!(jid.as_str(), "juliet@xmpp.test/phone");
            queue
        }
        other => panic!("{other:?}"),
    }
}

const JOIN: &str = "<presence to='room@muc/n' id='1' xml:lang='en'/>";

#[tokio::test]
async fn a_joining_client_meets_its_account() {
    // Room for one message at a time: the session has to wait for the account, and loses nothing.
    let (handle, mut account) = account(1);
    let world = World::new(Auth::Learn, Some(handle), |_| {}).await;
    let (mut client, mut server) = world.bound().await;
    let chat = "<message to='room@muc' id='2' xml:lang='en'/>";
    say(&mut client, &format!("{JOIN}{}<iq id='3'/>", chat.repeat(20))).await;
    let queue = hello(&mut account).await;
    for at in 0..21 {
        let ToAccount::Stanza { stanza, fresh, .. } = account.recv().await.unwrap() else { panic!() };
        assert_eq!(fresh, at == 0);
        assert_eq!(&stanza.bytes()[..], if at == 0 { JOIN } else { chat }.as_bytes());
    }
    expect(&mut server, "<iq id='3'/>").await;
    assert!(queue.push(ToClient::Own(Bytes::from_static(b"<presence/>"))));
    assert!(queue.push(ToClient::Relay { stanza: Stanza::own("<message id='r'/>"), seen: 21, passes_through: false }));
    expect(&mut client, "<presence/>").await;
    expect(&mut server, "<message id='r'/>").await;
    say(&mut client, &format!("{}{CLOSE}", chat.repeat(3))).await;
    for _ in 0..3 {
        assert!(matches!(account.recv().await, Some(ToAccount::Stanza { .. })));
    }
    assert!(matches!(account.recv().await, Some(ToAccount::Gone { .. })));
    assert_eq!(rest(&mut client).await, CLOSE);
    assert_eq!(rest(&mut server).await, CLOSE);
}

#[tokio::test]
async fn a_client_that_its_account_gives_up_is_told_why() {
    let (handle, mut account) = account(16);
    let world = World::new(Auth::Learn, Some(handle), |limits| limits.client_queue_frames = 4).await;
    let (mut client, mut server) = world.bound().await;
    say(&mut client, JOIN).await;
    let queue = hello(&mut account).await;
    let large = Bytes::from(format!("<message><body>{}</body></message>", "x".repeat(100_000)));
    let full = async {
        while queue.push(ToClient::Own(large.clone())) {
            tokio::task::yield_now().await
        }
    };
    timeout(Duration::from_secs(20), full).await.expect("the queue has no bound");
    drop(queue);
    let got = rest(&mut client).await;
    assert!(got.contains("<resource-constraint") && got.ends_with(CLOSE));
    assert_eq!(rest(&mut server).await, CLOSE);
    assert!(matches!(account.recv().await, Some(ToAccount::Stanza { .. })));
    assert!(matches!(account.recv().await, Some(ToAccount::Gone { .. })));
}

#[tokio::test]
async fn without_its_account_a_client_goes_on_by_itself() {
    let (handle, mut account) = account(1);
    let world = World::new(Auth::Learn, Some(handle), |_| {}).await;
    let (mut client, mut server) = world.bound().await;
    let chat = "<message to='room@muc' xml:lang='en'/>";
    say(&mut client, &format!("{JOIN}{}", chat.repeat(5))).await;
    let queue = hello(&mut account).await;
    assert!(matches!(account.recv().await, Some(ToAccount::Stanza { .. })));
    let ToAccount::Stanza { .. } = account.recv().await.unwrap() else { panic!() };
    // One more is in the account's hands; what it cannot take any more stays on the client's own stream.
    while account.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop((account, queue));
    expect(&mut server, &chat.repeat(3)).await;
    say(&mut client, "<message to='room@muc'/>").await;
    expect(&mut server, "<message to='room@muc'/>").await;
}
