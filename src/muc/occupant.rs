//! Who is in the room: the last presence of each occupant, in the order in which they came.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::xmpp::shared::Shared;

/// The other occupants by nick; the account's own is kept apart.
#[derive(Debug, Default)]
pub struct Occupants {
    by_nick: IndexMap<String, Arc<Shared>>,
}

impl Occupants {
    /// An occupant came, or changed.
    pub fn available(&mut self, nick: &str, presence: Arc<Shared>) {
        match self.by_nick.get_mut(nick) {
            Some(known) => *known = presence,
            None => {
                self.by_nick.insert(nick.to_owned(), presence);
            }
        }
    }

    /// An occupant left; whether it was known.
    pub fn unavailable(&mut self, nick: &str) -> bool {
        self.by_nick.shift_remove(nick).is_some()
    }

    /// Whether there is an occupant with that nick.
    pub fn contains(&self, nick: &str) -> bool {
        self.by_nick.contains_key(nick)
    }

    /// One occupant's presence.
    pub fn get(&self, nick: &str) -> Option<&Arc<Shared>> {
        self.by_nick.get(nick)
    }

    /// All presences, in order.
    pub fn presences(&self) -> impl Iterator<Item = &Arc<Shared>> {
        self.by_nick.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_nick.len()
    }

    /// Whether nobody else is there.
    pub fn is_empty(&self) -> bool {
        self.by_nick.is_empty()
    }

    /// Nobody is there any more.
    pub fn clear(&mut self) {
        self.by_nick = IndexMap::new();
    }
}
