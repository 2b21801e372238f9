//! Malformed streams: every kind of `cases` in every position in which it can stand, whole and byte by byte.

use std::net::SocketAddr;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio_rustls::TlsConnector;

use super::cases::*;
use super::support::PATIENCE;
use super::support::raw::{HEADER, Raw};
use super::{MARK, told};

/// What is sent byte by byte must not be long.
const MOST_TRICKLED: usize = 600;

/// Where in the life of a stream the bad bytes stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// The first bytes, before TLS.
    BeforeTls,
    /// The first bytes over TLS.
    FirstHeader,
    /// In place of `<starttls/>`.
    InsteadOfStartTls,
    /// The first bytes in place of a TLS handshake.
    InsteadOfTls,
    /// Over TLS, in place of a login.
    BeforeLogin,
    /// In `<auth/>`.
    InSasl,
    /// The header after the login.
    SecondHeader,
    /// In place of bind.
    BeforeBind,
    /// In the request to bind.
    InBind,
    /// Between stanzas, where one begins.
    Between,
    /// In a stanza.
    Stanza,
    /// In a child of a child of a stanza.
    Nested,
}
pub use Position::*;

/// What is to come of it.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// The stream ends with one of these stream errors.
    Error(&'static [&'static str]),
    /// The connection ends; there is no stream, or no one left, to be told.
    Closed,
}

#[derive(Debug, Clone)]
pub struct Case {
    pub what: String,
    pub position: Position,
    pub bytes: Vec<u8>,
    /// One byte at a time.
    pub trickled: bool,
    pub wanted: Wanted,
}

impl Case {
    /// Sends it to a proxy at its two addresses, and says what was wrong with what came of it.
    pub async fn attack(&self, (starttls, direct): (SocketAddr, SocketAddr), tls: &TlsConnector) -> Option<String> {
        let mut raw = match self.position {
            BeforeTls => Raw::plain(starttls).await,
            InsteadOfTls => Raw::plain(direct).await,
            FirstHeader => Raw::direct(direct, tls).await,
            InsteadOfStartTls => {
                let mut raw = Raw::plain(starttls).await;
                raw.open().await;
                raw
            }
            BeforeLogin | InSasl => Raw::opened(direct, tls).await,
            SecondHeader => Raw::authenticated(direct, tls, "mallory").await,
            BeforeBind | InBind => Raw::logged_in(direct, tls, "mallory").await,
            Between | Stanza | Nested => Raw::bound(direct, tls, "mallory").await,
        };
        if self.trickled {
            raw.trickle(&self.bytes).await;
        } else {
            raw.send(&self.bytes).await;
        }
        if matches!(self.wanted, Wanted::Closed) {
            raw.finish().await;
        }
        let fault = self.judge(raw.rest_within(PATIENCE).await);
        fault.map(|fault| {
            let shown = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(300)]).into_owned();
            format!("{:?}: {} (trickled: {}): {shown:?}\n    {fault}", self.position, self.what, self.trickled)
        })
    }

    fn judge(&self, came: Option<(String, bool)>) -> Option<String> {
        let Some((rest, clean)) = came else { return Some("its stream does not end".into()) };
        let Wanted::Error(conditions) = self.wanted else { return rest.contains("<stream:error").then_some(rest) };
        let first = matches!(self.position, BeforeTls | FirstHeader | SecondHeader);
        // RFC 6120 §4.9.1.2: a header that cannot be accepted is answered by one, and the error behind it.
        let header = rest.starts_with("<?xml version='1.0'?><stream:stream ") && !rest.contains(" from=''");
        let opened = header == first;
        let told = told(&rest).is_some_and(|told| conditions.contains(&told)) && rest.ends_with("</stream:stream>");
        (!told || !opened || !clean).then(|| format!("wanted {conditions:?}, got {rest:?} (clean: {clean})"))
    }
}

/// So many, in a random order: everything at least once, then again with other random parts.
pub fn cases(random: &mut StdRng, count: usize) -> Vec<Case> {
    let mut all = Round { random, large: true, cases: Vec::new() }.all();
    assert!(all.len() <= count, "{} kinds and positions are more than {count}", all.len());
    while all.len() < count {
        let mut again = Round { random, large: false, cases: Vec::new() }.all();
        again.shuffle(random);
        all.extend(again);
    }
    all.truncate(count);
    all.shuffle(random);
    all
}

struct Round<'r> {
    random: &'r mut StdRng,
    /// With what is too large for a stanza: a megabyte each.
    large: bool,
    cases: Vec<Case>,
}

