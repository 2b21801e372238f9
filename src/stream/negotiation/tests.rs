//! Conversations, written as they go over the wire. `C` is the client, `S` the server, `P` the proxy between:
//!
//! ```text
//! C> sent by the client            C< what the proxy sends to the client
//! S> sent by the server            S< what the proxy sends to the server
//! !> another input                 !< another action
//! ```

mod early;
mod garbage;
mod gate;
mod logins;
mod refused;

use std::sync::Arc;

use super::*;
use crate::xml::element::Tree;

pub(super) struct TestDomains(pub BeforeLogin);

impl Domains for TestDomains {
    fn configured(&self, to: &str) -> Option<String> {
        ["example.org", "other.example"].iter().find(|d| d.eq_ignore_ascii_case(to)).map(|d| d.to_string())
    }

    fn largest_stanza(&self) -> usize {
        10_000
    }

    fn before_login(&self, _: &str) -> BeforeLogin {
        self.0
    }
}

pub(super) const HEADER: &str = "<stream:stream to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
pub(super) const ANSWER: &str = "<stream:stream from='example.org' id='s1' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

pub(super) fn frame(text: &str) -> Frame {
    if text.starts_with("<stream:stream") {
        return Frame::Header(Bytes::from(text.to_owned()));
    }
    if text == "</stream:stream>" {
        return Frame::Close;
    }
    let known = text.replacen("<stream:", "<", 1).replace("</stream:", "</");
    let tree = Tree::parse(known.as_bytes()).expect(text);
    let prefixed = text.starts_with("<stream:");
    let space = match tree.root().space() {
        _ if prefixed => Space::Streams,
        ns::CLIENT => Space::Client,
        ns::STREAMS => Space::Streams,
        _ => Space::Other,
    };
    let start = if prefixed { 8 } else { 1 };
    let name = start..start + tree.root().name().len();
    Frame::Element(Element { bytes: Bytes::from(text.to_owned()), space, name, inherits: prefixed })
}

fn show(action: &Action) -> String {
    let text = |b: &Bytes| String::from_utf8_lossy(b).replace("<?xml version='1.0'?>", "");
    match action {
        Action::Down(bytes) => format!("C< {}", text(bytes)),
        Action::Up(bytes) => format!("S< {}", text(bytes)),
        Action::StartTls(bytes) => format!("!< start TLS after {}", text(bytes)),
        Action::Dial { domain } => format!("!< dial {domain}"),
        Action::Login { domain, plain, .. } => format!("!< log in as {} at {domain}", plain.authcid),
        Action::Gate(gate) => {
            let who = gate.account.as_ref().map_or("somebody", |account| account.as_str());
            let with = if gate.password.is_some() { " with a password" } else { "" };
            format!("!< may {who} log in at {}{with}", gate.domain)
        }
        Action::Settle(outcome) => format!("!< {outcome:?}"),
        Action::Mistake => "!< mistake".into(),
        Action::RestartDown => "!< restart client".into(),
        Action::RestartUp => "!< restart server".into(),
        Action::RaiseLimits => "!< raise limits".into(),
        Action::Bound(b) => match &b.account {
            Some(account) => format!("!< bound {} of {account}", b.jid),
            None => format!("!< bound {} untrusted", b.jid),
        },
        Action::End(_) => "!< end".into(),
    }
}

fn input(kind: &str, text: &str) -> Input {
    match (kind, text) {
        ("C>", _) => Input::Client(frame(text)),
        ("S>", _) => Input::Server(frame(text)),
        (_, "TLS") => Input::TlsUp(None),
        (_, "dialled") => Input::Dialled,
        (_, "logged in") => Input::LoggedIn,
        (_, "admitted") => Input::Admitted,
        (_, "turned away") => Input::TurnedAway,
        (_, "client gone") => Input::ClientEnd,
        (_, "server gone") => Input::ServerEnd,
        (_, "dial failed") => Input::DialFailed(StreamCondition::RemoteConnectionFailed, "no route".into()),
        (_, other) => match other.split_once(' ') {
            Some(("TLS", sni)) => {
                let sni = sni.to_owned();
                Input::TlsUp(Some(Covers(Box::new(move |domain| domain == sni))))
            }
            Some(("refused", failure)) => Input::LoginRefused(Bytes::from(failure.to_owned())),
            _ => panic!("unknown input {other}"),
        },
    }
}

