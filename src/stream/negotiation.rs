//! One client stream paired with its own upstream stream, from the first byte until a resource is bound
//! (RFC 6120 §4 to §7): pure, without sockets or clock. [`crate::session`] runs it and owns the two links.
//!
//! It is an allow-list per state (S9): what the client sends is either in its place or refused ([`refuse`]), never
//! forwarded. [`features`] filters what the server offers, [`login`] is the client's side of SASL, [`bind`] reads
//! whom the server says the client is (S2).
//!
//! ```text
//! header ─ STARTTLS ─▶ header ─ dial ─▶ server's header, features ─▶ login ─▶ header … features ─▶ bind ─▶ Bound
//! ```

mod bind;
mod early;
mod features;
mod login;
pub mod refuse;
#[cfg(test)]
mod tests;
mod words;

pub use words::{Action, Auth, BeforeLogin, Bound, Covers, Domains, Gate, Input, Outcome, condition_of};

use std::sync::Arc;

use bytes::Bytes;
use jid::{BareJid, FullJid};

use self::early::Asked;
use self::features::Offered;
use self::login::{Exchange, Held};
use self::refuse::Refusal;
use self::words::{End, Last};
use crate::xml::framer::{Element, Frame, Space};
use crate::xmpp::conditions::{StreamCondition, stream_error};
use crate::xmpp::header::Header;
use crate::xmpp::ns;
use crate::xmpp::stanza::{Kind, Stanza};

#[derive(Debug)]
enum State {
    /// Plaintext: a header is expected.
    PlainHeader,
    /// Plaintext: `<starttls/>` is expected.
    StartTls,
    /// TLS is being negotiated.
    Handshake,
    /// The client's header is expected, the first one over TLS or the one after login.
    Header,
    Dialling,
    /// The client's header was sent up.
    ServerHeader,
    ServerFeatures,
    /// Features were relayed: a login is expected.
    Login,
    /// A mechanism in which the client speaks first, without an initial response: the response is expected.
    FirstResponse(String),
    /// An attempt that waits to be let in.
    Gate(Held),
    /// The proxy logs in.
    LoggingIn,
    /// A relayed exchange.
    Exchange(Exchange),
    /// An IQ before login was relayed.
    Asked(Asked),
    /// Logged in, features relayed: a bind request is expected.
    Bind,
    /// The request was relayed; its id.
    Binding(Option<String>),
    Ended,
}

/// The machine. Feed it until it says [`Action::Bound`] or [`Action::End`].
pub struct Negotiation {
    auth: Auth,
    domains: Arc<dyn Domains>,
    /// The id of the streams the proxy opens itself.
    id: String,
    state: State,
    encrypted: bool,
    shown: Option<Covers>,
    domain: Option<String>,
    client: Header,
    server: Header,
    /// The name of the stream element that was sent, if a stream is open in that direction.
    down: Option<String>,
    up: Option<String>,
    features: Option<Stanza>,
    offered: Offered,
    failures: u8,
    /// How many IQs were relayed before login.
    early_iqs: u8,
    /// Set when the login succeeded.
    logged_in: bool,
    /// The name that logged in, if the proxy saw it.
    name: Option<String>,
}

/// Failed logins on one stream; RFC 6120 §6.4.4 wants at least 2 and at most 5.
const MAX_FAILURES: u8 = 3;

