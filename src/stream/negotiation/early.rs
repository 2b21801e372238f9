//! IQs before login, where the operator allows them and the server offers them (S4): registration (XEP-0077), and the
//! login of before SASL (XEP-0078), whose attempts pass the same gate as SASL's (S3). One at a time; the next waits
//! for the answer. A stream that logs in so is pass-through (S2).

use jid::{BareJid, FullJid};

use super::login::{Held, account};
use super::words::End;
use super::{Action, BeforeLogin, MAX_FAILURES, Negotiation, Outcome, State};
use crate::xml::element::Node;
use crate::xmpp::conditions::{StanzaCondition, StreamCondition, error_reply};
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// IQs relayed before login on one stream: a form or two, some attempts at a free name.
const MOST_IQS: u8 = 10;

/// An IQ whose answer is awaited.
#[derive(Debug)]
pub(super) struct Asked {
    id: Option<String>,
    /// If it is a login: the JID that it asks for.
    login: Option<FullJid>,
}

/// The one payload of an IQ to the server, if it is one of these.
fn payload<'t>(root: Node<'t>, domain: Option<&str>) -> Option<Node<'t>> {
    let for_server = root.attr("to").is_none_or(|to| BareJid::new(&to).is_ok_and(|to| Some(to.as_str()) == domain));
    let mut children = root.children();
    let query = children.next().filter(|_| for_server && children.next().is_none())?;
    let known = query.is("query", ns::REGISTER) || query.is("query", ns::AUTH);
    let asks = matches!(root.attr("type").as_deref(), Some("get" | "set"));
    (root.is("iq", ns::CLIENT) && known && asks).then_some(query)
}

/// Whether an element of the client's, its prefixes declared, is an IQ that was offered before login. `<remove/>`
/// never is: some servers take it with a password, which would be a login that nobody counts.
pub(super) fn is_meant(element: &Stanza, offered: BeforeLogin, domain: Option<&str>) -> bool {
    element.is_iq()
        && element.tree().is_ok_and(|tree| {
            payload(tree.root(), domain).is_some_and(|query| match query.space() {
                ns::REGISTER => offered.registration && query.child("remove", ns::REGISTER).is_none(),
                _ => offered.legacy_auth,
            })
        })
}

/// Whom an IQ of XEP-0078 logs in as: `None` if it only asks for the form.
fn login(element: &Stanza, domain: &str) -> Option<Result<(BareJid, FullJid), StanzaCondition>> {
    let tree = element.tree().ok()?;
    let query = payload(tree.root(), Some(domain)).filter(|q| q.space() == ns::AUTH)?;
    if !element.is_type("set") {
        return None;
    }
    let field = |name| query.child_text(name, ns::AUTH).filter(|text| !text.is_empty());
    let (Some(name), Some(resource)) = (field("username"), field("resource")) else {
        return Some(Err(StanzaCondition::NotAcceptable));
    };
    let jid = account(&name, domain).and_then(|bare| Some((bare.clone(), bare.with_resource_str(&resource).ok()?)));
    Some(jid.ok_or(StanzaCondition::NotAcceptable))
}

impl Negotiation {
    /// `stanza` is as it came, `element` with its prefixes declared.
    pub(super) fn early_iq(&mut self, stanza: &Stanza, element: &Stanza, out: &mut Vec<Action>) -> Result<(), End> {
        self.early_iqs += 1;
        if self.early_iqs > MOST_IQS {
            return Err(End::client(StreamCondition::PolicyViolation, "too many requests before login"));
        }
        match login(element, self.domain().unwrap_or_default()) {
            None => {
                self.ask(stanza, None, out);
                Ok(())
            }
            Some(Ok((account, jid))) => self.gate(Some(account), None, Held::Legacy(stanza.clone(), jid), out),
            Some(Err(condition)) => {
                out.push(Action::Mistake);
                self.answer(stanza, condition, "a user name and a resource are needed", out);
                self.legacy_failed()
            }
        }
    }

    fn ask(&mut self, stanza: &Stanza, login: Option<FullJid>, out: &mut Vec<Action>) {
        out.push(Action::Up(stanza.bytes().clone()));
        self.state = State::Asked(Asked { id: stanza.id().map(|id| id.into_owned()), login });
    }

    fn answer(&self, stanza: &Stanza, condition: StanzaCondition, text: &str, out: &mut Vec<Action>) {
        out.extend(error_reply(stanza, "", condition, text).map(|reply| Action::Down(reply.into())));
    }

    pub(super) fn ask_legacy(&mut self, stanza: &Stanza, jid: FullJid, out: &mut Vec<Action>) {
        self.ask(stanza, Some(jid), out);
    }

    pub(super) fn refuse_legacy(&mut self, stanza: &Stanza, text: &str, out: &mut Vec<Action>) -> Result<(), End> {
        self.answer(stanza, StanzaCondition::ResourceConstraint, text, out);
        self.legacy_failed()
    }

    /// Whether an attempt of XEP-0078 is under way.
    pub(super) fn asks_to_log_in(&self) -> bool {
        matches!(&self.state, State::Asked(Asked { login: Some(_), .. }))
    }

    fn legacy_failed(&mut self) -> Result<(), End> {
        self.state = State::Login;
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            return Err(End::client(StreamCondition::PolicyViolation, "too many failed logins"));
        }
        Ok(())
    }

    /// What the server says meanwhile: the answer, or nothing.
    pub(super) fn early_answer(&mut self, stanza: Stanza, out: &mut Vec<Action>) -> Result<(), End> {
        let State::Asked(asked) = &mut self.state else { return Ok(()) };
        let success = stanza.is_type("result");
        if !stanza.is_iq() || stanza.id().as_deref() != asked.id.as_deref() || !(success || stanza.is_type("error")) {
            return Err(End::server(format!("<{}/> before login", stanza.name())));
        }
        let login = asked.login.take();
        self.state = State::Login;
        let Some(jid) = login else {
            out.push(Action::Down(stanza.bytes().clone()));
            return Ok(());
        };
        out.push(Action::Settle(if success { Outcome::Success } else { Outcome::Failure }));
        out.push(Action::Down(stanza.bytes().clone()));
        if !success {
            return self.legacy_failed();
        }
        self.logged_in = true;
        out.push(Action::RaiseLimits);
        self.be_bound(jid, None, out);
        Ok(())
    }
}
