//! A room's history after the account has been away from it (pure): what was said meanwhile, and what was seen before.
//! Messages are the same by the room's own `<stanza-id/>` (S16), else by who wrote what under which id.

use std::sync::Arc;

use crate::muc::history::{Arrival, Entry, History, Keeping, Retraction, stanza_id};
use crate::xml::element::Tree;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// What was said while the account was away.
#[derive(Debug)]
pub enum Missed {
    /// These, as the room's history shows them.
    Messages(Vec<Arc<Shared>>),
    /// More than the room's history shows; the id in its archive of the last message seen before, if it has one.
    Gap(Option<String>),
}

/// What tells messages apart.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    Archived(String),
    Said { author: Option<String>, id: Option<String>, body: Option<String> },
}

impl Mark {
    fn of(entry: &Entry, room: &str) -> Option<Mark> {
        let tree = Tree::parse(entry.message.bytes()).ok()?;
        if let Some(id) = stanza_id(&tree, room) {
            return Some(Mark::Archived(id));
        }
        let root = tree.root();
        let author = root.attr("from").and_then(|from| from.split_once('/').map(|(_, nick)| nick.to_owned()));
        let id = root.attr("id").map(|id| id.into_owned());
        Some(Mark::Said { author, id, body: root.child_text("body", ns::CLIENT) })
    }
}

impl History {
    /// All of it; none is left.
    pub fn take(&mut self) -> History {
        let none = self.empty(self.most);
        std::mem::replace(self, none)
    }

    fn marks(&self, room: &str) -> Vec<Option<Mark>> {
        self.entries.iter().map(|entry| Mark::of(entry, room)).collect()
    }

    /// This is what the room has shown at a join; `before`, what was kept until the account was away, becomes part of it
    /// again. If there is a gap between the two, nothing changes.
    pub fn go_on_from(&mut self, before: &mut History, room: &str) -> Missed {
        let (old, new) = (before.marks(room), self.marks(room));
        let known = overlap(&old, &new);
        // A history that ends within what was seen before shows all that came after.
        let may_reach_back_further = new.len() < old.len().min(self.most) || (old.is_empty() && new.len() < self.most);
        if known == 0 && !new.is_empty() && !may_reach_back_further {
            let last = old.into_iter().rev().find_map(|mark| match mark {
                Some(Mark::Archived(id)) => Some(id),
                _ => None,
            });
            return Missed::Gap(last);
        }
        let missed = self.entries.split_off(known.min(self.entries.len()));
        Missed::Messages(self.append_to(before, missed.into(), room))
    }

    /// The same, with what the room's archive has between the two, oldest first.
    pub fn go_on_with(&mut self, before: &mut History, archived: &[Stanza], room: &str) -> Vec<Arc<Shared>> {
        let shown = self.marks(room);
        let mut between = self.empty(archived.len());
        *between.keeping() = *self.keeping();
        for stanza in archived {
            let Ok(tree) = stanza.tree() else { continue };
            let known = stanza_id(&tree, room).is_some_and(|id| shown.contains(&Some(Mark::Archived(id))));
            if known || crate::muc::subject::is_subject(&tree) {
                continue;
            }
            let from = stanza.from();
            let author = from.as_deref().and_then(|from| from.split_once('/')).map(|(_, nick)| nick);
            let wall = time::OffsetDateTime::UNIX_EPOCH;
            between.push(room, stanza, &tree, Arrival { author, old: true, sender: None, wall });
        }
        between.entries.append(&mut self.entries);
        let missed = between.entries.into();
        self.append_to(before, missed, room)
    }

    fn append_to(&mut self, before: &mut History, missed: Vec<Entry>, room: &str) -> Vec<Arc<Shared>> {
        let length = self.length.max(before.length);
        let keeping = if self.keeping == Keeping::Unknown { before.keeping } else { self.keeping };
        *self = before.take();
        (self.keeping, self.length) = (keeping, length);
        self.room = room.into();
        let shown = missed.iter().map(|entry| entry.message.shown(room, entry.stamp)).collect();
        for entry in missed {
            self.retracted_by(room, &entry);
            if self.entries.len() >= self.length {
                self.forget_oldest();
            }
            self.bytes += entry.message.len();
            self.entries.push_back(entry);
        }
        shown
    }

    /// The message may take back another one.
    fn retracted_by(&mut self, room: &str, entry: &Entry) {
        let Ok(tree) = Tree::parse(entry.message.bytes()) else { return };
        if let Some(retraction) = Retraction::read(&tree, entry.message.author().is_none(), entry.stamp) {
            self.retract(room, entry.message.author(), &retraction);
        }
    }
}

/// How many of `new`, from the start, were there before.
fn overlap(old: &[Option<Mark>], new: &[Option<Mark>]) -> usize {
    // The room's ids are its own: whatever is behind the last known one was said since, whatever was left out before.
    // Where not all bear one, it may be an occupant who has written it.
    if new.iter().all(|mark| matches!(mark, Some(Mark::Archived(_)))) {
        return new.iter().rposition(|mark| old.contains(mark)).map_or(0, |last| last + 1);
    }
    // Others may be repeated ("ok", "ok"), so that only the whole sequence tells.
    let longest = old.len().min(new.len());
    (1..=longest)
        .rev()
        .find(|&len| old[old.len() - len..] == new[..len] && new[..len].iter().all(Option::is_some))
        .unwrap_or(0)
}

#[cfg(test)]
#[path = "missed_tests.rs"]
mod tests;
