//! The room's recent messages (XEP-0045 §7.2.13), kept to be shown to clients that attach later as the room would
//! show them: with its stamp (XEP-0203), which never changes once given.

mod historic;
mod missed;
mod request;
mod retraction;
mod sender;

use std::collections::VecDeque;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use self::historic::{Keeping, stanza_id};
pub use self::missed::Missed;
pub use self::request::Request;
pub use self::retraction::Retraction;
use crate::muc::codes::Item;
use crate::xml::element::Tree;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

#[derive(Debug)]
struct Entry {
    stamp: OffsetDateTime,
    /// Who wrote it, as long as whoever has that nick is the same person; none for the room itself.
    author: Option<String>,
    /// The room tells who wrote it, but that is not known yet.
    unnamed: bool,
    message: Arc<Shared>,
}

/// The messages kept.
#[derive(Debug)]
pub struct History {
    entries: VecDeque<Entry>,
    most: usize,
    bytes: usize,
    keeping: Keeping,
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
    /// A log of at most `most` messages.
    pub fn new(most: usize) -> Self {
        History { entries: VecDeque::new(), most, bytes: 0, keeping: Keeping::Unknown }
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
        let given = if arrival.old { given_stamp(room, tree) } else { None };
        let (stamp, message) = match given {
            // A copy, so that it does not pin the read buffer it came in.
            Some(stamp) => (stamp, stanza.edit().finish()),
            // Whatever stamp a live message bears, somebody else gave it.
            None => {
                let sender = arrival.sender.map(|item| sender::named(item, self.keeping)).unwrap_or_default();
                let fractions = self.keeping == Keeping::Queue;
                let delay = delay(room, arrival.wall, fractions);
                (rounded(arrival.wall, fractions), stanza.edit().append(&sender).append(&delay).finish())
            }
        };
        if self.entries.len() == self.most {
            self.forget_oldest();
        }
        let author = arrival.author.map(str::to_owned);
        let unnamed = !arrival.old && arrival.sender.is_some_and(|item| item.jid.is_none());
        self.bytes += message.bytes().len();
        self.entries.push_back(Entry { stamp, author, unnamed, message: Arc::new(Shared::new(&message, None)) });
    }

    /// What a client is shown that asked so, oldest first: of several limits the narrowest.
    pub fn select(&self, request: &Request, wall: OffsetDateTime) -> Vec<Arc<Shared>> {
        let fractions = self.keeping == Keeping::Queue;
        let oldest = request.oldest(wall).map(|oldest| rounded(oldest, fractions));
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
        let mut messages: Vec<_> = chosen.map(|e| e.message.clone()).collect();
        messages.reverse();
        messages
    }

    /// Whoever had that nick is gone, or has another: who takes it cannot retract what the former wrote.
    pub fn author_left(&mut self, nick: &str) {
        for entry in &mut self.entries {
            entry.author.take_if(|author| author == nick);
        }
    }

    /// Who is in the room is known now: names the senders of messages that came before that.
    pub fn name_senders(&mut self, sender: impl Fn(&str) -> Option<Item>) {
        for entry in self.entries.iter_mut().filter(|entry| entry.unnamed) {
            let Some(item) = entry.author.as_deref().and_then(&sender) else { continue };
            let stanza = Stanza::own(entry.message.bytes().to_vec());
            let named = Shared::new(&stanza.edit().append(&sender::named(&item, self.keeping)).finish(), None);
            self.bytes = self.bytes - entry.message.len() + named.len();
            entry.message = Arc::new(named);
            entry.unnamed = item.jid.is_none();
        }
    }

    /// The room has become anonymous: who wrote what is not to be seen any more, where the room's own history hides it
    /// too.
    pub fn hide_senders(&mut self) {
        if self.keeping == Keeping::Queue {
            return;
        }
        for entry in &mut self.entries {
            if let Some(hidden) = sender::hidden(&entry.message) {
                self.bytes = self.bytes - entry.message.len() + hidden.len();
                entry.message = Arc::new(hidden);
                // Told again if the room becomes non-anonymous again.
                entry.unnamed = true;
            }
        }
    }

    fn retract(&mut self, room: &str, author: Option<&str>, retraction: &Retraction) {
        let is_it = |entry: &Entry| {
            // Few have it in them; only those are looked into.
            if memchr::memmem::find(entry.message.bytes(), escape(&retraction.id).as_bytes()).is_none() {
                return false;
            }
            let Ok(tree) = Tree::parse(entry.message.bytes()) else { return false };
            if stanza_id(&tree, room).as_deref() == Some(&retraction.id) {
                return retraction.moderated || entry.author.as_deref() == author;
            }
            let root = tree.root();
            let own_id = root.child("origin-id", ns::STANZA_ID).and_then(|c| c.attr("id")).or(root.attr("id"));
            !retraction.moderated && entry.author.as_deref() == author && own_id.as_deref() == Some(&retraction.id)
        };
        let Some(at) = self.entries.iter().position(is_it) else { return };
        let Some(entry) = self.entries.remove(at) else { return };
        self.bytes -= entry.message.len();
        let Some(tombstone) = retraction.tombstone.as_deref().filter(|_| self.keeping == Keeping::Archive) else {
            return;
        };
        let Some(message) = in_place_of(&entry.message, room, tombstone) else { return };
        self.bytes += message.len();
        self.entries.insert(at, Entry { message: Arc::new(message), ..entry });
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the oldest message; false if there is none.
    pub fn forget_oldest(&mut self) -> bool {
        let oldest = self.entries.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, |entry| entry.message.len());
        oldest.is_some()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = History::new(self.most);
    }
}

/// The stamp that the room gave a message.
fn given_stamp(room: &str, tree: &Tree<'_>) -> Option<OffsetDateTime> {
    let mut delays = tree.root().children().filter(|c| c.is("delay", ns::DELAY));
    let own = delays.find(|d| d.attr("from").as_deref() == Some(room))?;
    OffsetDateTime::parse(&own.attr("stamp")?, &Rfc3339).ok()
}

/// The message with `content` instead of all but its addresses and the room's own marks.
fn in_place_of(message: &Shared, room: &str, content: &str) -> Option<Shared> {
    let stanza = Stanza::own(message.bytes().to_vec());
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
    Some(Shared::new(&edit.splice(at..at, content).finish(), None))
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
