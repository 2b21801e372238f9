//! Who is in the room: the last presence of each occupant, as a join would show it, in the order in which they came.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// The other occupants by nick; the account's own is kept apart.
#[derive(Debug, Default)]
pub struct Occupants {
    by_nick: IndexMap<String, Arc<Shared>>,
    bytes: usize,
}

impl Occupants {
    /// An occupant came, or changed.
    pub fn available(&mut self, nick: &str, presence: Arc<Shared>) {
        self.bytes += presence.len();
        match self.by_nick.get_mut(nick) {
            Some(known) => {
                self.bytes -= known.len();
                *known = presence;
            }
            None => {
                self.bytes += nick.len();
                self.by_nick.insert(nick.to_owned(), presence);
            }
        }
    }

    /// An occupant left; whether it was known.
    pub fn unavailable(&mut self, nick: &str) -> bool {
        let known = self.by_nick.shift_remove(nick);
        self.bytes -= known.as_ref().map_or(0, |known| nick.len() + known.len());
        known.is_some()
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

    /// Whether it is so with every presence.
    pub fn all(&self, is_so: impl Fn(&Stanza) -> bool) -> bool {
        self.presences().all(|presence| is_so(&Stanza::own(presence.bytes().to_vec())))
    }

    /// Puts another presence in the place of each for which there is one.
    pub fn change(&mut self, change: impl Fn(&str, &Stanza) -> Option<Stanza>) {
        for (nick, known) in &mut self.by_nick {
            replace(known, &mut self.bytes, |presence| change(nick, presence));
        }
    }

    /// The same for one.
    pub fn change_one(&mut self, nick: &str, change: impl Fn(&Stanza) -> Option<Stanza>) {
        if let Some(known) = self.by_nick.get_mut(nick) {
            replace(known, &mut self.bytes, change);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_nick.len()
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nobody else is there.
    pub fn is_empty(&self) -> bool {
        self.by_nick.is_empty()
    }

    /// Nobody is there any more.
    pub fn clear(&mut self) {
        *self = Occupants::default();
    }
}

fn replace(known: &mut Arc<Shared>, bytes: &mut usize, change: impl Fn(&Stanza) -> Option<Stanza>) {
    if let Some(changed) = change(&Stanza::own(known.bytes().to_vec())) {
        *bytes = *bytes - known.len() + changed.bytes().len();
        *known = Arc::new(Shared::new(&changed, None));
    }
}
