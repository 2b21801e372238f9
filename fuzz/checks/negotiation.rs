//! The negotiation machine (RFC 6120 §4 to §7) between a hostile client and a hostile server, driven as its shell does:
//! through two framers, one thing after the other.
//!
//! - S9, S11: nothing goes up before TLS and dialling; then only the client's header, SASL of a mechanism that was
//!   offered, and after login one bind request; no other stanza.
//! - S2: bound after a login only, to a JID of the configured domain; the account only of the name that logged in here.
//! - S5: no password goes down, and PLAIN goes up where it is relayed only.
//! - What is said, both ways, is a stream; after the end nothing is said.

mod fragments;

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use jid::{DomainPart, NodePart};
use minimix_proxy::stream::negotiation::{Action, Auth, Bound, Covers, Domains, Input, Negotiation};
use minimix_proxy::stream::sasl::Plain;
use minimix_proxy::xml::framer::{Frame, Framer, Limits, Space};
use minimix_proxy::xmpp::conditions::StreamCondition;
use minimix_proxy::xmpp::header::Header;
use minimix_proxy::xmpp::stanza::{Kind, Stanza};
use secrecy::ExposeSecret;

use self::fragments::{CLIENT, SERVER};
use super::script::Script;
use super::wire::Wire;

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
const DOMAINS: [&str; 2] = ["example.org", "other.example"];
/// The password in the fragments, which never stands there in the clear.
const PASSWORD: &str = "Pa55w0rd";

struct Served;

impl Domains for Served {
    fn configured(&self, to: &str) -> Option<String> {
        DOMAINS.iter().find(|d| d.eq_ignore_ascii_case(to)).map(|d| (*d).to_owned())
    }
}

pub fn check(data: &[u8]) {
    let mut script = Script::new(data);
    let mode = script.byte();
    let mut world = World::new(mode);
    let usual = usize::from(script.byte());
    world.walk(usual);
    for _ in 0..200 {
        if script.is_over() {
            break;
        }
        world.step(&mut script);
    }
}

/// One side's bytes, on their way to the machine.
struct Peer {
    framer: Framer,
    buf: BytesMut,
}

impl Peer {
    fn new() -> Self {
        Peer { framer: Framer::new(Limits::BEFORE_LOGIN), buf: BytesMut::new() }
    }
}

struct World {
    machine: Negotiation,
    auth: Auth,
    client: Peer,
    server: Peer,
    actions: VecDeque<Action>,
    down: Wire,
    up: Wire,
    /// What happened, as the peers saw it.
    encrypted: bool,
    handshake: bool,
    dialling: Option<String>,
    dialled: bool,
    logging_in: bool,
    /// An exchange that is relayed is under way.
    exchange: bool,
    /// What happens now is the success of a login.
    success_due: bool,
    logged_in: bool,
    server_header: Header,
    ended: bool,
    bound: bool,
    /// The client has said something of its own: it may hold anything.
    invented: bool,
    /// The mechanisms in the features that the client was shown last.
    offered: Vec<String>,
    /// The mechanism of the exchange that is relayed, until its first message has gone up.
    naming: Option<String>,
    /// The name in the exchange at hand.
    name: Option<String>,
    /// Attempts to log in that have asked to be let in, whether one waits for the answer, and whether one was let in.
    gates: usize,
    waiting: bool,
    admitted: bool,
}

impl World {
    fn new(mode: u8) -> Self {
        let auth = [Auth::Learn, Auth::Mixed, Auth::Relay][usize::from(mode >> 1) % 3];
        let direct = mode & 1 == 1;
        World {
            machine: Negotiation::new(direct, auth, Arc::new(Served), "id".into()),
            auth,
            client: Peer::new(),
            server: Peer::new(),
            actions: VecDeque::new(),
            down: Wire::new("down"),
            up: Wire::new("up"),
            encrypted: false,
            handshake: direct,
            dialling: None,
            dialled: false,
            logging_in: false,
            exchange: false,
            success_due: false,
            logged_in: false,
            server_header: Header::default(),
            ended: false,
            bound: false,
            invented: false,
            offered: Vec::new(),
            naming: None,
            name: None,
            gates: 0,
            waiting: false,
            admitted: false,
        }
    }

