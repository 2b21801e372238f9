//! Keeping the account session: when it is opened, what its end means for rooms and clients, when it is closed.

use std::collections::HashMap;
use std::time::Duration;

use crate::account::account::{Account, Link, Output, to_one};
use crate::muc::room::Room;
use crate::muc::{ClientId, Now};
use crate::xmpp::ids;

/// The first wait after the account session could not be opened, and the longest.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// A session that was up for so long is lost by accident, not by somebody's will.
const LASTING: Duration = Duration::from_secs(60);
/// How long an account session without rooms is kept.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(30);

impl Account {
    pub(super) fn wants_session(&self) -> bool {
        !self.rooms.is_empty() || !self.pending.is_empty() || self.bookmarks.want_session()
    }

    /// Whether a client waits for the account session.
    pub fn is_awaited(&self) -> bool {
        !self.pending.is_empty() || self.rooms.values().any(Room::has_waiting)
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    pub(super) fn session_up(&mut self, now: Now, out: &mut Vec<Output>) {
        self.link = Link::Up { since: now.at };
        self.patience = None;
        let session = self.session.clone();
        self.each_room(now, out, |room, outs| room.session_up(now, &session, outs));
        let mut lost: Vec<&str> = self.rooms.values().filter(|room| room.is_lost()).map(Room::jid).collect();
        lost.sort_unstable();
        lost.into_iter().for_each(|room| self.autojoins.push(room));
        for (client, room, stanza) in std::mem::take(&mut self.pending) {
            self.dispatch(now, client, &room, stanza, out);
        }
        self.take_up_bookmarks(now, out);
    }

    pub(super) fn session_failed(&mut self, now: Now, barred: bool, out: &mut Vec<Output>) {
        let retry_at = now.at + self.next_wait();
        self.link = if barred { Link::Barred } else { Link::Down { retry_at: Some(retry_at) } };
        self.give_up_waiting(now, out);
    }

    /// The wait before the next attempt: longer each time, and never the same for all accounts.
    fn next_wait(&mut self) -> Duration {
        let wait = self.retry_wait.mul_f64(1.0 + ids::fraction() / 2.0);
        self.retry_wait = (self.retry_wait * 2).min(RETRY.1);
        wait
    }

    /// Who waits for the account session joins by itself, as if the proxy were not there.
    pub(super) fn give_up_waiting(&mut self, now: Now, out: &mut Vec<Output>) {
        let waiting: Vec<(ClientId, String)> = self
            .clients
            .keys()
            .flat_map(|c| self.rooms.iter().filter(|(_, r)| r.knows(*c)).map(|(jid, _)| (*c, jid.clone())))
            .collect();
        for (client, room) in waiting {
            if let Some(known) = self.clients.get_mut(&client) {
                known.passing.insert(room);
            }
        }
        self.patience = None;
        self.each_room(now, out, |room, outs| room.give_up_waiters(outs));
        let pending = std::mem::take(&mut self.pending);
        let last: HashMap<(ClientId, String), usize> =
            pending.iter().enumerate().map(|(at, (c, r, _))| ((*c, r.clone()), at)).collect();
        for (at, (client, room, stanza)) in pending.into_iter().enumerate() {
            self.pass(client, &room, stanza, true, out);
            if last.get(&(client, room.clone())) == Some(&at) {
                self.settle(client, &room, out);
            }
        }
    }

    pub(super) fn session_lost(&mut self, now: Now, out: &mut Vec<Output>) {
        // One that had lasted is opened again at once; one that is lost again and again is not.
        let lasted = matches!(self.link, Link::Up { since } if now.at >= since + LASTING);
        if lasted {
            self.retry_wait = RETRY.0;
        }
        let wait = if lasted { Duration::from_secs(1).mul_f64(ids::fraction()) } else { self.next_wait() };
        self.link = Link::Lost { retry_at: now.at + wait };
        self.patience = Some(now.at + self.connect_timeout);
        self.bookmarks_session_lost();
        self.autojoins.clear();
        let errors = self.iqs.session_lost();
        out.extend(errors.iter().map(|(client, error)| to_one(*client, error)));
        self.each_room(now, out, |room, outs| room.session_lost(now, outs));
    }

    pub(super) fn reopen_if_wanted(&mut self, now: Now, out: &mut Vec<Output>) {
        let due = match self.link {
            Link::Down { retry_at } => retry_at.is_none_or(|at| now.at >= at),
            Link::Lost { retry_at } => now.at >= retry_at,
            _ => false,
        };
        if due && self.wants_session() {
            self.link = Link::Connecting;
            out.push(Output::Connect);
        }
    }

    pub(super) fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        self.tick_bookmarks(now, out);
        if !self.is_up() {
            if self.patience.is_some_and(|until| now.at >= until) {
                self.give_up_waiting(now, out);
            }
            return self.reopen_if_wanted(now, out);
        }
        if self.idle_since.is_some_and(|since| now.at >= since + IDLE_TIME) {
            self.link = Link::Down { retry_at: None };
            return out.push(Output::Disconnect);
        }
        self.each_room(now, out, |room, outs| room.tick(now, outs));
    }

    pub(super) fn note_idle(&mut self, now: Now) {
        self.idle_since = match self.wants_session() {
            true => None,
            false => self.idle_since.or(Some(now.at)),
        };
    }
}
