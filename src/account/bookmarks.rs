//! The account's bookmarks, and by them its will to be in a room (XEP-0402 §4, XEP-0048): pure. What the account makes of
//! them is in `follow`, how they are read in `read`.
//!
//! They may stand in three places ([`Source`]), which servers keep alike, or do not. Fetched, the first place that has any is
//! believed. After that whatever changes in one of them counts, whichever client changed it.

mod follow;
mod read;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::account::bookmarks::follow::Fetch;
pub use crate::account::bookmarks::read::{Bookmark, Change, Source, event, is_event, is_ours, may_tell, request};

/// How many rooms are remembered, and how many bytes of them (S20); bookmarks beyond are not heeded.
const MOST: usize = 1000;
const MOST_BYTES: usize = 256 * 1024;

/// One room that is, or was of late, in the bookmarks.
#[derive(Debug, Default)]
struct Entry {
    /// As each source showed it last.
    seen: [Option<Arc<Bookmark>>; 3],
    /// What counts.
    now: Option<Arc<Bookmark>>,
    /// The room has put the account out, or did not let it in.
    put_out: bool,
    /// The nick that the account had there.
    last_nick: Option<String>,
    /// The bookmark has gone, or does not want the room any more, from then on unless it comes again; and what it was.
    settles: Option<(Instant, Arc<Bookmark>)>,
}

impl Entry {
    fn autojoin(&self) -> bool {
        self.now.as_ref().is_some_and(|bookmark| bookmark.autojoin)
    }

    fn is_needless(&self) -> bool {
        self.now.is_none() && self.settles.is_none() && self.seen.iter().all(Option::is_none)
    }

    fn len(&self) -> usize {
        // One bookmark is usually shared by all that refer to it.
        self.now.as_ref().or(self.seen.iter().flatten().next()).map_or(0, |bookmark| bookmark.len())
    }
}

/// The bookmarks of one account.
#[derive(Debug, Default)]
pub(super) struct Bookmarks {
    // In order: what is joined first is not left to chance.
    rooms: BTreeMap<String, Entry>,
    /// Any room is to be joined by itself; kept apart, for it is asked all the time.
    any: bool,
    /// When the first of those that went counts as gone; likewise.
    settles_at: Option<Instant>,
    /// Which sources have shown all they have.
    known: [bool; 3],
    /// Not all that were bookmarked found room.
    pub(super) full: bool,
    pub(super) fetch: Fetch,
}

impl Bookmarks {
    /// Something has changed; the rooms that are wanted now, and were not or otherwise.
    pub(super) fn change(&mut self, now: Instant, grace: Duration, change: Change) -> Vec<String> {
        let mut wanted = Vec::new();
        match change {
            Change::Published(items) => {
                for (room, bookmark) in items {
                    self.set(now, grace, Source::Items, room, Some(bookmark), &mut wanted);
                }
            }
            Change::Retracted(rooms) => {
                for room in rooms {
                    self.set(now, grace, Source::Items, room, None, &mut wanted);
                }
            }
            Change::All(source, list) => self.all(now, grace, source, list, &mut wanted),
            Change::Unknown => {}
        }
        self.note();
        wanted
    }

    fn note(&mut self) {
        self.rooms.retain(|_, entry| !entry.is_needless());
        self.any = self.rooms.values().any(Entry::autojoin);
        self.settles_at = self.rooms.values().filter_map(|entry| entry.settles.as_ref().map(|(at, _)| *at)).min();
    }

    fn all(
        &mut self,
        now: Instant,
        grace: Duration,
        source: Source,
        list: Vec<(String, Bookmark)>,
        wanted: &mut Vec<String>,
    ) {
        let at = source as usize;
        // What stood in the older places before anybody looked is old, where there is anything in the new one.
        let newest = Source::Items as usize;
        let is_old = at != newest && !self.known[at] && self.rooms.values().any(|entry| entry.seen[newest].is_some());
        let mut list: HashMap<String, Bookmark> = list.into_iter().collect();
        let gone = self.rooms.iter().filter(|(room, entry)| entry.seen[at].is_some() && !list.contains_key(*room));
        let gone: Vec<String> = gone.map(|(room, _)| room.clone()).collect();
        for room in gone {
            self.set(now, grace, source, room, None, wanted);
        }
        let mut rooms: Vec<String> = list.keys().cloned().collect();
        rooms.sort_unstable();
        for room in rooms {
            let bookmark = list.remove(&room);
            if !is_old {
                self.set(now, grace, source, room, bookmark, wanted);
            } else if self.rooms.contains_key(&room) || self.has_space_for(&room, bookmark.as_ref()) {
                self.rooms.entry(room).or_default().seen[at] = bookmark.map(Arc::new);
            }
        }
        self.known[at] = true;
    }