    /// The usual conversation, so far: what is hostile may come at any point of it.
    fn walk(&mut self, steps: usize) {
        let relay = self.auth == Auth::Relay;
        let usual: [&dyn Fn(&mut World); 14] = [
            &|w| w.say(true, CLIENT[0]),
            &|w| w.say(true, CLIENT[6]),
            &|w| w.give(Input::TlsUp(None)),
            &|w| w.say(true, CLIENT[0]),
            &|w| w.give(Input::Dialled),
            &|w| w.say(false, SERVER[0]),
            &|w| w.say(false, SERVER[2]),
            &|w| w.say(true, if relay { CLIENT[11] } else { CLIENT[7] }),
            &|w| if relay { w.say(false, SERVER[7]) } else { w.give(Input::LoggedIn) },
            &|w| {
                if relay {
                    w.say(true, CLIENT[21])
                }
            },
            &|w| {
                if relay {
                    w.say(false, SERVER[9])
                }
            },
            &|w| w.say(true, CLIENT[0]),
            &|w| w.say(false, &[SERVER[0], SERVER[5]].concat()),
            &|w| w.say(true, CLIENT[28]),
        ];
        let first = if self.handshake { 2 } else { 0 };
        for step in usual.iter().take(steps % (usual.len() + 1)).skip(first) {
            step(self);
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let refused = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
        match script.byte() % 32 {
            0..=10 => {
                let text = script.pick(CLIENT);
                self.say(true, text);
            }
            11..=20 => {
                let text = script.pick(SERVER);
                self.say(false, text);
            }
            21 => self.say_bytes(true, script.bytes()),
            22 => self.say_bytes(false, script.bytes()),
            23 => self.give(Input::TlsUp(match script.byte() % 3 {
                0 => None,
                1 => Some(Covers(Box::new(|domain| domain == "example.org"))),
                _ => Some(Covers(Box::new(|_| false))),
            })),
            24 => self.give(Input::Dialled),
            25 => self.give(Input::DialFailed(StreamCondition::RemoteConnectionFailed, "no <route>".into())),
            26 => self.give(Input::LoggedIn),
            27 => self.give(Input::LoginRefused(Bytes::from(refused))),
            28 => self.give(Input::LoginBroken(StreamCondition::UndefinedCondition, "the server's fault".into())),
            29 => self.give(Input::ClientEnd),
            30 => self.give(Input::ServerEnd),
            _ => self.give(Input::Stop {
                down: (StreamCondition::ConnectionTimeout, "too late & more".into()),
                up: script.flag().then(|| (StreamCondition::InvalidXml, "<".into())),
            }),
        }
    }

    // ---- the peers

    fn say(&mut self, client: bool, text: &str) {
        let plain = STANDARD.encode(format!("\0juliet\0{PASSWORD}"));
        let foreign = STANDARD.encode(format!("romeo@example.org\0juliet\0{PASSWORD}"));
        let text =
            text.replace(">PLAIN</auth", &format!(">{plain}</auth")).replace(">FOREIGN<", &format!(">{foreign}<"));
        let text = text.replace(">PLAIN</a:auth", &format!(">{plain}</a:auth"));
        let text = text.replace(">PLAIN</response", &format!(">{plain}</response"));
        self.put(client, text.as_bytes());
    }

    fn say_bytes(&mut self, client: bool, bytes: &[u8]) {
        self.invented = true;
        self.put(client, bytes);
    }

    fn put(&mut self, client: bool, bytes: &[u8]) {
        let peer = if client { &mut self.client } else { &mut self.server };
        if peer.buf.len() < 64 * 1024 {
            peer.buf.extend_from_slice(bytes);
        }
        self.read();
    }

    /// Reads both sides, as far as they are wanted.
    fn read(&mut self) {
        loop {
            let over = self.ended || self.bound;
            let wanted = !over && self.machine.wants_client();
            let (client, server) = (&mut self.client, &mut self.server);
            let from_client = if wanted { client.framer.next(&mut client.buf).transpose() } else { None };
            let input = match from_client {
                Some(Ok(frame)) => Input::Client(frame),
                Some(Err(_)) => Input::Stop { down: (StreamCondition::NotWellFormed, "bad".into()), up: None },
                None if !self.dialled || over => return,
                // While the proxy logs in by itself, the login has the link.
                None if self.logging_in => return,
                None => match server.framer.next(&mut server.buf).transpose() {
                    None => return,
                    Some(Ok(frame)) => Input::Server(frame),
                    Some(Err(_)) => Input::Stop {
                        down: (StreamCondition::UndefinedCondition, "bad".into()),
                        up: Some((StreamCondition::NotWellFormed, "bad".into())),
                    },
                },
            };
            self.give_one(input);
        }
    }

    /// The shells' own inputs come when they are due, and when nobody waits for them.
    fn give(&mut self, input: Input) {
        self.give_one(input);
        self.read();
    }

    // ---- the machine

    fn give_one(&mut self, input: Input) {
        let before = self.ended || self.bound;
        match &input {
            Input::TlsUp(_) if self.handshake && !self.encrypted && !before => {
                // What was read as plaintext is gone with it (the shell ends the stream if there was any).
                self.encrypted = true;
                self.client = Peer::new();
                self.down = Wire::new("down");
            }
            Input::Dialled if self.dialling.take().is_some() => self.dialled = true,
            Input::DialFailed(..) => self.dialling = None,
            Input::LoggedIn if self.logging_in => (self.logging_in, self.success_due) = (false, true),
            Input::LoginRefused(_) | Input::LoginBroken(..) => self.logging_in = false,
            Input::Server(Frame::Header(bytes)) => self.server_header = Header::parse(bytes.clone()),
            Input::Server(Frame::Element(element)) => {
                let stanza = self.server_header.detach(Stanza::new(element.clone()));
                self.success_due = self.exchange && is_sasl(&stanza, "success");
            }
            _ => {}
        }
        let bind_result = bound_in(&input);
        let mut out = Vec::new();
        self.machine.handle(input, &mut out);
        assert!(!before || out.is_empty(), "after the end it says {out:?}");
        self.actions.extend(out);
        while let Some(action) = self.actions.pop_front() {
            assert!(!self.ended && !self.bound, "behind the end: {action:?}");
            self.act(action, bind_result);
        }
        self.success_due = false;
        if std::mem::take(&mut self.waiting) {
            // Every fourth is refused.
            self.admitted = !self.gates.is_multiple_of(4);
            self.give_one(if self.admitted { Input::Admitted } else { Input::TurnedAway });
        }
    }

    fn act(&mut self, action: Action, bind_result: bool) {
        match action {
            Action::Down(bytes) => self.goes_down(&bytes),
            Action::Up(bytes) => self.goes_up(&bytes),
            Action::StartTls(bytes) => {
                assert!(!self.encrypted, "TLS comes once");
                self.goes_down(&bytes);
                self.handshake = true;
            }
            Action::Dial { domain } => {
                assert!(self.encrypted, "dialled before TLS (S11)");
                assert!(DOMAINS.contains(&domain.as_str()), "dialled a domain that is not configured (S1)");
                assert!(!self.dialled, "dialled twice");
                self.dialling = Some(domain);
            }
            Action::Gate(gate) => {
                assert!(!self.admitted, "an attempt within another (S3)");
                assert!(DOMAINS.contains(&gate.domain.as_str()));
                self.gates += 1;
                self.waiting = true;
            }
            Action::Settle(_) => {
                assert!(self.admitted, "an attempt ends that was not let in (S3)");
                self.admitted = false;
            }
            Action::Mistake => assert!(!self.admitted, "an attempt that was let in makes no sense (S3)"),
            Action::Login { domain, plain, .. } => {
                assert!(self.admitted, "a login that was not let in (S3)");
                // The shell settles it.
                self.admitted = false;
                assert!(self.dialled && !self.logged_in, "a login out of place");
                assert!(self.auth != Auth::Relay, "the proxy logs in where logins are relayed");
                assert!(DOMAINS.contains(&domain.as_str()));
                self.login(plain);
            }
            Action::RestartDown => {
                self.client.framer.restart();
                self.down.restart();
            }
            Action::RestartUp => {
                self.server.framer.restart();
                self.up.restart();
            }
            Action::RaiseLimits => {
                assert!(self.logged_in, "the limits are raised before login (S11)");
                self.client.framer.set_limits(Limits::AFTER_LOGIN);
                self.server.framer.set_limits(Limits::AFTER_LOGIN);
            }
            Action::Bound(bound) => {
                self.bound = true;
                assert!(bind_result, "bound without the server's result");
                self.is_bound(&bound);
            }
            Action::End(_) => self.ended = true,
        }
    }

    fn login(&mut self, plain: Plain) {
        self.logging_in = true;
        self.naming = None;
        self.name = Some(plain.authcid);
        assert!(self.offered.iter().any(|m| m == "PLAIN"), "PLAIN was not offered");
        if !self.invented {
            assert_eq!(plain.password.expose_secret(), PASSWORD);
            assert_eq!(plain.authzid, None, "it acts as somebody else (S2)");
        }
    }

    fn goes_down(&mut self, bytes: &[u8]) {
        if !self.invented {
            let encoded = STANDARD.encode(format!("\0juliet\0{PASSWORD}"));
            for secret in [PASSWORD, &encoded] {
                let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
                assert!(!found, "a password goes down: {}", String::from_utf8_lossy(bytes));
            }
        }
        for frame in self.down.take(bytes) {
            let Frame::Element(element) = frame else { continue };
            let stanza = self.down.header.detach(Stanza::new(element));
            if is_sasl(&stanza, "success") {
                assert!(self.success_due, "success goes down that nobody said (S5)");
                (self.logged_in, self.exchange) = (true, false);
            } else if is_sasl(&stanza, "failure") {
                (self.exchange, self.naming, self.name) = (false, None, None);
            }
            if stanza.space() == Space::Streams && stanza.name() == "features" {
                let tree = stanza.tree().expect("the framer has read it");
                let lists = tree.root().children().filter(|c| c.is("mechanisms", SASL));
                self.offered = lists
                    .flat_map(|list| list.children().filter(|c| c.is("mechanism", SASL)).map(|m| m.text()))
                    .collect();
                let kept = self.offered.iter().find(|m| m.ends_with("-PLUS") || *m == "EXTERNAL");
                assert!(kept.is_none(), "offered what cannot be carried through: {kept:?}");
                assert!(self.auth != Auth::Learn || self.offered.iter().all(|m| m == "PLAIN"), "{:?}", self.offered);
                assert!(!self.logged_in || self.offered.is_empty(), "SASL is offered after login");
            }
        }
    }

    fn goes_up(&mut self, bytes: &[u8]) {
        assert!(self.encrypted && self.dialled, "something goes up before TLS and dialling (S11)");
        for frame in self.up.take(bytes) {
            let element = match frame {
                Frame::Header(bytes) => {
                    let to = Header::parse(bytes).to.unwrap_or_default();
                    assert!(Served.configured(&to).is_some(), "a header for {to} goes up (S1)");
                    continue;
                }
                Frame::Close => continue,
                Frame::Element(element) => element,
            };
            let stanza = self.up.header.detach(Stanza::new(element));
            if stanza.space() == Space::Streams {
                assert_eq!(stanza.name(), "error", "it goes up");
            } else if self.logged_in {
                assert!(is_bind(&stanza), "goes up before a resource is bound: {}", String::from_utf8_lossy(bytes));
            } else {
                assert_eq!(stanza.kind(), Kind::Other, "a stanza goes up before login (S9)");
                self.sasl_goes_up(&stanza);
            }
        }
    }

    fn sasl_goes_up(&mut self, stanza: &Stanza) {
        let tree = stanza.tree().expect("the framer has read it");
        let root = tree.root();
        assert_eq!(root.space(), SASL, "it goes up before login (S9)");
        assert!(self.admitted, "an attempt goes up that was not let in (S3)");
        let data = STANDARD.decode(root.text().trim()).unwrap_or_default();
        let empty = root.text().trim().is_empty();
        match root.name() {
            "auth" => {
                let mechanism = root.attr("mechanism").unwrap_or_default().into_owned();
                assert!(self.offered.contains(&mechanism), "{mechanism} was not offered (S9)");
                assert!(mechanism != "PLAIN" || self.auth == Auth::Relay, "PLAIN goes up (S5)");
                (self.exchange, self.name, self.naming) = (true, None, Some(mechanism));
                if !empty {
                    self.named(&data);
                }
            }
            "response" => self.named(&data),
            "abort" => {}
            other => panic!("<{other}/> goes up before login (S9)"),
        }
    }

    /// The first message of an exchange: the name in it (RFC 4616, RFC 5802 §7), read in another way than the proxy's.
    fn named(&mut self, message: &[u8]) {
        let Some(mechanism) = self.naming.take() else { return };
        let text = String::from_utf8_lossy(message);
        self.name = if mechanism == "PLAIN" {
            text.split('\0').nth(1).map(str::to_owned)
        } else if mechanism.starts_with("SCRAM-") {
            let name = text.split(',').skip(2).find_map(|field| field.strip_prefix("n="));
            name.map(|name| name.replace("=2C", ",").replace("=3D", "="))
        } else {
            None
        };
    }

    fn is_bound(&self, bound: &Bound) {
        assert!(self.logged_in, "bound without a login (S2)");
        assert!(DOMAINS.contains(&bound.domain.as_str()), "bound at a domain that is not configured (S2)");
        let domain = DomainPart::new(&bound.domain).expect("it is configured");
        assert_eq!(bound.jid.domain(), &*domain, "bound to a JID of another domain (S2)");
        if let Some(account) = &bound.account {
            assert_eq!(account, &bound.jid.to_bare(), "the account is not who was bound (S2)");
            let name = self.name.as_deref().and_then(|name| NodePart::new(name).ok());
            assert_eq!(account.node(), name.as_deref(), "the account did not log in here (S2)");
        }
    }
}

fn is_sasl(stanza: &Stanza, name: &str) -> bool {
    stanza.tree().is_ok_and(|tree| tree.root().is(name, SASL))
}

fn is_bind(stanza: &Stanza) -> bool {
    stanza.is_iq()
        && stanza.tree().is_ok_and(|tree| {
            let children: Vec<_> = tree.root().children().collect();
            children.len() == 1 && children[0].is("bind", BIND)
        })
}

/// Whether it is an IQ result from the server.
fn bound_in(input: &Input) -> bool {
    let Input::Server(Frame::Element(element)) = input else { return false };
    let stanza = Stanza::new(element.clone());
    stanza.is_iq() && stanza.type_().as_deref() == Some("result")
}