fn opened_name(header: &Header) -> String {
    let name = header.bytes.get(1..).unwrap_or_default();
    let end = name.iter().position(|b| b" \t\r\n>/".contains(b)).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

fn with_declaration(header: &Header) -> Bytes {
    [b"<?xml version='1.0'?>", &header.bytes[..]].concat().into()
}

impl Negotiation {
    /// A client that just connected. `direct_tls`: TLS comes first, without STARTTLS. `id` names the streams the
    /// proxy opens itself, random and of this stream only.
    pub fn new(direct_tls: bool, auth: Auth, domains: Arc<dyn Domains>, id: String) -> Self {
        Negotiation {
            auth,
            domains,
            id,
            state: if direct_tls { State::Handshake } else { State::PlainHeader },
            encrypted: false,
            shown: None,
            domain: None,
            client: Header::default(),
            server: Header::default(),
            down: None,
            up: None,
            features: None,
            offered: Offered::default(),
            failures: 0,
            early_iqs: 0,
            logged_in: false,
            name: None,
        }
    }

    /// Whether a frame of the client is expected now; if not, it must wait.
    pub fn wants_client(&self) -> bool {
        match &self.state {
            State::Exchange(exchange) => exchange.clients_turn(),
            state => matches!(
                state,
                State::PlainHeader
                    | State::StartTls
                    | State::Header
                    | State::Login
                    | State::FirstResponse(_)
                    | State::Bind
            ),
        }
    }

    /// The domain, once the client named a configured one.
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// Takes one input and says what is to be done.
    pub fn handle(&mut self, input: Input, out: &mut Vec<Action>) {
        // An answer that nobody waits for has been overtaken by the stream's end, or was never asked for.
        let awaited = match &input {
            Input::TlsUp(_) => matches!(self.state, State::Handshake),
            Input::Dialled | Input::DialFailed(..) => matches!(self.state, State::Dialling),
            Input::Admitted | Input::TurnedAway => matches!(self.state, State::Gate(_)),
            Input::LoggedIn | Input::LoginRefused(_) | Input::LoginBroken(..) => {
                matches!(self.state, State::LoggingIn)
            }
            _ => !matches!(self.state, State::Ended),
        };
        if !awaited {
            return;
        }
        let result = match input {
            Input::Client(frame) => self.client_frame(frame, out),
            Input::Server(frame) => self.server_frame(frame, out),
            Input::TlsUp(shown) => {
                (self.encrypted, self.shown, self.down) = (true, shown, None);
                self.state = State::Header;
                Ok(())
            }
            Input::Dialled => {
                self.open_up(out);
                Ok(())
            }
            Input::Admitted => self.admitted(out),
            Input::TurnedAway => self.turned_away(out),
            Input::DialFailed(condition, text) | Input::LoginBroken(condition, text) => {
                Err(End::client(condition, text))
            }
            Input::LoggedIn => {
                out.push(Action::Down(Bytes::from(format!("<success xmlns='{}'/>", ns::SASL))));
                self.login_done(out);
                Ok(())
            }
            Input::LoginRefused(failure) => self.login_failed(failure, out),
            Input::ClientEnd => {
                Err(End { down: Last::Nothing, up: Last::Nothing, why: "the client's connection ended".into() })
            }
            Input::ServerEnd => {
                self.unanswered(out);
                Err(End { down: Last::Nothing, up: Last::Nothing, why: "the server's connection ended".into() })
            }
            Input::Stop { down: (condition, text), up } => {
                let mut end = End::client(condition, text);
                if let Some((condition, text)) = up {
                    end.up = Last::Error(condition, text);
                }
                Err(end)
            }
        };
        if let Err(end) = result {
            self.end(end, out);
        }
    }

    fn end(&mut self, end: End, out: &mut Vec<Action>) {
        self.state = State::Ended;
        if self.down.is_none() && matches!(end.down, Last::Error(..) | Last::Relayed(_)) {
            // An error can only be told on an open stream (RFC 6120 §4.9.1.2).
            self.open_down(out);
        }
        for (last, opened, up) in [(end.down, self.down.take(), false), (end.up, self.up.take(), true)] {
            let Some(name) = opened else { continue };
            let close = format!("</{name}>");
            let bytes = match last {
                Last::Nothing => continue,
                Last::Close => Bytes::from(close),
                Last::Error(condition, text) => Bytes::from(stream_error(condition, &text) + &close),
                Last::Relayed(error) => [&error[..], close.as_bytes()].concat().into(),
            };
            out.push(if up { Action::Up(bytes) } else { Action::Down(bytes) });
        }
        out.push(Action::End(end.why));
    }

    /// The proxy's own header, where there is no server's to relay.
    fn open_down(&mut self, out: &mut Vec<Action>) {
        let id = if self.encrypted { format!("{}-tls", self.id) } else { self.id.clone() };
        let domain = self.domain.as_deref().or(self.client.to.as_deref()).unwrap_or_default();
        out.push(Action::Down(Header::server(domain, &id).into()));
        self.down = Some("stream:stream".into());
    }

    fn open_up(&mut self, out: &mut Vec<Action>) {
        self.up = Some(opened_name(&self.client));
        out.push(Action::Up(with_declaration(&self.client)));
        self.state = State::ServerHeader;
    }

    fn client_frame(&mut self, frame: Frame, out: &mut Vec<Action>) -> Result<(), End> {
        match frame {
            Frame::Header(bytes) => {
                self.client = Header::parse(bytes);
                self.client_header(out)
            }
            Frame::Close => Err(End { down: Last::Close, up: Last::Close, why: "the client closed its stream".into() }),
            Frame::Element(element) => self.client_element(Stanza::new(element), out),
        }
    }

    fn client_header(&mut self, out: &mut Vec<Action>) -> Result<(), End> {
        if !matches!(self.state, State::PlainHeader | State::Header) {
            return Err(End::client(StreamCondition::PolicyViolation, "a stream header is out of place here"));
        }
        let Some(to) = &self.client.to else {
            return Err(End::client(StreamCondition::ImproperAddressing, "the stream header has no 'to'"));
        };
        let Some(domain) = self.domains.configured(to) else {
            return Err(End::client(StreamCondition::HostUnknown, "this domain is not served here"));
        };
        if !self.client.is_version_1() {
            return Err(End::client(StreamCondition::UnsupportedVersion, "XMPP 1.0 is needed"));
        }
        if !self.encrypted {
            self.domain = Some(domain);
            self.open_down(out);
            out.push(Action::Down(Bytes::from(format!(
                "<stream:features><starttls xmlns='{}'><required/></starttls></stream:features>",
                ns::TLS
            ))));
            self.state = State::StartTls;
            return Ok(());
        }
        if self.logged_in {
            if self.domain.as_ref() != Some(&domain) {
                return Err(End::client(StreamCondition::HostUnknown, "this is not the domain of the login"));
            }
            self.open_up(out);
            return Ok(());
        }
        if self.shown.as_ref().is_some_and(|shown| !(shown.0)(&domain)) {
            return Err(End::client(StreamCondition::HostUnknown, "the certificate shown is not for this domain"));
        }
        self.domain = Some(domain.clone());
        self.state = State::Dialling;
        out.push(Action::Dial { domain });
        Ok(())
    }

    fn client_element(&mut self, stanza: Stanza, out: &mut Vec<Action>) -> Result<(), End> {
        if stanza.space() == Space::Streams && stanza.name() == "error" {
            let up = Last::Relayed(stanza.bytes().clone());
            return Err(End { down: Last::Close, up, why: "the client sent a stream error".into() });
        }
        let element = self.client.detach(stanza.clone());
        let sasl = match element.tree() {
            Ok(tree) if tree.root().space() == ns::SASL => tree.root().name().to_owned(),
            Ok(tree) if tree.root().is("starttls", ns::TLS) && matches!(self.state, State::StartTls) => {
                self.state = State::Handshake;
                out.push(Action::StartTls(Bytes::from(format!("<proceed xmlns='{}'/>", ns::TLS))));
                return Ok(());
            }
            _ => String::new(),
        };
        match (&self.state, sasl.as_str()) {
            (State::StartTls, "auth") => self.fail("encryption-required", out),
            (State::Login, "auth") => self.auth(&stanza, &element, out),
            (State::FirstResponse(_), "response" | "abort") => self.first_response(&element, &sasl, out),
            (State::Exchange(_), "response" | "abort") => self.relay_response(&stanza, &sasl, out),
            (State::Login, "") if early::is_meant(&element, self.offered.before_login, self.domain()) => {
                self.early_iq(&stanza, &element, out)
            }
            (State::Bind, "") if bind::is_request(&stanza, &self.client) => {
                out.push(Action::Up(stanza.bytes().clone()));
                self.state = State::Binding(stanza.id().map(|id| id.into_owned()));
                Ok(())
            }
            _ => match refuse::refuse(&stanza, &self.client) {
                Refusal::Answer(bytes) => {
                    out.push(Action::Down(bytes));
                    Ok(())
                }
                Refusal::End(condition, text) => Err(End::client(condition, text)),
            },
        }
    }

    fn server_frame(&mut self, frame: Frame, out: &mut Vec<Action>) -> Result<(), End> {
        match frame {
            Frame::Header(bytes) => {
                if !matches!(self.state, State::ServerHeader) {
                    return Err(End::server("a stream header is out of place here"));
                }
                self.server = Header::parse(bytes);
                self.down = Some(opened_name(&self.server));
                out.push(Action::Down(with_declaration(&self.server)));
                self.state = State::ServerFeatures;
                Ok(())
            }
            Frame::Close => {
                self.unanswered(out);
                Err(End { down: Last::Close, up: Last::Close, why: "the server closed its stream".into() })
            }
            Frame::Element(element) => self.server_element(element, out),
        }
    }

    fn server_element(&mut self, element: Element, out: &mut Vec<Action>) -> Result<(), End> {
        let stanza = Stanza::new(element);
        let name = if stanza.space() == Space::Streams { stanza.name() } else { "" };
        match (&self.state, name) {
            (_, "error") => {
                self.unanswered(out);
                let why = format!("the server ended the stream: {}", condition_of(&stanza));
                // The client has seen the header that declares the prefixes, but for an error before the header.
                let error = self.server.detach(stanza).bytes().clone();
                Err(End { down: Last::Relayed(error), up: Last::Close, why })
            }
            (State::ServerFeatures, "features") => self.server_features(stanza, out),
            (State::Exchange(_), "") => self.relay_challenge(stanza, out),
            (State::Asked(_), "") if stanza.kind() != Kind::Other => self.early_answer(stanza, out),
            (State::Binding(_), "") if stanza.kind() != Kind::Other => self.server_bind(stanza, out),
            _ => Err(End::server(format!("<{}/> is out of place here", stanza.name()))),
        }
    }

    fn server_features(&mut self, stanza: Stanza, out: &mut Vec<Action>) -> Result<(), End> {
        let before_login = self.domain.as_deref().map(|d| self.domains.before_login(d)).unwrap_or_default();
        let most = self.domains.largest_stanza();
        let filtered = features::filter(&stanza, &self.server, self.auth, before_login, self.logged_in, most);
        let Some(filtered) = filtered else {
            return Err(End::server("features that cannot be read"));
        };
        out.push(Action::Down(filtered.bytes));
        self.offered = filtered.offered;
        if self.logged_in {
            self.state = State::Bind;
        } else {
            self.features = Some(self.server.detach(stanza));
            self.state = State::Login;
        }
        Ok(())
    }

    fn server_bind(&mut self, stanza: Stanza, out: &mut Vec<Action>) -> Result<(), End> {
        let State::Binding(id) = &self.state else { return Ok(()) };
        let answer = stanza.is_iq() && stanza.id().as_deref() == id.as_deref();
        if answer && stanza.is_type("error") {
            self.state = State::Bind;
        } else if answer && stanza.is_type("result") {
            return self.bound(stanza, out);
        }
        out.push(Action::Down(stanza.bytes().clone()));
        Ok(())
    }

    fn bound(&mut self, stanza: Stanza, out: &mut Vec<Action>) -> Result<(), End> {
        let jid = bind::bound_jid(&stanza, &self.server).ok_or_else(|| End::server("a bind result without a JID"))?;
        let domain = self.domain.clone().unwrap_or_default();
        if !is_domain(&jid, &domain) {
            return Err(End::server("the bound JID is of another domain"));
        }
        let account = bind::is_own(&jid, self.name.as_deref()).then(|| jid.to_bare());
        out.push(Action::Down(stanza.bytes().clone()));
        self.be_bound(jid, account, out);
        Ok(())
    }

    fn be_bound(&mut self, jid: FullJid, account: Option<BareJid>, out: &mut Vec<Action>) {
        let domain = self.domain.clone().unwrap_or_default();
        self.state = State::Ended;
        let close = |name: &Option<String>| format!("</{}>", name.as_deref().unwrap_or("stream:stream"));
        out.push(Action::Bound(Box::new(Bound {
            jid,
            account,
            domain,
            client: std::mem::take(&mut self.client),
            csi: self.offered.csi,
            close_down: close(&self.down),
            close_up: close(&self.up),
        })));
    }
}

/// Whether the JID is of the configured domain, prepared alike.
fn is_domain(jid: &FullJid, domain: &str) -> bool {
    BareJid::new(domain).is_ok_and(|d| d.node().is_none() && d.domain() == jid.domain())
}