impl Round<'_> {
    fn all(mut self) -> Vec<Case> {
        self.first_bytes();
        self.out_of_turn();
        self.contents();
        self.attributes();
        for (what, bytes, wanted) in stanzas(self.random) {
            self.add(Between, &what, bytes, wanted);
        }
        self.cut_short();
        self.cases
    }

    /// Adds it whole, and byte by byte.
    fn add(&mut self, position: Position, what: &str, bytes: Vec<u8>, wanted: &'static [&'static str]) {
        if bytes.len() > 1 << 19 && !self.large {
            return;
        }
        let wanted = if wanted.is_empty() { Wanted::Closed } else { Wanted::Error(wanted) };
        // What stands behind <starttls/> counts as glued to it only when it is there.
        let most = if what.contains("behind <starttls/>") { 0 } else { MOST_TRICKLED };
        let case = Case { what: what.to_owned(), position, bytes, trickled: false, wanted };
        if case.bytes.len() <= most {
            self.cases.push(Case { trickled: true, ..case.clone() });
        }
        self.cases.push(case);
    }

    fn first_bytes(&mut self) {
        for position in [BeforeTls, FirstHeader, SecondHeader] {
            for (what, bytes, wanted) in headers(self.random) {
                // After the login more is allowed.
                if position != SecondHeader || !what.starts_with("too large") {
                    self.add(position, &what, bytes, wanted);
                }
            }
            let noise = noise(self.random);
            self.add(position, "noise", noise, BAD_FORMAT);
            let cut = HEADER.as_bytes()[..self.random.random_range(1..HEADER.len())].to_vec();
            self.add(position, "a header cut short", cut, &[]);
        }
        for _ in 0..5 {
            let noise = noise(self.random);
            self.add(InsteadOfTls, "noise", noise, &[]);
        }
        self.add(InsteadOfTls, "a header", HEADER.into(), &[]);
    }

    /// What is good elsewhere.
    fn out_of_turn(&mut self) {
        for position in [InsteadOfStartTls, BeforeLogin, BeforeBind] {
            let stanza = format!("<iq type='get' id='{MARK}s'><query xmlns='jabber:iq:register'/></iq>");
            self.add(position, "a stanza", stanza.into(), &["not-authorized"]);
            self.add(position, "a message", format!("<message to='{MARK}m@localhost'/>").into(), &["not-authorized"]);
            self.add(position, "a nonza", format!("<{MARK}x xmlns='urn:x'/>").into(), &["unsupported-stanza-type"]);
            self.add(position, "a response to nothing", sasl("response", b"", b""), POLICY);
            let noise = noise(self.random);
            self.add(position, "noise", noise, BAD_FORMAT);
            self.add(position, "second header", HEADER[21..].replace("localhost", "evil-x").into(), BAD_FORMAT);
            if position != BeforeBind {
                let large = format!("<{MARK}x xmlns='urn:x'>{}", "y".repeat(17_000));
                self.add(position, "too large before login", large.into(), POLICY);
            }
        }
        let glued = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><iq type='get' id='evil-g'/>";
        self.add(InsteadOfStartTls, "an IQ behind <starttls/>", glued.into(), POLICY);
    }

    /// What may not stand in an element's content, in that of every element that a client may send.
    fn contents(&mut self) {
        for (what, bytes, wanted) in contents(self.random) {
            self.add(InSasl, &what, sasl("auth", b" mechanism='PLAIN'", &bytes), wanted);
            let bind = "<iq type='set' id='evil-b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>evil-r";
            let bind = [bind.as_bytes(), &bytes[..], b"</resource></bind></iq>"].concat();
            self.add(InBind, &what, bind, wanted);
            let wrapped = [format!("<iq id='{MARK}c'>").as_bytes(), &bytes[..], b"</iq>"].concat();
            for early in [InsteadOfStartTls, BeforeLogin, BeforeBind] {
                self.add(early, &what, wrapped.clone(), wanted);
            }
            // By itself it may be something else that is refused, such as text or a nonza.
            self.add(Between, &what, bytes.clone(), ANY_BETWEEN);
            let message = |inner: &[u8]| {
                [format!("<message to='{MARK}m@localhost'><body>").as_bytes(), inner, b"</body></message>"].concat()
            };
            self.add(Stanza, &what, message(&bytes), wanted);
            let deep = [b"<b xmlns='urn:b'><c>", &bytes[..], b"</c></b>"].concat();
            self.add(Nested, &what, message(&deep), wanted);
        }
    }

    /// What may not stand in a start tag. (Those of headers and of children are in `headers` and `contents`.)
    fn attributes(&mut self) {
        for (what, bytes, wanted) in attributes(self.random) {
            self.add(InSasl, &what, sasl("auth", &bytes, b""), wanted);
            let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";
            let bind = [b"<iq type='set' id='evil-b'", &bytes[..], b">", bind.as_bytes(), b"</iq>"].concat();
            self.add(InBind, &what, bind, wanted);
            for name in ["iq type='get'", "message", "presence"] {
                let tag = format!("<{name} to='{MARK}a@localhost'");
                self.add(Stanza, &format!("{what} in {name}"), [tag.as_bytes(), &bytes[..], b"/>"].concat(), wanted);
            }
        }
    }

    fn cut_short(&mut self) {
        for n in 0..12 {
            let whole =
                format!("<message to='{MARK}t@localhost' type='chat'><body a=\"1\">text &amp; ü</body></message>");
            // Never all but the last '>', which would make it whole again.
            let mut bytes = whole.as_bytes()[..self.random.random_range(1..whole.len() - 1)].to_vec();
            let (what, more, wanted): (_, Vec<u8>, &'static [&'static str]) = match n % 3 {
                0 => ("cut short", Vec::new(), &[]),
                1 => (
                    "cut by the stream's end",
                    b"</stream:stream>".into(),
                    &["not-well-formed", "unsupported-encoding"],
                ),
                _ => ("noise inside", [b">", &noise(self.random)[..], b"</message>"].concat(), ANY_XML),
            };
            bytes.extend(more);
            self.add(Stanza, what, bytes, wanted);
        }
    }
}

/// An element of SASL.
fn sasl(name: &str, attributes: &[u8], content: &[u8]) -> Vec<u8> {
    let start = format!("<{name} xmlns='urn:ietf:params:xml:ns:xmpp-sasl' id='{MARK}s'");
    [start.as_bytes(), attributes, b">", content, format!("</{name}>").as_bytes()].concat()
}
