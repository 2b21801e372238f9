//! What several accounts are shown alike is stored once: presences and messages of one room, equal but for `to`. Bytes
//! are shared, visibility never (S13): an account finds here only what its own account session has delivered, and which
//! stanzas it has is its own list. What becomes of a stanza in one account (JIDs hidden or put in) is another stanza.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::muc::memory::{Memory, Share};
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// What one takes beside its bytes (`benches/occupants.rs`).
pub(super) const BESIDE: usize = 200;
/// With fewer it is not looked for those that nobody has any more.
const FEW: usize = 1024;

/// A stanza of a room as it was delivered, but for `to`.
#[derive(Debug)]
pub struct Delivered {
    /// The occupant's; empty for the room itself.
    pub(super) nick: Box<str>,
    pub(super) stanza: Arc<Shared>,
    /// Counted as long as somebody has it.
    _counted: Share,
}

impl Delivered {
    fn is(&self, nick: &str, bytes: &[u8]) -> bool {
        *self.nick == *nick && self.stanza.bytes() == bytes
    }
}

/// The presences and messages of all rooms and accounts. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    hasher: RandomState,
    all: DashMap<u64, Weak<Delivered>>,
    /// Those that nobody has any more are taken out when there are so many.
    sweep_at: AtomicUsize,
    memory: Memory,
}

impl Kept {
    /// The stanza of `nick`, as the account session of a server of `domain` got it.
    pub(super) fn one(&self, domain: &str, nick: &str, stanza: &Stanza) -> Arc<Delivered> {
        // The attribute stays in its place: each client's own address is put in there.
        let stanza = if stanza.to_range().is_some() { &stanza.edit().set("to", "").finish() } else { stanza };
        let bytes = stanza.bytes();
        let key = self.0.hasher.hash_one((domain, nick, bytes));
        let new = || {
            // A copy of just that size, which pins no read buffer.
            let stanza = Shared::new(&Stanza::own(bytes.to_vec()), None);
            let counted = self.0.memory.share(nick.len() + stanza.len() + BESIDE);
            Arc::new(Delivered { nick: nick.into(), stanza: Arc::new(stanza), _counted: counted })
        };
        let delivered = match self.0.all.entry(key) {
            Entry::Occupied(mut known) => match known.get().upgrade().filter(|known| known.is(nick, bytes)) {
                Some(known) => return known,
                None => {
                    let new = new();
                    known.insert(Arc::downgrade(&new));
                    return new;
                }
            },
            Entry::Vacant(free) => {
                let new = new();
                free.insert(Arc::downgrade(&new));
                new
            }
        };
        self.sweep();
        delivered
    }

    fn sweep(&self) {
        let Inner { all, sweep_at, .. } = &*self.0;
        if all.len() < sweep_at.load(Ordering::Relaxed).max(FEW) {
            return;
        }
        all.retain(|_, delivered| delivered.strong_count() > 0);
        sweep_at.store(2 * all.len(), Ordering::Relaxed);
    }

    /// What it takes, and the rooms beside it.
    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// How many there are, with those that nobody has any more and that were not taken out yet.
    pub fn len(&self) -> usize {
        self.0.all.len()
    }

    /// How many there are that somebody has.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.0.all.iter().filter(|delivered| delivered.strong_count() > 0).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::*;
    use crate::muc::history::{Arrival, History, Request};

    fn presence(to: &str, show: &str) -> Stanza {
        Stanza::own(format!("<presence from='r@s/n' to='{to}'><show>{show}</show></presence>"))
    }

    #[test]
    fn s13_equal_but_for_to_is_one_and_nothing_else_is() {
        let kept = Kept::default();
        let first = kept.one("d", "n", &presence("a@d/1", "away"));
        assert!(Arc::ptr_eq(&first, &kept.one("d", "n", &presence("b@d/2", "away"))));
        assert!(!first.stanza.bytes().windows(3).any(|w| w == b"a@d"), "nobody's address is in it");
        for (domain, nick, show) in [("d", "n", "xa"), ("d", "m", "away"), ("e", "n", "away")] {
            let other = kept.one(domain, nick, &presence("b@d/2", show));
            assert!(!Arc::ptr_eq(&first, &other), "{domain} {nick} {show}");
        }
    }

    #[test]
    fn s13_each_account_stamps_and_changes_its_own_history() {
        let (kept, noon) = (Kept::default(), OffsetDateTime::UNIX_EPOCH);
        let mut logs = ["a@d/1", "b@d/22"].map(|to| (to, History::sharing(9, kept.clone(), "d")));
        for (n, (to, log)) in logs.iter_mut().enumerate() {
            let stanza = Stanza::own(format!("<message from='r@s/n' to='{to}' id='1'><body>x</body></message>"));
            let wall = noon + Duration::hours(n as i64);
            let arrival = Arrival { author: Some("n"), old: false, sender: None, wall };
            log.push("r@s", &stanza, &stanza.tree().unwrap(), arrival);
            let delay = "<delay xmlns='urn:xmpp:delay' from='r@s' stamp='1970-01-01T00:00:00Z'/></message>";
            assert_eq!(log.bytes(), "<message from='r@s/n' to='' id='1'><body>x</body>".len() + to.len() + delay.len());
        }
        assert_eq!(kept.in_use(), 1);
        let shown = |log: &History| log.select(&Request::default(), noon)[0].bytes().clone();
        for (n, (_, log)) in logs.iter().enumerate() {
            let stamp = format!("stamp='1970-01-01T0{n}:00:00Z'/></message>");
            assert!(shown(log).ends_with(stamp.as_bytes()), "{:?}", shown(log));
        }
        logs[0].1.forget_oldest();
        assert_eq!(logs[1].1.select(&Request::default(), noon).len(), 1);
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
