//! The room's recent messages (XEP-0045 §7.2.13), kept to be shown to clients that attach later as the room would
//! show them: with its stamp (XEP-0203), which never changes once given. What the accounts in a room got alike is
//! stored once; the stamps are each account's own.

mod historic;
mod message;
mod missed;
mod request;
mod retraction;
mod sender;

use std::collections::VecDeque;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use self::historic::{Keeping, stanza_id};
use self::message::{Message, Stamped};
pub use self::missed::Missed;
pub use self::request::Request;
pub use self::retraction::Retraction;
use crate::muc::codes::Item;
use crate::muc::kept::Kept;
use crate::xml::element::Tree;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How many messages a room shows at a join, if nobody has set another number: Prosody and ejabberd.
const USUAL: usize = 20;

#[derive(Debug)]
struct Entry {
    stamp: OffsetDateTime,
    message: Message,
}

/// The messages kept.
#[derive(Debug)]
pub struct History {
    entries: VecDeque<Entry>,
    most: usize,
    /// How many the room itself shows, as far as it has.
    length: usize,
    bytes: usize,
    keeping: Keeping,
    /// The room, as soon as it has said anything.
    room: Box<str>,
    kept: Kept,
    /// The account's domain.
    domain: Box<str>,
}

/// When a message came, and how.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The nick it came from; none for the room itself.
    pub author: Option<&'a str>,
    /// It is history already, which the room shows at a join.
    pub old: bool,
    /// Who wrote it, in a room that is not anonymous.
    pub sender: Option<&'a Item>,
    /// The time.
    pub wall: OffsetDateTime,
}

impl History {
    /// A log of at most `most` messages, for one account alone.
    pub fn new(most: usize) -> Self {
        History::sharing(most, Kept::default(), "")
    }

    /// The same; what the accounts of `domain` got alike is stored once, in `kept`.
    pub fn sharing(most: usize, kept: Kept, domain: &str) -> Self {
        let (room, domain) = (Box::default(), domain.into());
        let length = most.min(USUAL);
        History { entries: VecDeque::new(), most, length, bytes: 0, keeping: Keeping::Unknown, room, kept, domain }
    }

    /// Another one of the same room and account, of at most `most` messages.
    fn empty(&self, most: usize) -> History {
        History::sharing(most, self.kept.clone(), &self.domain)
    }

    /// How the room's service keeps its own.
    pub fn keeping(&mut self) -> &mut Keeping {
        &mut self.keeping
    }

    /// The room is logged no longer: its history is no archive (Prosody goes on from memory).
    pub fn archive_ends(&mut self) {
        if self.keeping == Keeping::Archive {
            self.keeping = Keeping::Unknown;
        }
    }

    /// A groupchat message of `room`, which is no change of the subject: kept, if it is one that the room's history
    /// shows.
    pub fn push(&mut self, room: &str, stanza: &Stanza, tree: &Tree<'_>, arrival: Arrival<'_>) {
        self.keeping.learn(tree, room);
        // What the room shows as history is, whatever it holds.
        let mut keeps = arrival.old || self.keeping.keeps(tree, room);
        if !arrival.old
            && let Some(retraction) = Retraction::read(tree, arrival.author.is_none(), arrival.wall)
        {
            self.retract(room, arrival.author, &retraction);
            keeps |= retraction.moderated;
        }
        if self.most == 0 || !keeps {
            return;
        }
        if *self.room != *room {
            self.room = room.into();
        }
        let given = if arrival.old { given_stamp(room, tree) } else { None };
        // Whatever stamp a live message bears, somebody else gave it.
        let by = if given.is_some() { Stamped::ByRoom } else { Stamped::Here { fractions: self.has_fractions() } };
        let stamp = by.at(given.unwrap_or(arrival.wall));
        let sender = arrival.sender.filter(|_| given.is_none()).map(|item| sender::named(item, self.keeping));
        let named = sender.filter(|sender| !sender.is_empty()).map(|sender| stanza.edit().append(&sender).finish());
        let nick = arrival.author.unwrap_or_default();
        let delivered = self.kept.one(&self.domain, nick, named.as_ref().unwrap_or(stanza));
        let mut message = Message::new(delivered, stanza, room, stamp, by);
        message.by_nick = arrival.author.is_some();
        message.unnamed = !arrival.old && arrival.sender.is_some_and(|item| item.jid.is_none());
        if arrival.old && self.length < self.most {
            self.length = self.length.max(self.entries.len() + 1);
        }
        if self.entries.len() == self.length {
            self.forget_oldest();
        }
        self.bytes += message.len();
        self.entries.push_back(Entry { stamp, message });
    }

    /// Whether stamps given here are finer than seconds, as the room's own are.
    fn has_fractions(&self) -> bool {
        self.keeping == Keeping::Queue
    }

    /// What a client is shown that asked so, oldest first: of several limits the narrowest.
    pub fn select(&self, request: &Request, wall: OffsetDateTime) -> Vec<Arc<Shared>> {
        let oldest = request.oldest(wall).map(|oldest| rounded(oldest, self.has_fractions()));
        let mut chars = request.maxchars.unwrap_or(usize::MAX);
        let newest_first = self.entries.iter().rev();
        let chosen = newest_first
            .take(request.maxstanzas.unwrap_or(usize::MAX))
            .take_while(|e| oldest.is_none_or(|oldest| e.stamp >= oldest))
            .take_while(|e| {
                let left = chars.checked_sub(e.message.len());
                chars = left.unwrap_or(0);
                left.is_some()
            });
        let mut messages: Vec<_> = chosen.map(|e| e.message.shown(&self.room, e.stamp)).collect();
        messages.reverse();
        messages
    }

