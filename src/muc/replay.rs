//! Attaching: a client that joins a room the account is in is shown what a join would show now (XEP-0045 §7.2):
//! the room's own presence, the occupants, itself with 110 last, history as it asked, the subject; then live traffic.

use std::sync::Arc;

use crate::muc::join::{Join, Waiter, payload};
use crate::muc::presence::Attached;
use crate::muc::room::{Phase, Room};
use crate::muc::self_presence::Extra;
use crate::muc::{ClientId, Now, Out, nick};
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

impl Room {
    /// The entry is over: who waited is served, in the order of asking, then what they sent meanwhile is taken up.
    pub(super) fn joined(&mut self, now: Now, out: &mut Vec<Out>) {
        let keep = matches!(self.phase, Phase::Entering { keep: true, .. });
        self.phase = Phase::Joined;
        if let Some(held) = self.reconcile(now, out) {
            self.settled_in(now, keep, held, out);
        }
    }

    /// The account is in the room, and whoever was attached before knows what has changed. `held`: what those have sent
    /// meanwhile.
    pub(super) fn settled_in(&mut self, now: Now, keep: bool, held: Vec<(ClientId, Stanza)>, out: &mut Vec<Out>) {
        self.serve_or_leave(now, keep, out);
        for (client, stanza) in held {
            self.from_client(now, client, stanza, out);
        }
    }

    fn serve_or_leave(&mut self, now: Now, keep: bool, out: &mut Vec<Out>) {
        if self.waiting.is_empty() && self.attached.is_empty() {
            if !keep && !self.stays() {
                // Nobody is left who wanted it.
                return self.start_leave(now, out);
            }
            if self.unconfigured && self.stays() {
                self.accept_defaults(out);
            }
            self.empty_since = self.empty_since.or(Some(now.at));
            self.shown.reconsider_at_once(now.at);
            return self.resend_after_join(now, out);
        }
        self.serve_waiting(now, out);
        self.resend_after_join(now, out);
    }

    /// Lets in who has waited, in the order of asking, then takes up what they sent meanwhile.
    pub(super) fn serve_waiting(&mut self, now: Now, out: &mut Vec<Out>) {
        let mut held = Vec::new();
        while self.phase == Phase::Joined && self.repair.is_none() && !self.waits_for_its_presence(now, out) {
            let Some(mut waiter) = self.waiting.pop_front() else { break };
            held.push((waiter.client, std::mem::take(&mut waiter.held)));
            self.attach(now, waiter, out);
        }
        for (client, stanzas) in held {
            for stanza in stanzas {
                self.from_client(now, client, stanza, out);
            }
        }
    }

    /// Attaches a client to the room the account is in.
    fn attach(&mut self, now: Now, waiter: Waiter, out: &mut Vec<Out>) {
        let Waiter { client, join, shown, .. } = waiter;
        self.leave_at = None;
        self.empty_since = None;
        let created = self.unconfigured && self.creator.is_none();
        if created {
            self.creator = Some(client);
        }
        let since = self.shown.next();
        self.attached.push(shown.unwrap_or_else(|| Attached::new(client, &payload(&join.stanza), since)));
        self.replay(now, client, &join, created, out);
        self.heard(client);
        self.audience = self.attached.iter().map(|a| a.client).collect();
        self.present_best(now, None, out);
    }

    /// What the client is shown, all at once.
    pub(super) fn replay(&mut self, now: Now, client: ClientId, join: &Join, created: bool, out: &mut Vec<Out>) {
        let Some(own) = &self.own else { return };
        let extra = Extra { id: join.id.as_deref(), created, nick_assigned: !nick::same(&join.nick, &self.nick) };
        let mut shown: Vec<Arc<Shared>> = Vec::with_capacity(self.occupants.len() + 3);
        shown.extend(self.room_presence.clone());
        shown.extend(self.occupants.presences().cloned());
        shown.push(Arc::new(own.at_join(&self.session, extra)));
        shown.extend(self.history.select(&join.history, now.wall));
        shown.push(self.subject.show(&self.jid));
        out.push(Out::Many(client, shown));
        self.is_known_by(client, &join.stanza);
    }

    /// To every attached client.
    pub(super) fn show_all(&self, frame: Shared, out: &mut Vec<Out>) {
        self.show_shared(Arc::new(frame), out);
    }

    /// To every attached client.
    pub(super) fn show_shared(&self, frame: Arc<Shared>, out: &mut Vec<Out>) {
        if !self.audience.is_empty() && self.repair.is_none() {
            out.push(Out::All(self.audience.clone(), frame));
        }
    }
}
