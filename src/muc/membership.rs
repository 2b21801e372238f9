//! The account's membership (XEP-0045 §7.2, §7.14, §9.10): joining, what a failed join means, being let in, being
//! put out, and going back.

use std::sync::Arc;
use std::time::Duration;

use crate::muc::autojoin::may_pass;
use crate::muc::codes::{self, MucUser};
use crate::muc::history::Keeping;
use crate::muc::join::{payload, rejoin};
use crate::muc::room::{Phase, Room};
use crate::muc::self_presence::{Order, SelfPresence};
use crate::muc::{ClientId, Now, Out};
use crate::xml::writer::escape;
use crate::xmpp::conditions::StanzaCondition;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How long a room may take from our own presence to its subject, which ends the entry (XEP-0045 §7.2.15).
const ENTRY_TIME: Duration = Duration::from_secs(5);
/// The longest.
const LAST_RETRY: Duration = Duration::from_secs(300);
/// The first wait before the account goes back to a room that removed it for a technical reason.
pub(super) const FIRST_RETRY: Duration = Duration::from_secs(2);

impl Room {
    /// Sends the first waiter's join up as the account's.
    pub(super) fn start_join(&mut self, now: Now, out: &mut Vec<Out>) {
        let keep = matches!(self.phase, Phase::Lost { .. }) || self.stays();
        let deadline = now.at + self.settings.join_timeout;
        self.forget();
        let Some(waiter) = self.waiting.front() else { return };
        let id = waiter.join.id.clone().unwrap_or_default();
        let before = std::mem::replace(&mut self.nick, waiter.join.nick.clone());
        if keep && self.usual_nick.is_none() && !before.is_empty() {
            self.usual_nick = Some(before);
        }
        out.push(Out::Up(waiter.join.upstream(&self.jid, &self.nick, self.settings.history)));
        self.shown.joined_with(&payload(&waiter.join.stanza));
        self.phase = Phase::Joining { deadline, id, keep, asker: Some(waiter.client) };
    }

    /// Goes back to the room with nobody asking.
    pub(super) fn start_rejoin(&mut self, now: Now, out: &mut Vec<Out>) {
        let id = self.next_id();
        self.forget();
        let shown = Stanza::own(format!("<presence>{}</presence>", self.settings.shown_detached()));
        let password = self.autojoin.as_ref().and_then(|autojoin| autojoin.password.as_ref());
        out.push(Out::Up(rejoin(&self.jid, &self.nick, &id, self.settings.history, password, &shown)));
        self.shown.joined_with(&shown);
        self.phase = Phase::Joining { deadline: now.at + self.settings.join_timeout, id, keep: true, asker: None };
    }

    #[expect(clippy::too_many_arguments)]
    pub(super) fn entered(
        &mut self,
        now: Now,
        nick: &str,
        stanza: Stanza,
        user: &MucUser,
        keep: bool,
        asker: Option<ClientId>,
        out: &mut Vec<Out>,
    ) {
        self.nick = nick.to_owned();
        self.usual_nick = None;
        self.retry_wait = FIRST_RETRY;
        self.put_out = false;
        let order = if *self.history.keeping() == Keeping::Queue { Order::EJABBERD } else { Order::PROSODY };
        self.own = Some(SelfPresence::joined(stanza, user, order));
        if let Some(repair) = self.repair.as_mut().filter(|_| user.has(codes::CREATED)) {
            repair.created();
        }
        // A sibling that came meanwhile, past the proxy.
        self.occupants.unavailable(nick);
        self.occupants_shown();
        self.unconfigured = user.has(codes::CREATED);
        self.phase = Phase::Entering { deadline: now.at + ENTRY_TIME, keep };
        if self.unconfigured && asker.is_none() {
            // Nobody is there to configure it: XEP-0045 §10.1.2, else Prosody keeps everybody out.
            self.accept_defaults(out);
        }
    }

    pub(super) fn accept_defaults(&mut self, out: &mut Vec<Out>) {
        self.unconfigured = false;
        let id = self.next_id();
        out.push(Out::Up(Stanza::own(format!(
            "<iq to='{}' type='set' id='{id}'><query xmlns='http://jabber.org/protocol/muc#owner'>\
             <x xmlns='jabber:x:data' type='submit'/></query></iq>",
            escape(&self.jid)
        ))));
    }

    /// The account is out of the room. Who has asked to join meanwhile starts over.
    pub(super) fn left(&mut self, now: Now, out: &mut Vec<Out>) {
        self.give_up_repair(now, out);
        self.forget();
        self.give_up_resends(out);
        self.phase = Phase::Out;
        if !self.waiting.is_empty() {
            self.start_join(now, out);
        } else if self.stays() {
            self.lost(now, out);
        } else {
            out.push(Out::Ended);
        }
    }