/// A conversation in the making.
pub(super) struct Talk {
    pub machine: Negotiation,
    /// Attempts to log in are let in, and what the limits are told is not shown.
    unlimited: bool,
}

impl Talk {
    pub(super) fn new(direct_tls: bool, auth: Auth) -> Talk {
        Talk::with(direct_tls, auth, BeforeLogin::default())
    }

    pub(super) fn with(direct_tls: bool, auth: Auth, before_login: BeforeLogin) -> Talk {
        let domains = Arc::new(TestDomains(before_login));
        Talk { machine: Negotiation::new(direct_tls, auth, domains, "id1".into()), unlimited: true }
    }

    /// From here on the script shows what the limits are asked and told.
    pub(super) fn limited(mut self) -> Talk {
        self.unlimited = false;
        self
    }

    /// Feeds the inputs of a script and compares every action with what stands behind them. In a script `HEADER` and
    /// `ANSWER` stand for the usual stream headers, `…` at the end of an expected line for anything.
    pub(super) fn script(&mut self, script: &str) -> &mut Talk {
        let mut got: Vec<String> = Vec::new();
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let line = line.replace("HEADER", HEADER).replace("ANSWER", ANSWER);
            let (kind, text) = line.split_at(2);
            if kind.ends_with('>') {
                assert!(got.is_empty(), "unexpected before {line}: {got:#?}");
                if kind == "C>" {
                    assert!(self.machine.wants_client(), "the machine does not want {line}");
                }
                let mut actions = Vec::new();
                self.machine.handle(input(kind, text.trim()), &mut actions);
                if self.unlimited {
                    if actions.iter().any(|a| matches!(a, Action::Gate(_))) {
                        self.machine.handle(Input::Admitted, &mut actions);
                    }
                    actions.retain(|a| !matches!(a, Action::Gate(_) | Action::Settle(_) | Action::Mistake));
                }
                got = actions.iter().map(show).collect();
                continue;
            }
            assert!(!got.is_empty(), "missing: {line}");
            let first = got.remove(0);
            match line.strip_suffix('…') {
                Some(start) => assert!(first.starts_with(start), "\n got {first}\nnot {line}"),
                None => assert_eq!(first, line),
            }
        }
        assert!(got.is_empty(), "unexpected at the end: {got:#?}");
        self
    }

    /// Over direct TLS up to the server's features.
    pub(super) fn until_features(auth: Auth, features: &str, shown: &str) -> Talk {
        let mut talk = Talk::new(true, auth);
        talk.to_features(features, shown);
        talk
    }

    pub(super) fn to_features(&mut self, features: &str, shown: &str) {
        self.script(&format!(
            "!> TLS example.org\nC> HEADER\n!< dial example.org\n!> dialled\nS< HEADER\nS> ANSWER\nC< ANSWER\n\
             S> <stream:features>{features}</stream:features>\nC< <stream:features>{shown}</stream:features>"
        ));
    }

    /// In front of the bind request, logged in by PLAIN as `juliet`.
    pub(super) fn until_bind(features: &str) -> Talk {
        let sasl = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>";
        let mut talk = Talk::until_features(Auth::Learn, sasl, sasl);
        talk.script(
            "C> <auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldABzZWNyZXQ=</auth>
             !< log in as juliet at example.org
             !> logged in
             C< <success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>
             !< restart client
             !< restart server
             !< raise limits
             C> HEADER
             S< HEADER
             S> ANSWER
             C< ANSWER",
        );
        let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";
        talk.script(&format!(
            "S> <stream:features>{bind}{features}</stream:features>\n\
             C< <stream:features>{bind}{features}</stream:features>"
        ));
        talk
    }
}
