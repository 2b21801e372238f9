//! How much memory one room may have (S20): its history and its occupants' presences. And how much it has, for the
//! budgets of the account and the process; what happens beyond those is the account's to say.

use crate::muc::kept;
use crate::muc::memory::{Memory, Share};
use crate::muc::repair::Repair;
use crate::muc::room::{Phase, Room};
use crate::muc::subject::Subject;
use crate::muc::{Now, Out};
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// Bytes kept of one room of one account.
const MOST: usize = 16 << 20;
/// What an account has of each occupant and message beside what it shares (`benches/occupants.rs`).
const LISTED: usize = 56;
/// What a room takes with nobody and nothing in it.
const EMPTY: usize = 2048;
/// A room is looked at again when it has grown by so much.
const STEP: usize = 4096;

/// What is counted of a room.
#[derive(Debug)]
pub(super) struct Footprint {
    /// What no other account has.
    own: Share,
    /// All of it, as it was last looked at, in steps.
    seen: usize,
}

impl Footprint {
    pub(super) fn new(memory: &Memory) -> Self {
        Footprint { own: memory.share(EMPTY), seen: 0 }
    }
}

impl Room {
    /// Bytes kept of the room.
    pub fn bytes(&self) -> usize {
        self.history.bytes() + self.occupants.bytes()
    }

    /// Of them, those of the history.
    pub fn history_bytes(&self) -> usize {
        self.history.bytes()
    }

    fn own_bytes(&self) -> usize {
        let own = self.own.as_ref().map_or(0, |own| own.bytes());
        let room = self.room_presence.as_ref().map_or(0, |presence| presence.len());
        let repair = self.repair.as_ref().map_or(0, |repair| repair.bytes());
        EMPTY + LISTED * self.listed() + own + room + repair + self.subject.bytes()
    }

    /// How many occupants and messages accounts share.
    fn listed(&self) -> usize {
        self.occupants.len() + self.history.len() + self.repair.as_ref().map_or(0, Repair::listed)
    }

    /// All that it takes, as if no other account shared anything of it.
    pub fn footprint(&self) -> usize {
        let repair = self.repair.as_ref().map_or(0, Repair::shared_bytes);
        self.bytes() + repair + kept::BESIDE * self.listed() + self.own_bytes()
    }

    /// Counts what it takes anew; whether that is more than the last time.
    pub fn recount(&mut self) -> bool {
        self.footprint.own.hold(self.own_bytes());
        let seen = self.footprint().next_multiple_of(STEP);
        std::mem::replace(&mut self.footprint.seen, seen) < seen
    }

    /// Forgets the history; whether there was any.
    pub fn drop_history(&mut self) -> bool {
        let any = !self.history.is_empty();
        while self.history.forget_oldest() {}
        self.recount();
        any
    }

    /// What a room still sends that the account is not in, or leaves with nobody attached, is kept for nobody.
    pub(super) fn keep_nothing_if_outside(&mut self) {
        let outside = match self.phase {
            Phase::Out | Phase::Lost { .. } => true,
            Phase::Leaving { .. } => self.audience.is_empty(),
            Phase::Joining { .. } | Phase::Entering { .. } | Phase::Joined => false,
        };
        if outside {
            self.occupants.clear();
            self.history.clear();
            self.subject = Subject::default();
            self.room_presence = None;
        }
    }

    /// The account gives the room up: attached clients are told as after an outage (110 and 333), who waits passes
    /// through. It does not go back by itself.
    pub fn give_up(&mut self, now: Now, out: &mut Vec<Out>) {
        self.give_up_repair(now, out);
        self.tell_outage(out);
        for waiter in self.waiting.drain(..) {
            out.push(Out::Relay(waiter.client, waiter.join.stanza));
            out.extend(waiter.held.into_iter().map(|stanza| Out::Relay(waiter.client, stanza)));
        }
        self.put_out = true;
        self.forget();
        if self.is_entering() || self.is_joined() {
            self.start_leave(now, out);
        }
    }

    /// Beyond its budget the oldest history goes first. If the occupants alone are too many, only who the one is that
    /// came or changed now (`newest`) is kept, not what it says of itself; in the end not even that.
    pub(super) fn keep_to_budget(&mut self, newest: Option<&str>) {
        self.keep_within(MOST, newest);
    }

    fn keep_within(&mut self, most: usize, newest: Option<&str>) {
        while self.bytes() > most && self.history.forget_oldest() {}
        let Some(newest) = newest else { return };
        if self.bytes() > most {
            self.occupants.change_one(newest, bare);
        }
        if self.bytes() > most {
            self.occupants.unavailable(newest);
        }
    }
}

/// A presence with nothing but who it is of.
fn bare(stanza: &Stanza) -> Option<Stanza> {
    let tree = stanza.tree().ok()?;
    let rest = tree.root().children().filter(|c| !c.is("x", ns::MUC_USER));
    Some(rest.fold(stanza.edit(), |edit, child| edit.cut(child.range())).finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::OffsetDateTime;

    use super::*;
    use crate::muc::history::Arrival;
    use crate::muc::{Settings, history::Request};

    fn room() -> Room {
        let mut room = Room::new("r@s", "a@b/x", "id".into(), Arc::new(Settings::default()));
        let message = Stanza::own(format!("<message from='r@s/n'><body>{}</body></message>", "m".repeat(1000)));
        let arrival = Arrival { author: Some("n"), old: false, sender: None, wall: OffsetDateTime::UNIX_EPOCH };
        for _ in 0..3 {
            room.history.push("r@s", &message, &message.tree().unwrap(), arrival);
        }
        room
    }

    fn comes(room: &mut Room, nick: &str, most: usize) {
        let item = "<x xmlns='http://jabber.org/protocol/muc#user'><item role='visitor'/></x>";
        let status = "s".repeat(1000);
        let presence = Stanza::own(format!("<presence from='r@s/{nick}'><status>{status}</status>{item}</presence>"));
        room.occupants.available(nick, &presence);
        room.keep_within(most, Some(nick));
    }

    fn messages(room: &Room) -> usize {
        room.history.select(&Request::default(), OffsetDateTime::UNIX_EPOCH).len()
    }

    #[test]
    fn s20_the_oldest_history_goes_first_then_what_occupants_say() {
        let mut room = room();
        comes(&mut room, "a", 10_000);
        assert_eq!((messages(&room), room.occupants.len()), (3, 1));
        comes(&mut room, "b", 3900);
        assert_eq!(messages(&room), 1);
        comes(&mut room, "c", 2600);
        assert_eq!((messages(&room), room.occupants.len()), (0, 3));
        let kept = |nick: &str| room.occupants.get(nick).unwrap().len();
        assert!(kept("a") > 1000 && kept("b") > 1000 && kept("c") < 200);
        let full = room.bytes();
        comes(&mut room, "d", full);
        assert_eq!((room.occupants.len(), room.bytes()), (3, full));
    }
}