    /// The account was put out of the room without anybody's will.
    pub(super) fn lost(&mut self, now: Now, out: &mut Vec<Out>) {
        self.give_up_repair(now, out);
        self.nick = self.usual_nick.take().unwrap_or_else(|| std::mem::take(&mut self.nick));
        self.forget();
        self.phase = Phase::Lost { retry_at: Some(now.at + self.retry_wait) };
        self.retry_wait = (self.retry_wait * 2).min(LAST_RETRY);
        if !self.waiting.is_empty() {
            self.start_join(now, out);
        }
    }

    pub(super) fn join_failed(
        &mut self,
        now: Now,
        error: Stanza,
        keep: bool,
        asker: Option<ClientId>,
        out: &mut Vec<Out>,
    ) {
        self.give_up_repair(now, out);
        let asked = asker.and_then(|asker| self.waiting.pop_front_if(|w| w.client == asker));
        if let Some(waiter) = asked {
            out.push(Out::One(waiter.client, Arc::new(Shared::new(&waiter.join.as_asked(&error), None))));
            self.phase = Phase::Out;
            for stanza in waiter.held {
                self.from_client(now, waiter.client, stanza, out);
            }
            if self.phase != Phase::Out {
                // What the client had sent behind its join was another join.
                return;
            }
        } else if keep && error_is_passing(&error) {
            return self.lost(now, out);
        } else if asker.is_none() && !may_pass(&error) {
            self.put_out = true;
        }
        self.left(now, out);
    }

    pub(super) fn join_timed_out(&mut self, now: Now, keep: bool, asker: Option<ClientId>, out: &mut Vec<Out>) {
        self.give_up_repair(now, out);
        let asked = asker.and_then(|asker| self.waiting.pop_front_if(|w| w.client == asker));
        if let Some(waiter) = asked {
            let text = "the room did not answer in time";
            let error = waiter.join.error(&self.jid, StanzaCondition::RemoteServerTimeout, text);
            out.push(Out::One(waiter.client, Arc::new(Shared::new(&error, None))));
            out.extend(waiter.held.into_iter().map(|stanza| Out::Relay(waiter.client, stanza)));
        } else if keep && self.waiting.is_empty() {
            return self.lost(now, out);
        }
        // An answer may still come: what it lets us into is left at once.
        self.start_leave(now, out);
    }

    /// Attached clients are told that they are out for a technical reason: they will join again.
    pub(super) fn tell_outage(&mut self, out: &mut Vec<Out>) {
        if let (Some(own), false) = (&self.own, self.audience.is_empty()) {
            let gone = own.unavailable(&self.session, None, &[codes::TECHNICAL]);
            self.show_all(gone, out);
        }
        self.detach_all(out);
    }

    /// The account session is gone, and with it our occupants. Attached clients are told 110 and 333.
    pub fn session_lost(&mut self, now: Now, out: &mut Vec<Out>) {
        self.give_up_repair(now, out);
        self.tell_outage(out);
        match self.phase {
            Phase::Out | Phase::Joining { keep: false, .. } if !self.stays() => self.phase = Phase::Out,
            Phase::Leaving { .. } if !self.stays() => {
                self.phase = Phase::Out;
                if self.waiting.is_empty() {
                    out.push(Out::Ended);
                }
            }
            _ => {
                self.forget();
                // Until the account session is up again.
                self.phase = Phase::Lost { retry_at: None };
            }
        }
    }

    /// The account session is up: what clients wait for is joined; what was lost, when it is its turn.
    pub fn session_up(&mut self, now: Now, session: &str, out: &mut Vec<Out>) {
        self.session = session.to_owned();
        if !self.waiting.is_empty() {
            self.start_join(now, out);
        } else if self.phase == Phase::Out {
            out.push(Out::Ended);
        }
    }

    /// Whether the room was lost, and nobody goes back to it just now.
    pub fn is_lost(&self) -> bool {
        matches!(self.phase, Phase::Lost { .. })
    }

    /// Goes back to the room if it was lost.
    pub fn go_back(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.is_lost() {
            self.start_rejoin(now, out);
        }
    }

    /// Whether the account's join is under way, with no client asking.
    pub fn joins_by_itself(&self) -> bool {
        matches!(self.phase, Phase::Joining { asker: None, .. })
    }

    /// The account session cannot be had: whoever waits passes through.
    pub fn give_up_waiters(&mut self, out: &mut Vec<Out>) {
        for waiter in self.waiting.drain(..) {
            out.push(Out::Relay(waiter.client, waiter.join.stanza));
            out.extend(waiter.held.into_iter().map(|stanza| Out::Relay(waiter.client, stanza)));
        }
        if self.phase == Phase::Out {
            out.push(Out::Ended);
        }
    }
}

/// Whether the error that answered a rejoin may pass by itself (RFC 6120 §8.3.2, type `wait`, or the way there).
fn error_is_passing(error: &Stanza) -> bool {
    let Ok(tree) = error.tree() else { return false };
    let Some(element) = tree.root().child("error", crate::xmpp::ns::CLIENT) else { return false };
    element.attr("type").as_deref() == Some("wait")
        || element.children().any(|c| matches!(c.name(), "remote-server-not-found" | "remote-server-timeout"))
}
