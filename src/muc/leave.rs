//! Leaving (XEP-0045 §7.14). A client that leaves or is cut off is detached; the account stays, until DESIGN's rule
//! says that the person meant to leave.

use std::sync::Arc;

use crate::muc::room::{Phase, Room};
use crate::muc::{ClientId, Now, Out};
use crate::xmpp::stanza::Stanza;

impl Room {
    /// An attached client sends unavailable to the room: it is shown its own leave at once.
    pub(super) fn client_leaves(&mut self, now: Now, client: ClientId, stanza: &Stanza, out: &mut Vec<Out>) {
        if let Some(own) = &self.own {
            let gone = own.unavailable(&self.session, Some(stanza), &[]);
            out.push(Out::One(client, Arc::new(gone)));
        }
        self.detach(now, client, out);
        if !self.attached.is_empty() {
            return;
        }
        if self.unconfigured && self.creator == Some(client) {
            // It created the room and does not want it; nobody else is there to configure it.
            return self.creator_is_gone(now, out);
        }
        if self.stays() {
            return;
        }
        // Clients send this to every room when they quit, so it is not an account leave yet.
        self.leave_at = Some((now.at + self.settings.leave_grace, client));
        self.parting = Some(stanza.clone());
    }

    /// The client sent broadcast unavailable: it leaves all its rooms, by the same words, for the server would tell
    /// each of them. That is never an account leave.
    pub fn client_unavailable(&mut self, now: Now, client: ClientId, presence: &Stanza, out: &mut Vec<Out>) {
        self.client_offline(client);
        if !self.is_attached(client) {
            self.waiting.retain(|w| w.client != client);
            self.pass_on_challenge(out);
            return self.entrance_gone(now, client, out);
        }
        if let Some(own) = self.own_as_shown() {
            out.push(Out::One(client, Arc::new(own.unavailable(&self.session, Some(presence), &[]))));
        }
        self.detach(now, client, out);
        self.leave_if_unconfigured(now, client, out);
    }

    /// The client's stream ended.
    pub fn client_gone(&mut self, now: Now, client: ClientId, out: &mut Vec<Out>) {
        self.client_offline(client);
        self.waiting.retain(|w| w.client != client);
        self.pass_on_challenge(out);
        self.entrance_gone(now, client, out);
        self.visibility.forget_client(client);
        self.verified.client_gone(client);
        self.shown.nicks_wanted.retain(|(asker, _)| *asker != client);
        self.authors.client_gone(client);
        if let Some(repair) = &mut self.repair {
            repair.client_gone(client);
        }
        self.invitations.client_gone(client);
        if self.is_attached(client) {
            self.detach(now, client, out);
            self.leave_if_unconfigured(now, client, out);
        }
        if self.phase == Phase::Out && self.waiting.is_empty() {
            out.push(Out::Ended);
        }
    }

    /// What the client did before was a quit: no account leave follows from it.
    fn client_offline(&mut self, client: ClientId) {
        self.leave_at.take_if(|(_, leaver)| *leaver == client);
    }

    fn leave_if_unconfigured(&mut self, now: Now, client: ClientId, out: &mut Vec<Out>) {
        if self.unconfigured && self.creator == Some(client) {
            self.creator = None;
            if self.attached.is_empty() {
                self.creator_is_gone(now, out);
            }
        }
    }

    fn detach(&mut self, now: Now, client: ClientId, out: &mut Vec<Out>) {
        let in_call = self.attached.iter().any(|a| a.client == client && a.call.is_some());
        self.attached.retain(|a| a.client != client);
        self.visibility.forget_client(client);
        self.probes.forget_client(client);
        self.audience = self.attached.iter().map(|a| a.client).collect();
        out.push(Out::Detached(client));
        if self.attached.is_empty() {
            self.empty_since = Some(now.at);
        }
        match in_call {
            // Nobody is to call one who is not there.
            true => self.shown.reconsider_at_once(now.at),
            false => self.presence_gone(now),
        }
    }

    /// All are out: the room, or its service, said so.
    pub(super) fn detach_all(&mut self, out: &mut Vec<Out>) {
        out.extend(self.attached.drain(..).map(|a| Out::Detached(a.client)));
        self.audience = Arc::new([]);
    }

    /// The account leaves.
    pub(super) fn start_leave(&mut self, now: Now, out: &mut Vec<Out>) {
        self.start_leave_with(now, None, out);
    }

    /// `words`: the leave of the client that wanted it, for what it says (`<status/>`).
    fn start_leave_with(&mut self, now: Now, words: Option<Stanza>, out: &mut Vec<Out>) {
        self.give_up_repair(now, out);
        let (id, to) = (self.next_id(), self.own_jid());
        let plain = || Stanza::own("<presence type='unavailable'/>");
        let leave = words.unwrap_or_else(plain).edit().set("to", to).set("id", id).remove("from").finish();
        out.push(Out::Up(leave));
        self.leave_at = None;
        self.empty_since = None;
        let join = match &self.phase {
            Phase::Joining { id, .. } => Some(id.clone()),
            _ => None,
        };
        self.phase = Phase::Leaving { deadline: now.at + self.settings.join_timeout, join };
    }

    pub(super) fn tick_leave(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.phase != Phase::Joined || !self.attached.is_empty() || !self.waiting.is_empty() || self.stays() {
            return;
        }
        let asked = self.leave_at.is_some_and(|(at, _)| now.at >= at);
        let forgotten = self.empty_since.is_some_and(|since| now.at >= since + self.settings.offline_ttl);
        if asked || forgotten {
            let words = self.parting.take().filter(|_| asked);
            self.start_leave_with(now, words, out);
        }
    }
}