    fn set(
        &mut self,
        now: Instant,
        grace: Duration,
        source: Source,
        room: String,
        new: Option<Bookmark>,
        wanted: &mut Vec<String>,
    ) {
        if !self.rooms.contains_key(&room) && (new.is_none() || !self.has_space_for(&room, new.as_ref())) {
            return;
        }
        let entry = self.rooms.entry(room.clone()).or_default();
        let seen = &mut entry.seen[source as usize];
        if seen.as_deref() == new.as_ref() {
            return;
        }
        // The sources usually say the same: it is kept once.
        let new = match &entry.now {
            Some(same) if Some(&**same) == new.as_ref() => Some(same.clone()),
            _ => new.map(Arc::new),
        };
        seen.clone_from(&new);
        if entry.now == new {
            return;
        }
        let old = std::mem::replace(&mut entry.now, new);
        entry.put_out = false;
        if entry.autojoin() {
            entry.settles = None;
            wanted.push(room);
        } else if let Some(old) = old.filter(|old| old.autojoin || entry.now.is_none()) {
            entry.settles.get_or_insert((now + grace, old));
        }
    }

    fn has_space_for(&mut self, room: &str, new: Option<&Bookmark>) -> bool {
        let bytes: usize = self.rooms.iter().map(|(room, entry)| room.len() + entry.len()).sum();
        let fits = self.rooms.len() < MOST && bytes + room.len() + new.map_or(0, Bookmark::len) <= MOST_BYTES;
        self.full |= !fits;
        fits
    }

    /// When the first of the bookmarks that went counts as gone.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.settles_at.into_iter().chain(self.fetch.deadline()).min()
    }

    /// The rooms whose bookmarks are gone for good: the account is to leave them.
    pub(super) fn gone(&mut self, now: Instant) -> Vec<String> {
        let mut gone = Vec::new();
        if self.settles_at.is_none_or(|at| now < at) {
            return gone;
        }
        for (room, entry) in &mut self.rooms {
            let Some((_, was)) = entry.settles.take_if(|(at, _)| now >= *at) else { continue };
            // It may have come again without the wish to join, where it had none before.
            if entry.now.is_none() || was.autojoin {
                gone.push(room.clone());
            }
        }
        self.note();
        gone
    }

    /// The rooms to be in, but for those that have put the account out.
    pub(super) fn wanted(&self) -> Vec<String> {
        let wanted = self.rooms.iter().filter(|(_, entry)| entry.autojoin() && !entry.put_out);
        wanted.map(|(room, _)| room.clone()).collect()
    }

    /// Whether any room is to be joined by itself: such an account is kept, and its bookmarks are followed.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// Whether the room is to be joined by itself.
    pub(super) fn wants(&self, room: &str) -> bool {
        self.rooms.get(room).is_some_and(|entry| entry.autojoin() && !entry.put_out)
    }

    /// The bookmark of a room that is to be joined, or was a moment ago; and whether the room has put the account out.
    pub(super) fn autojoin(&self, room: &str) -> Option<(&Arc<Bookmark>, bool)> {
        let entry = self.rooms.get(room)?;
        let was = entry.settles.as_ref().map(|(_, was)| was);
        let bookmark = entry.now.as_ref().filter(|b| b.autojoin).or(was.filter(|b| b.autojoin))?;
        Some((bookmark, entry.put_out))
    }

    /// The account is out of the room, where it had that nick.
    pub(super) fn ended(&mut self, room: &str, nick: &str, put_out: bool) {
        if let Some(entry) = self.rooms.get_mut(room) {
            entry.put_out = put_out;
            entry.last_nick = Some(nick.to_owned()).filter(|nick| !nick.is_empty());
        }
    }

    pub(super) fn last_nick(&self, room: &str) -> Option<&str> {
        self.rooms.get(room)?.last_nick.as_deref()
    }
}

#[cfg(test)]
#[path = "bookmarks/tests.rs"]
mod tests;
