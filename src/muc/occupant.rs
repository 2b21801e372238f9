//! Who is in the room: the last presence of each occupant, as a join would show it, in the order in which they came.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::IndexSet;

use crate::muc::kept::{Delivered, Kept};
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// The other occupants by nick; the account's own is kept apart.
#[derive(Debug)]
pub struct Occupants {
    by_nick: IndexSet<ByNick>,
    bytes: usize,
    kept: Kept,
    /// The account's domain.
    domain: Box<str>,
}

/// One occupant; a room has one of each nick.
#[derive(Debug)]
struct ByNick(Arc<Delivered>);

impl Borrow<str> for ByNick {
    fn borrow(&self) -> &str {
        &self.0.nick
    }
}

impl Hash for ByNick {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (*self.0.nick).hash(state);
    }
}

impl PartialEq for ByNick {
    fn eq(&self, other: &Self) -> bool {
        self.0.nick == other.0.nick
    }
}

impl Eq for ByNick {}

impl ByNick {
    fn len(&self) -> usize {
        self.0.nick.len() + self.0.stanza.len()
    }
}

impl Occupants {
    /// Nobody is there yet. `domain`: the account's; what its accounts are shown alike is stored once, in `kept`.
    pub fn new(kept: Kept, domain: &str) -> Self {
        Occupants { by_nick: IndexSet::new(), bytes: 0, kept, domain: domain.into() }
    }

    /// An occupant came, or changed.
    pub fn available(&mut self, nick: &str, presence: &Stanza) {
        let new = ByNick(self.kept.one(&self.domain, nick, presence));
        self.bytes += new.len();
        if let Some(known) = self.by_nick.replace(new) {
            self.bytes -= known.len();
        }
    }

    /// An occupant left; whether it was known.
    pub fn unavailable(&mut self, nick: &str) -> bool {
        let known = self.by_nick.shift_take(nick);
        self.bytes -= known.as_ref().map_or(0, ByNick::len);
        known.is_some()
    }

    /// Whether there is an occupant with that nick.
    pub fn contains(&self, nick: &str) -> bool {
        self.by_nick.contains(nick)
    }

    /// One occupant's presence.
    pub fn get(&self, nick: &str) -> Option<&Arc<Shared>> {
        self.by_nick.get(nick).map(|known| &known.0.stanza)
    }

    /// All presences, in order.
    pub fn presences(&self) -> impl Iterator<Item = &Arc<Shared>> {
        self.by_nick.iter().map(|known| &known.0.stanza)
    }

    /// Nicks and presences, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Arc<Shared>)> {
        self.by_nick.iter().map(|known| (&*known.0.nick, &known.0.stanza))
    }

    /// All of them; none is left.
    pub fn take(&mut self) -> Occupants {
        let none = Occupants::new(self.kept.clone(), &self.domain);
        std::mem::replace(self, none)
    }

    /// Whether it is so with every presence.
    pub fn all(&self, is_so: impl Fn(&Stanza) -> bool) -> bool {
        self.presences().all(|presence| is_so(&presence.to_stanza()))
    }

    /// Puts another presence in the place of each for which there is one.
    pub fn change(&mut self, change: impl Fn(&str, &Stanza) -> Option<Stanza>) {
        let all: Vec<(Box<str>, Stanza)> = self
            .by_nick
            .iter()
            .filter_map(|known| {
                let changed = change(&known.0.nick, &known.0.stanza.to_stanza())?;
                Some((known.0.nick.clone(), changed))
            })
            .collect();
        for (nick, changed) in all {
            self.available(&nick, &changed);
        }
    }

    /// The same for one.
    pub fn change_one(&mut self, nick: &str, change: impl Fn(&Stanza) -> Option<Stanza>) {
        if let Some(changed) = self.get(nick).and_then(|known| change(&known.to_stanza())) {
            self.available(nick, &changed);
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
        (self.by_nick, self.bytes) = (IndexSet::new(), 0);
    }
}
