//! The client's side of SASL (RFC 6120 §6): PLAIN that ends at the proxy, and exchanges that are relayed, of which
//! only the name is read (S2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jid::BareJid;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::words::End;
use super::{Action, Auth, MAX_FAILURES, Negotiation, State, bind};
use crate::stream::sasl::{PlainError, parse_plain, scram_username};
use crate::xmpp::conditions::StreamCondition;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// A relayed exchange under way.
#[derive(Debug)]
pub(super) struct Exchange {
    mechanism: String,
    /// The client's next message is its first.
    first: bool,
    clients_turn: bool,
    /// Who logs in, if the first message told it and named no other identity.
    name: Option<String>,
}

impl Exchange {
    pub(super) fn clients_turn(&self) -> bool {
        self.clients_turn
    }

    /// The client's first message: who is it?
    fn learn_name(&mut self, message: &[u8], domain: &str) {
        self.first = false;
        if !self.mechanism.starts_with("SCRAM-") {
            return;
        }
        self.name = scram_username(message).and_then(|first| {
            let own = match &first.authzid {
                None => true,
                Some(authzid) => bind::is_same_account(authzid, &first.username, domain),
            };
            own.then_some(first.username)
        });
    }
}

/// The data in a SASL element: `None` for none, which is not the same as an empty message (`=`, RFC 6120 §6.4.2).
fn data(element: &Stanza) -> Result<Option<Zeroizing<Vec<u8>>>, &'static str> {
    let text = Zeroizing::new(element.tree().map_err(|_| "malformed-request")?.root().text());
    match text.trim() {
        "" => Ok(None),
        "=" => Ok(Some(Zeroizing::default())),
        text => Ok(Some(Zeroizing::new(STANDARD.decode(text).map_err(|_| "incorrect-encoding")?))),
    }
}

impl Negotiation {
    /// `<auth/>`. `stanza` is as it came, `element` with its prefixes declared.
    pub(super) fn auth(&mut self, stanza: &Stanza, element: &Stanza, out: &mut Vec<Action>) -> Result<(), End> {
        let mechanism = element.tree().ok().and_then(|t| t.root().attr("mechanism").map(|m| m.into_owned()));
        let Some(mechanism) = mechanism.filter(|m| self.offered.mechanisms.contains(m)) else {
            return self.fail("invalid-mechanism", out);
        };
        let initial = match data(element) {
            Ok(initial) => initial,
            Err(condition) => return self.fail(condition, out),
        };
        if mechanism == "PLAIN" {
            let Some(message) = initial else {
                out.push(Action::Down(Bytes::from(format!("<challenge xmlns='{}'/>", ns::SASL))));
                self.state = State::PlainResponse;
                return Ok(());
            };
            return self.plain(&message, out);
        }
        let mut exchange = Exchange { mechanism, first: true, clients_turn: false, name: None };
        if let Some(message) = initial {
            exchange.learn_name(&message, self.domain.as_deref().unwrap_or_default());
        }
        out.push(Action::Up(stanza.bytes().clone()));
        self.state = State::Exchange(exchange);
        Ok(())
    }

    pub(super) fn plain_response(&mut self, element: &Stanza, name: &str, out: &mut Vec<Action>) -> Result<(), End> {
        self.state = State::Login;
        if name == "abort" {
            return self.fail("aborted", out);
        }
        match data(element) {
            Ok(message) => self.plain(&message.unwrap_or_default(), out),
            Err(condition) => self.fail(condition, out),
        }
    }

