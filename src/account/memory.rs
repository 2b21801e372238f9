//! What an account may keep of its rooms (S20): no more than `rooms.memory_per_account`, and no more than is left of
//! `rooms.memory` for all accounts, so that the one that has most has to go without first. Beyond that the history of its
//! rooms goes; then rooms are given up, and joins to them pass through until there is memory for them again.

use std::time::{Duration, Instant};

use crate::account::account::{Account, Output};
use crate::muc::join::Join;
use crate::muc::room::Room;
use crate::muc::{Now, Out};

/// How many rooms that were given up are remembered.
const MOST_GIVEN_UP: usize = 64;
/// A room that was too large is tried again after that time: it may have become smaller.
const FORGET: Duration = Duration::from_secs(3600);
/// It is said no more often than that.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// The bound that is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Account,
    Process,
}

/// What is remembered of the times when there was not enough.
#[derive(Debug, Default)]
pub(super) struct Short {
    given_up: Vec<GivenUp>,
    said: Option<Instant>,
}

#[derive(Debug)]
struct GivenUp {
    room: String,
    bytes: usize,
    at: Instant,
}

impl Account {
    /// Bytes that its rooms keep, as if no other account shared any.
    pub fn bytes(&self) -> usize {
        self.rooms.values().map(Room::footprint).sum()
    }

    /// How many bytes it may keep when there are so many more than now.
    fn may_keep(&self, more: usize) -> (usize, Bound) {
        let left = self.settings.memory.saturating_sub(self.settings.kept.memory().used() + more);
        match self.settings.memory_per_account {
            own if own <= left => (own, Bound::Account),
            _ => (left, Bound::Process),
        }
    }

    /// The bound that it is beyond.
    fn is_beyond(&self) -> Option<Bound> {
        let (most, bound) = self.may_keep(0);
        (self.bytes() > most).then_some(bound)
    }

    /// Why the account cannot keep one room more, if it cannot: for the log, of a client's join or of a bookmark.
    pub(super) fn lacks_memory_for(&self, now: Now, room: &str) -> Option<[&'static str; 2]> {
        let given_up = self.limits.short.given_up.iter().find(|g| g.room == room && now.at < g.at + FORGET);
        let needed = given_up.map_or(1, |room| room.bytes);
        let (most, bound) = self.may_keep(needed);
        (self.bytes() + needed > most).then_some(match bound {
            Bound::Account => [
                "rooms.memory_per_account: a join passes through",
                "rooms.memory_per_account: a bookmarked room is not joined",
            ],
            Bound::Process => ["rooms.memory: a join passes through", "rooms.memory: a bookmarked room is not joined"],
        })
    }

    /// Whether the room was given up, and the account may still be on its way out of it.
    pub(super) fn has_given_up(&self, room: &str) -> bool {
        self.limits.short.given_up.iter().any(|given_up| given_up.room == room)
    }

    /// The account joins the room: it is as if it had never been given up.
    pub(super) fn takes_up(&mut self, room: &str) {
        self.limits.short.given_up.retain(|given_up| given_up.room != room);
    }

    /// A room has more to be kept than before.
    pub(super) fn keep_to_budget(&mut self, now: Now, grown: &str, out: &mut Vec<Output>) {
        while let Some(bound) = self.is_beyond() {
            let longest = self.rooms.values_mut().max_by_key(|room| room.history_bytes());
            if !longest.is_some_and(Room::drop_history) {
                break;
            }
            self.say_once(now, bound, out);
        }
        while let Some(bound) = self.is_beyond() {
            // Who is just being let in notices least of all; else the largest goes, whoever has grown.
            let entering = self.rooms.get(grown).filter(|r| r.is_entering() && r.audience().is_empty()).map(Room::jid);
            let may_go = self.rooms.values().filter(|room| room.is_entering() || room.is_joined() || room.bytes() > 0);
            let largest = || may_go.max_by_key(|room| room.footprint()).map(Room::jid);
            let Some(room) = entering.or_else(largest).map(str::to_owned) else { return };
            self.give_up(now, &room, out);
            out.push(Output::Limited(match bound {
                Bound::Account => "rooms.memory_per_account: a room is given up",
                Bound::Process => "rooms.memory: a room is given up",
            }));
        }
    }

    fn say_once(&mut self, now: Now, bound: Bound, out: &mut Vec<Output>) {
        let said = &mut self.limits.short.said;
        if said.is_none_or(|at| now.at >= at + SAY_AGAIN) {
            *said = Some(now.at);
            out.push(Output::Limited(match bound {
                Bound::Account => "rooms.memory_per_account: history is dropped",
                Bound::Process => "rooms.memory: history is dropped",
            }));
        }
    }

    /// The account leaves the room: attached clients are told as after an outage, and join by themselves; joins that wait
    /// pass through.
    fn give_up(&mut self, now: Now, jid: &str, out: &mut Vec<Output>) {
        let Some(room) = self.rooms.get_mut(jid) else { return };
        self.limits.short.remember(GivenUp { room: jid.to_owned(), bytes: room.footprint(), at: now.at });
        let mut outs = Vec::new();
        room.give_up(now, &mut outs);
        for out in &outs {
            if let Out::Relay(client, stanza) = out
                && Join::read(stanza).is_some()
                && let Some(known) = self.clients.get_mut(client)
            {
                known.passing.insert(jid.to_owned());
            }
        }
        self.spread(now, jid, outs, out);
    }
}

impl Short {
    fn remember(&mut self, new: GivenUp) {
        self.given_up.retain(|known| known.room != new.room);
        if self.given_up.len() == MOST_GIVEN_UP {
            self.given_up.remove(0);
        }
        self.given_up.push(new);
    }
}