    /// Whoever had that nick is gone, or has another: who takes it cannot retract what the former wrote.
    pub fn author_left(&mut self, nick: &str) {
        for entry in &mut self.entries {
            entry.message.by_nick &= entry.message.nick() != nick;
        }
    }

    /// Who is in the room is known now: names the senders of messages that came before that.
    pub fn name_senders(&mut self, sender: impl Fn(&str) -> Option<Item>) {
        for at in 0..self.entries.len() {
            let message = &self.entries[at].message;
            let Some(item) = message.author().filter(|_| message.unnamed).and_then(&sender) else { continue };
            let named = sender::named(&item, self.keeping);
            if !named.is_empty() {
                self.change(at, &message.stanza().edit().append(&named).finish());
            }
            self.entries[at].message.unnamed = item.jid.is_none();
        }
    }

    /// The room has become anonymous: who wrote what is not to be seen any more, where the room's own history hides it
    /// too.
    pub fn hide_senders(&mut self) {
        if self.keeping == Keeping::Queue {
            return;
        }
        for at in 0..self.entries.len() {
            if let Some(hidden) = sender::hidden(&self.entries[at].message.stanza()) {
                self.change(at, &hidden);
                // Told again if the room becomes non-anonymous again.
                self.entries[at].message.unnamed = true;
            }
        }
    }

    /// Another stanza in the place of one.
    fn change(&mut self, at: usize, stanza: &Stanza) {
        let message = &mut self.entries[at].message;
        let before = message.len();
        message.becomes(self.kept.one(&self.domain, message.nick(), stanza));
        self.bytes = self.bytes - before + message.len();
    }

    fn retract(&mut self, room: &str, author: Option<&str>, retraction: &Retraction) {
        let is_it = |entry: &Entry| {
            // Few have it in them; only those are looked into.
            if memchr::memmem::find(entry.message.bytes(), escape(&retraction.id).as_bytes()).is_none() {
                return false;
            }
            let Ok(tree) = Tree::parse(entry.message.bytes()) else { return false };
            if stanza_id(&tree, room).as_deref() == Some(&retraction.id) {
                return retraction.moderated || entry.message.author() == author;
            }
            let root = tree.root();
            let own_id = root.child("origin-id", ns::STANZA_ID).and_then(|c| c.attr("id")).or(root.attr("id"));
            !retraction.moderated && entry.message.author() == author && own_id.as_deref() == Some(&retraction.id)
        };
        let Some(at) = self.entries.iter().position(is_it) else { return };
        let tombstone = retraction.tombstone.as_deref().filter(|_| self.keeping == Keeping::Archive);
        match tombstone.and_then(|tombstone| in_place_of(&self.entries[at].message.stanza(), room, tombstone)) {
            Some(instead) => self.change(at, &instead),
            None => {
                let gone = self.entries.remove(at);
                self.bytes -= gone.map_or(0, |entry| entry.message.len());
            }
        }
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets the oldest message; false if there is none.
    pub fn forget_oldest(&mut self) -> bool {
        let oldest = self.entries.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, |entry| entry.message.len());
        oldest.is_some()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = self.empty(self.most);
    }
}

/// The stamp that the room gave a message.
fn given_stamp(room: &str, tree: &Tree<'_>) -> Option<OffsetDateTime> {
    let mut delays = tree.root().children().filter(|c| c.is("delay", ns::DELAY));
    let own = delays.find(|d| d.attr("from").as_deref() == Some(room))?;
    OffsetDateTime::parse(&own.attr("stamp")?, &Rfc3339).ok()
}

/// The message with `content` instead of all but its addresses and the room's own marks.
fn in_place_of(stanza: &Stanza, room: &str, content: &str) -> Option<Stanza> {
    let tree = stanza.tree().ok()?;
    let mut edit = stanza.edit();
    let mut at = None;
    for child in tree.root().children() {
        let mark = child.is("delay", ns::DELAY) && child.attr("from").as_deref() == Some(room)
            || child.is("stanza-id", ns::STANZA_ID) && child.attr("by").as_deref() == Some(room);
        if !mark {
            edit = edit.cut(child.range());
        } else if at.is_none() {
            at = Some(child.range().start);
        }
    }
    let at = at?;
    Some(edit.splice(at..at, content).finish())
}

/// The mark of a delayed message of a room. ejabberd writes fractions of seconds into it.
pub fn delay(room: &str, wall: OffsetDateTime, fractions: bool) -> String {
    let mut stamp = stamp(wall);
    if fractions && stamp.pop().is_some() {
        stamp += &format!(".{:06}Z", wall.microsecond());
    }
    format!("<delay xmlns='{}' from='{}' stamp='{stamp}'/>", ns::DELAY, escape(room))
}

/// A time as XEP-0082 §3.2 writes it, in UTC, to the second.
pub fn stamp(wall: OffsetDateTime) -> String {
    rounded(wall.to_offset(time::UtcOffset::UTC), false).format(&Rfc3339).unwrap_or_default()
}

/// A time as a stamp has it.
fn rounded(time: OffsetDateTime, fractions: bool) -> OffsetDateTime {
    let nanoseconds = if fractions { time.microsecond() * 1000 } else { 0 };
    time.replace_nanosecond(nanoseconds).unwrap_or(time)
}

#[cfg(test)]
#[path = "history/tests.rs"]
mod tests;
