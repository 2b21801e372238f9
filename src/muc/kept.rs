//! What several accounts are shown alike is stored once: presences of one room, equal but for `to`. Bytes are shared,
//! visibility never (S13): an account finds here only what its own account session has delivered, and which presences
//! it has is its own list. What becomes of a presence in one account (JIDs hidden or put in) is another presence.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// With fewer it is not looked for those that nobody has any more.
const FEW: usize = 1024;

/// An occupant as its presence shows it.
#[derive(Debug)]
pub struct Present {
    pub(super) nick: Box<str>,
    pub(super) presence: Arc<Shared>,
}

impl Present {
    fn is(&self, nick: &str, presence: &Shared) -> bool {
        *self.nick == *nick && *self.presence == *presence
    }
}

/// The presences of all rooms and accounts. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    hasher: RandomState,
    all: DashMap<u64, Weak<Present>>,
    /// Those that nobody has any more are taken out when there are so many.
    sweep_at: AtomicUsize,
}

impl Kept {
    /// The presence of `nick`, as the account session of a server of `domain` got it.
    pub(super) fn one(&self, domain: &str, nick: &str, presence: &Stanza) -> Arc<Present> {
        let presence = presence.edit().remove("to").finish();
        let key = self.0.hasher.hash_one((domain, nick, presence.bytes()));
        let presence = Shared::new(&presence, None);
        let present = match self.0.all.entry(key) {
            Entry::Occupied(mut known) => match known.get().upgrade().filter(|known| known.is(nick, &presence)) {
                Some(known) => return known,
                None => {
                    let new = Arc::new(Present { nick: nick.into(), presence: Arc::new(presence) });
                    known.insert(Arc::downgrade(&new));
                    return new;
                }
            },
            Entry::Vacant(free) => {
                let new = Arc::new(Present { nick: nick.into(), presence: Arc::new(presence) });
                free.insert(Arc::downgrade(&new));
                new
            }
        };
        self.sweep();
        present
    }

    fn sweep(&self) {
        let Inner { all, sweep_at, .. } = &*self.0;
        if all.len() < sweep_at.load(Ordering::Relaxed).max(FEW) {
            return;
        }
        all.retain(|_, present| present.strong_count() > 0);
        sweep_at.store(2 * all.len(), Ordering::Relaxed);
    }

    /// How many there are, with those that nobody has any more and that were not taken out yet.
    pub fn len(&self) -> usize {
        self.0.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(to: &str, show: &str) -> Stanza {
        Stanza::own(format!("<presence from='r@s/n' to='{to}'><show>{show}</show></presence>"))
    }

    #[test]
    fn s13_equal_but_for_to_is_one_and_nothing_else_is() {
        let kept = Kept::default();
        let first = kept.one("d", "n", &presence("a@d/1", "away"));
        assert!(Arc::ptr_eq(&first, &kept.one("d", "n", &presence("b@d/2", "away"))));
        assert!(!first.presence.bytes().windows(3).any(|w| w == b"a@d"), "nobody's address is in it");
        for (domain, nick, show) in [("d", "n", "xa"), ("d", "m", "away"), ("e", "n", "away")] {
            let other = kept.one(domain, nick, &presence("b@d/2", show));
            assert!(!Arc::ptr_eq(&first, &other), "{domain} {nick} {show}");
        }
    }

    #[test]
    fn what_nobody_has_is_forgotten() {
        let kept = Kept::default();
        let held = kept.one("d", "n", &presence("a@d/1", "held"));
        for n in 0..10 * FEW {
            kept.one("d", "n", &presence("a@d/1", &n.to_string()));
        }
        assert!(kept.len() <= FEW, "{}", kept.len());
        assert!(Arc::ptr_eq(&held, &kept.one("d", "n", &presence("b@d/1", "held"))));
    }
}