    /// A PLAIN message: read strictly, and rebuilt where it goes up (S2).
    fn plain(&mut self, message: &[u8], out: &mut Vec<Action>) -> Result<(), End> {
        let domain = self.domain.clone().unwrap_or_default();
        let parsed = parse_plain(message).and_then(|plain| {
            let at = BareJid::new(&domain).map_err(|_| PlainError::BadName)?;
            plain.account(at.domain())?;
            Ok(plain)
        });
        let plain = match parsed {
            Ok(plain) => plain,
            Err(PlainError::Malformed(_)) => return self.fail("malformed-request", out),
            Err(PlainError::ForeignAuthzid) => return self.fail("invalid-authzid", out),
            Err(PlainError::BadName) => return self.fail("not-authorized", out),
        };
        if self.auth == Auth::Relay {
            let (authzid, authcid) = (plain.authzid.as_deref().unwrap_or_default(), &plain.authcid);
            let message = Zeroizing::new(format!("{authzid}\0{authcid}\0{}", plain.password.expose_secret()));
            let data = Zeroizing::new(STANDARD.encode(message.as_bytes()));
            let auth = format!("<auth xmlns='{}' mechanism='PLAIN'>{}</auth>", ns::SASL, &*data);
            out.push(Action::Up(auth.into()));
            let (mechanism, name) = ("PLAIN".to_owned(), Some(plain.authcid));
            self.state = State::Exchange(Exchange { mechanism, first: false, clients_turn: false, name });
            return Ok(());
        }
        let Some(features) = self.features.clone() else { return Err(End::server("no features")) };
        self.name = Some(plain.authcid.clone());
        self.state = State::LoggingIn;
        out.push(Action::Login { domain, plain, features });
        Ok(())
    }

    /// `<response/>` or `<abort/>` in a relayed exchange; the machine is only fed them when it is the client's turn.
    pub(super) fn relay_response(
        &mut self,
        stanza: &Stanza,
        element: &Stanza,
        name: &str,
        out: &mut Vec<Action>,
    ) -> Result<(), End> {
        let State::Exchange(exchange) = &mut self.state else { return Ok(()) };
        if !exchange.clients_turn {
            return Err(End::client(StreamCondition::PolicyViolation, format!("<{name}/> before a challenge")));
        }
        exchange.clients_turn = false;
        if exchange.first && name == "response" {
            let message = data(element).ok().flatten().unwrap_or_default();
            exchange.learn_name(&message, self.domain.as_deref().unwrap_or_default());
        }
        out.push(Action::Up(stanza.bytes().clone()));
        Ok(())
    }

    /// What the server says in a relayed exchange.
    pub(super) fn relay_challenge(&mut self, stanza: Stanza, out: &mut Vec<Action>) -> Result<(), End> {
        let State::Exchange(exchange) = &mut self.state else { return Ok(()) };
        let element = self.server.detach(stanza.clone());
        let tree = element.tree().map_err(|e| End::server(e.to_string()))?;
        let (name, sasl) = (tree.root().name(), tree.root().space() == ns::SASL);
        match name {
            "challenge" if sasl && !exchange.clients_turn => {
                exchange.clients_turn = true;
                out.push(Action::Down(stanza.bytes().clone()));
                Ok(())
            }
            "success" if sasl && !exchange.clients_turn => {
                self.name = exchange.name.take();
                out.push(Action::Down(stanza.bytes().clone()));
                self.login_done(out);
                Ok(())
            }
            "failure" if sasl => self.login_failed(stanza.bytes().clone(), out),
            _ => Err(End::server(format!("<{name}/> is out of place in a login"))),
        }
    }

    /// Both streams start over (RFC 6120 §6.4.6).
    pub(super) fn login_done(&mut self, out: &mut Vec<Action>) {
        self.logged_in = true;
        // Of the new streams neither is open yet.
        (self.down, self.up) = (None, None);
        self.features = None;
        self.offered = Default::default();
        self.state = State::Header;
        out.extend([Action::RestartDown, Action::RestartUp, Action::RaiseLimits]);
    }

    /// A failure of the proxy's own making.
    pub(super) fn fail(&mut self, condition: &str, out: &mut Vec<Action>) -> Result<(), End> {
        let failure = format!("<failure xmlns='{}'><{condition}/></failure>", ns::SASL);
        let before_tls = matches!(self.state, State::StartTls);
        let result = self.login_failed(failure.into(), out);
        if before_tls {
            self.state = State::StartTls;
        }
        result
    }

    /// The client is told and may try again, a few times.
    pub(super) fn login_failed(&mut self, failure: Bytes, out: &mut Vec<Action>) -> Result<(), End> {
        out.push(Action::Down(failure));
        self.name = None;
        self.state = State::Login;
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            return Err(End::client(StreamCondition::PolicyViolation, "too many failed logins"));
        }
        Ok(())
    }
}
