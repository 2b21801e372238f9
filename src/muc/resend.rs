//! Groupchat messages that the room would not take yet (pure): refused because the account speaks too fast
//! (`resource-constraint`, type `wait`: ejabberd's `min_message_interval`), they are sent again, one at a time and in
//! order, and what clients say meanwhile waits behind them. Refused because the account is not in the room
//! (`not-acceptable`), they wait for it to be in again, once.
//!
//! What was on its way when the first one was refused, and was taken, stands before it: nobody can take that back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::muc::room::{Phase, Room};
use crate::muc::{ClientId, Now, Out};
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How many messages, and how many bytes of them, are kept for one room.
const MOST: usize = 256;
const MOST_BYTES: usize = 1024 * 1024;
/// The first wait before a refused message is sent again, and the longest.
const WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// How long a message may wait in all.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer to a message that was sent again may take; then the next one is sent.
const ANSWER: Duration = Duration::from_secs(10);

/// A message of a client's.
#[derive(Debug)]
struct Message {
    /// Its place among all that clients said.
    number: u64,
    client: ClientId,
    stanza: Stanza,
    /// Since when it waits; none: it has not been refused.
    refused: Option<Instant>,
    /// It was sent again.
    again: bool,
    /// It has waited for the account to be in the room again.
    rejoined: bool,
}

/// What was sent and is not reflected yet, and what waits.
#[derive(Debug, Default)]
pub(super) struct Resend {
    sent: VecDeque<Message>,
    waiting: VecDeque<Message>,
    bytes: usize,
    said: u64,
    /// When the first of those that wait is sent, or given up for answered.
    next_at: Option<Instant>,
    /// The first one of `sent` was sent again, and nothing else is until it is answered.
    asking: bool,
    wait: Option<Duration>,
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    TooFast,
    NotIn,
}

impl Refusal {
    fn read(error: &Stanza) -> Option<Refusal> {
        let tree = error.tree().ok()?;
        let element = tree.root().child("error", ns::CLIENT)?;
        let is = |name| element.child(name, ns::STANZA_ERRORS).is_some();
        let waits = element.attr("type").as_deref() == Some("wait");
        match () {
            () if is("resource-constraint") && waits => Some(Refusal::TooFast),
            () if is("not-acceptable") => Some(Refusal::NotIn),
            () => None,
        }
    }
}

impl Resend {
    fn message(&mut self, client: ClientId, stanza: Stanza) -> Message {
        self.said += 1;
        Message { number: self.said, client, stanza, refused: None, again: false, rejoined: false }
    }

    fn keep(&mut self, message: Message) {
        self.bytes += message.stanza.bytes().len();
        self.sent.push_back(message);
        // The oldest was taken long ago, or will be refused for good.
        while self.sent.len() > MOST || (self.bytes > MOST_BYTES && !self.sent.is_empty()) {
            let oldest = self.sent.pop_front();
            self.bytes -= oldest.map_or(0, |message| message.stanza.bytes().len());
        }
    }

    fn take(&mut self, id: &str) -> Option<Message> {
        let at = self.sent.iter().position(|message| message.stanza.id().as_deref() == Some(id))?;
        let message = self.sent.remove(at)?;
        self.bytes -= message.stanza.bytes().len();
        if at == 0 {
            self.asking = false;
        }
        Some(message)
    }

    fn holds(&self) -> bool {
        !self.waiting.is_empty() || self.asking
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= MOST || self.bytes >= MOST_BYTES
    }

    fn wait(&mut self, message: Message) {
        self.bytes += message.stanza.bytes().len();
        let at = self.waiting.partition_point(|waiting| waiting.number < message.number);
        self.waiting.insert(at, message);
    }

    /// The account is not in the room, so whatever was sent behind `number` was not taken, either: it waits, too.
    fn wait_behind(&mut self, number: u64, now: Instant) {
        let sent = std::mem::take(&mut self.sent);
        let (behind, before): (VecDeque<_>, _) = sent.into_iter().partition(|sent| sent.number > number);
        self.sent = before;
        for message in behind {
            self.bytes -= message.stanza.bytes().len();
            self.wait(Message { refused: message.refused.or(Some(now)), rejoined: true, ..message });
        }
    }

