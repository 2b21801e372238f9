//! What an account does not take on: a stanza that its server would end the session for (S12), more rooms than it may
//! be in (S17), and a fight for the session that it cannot win (S8).

use std::time::{Duration, Instant};

use crate::account::account::{Account, Link, Output, to_one};
use crate::account::handle::ToClient;
use crate::account::memory::Short;
use crate::muc::join::Join;
use crate::muc::{ClientId, Now};
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::stanza::Stanza;

/// What servers take that say nothing of it (XEP-0478): Prosody ends a stream for more.
const USUAL: usize = 256 * 1024;
/// What is added to a client's stanza on its way, at most: hints, an id, a request for history.
const ADDED: usize = 1024;
/// A second conflict within this is no accident.
const CONFLICTS_WITHIN: Duration = Duration::from_secs(600);

/// The measure of one account session.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// The largest stanza that the server says it takes.
    pub(super) announced: Option<usize>,
    /// When the account session was last replaced by another.
    conflict: Option<Instant>,
    /// When its rooms had more to keep than it may.
    pub(super) short: Short,
}

impl Account {
    /// Poison is bounced, not sent: this session is everybody's. True if the stanza was.
    pub(super) fn bounces(&self, client: ClientId, room: &str, stanza: &Stanza, out: &mut Vec<Output>) -> bool {
        let most = self.limits.announced.unwrap_or(USUAL).saturating_sub(ADDED);
        let goes_up = || self.rooms.get(room).is_some_and(|r| r.knows(client)) || Join::read(stanza).is_some();
        if stanza.bytes().len() <= most || !goes_up() {
            return false;
        }
        let reply = error_reply(stanza, "", StanzaCondition::PolicyViolation, "too large for the server");
        out.extend(reply.map(|r| to_one(client, &Stanza::own(r))));
        out.push(Output::Client(client, ToClient::Limited("a stanza too large for the server is bounced")));
        true
    }

    /// Why the account cannot be in that room too, if it cannot: for the log, of a client's join or of a bookmark.
    pub(super) fn is_full_for(&self, now: Now, room: &str) -> Option<[&'static str; 2]> {
        if !self.rooms.contains_key(room) && self.rooms.len() >= self.settings.max_rooms {
            return Some([
                "rooms.max_rooms: a join passes through",
                "rooms.max_rooms: a bookmarked room is not joined",
            ]);
        }
        self.lacks_memory_for(now, room)
    }

    /// A join to one room too many passes through. True if it does.
    pub(super) fn is_full(
        &mut self,
        now: Now,
        client: ClientId,
        room: &str,
        stanza: &Stanza,
        out: &mut Vec<Output>,
    ) -> bool {
        let Some([why, _]) = self.is_full_for(now, room) else { return false };
        out.push(Output::Client(client, ToClient::Limited(why)));
        self.pass(client, room, stanza.clone(), true, out);
        true
    }

    /// The account session was replaced by another one. If that happens again and again, the server may allow fewer
    /// sessions than there are: then this one stays down until a client makes room.
    pub(super) fn session_conflict(&mut self, now: Now, out: &mut Vec<Output>) {
        let before = self.limits.conflict.replace(now.at);
        self.session_lost(now, out);
        if before.is_some_and(|at| now.at < at + CONFLICTS_WITHIN) {
            self.link = Link::Evicted;
            self.give_up_waiting(now, out);
        }
    }

    /// Whether its session stays down because others were given its place again and again.
    pub(super) fn is_evicted(&self) -> bool {
        self.link == Link::Evicted
    }

    /// A client has ended: there may be room for the account session again.
    pub(super) fn room_was_made(&mut self, now: Now, out: &mut Vec<Output>) {
        if self.link == Link::Evicted {
            self.link = Link::Down { retry_at: None };
            self.limits.conflict = None;
            self.reopen_if_wanted(now, out);
        }
    }
}
