//! The client's side of SASL (RFC 6120 §6): PLAIN that ends at the proxy, and exchanges that are relayed, of which
//! only the name is read (S2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jid::{BareJid, DomainPart, FullJid, NodePart};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::words::End;
use super::{Action, Auth, Gate, MAX_FAILURES, Negotiation, Outcome, State, bind};
use crate::stream::sasl::{Plain, PlainError, parse_plain, scram_username};
use crate::xmpp::conditions::StreamCondition;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// A relayed exchange under way.
#[derive(Debug)]
pub(super) struct Exchange {
    clients_turn: bool,
    /// Who logs in, if the first message told it and named no other identity.
    name: Option<String>,
}

impl Exchange {
    pub(super) fn clients_turn(&self) -> bool {
        self.clients_turn
    }
}

/// An attempt that waits to be let in (S3): what goes up then.
#[derive(Debug)]
pub(super) enum Held {
    /// The proxy logs in.
    Plain(Plain),
    /// The client's first message in a relayed exchange.
    Relayed(Exchange, Bytes),
    /// The one IQ of XEP-0078, and the JID that it asks for.
    Legacy(Stanza, FullJid),
}

/// The account that a name of a client's first message means; `None` for a name that nobody can have.
pub(super) fn account(name: &str, domain: &str) -> Option<BareJid> {
    Some(BareJid::from_parts(Some(&*NodePart::new(name).ok()?), &DomainPart::new(domain).ok()?))
}

