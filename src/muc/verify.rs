//! Whether the account is in the room as it thinks (XEP-0410): a room that has been silent for `verify_after`, or that
//! could not be reached, is asked by a ping of the own occupant. Clients that ask the same meanwhile wait for the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::muc::room::{Phase, Room};
use crate::muc::{ClientId, Now, Out};
use crate::xml::writer::escape;
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How long the room may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many clients' pings wait for it.
const MOST_WAITING: usize = 64;

/// What is known of the own occupancy.
#[derive(Debug, Default)]
pub(super) struct Verified {
    /// When the room last showed that the account is in it.
    heard: Option<Instant>,
    /// The ping under way: its id, and until when it may be answered.
    asked: Option<(String, Instant)>,
    waiting: Vec<(ClientId, Stanza)>,
}

/// What an answer to a ping of the own occupant means (XEP-0410 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    In,
    Unknown,
    Out,
}

impl Answer {
    fn read(answer: &Stanza) -> Answer {
        if answer.is_type("result") {
            return Answer::In;
        }
        let Ok(tree) = answer.tree() else { return Answer::Unknown };
        let error = tree.root().child("error", ns::CLIENT);
        let condition = error.and_then(|e| e.children().find(|c| c.space() == ns::STANZA_ERRORS && c.name() != "text"));
        match condition.map(|c| c.name()) {
            Some("service-unavailable" | "feature-not-implemented" | "item-not-found") => Answer::In,
            Some("remote-server-not-found" | "remote-server-timeout") | None => Answer::Unknown,
            Some(_) => Answer::Out,
        }
    }
}

impl Verified {
    /// The client is gone.
    pub(super) fn client_gone(&mut self, client: ClientId) {
        self.waiting.retain(|(waiting, _)| *waiting != client);
    }

    /// How many clients wait for the answer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

impl Room {
    /// The room has sent something.
    pub(super) fn hears(&mut self, now: Now) {
        self.verified.heard = Some(now.at);
    }

    /// When the room is asked, or given up waiting for.
    pub(super) fn verify_at(&self) -> Option<Instant> {
        if self.phase != Phase::Joined {
            return None;
        }
        match &self.verified.asked {
            Some((_, until)) => Some(*until),
            None => self.verified.heard.map(|heard| heard + self.settings.verify_after),
        }
    }

    /// Asks the room now.
    pub(super) fn verify(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.phase != Phase::Joined || self.verified.asked.is_some() {
            return;
        }
        let id = self.next_id();
        let (to, ping) = (self.own_jid(), ns::PING);
        let text = format!("<iq to='{}' type='get' id='{id}'><ping xmlns='{ping}'/></iq>", escape(&to));
        out.push(Out::Up(Stanza::own(text)));
        self.verified.asked = Some((id, now.at + PATIENCE));
    }

    pub(super) fn tick_verify(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.verify_at().is_none_or(|at| now.at < at) {
            return;
        }
        match self.verified.asked.take() {
            None => self.verify(now, out),
            Some(_) => self.is_verified(now, Answer::Unknown, out),
        }
    }

    /// A client pings the own occupant.
    pub(super) fn client_pings(&mut self, client: ClientId, ping: Stanza, out: &mut Vec<Out>) {
        if self.verified.asked.is_some() && self.verified.waiting.len() < MOST_WAITING {
            return self.verified.waiting.push((client, ping));
        }
        self.answer_ping(client, &ping, Answer::In, out);
    }

    fn answer_ping(&self, client: ClientId, ping: &Stanza, answer: Answer, out: &mut Vec<Out>) {
        let text = match answer {
            Answer::In => {
                let (to, id) = (ping.to().unwrap_or_default(), ping.id().unwrap_or_default());
                Some(format!("<iq from='{}' to='' id='{}' type='result'/>", escape(&to), escape(&id)))
            }
            Answer::Unknown => error_reply(ping, "", StanzaCondition::RemoteServerTimeout, ""),
            Answer::Out => error_reply(ping, "", StanzaCondition::NotAcceptable, ""),
        };
        out.extend(text.map(|text| Out::One(client, Arc::new(Shared::new(&Stanza::own(text), None)))));
    }

    /// An answer to an IQ that no client has asked; true if it is to our ping, from whom it was sent to (S15).
    pub(super) fn ping_answered(&mut self, now: Now, stanza: &Stanza, out: &mut Vec<Out>) -> bool {
        let ours = |asked: &str| stanza.id().as_deref() == Some(asked);
        let from_own = stanza.from().is_some_and(|from| from == self.own_jid());
        if !from_own || !self.verified.asked.as_ref().is_some_and(|(id, _)| ours(id)) {
            return false;
        }
        self.verified.asked = None;
        self.is_verified(now, Answer::read(stanza), out);
        true
    }

    fn is_verified(&mut self, now: Now, answer: Answer, out: &mut Vec<Out>) {
        // Asked again only after `verify_after`, whatever the answer was.
        self.verified.heard = Some(now.at);
        let waiting = std::mem::take(&mut self.verified.waiting);
        if answer == Answer::Out && self.can_repair() {
            // Then they are in all the same.
            self.not_in(now, out);
            for (client, ping) in waiting {
                self.hold_for_repair(client, ping, out);
            }
            return;
        }
        for (client, ping) in waiting {
            self.answer_ping(client, &ping, answer, out);
        }
        if answer == Answer::Out {
            self.not_in(now, out);
        }
    }
}