    /// When the room wants to be woken for it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_at.filter(|_| self.holds())
    }

    /// What was sent to a room that is lost is not answered any more.
    pub(super) fn forget_sent(&mut self) {
        self.bytes -= self.sent.drain(..).map(|message| message.stanza.bytes().len()).sum::<usize>();
        self.asking = false;
    }
}

impl Room {
    /// A client speaks to the room.
    pub(super) fn say(&mut self, now: Now, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        if !self.resend.holds() {
            self.authors.remember(&stanza, client);
            let message = self.resend.message(client, stanza.clone());
            self.resend.keep(message);
            return out.push(Out::Up(stanza));
        }
        if self.resend.is_full() {
            let text = "the room takes no more for now";
            let reply = error_reply(&stanza, "", StanzaCondition::ResourceConstraint, text);
            out.extend(reply.map(|reply| Out::One(client, Shared::new(&Stanza::own(reply), None).into())));
            return;
        }
        let message = self.resend.message(client, stanza);
        self.resend.wait(message);
        self.resend.next_at.get_or_insert(now.at + WAIT.0);
    }

    /// The room has taken the message with this id.
    pub(super) fn was_taken(&mut self, now: Now, id: &str, out: &mut Vec<Out>) {
        let asking = self.resend.asking;
        if self.resend.take(id).is_some() && asking && !self.resend.asking {
            self.resend.wait = None;
            self.send_next(now, out);
        }
    }

    /// The room has refused a message; true if it will be sent again, so that nobody is to hear of it yet.
    pub(super) fn was_refused(&mut self, now: Now, error: &Stanza, out: &mut Vec<Out>) -> bool {
        if error.from().is_some_and(|from| from.contains('/')) {
            return false;
        }
        let asking = self.resend.asking;
        let Some(mut message) = error.id().and_then(|id| self.resend.take(&id)) else { return false };
        let since = *message.refused.get_or_insert(now.at);
        let again = match Refusal::read(error) {
            Some(Refusal::TooFast) => now.at < since + PATIENCE,
            Some(Refusal::NotIn) => !std::mem::replace(&mut message.rejoined, true),
            None => false,
        };
        if !again {
            if asking && !self.resend.asking {
                self.send_next(now, out);
            }
            return false;
        }
        let (resent, number) = (message.again, message.number);
        self.resend.wait(message);
        if Refusal::read(error) == Some(Refusal::NotIn) {
            self.resend.wait_behind(number, now.at);
            self.not_in(now, out);
        } else if resent || self.resend.next_at.is_none() {
            let wait = self.resend.wait.map_or(WAIT.0, |wait| (wait * 2).min(WAIT.1));
            self.resend.wait = Some(wait);
            self.resend.next_at = Some(now.at + wait);
        }
        true
    }

    /// Sends the first of those that wait.
    fn send_next(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.phase != Phase::Joined || self.resend.asking {
            return;
        }
        let Some(mut message) = self.resend.waiting.pop_front() else {
            self.resend.next_at = None;
            return;
        };
        message.again = true;
        self.authors.remember(&message.stanza, message.client);
        out.push(Out::Up(message.stanza.clone()));
        self.resend.sent.push_front(message);
        self.resend.asking = true;
        self.resend.next_at = Some(now.at + ANSWER);
    }

    pub(super) fn tick_resend(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.resend.deadline().is_some_and(|at| now.at >= at) {
            // It was not answered: some rooms say nothing.
            self.resend.asking = false;
            self.resend.next_at = None;
            self.send_next(now, out);
        }
    }

    /// The account is in the room: what waited for that is sent.
    pub(super) fn resend_after_join(&mut self, now: Now, out: &mut Vec<Out>) {
        self.resend.asking = false;
        self.send_next(now, out);
    }

    /// The account has left: the authors learn that their messages were not sent.
    pub(super) fn give_up_resends(&mut self, out: &mut Vec<Out>) {
        for message in std::mem::take(&mut self.resend).waiting {
            let reply = error_reply(&message.stanza, "", StanzaCondition::NotAcceptable, "not in the room");
            out.extend(reply.map(|reply| Out::One(message.client, Shared::new(&Stanza::own(reply), None).into())));
        }
    }
}