/// Mechanisms in which the client speaks first, and says who it is.
fn tells_the_name(mechanism: &str) -> bool {
    mechanism == "PLAIN" || mechanism.starts_with("SCRAM-")
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

/// `<auth/>` of the proxy's own making.
fn auth_element(mechanism: &str, message: &[u8]) -> Bytes {
    let data = Zeroizing::new(if message.is_empty() { "=".to_owned() } else { STANDARD.encode(message) });
    format!("<auth xmlns='{}' mechanism='{mechanism}'>{}</auth>", ns::SASL, &*data).into()
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
        if !tells_the_name(&mechanism) {
            let exchange = Exchange { clients_turn: false, name: None };
            return self.gate(None, None, Held::Relayed(exchange, stanza.bytes().clone()), out);
        }
        match initial {
            Some(message) => self.first_message(&mechanism, &message, Some(stanza.bytes()), out),
            // The server would ask for it just so. It hears of the attempt when it is known whose it is.
            None => {
                out.push(Action::Down(Bytes::from(format!("<challenge xmlns='{}'/>", ns::SASL))));
                self.state = State::FirstResponse(mechanism);
                Ok(())
            }
        }
    }

    pub(super) fn first_response(&mut self, element: &Stanza, name: &str, out: &mut Vec<Action>) -> Result<(), End> {
        let State::FirstResponse(mechanism) = std::mem::replace(&mut self.state, State::Login) else { return Ok(()) };
        if name == "abort" {
            return self.fail("aborted", out);
        }
        match data(element) {
            Ok(message) => self.first_message(&mechanism, &message.unwrap_or_default(), None, out),
            Err(condition) => self.fail(condition, out),
        }
    }

    /// The client's first message of a mechanism that tells the name; `auth` is the element it came in, if it can go
    /// up as it is.
    fn first_message(
        &mut self,
        mechanism: &str,
        message: &[u8],
        auth: Option<&Bytes>,
        out: &mut Vec<Action>,
    ) -> Result<(), End> {
        if mechanism == "PLAIN" {
            return self.plain(message, out);
        }
        let domain = self.domain.clone().unwrap_or_default();
        let first = scram_username(message);
        let account = first.as_ref().and_then(|first| account(&first.username, &domain));
        let name = first.and_then(|first| {
            let own = match &first.authzid {
                None => true,
                Some(authzid) => bind::is_same_account(authzid, &first.username, &domain),
            };
            own.then_some(first.username)
        });
        let auth = auth.cloned().unwrap_or_else(|| auth_element(mechanism, message));
        self.gate(account, None, Held::Relayed(Exchange { clients_turn: false, name }, auth), out)
    }

    /// A PLAIN message: read strictly, and rebuilt where it goes up (S2).
    fn plain(&mut self, message: &[u8], out: &mut Vec<Action>) -> Result<(), End> {
        let domain = self.domain.clone().unwrap_or_default();
        let parsed = parse_plain(message).and_then(|plain| {
            let at = BareJid::new(&domain).map_err(|_| PlainError::BadName)?;
            let account = plain.account(at.domain())?;
            Ok((plain, account))
        });
        let (plain, account) = match parsed {
            Ok(parsed) => parsed,
            Err(PlainError::Malformed(_)) => return self.fail("malformed-request", out),
            Err(PlainError::ForeignAuthzid) => return self.fail("invalid-authzid", out),
            Err(PlainError::BadName) => return self.fail("not-authorized", out),
        };
        let password = Some(plain.password.clone());
        let held = if self.auth == Auth::Relay {
            let (authzid, authcid) = (plain.authzid.as_deref().unwrap_or_default(), &plain.authcid);
            let message = Zeroizing::new(format!("{authzid}\0{authcid}\0{}", plain.password.expose_secret()));
            let auth = auth_element("PLAIN", message.as_bytes());
            Held::Relayed(Exchange { clients_turn: false, name: Some(plain.authcid) }, auth)
        } else {
            Held::Plain(plain)
        };
        self.gate(Some(account), password, held, out)
    }

    /// Asks whether an attempt may be made. Nothing of it has gone up.
    pub(super) fn gate(
        &mut self,
        account: Option<BareJid>,
        password: Option<SecretString>,
        held: Held,
        out: &mut Vec<Action>,
    ) -> Result<(), End> {
        self.state = State::Gate(held);
        let domain = self.domain.clone().unwrap_or_default();
        out.push(Action::Gate(Gate { domain, account, password }));
        Ok(())
    }

    /// It may.
    pub(super) fn admitted(&mut self, out: &mut Vec<Action>) -> Result<(), End> {
        let State::Gate(held) = std::mem::replace(&mut self.state, State::Login) else { return Ok(()) };
        match held {
            Held::Plain(plain) => {
                let Some(features) = self.features.clone() else { return Err(End::server("no features")) };
                self.name = Some(plain.authcid.clone());
                self.state = State::LoggingIn;
                out.push(Action::Login { domain: self.domain.clone().unwrap_or_default(), plain, features });
            }
            Held::Relayed(exchange, auth) => {
                out.push(Action::Up(auth));
                self.state = State::Exchange(exchange);
            }
            Held::Legacy(iq, jid) => self.ask_legacy(&iq, jid, out),
        }
        Ok(())
    }

    /// It may not: there were too many failures. The server never hears of it.
    pub(super) fn turned_away(&mut self, out: &mut Vec<Action>) -> Result<(), End> {
        let text = "too many failed logins; try again later";
        let State::Gate(held) = std::mem::replace(&mut self.state, State::Login) else { return Ok(()) };
        if let Held::Legacy(iq, _) = held {
            return self.refuse_legacy(&iq, text, out);
        }
        let failure = format!(
            "<failure xmlns='{}'><temporary-auth-failure/><text xml:lang='en'>{text}</text></failure>",
            ns::SASL
        );
        self.login_failed(failure.into(), out)
    }

    /// The server's stream ends: if an attempt was under way, it said neither yes nor no.
    pub(super) fn unanswered(&self, out: &mut Vec<Action>) {
        if matches!(self.state, State::Exchange(_)) || self.asks_to_log_in() {
            out.push(Action::Settle(Outcome::Unanswered));
        }
    }

    /// `<response/>` or `<abort/>` in a relayed exchange; the machine is only fed them when it is the client's turn.
    pub(super) fn relay_response(&mut self, stanza: &Stanza, name: &str, out: &mut Vec<Action>) -> Result<(), End> {
        let State::Exchange(exchange) = &mut self.state else { return Ok(()) };
        if !exchange.clients_turn {
            return Err(End::client(StreamCondition::PolicyViolation, format!("<{name}/> before a challenge")));
        }
        exchange.clients_turn = false;
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
                out.push(Action::Settle(Outcome::Success));
                out.push(Action::Down(stanza.bytes().clone()));
                self.login_done(out);
                Ok(())
            }
            "failure" if sasl => {
                out.push(Action::Settle(Outcome::Failure));
                self.login_failed(stanza.bytes().clone(), out)
            }
            _ => Err(End::server(format!("<{name}/> is out of place in a login"))),
        }
    }

    /// Both streams start over (RFC 6120 §6.4.6): what were they are over, so an error now needs a header before it.
    pub(super) fn login_done(&mut self, out: &mut Vec<Action>) {
        self.logged_in = true;
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
        out.push(Action::Mistake);
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
