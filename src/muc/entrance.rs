//! A client enters a room that the account is in, with a presence that is to be shown there and is not shown yet. What
//! it sees of itself at its join is that presence as the room shows it (XEP-0045 §7.2.2), with all that servers add to
//! it: so its join waits until the room has. A room that does not answer holds nobody up for long.

use std::time::{Duration, Instant};

use crate::muc::join::payload;
use crate::muc::presence::Attached;
use crate::muc::room::{Phase, Room};
use crate::muc::{ClientId, Now, Out};

/// How long a join waits; then the client is shown what is known.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first of those who wait to be let in, and its presence on its way to the room and back.
#[derive(Debug)]
pub(super) struct Entrance {
    client: Attached,
    /// The id of its presence up there.
    id: String,
    until: Instant,
}

impl Entrance {
    pub(super) fn client(&self) -> &Attached {
        &self.client
    }

    /// When the room wants to be woken.
    pub(super) fn deadline(&self) -> Instant {
        self.until
    }
}

impl Room {
    /// Whether the first of those who wait has to wait for the room to show its presence, which is sent up if it was
    /// not yet.
    pub(super) fn waits_for_its_presence(&mut self, now: Now, out: &mut Vec<Out>) -> bool {
        if self.entrance.is_some() {
            return true;
        }
        let Some(first) = self.waiting.front().filter(|first| first.shown.is_none()) else { return false };
        let (client, presence) = (first.client, payload(&first.join.stanza));
        let client = Attached::new(client, &presence, self.shown.next());
        let is_best = self.best().is_none_or(|best| client.is_better_than(best));
        if !is_best || self.shown.is(&presence) || !self.shown.may_change(now.at) {
            return false;
        }
        self.shown.settle();
        self.leave_at = None;
        self.empty_since = None;
        let id = self.next_id();
        self.present_as(&presence, id.clone(), out);
        self.entrance = Some(Entrance { client, id, until: now.at + PATIENCE });
        true
    }

    /// The room has shown the own occupant, or refused to, under that id.
    pub(super) fn presence_answered(&mut self, now: Now, id: &str, out: &mut Vec<Out>) {
        if self.entrance.as_ref().is_some_and(|entrance| entrance.id == id) {
            self.let_in(now, out);
        }
    }

    pub(super) fn tick_entrance(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.entrance.as_ref().is_some_and(|entrance| now.at >= entrance.until) {
            self.let_in(now, out);
        }
    }

    /// The client is gone: whoever waits behind it is served.
    pub(super) fn entrance_gone(&mut self, now: Now, client: ClientId, out: &mut Vec<Out>) {
        if self.entrance.take_if(|entrance| entrance.client.client == client).is_none() {
            return;
        }
        self.presence_gone(now);
        self.serve_waiting(now, out);
        if self.attached.is_empty() && self.waiting.is_empty() {
            self.empty_since = Some(now.at);
        }
    }

    fn let_in(&mut self, now: Now, out: &mut Vec<Out>) {
        let Some(Entrance { client, .. }) = self.entrance.take() else { return };
        if let Some(first) = self.waiting.front_mut().filter(|first| first.client == client.client) {
            first.shown = Some(client);
        }
        if self.phase == Phase::Joined && !self.asks_for_jids(now, out) {
            self.serve_waiting(now, out);
        }
    }
}
