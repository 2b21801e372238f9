//! One budget for what all streams have buffered (`limits.buffers`): who needs more while it is spent has to go, so
//! that the process as a whole keeps its size and the neighbours live.
//!
//! Each link has [`FREE`] bytes by itself and counts beyond in steps of [`STEP`], so that small stanzas never touch
//! the common counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a link may buffer without asking.
pub const FREE: usize = 16 * 1024;
/// How finely the rest is counted.
const STEP: usize = 16 * 1024;

/// The common counter. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    used: AtomicUsize,
}

impl Budget {
    /// For so many bytes.
    pub fn new(most: usize) -> Self {
        Budget(Arc::new(Inner { most, used: AtomicUsize::new(0) }))
    }

    /// Bytes in use, beyond what is free.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// A share for a link, empty yet.
    pub fn share(&self) -> Share {
        Share { budget: Some(self.clone()), held: 0 }
    }
}

/// What one link takes of the budget; given back when it is dropped. The default takes from nowhere, without bound.
#[derive(Debug, Default)]
pub struct Share {
    budget: Option<Budget>,
    held: usize,
}

impl Share {
    /// The link has so many bytes now. False if that is more than before and more than there is: they are counted
    /// all the same, as they are there, and the link has to end.
    #[must_use]
    pub fn hold(&mut self, bytes: usize) -> bool {
        let wanted = beyond(bytes);
        wanted == self.held || self.change(wanted)
    }

    /// The link has no more than so many bytes now.
    pub fn release(&mut self, bytes: usize) {
        if self.held > 0 {
            let wanted = beyond(bytes);
            if wanted < self.held {
                self.change(wanted);
            }
        }
    }

    #[inline(never)]
    fn change(&mut self, wanted: usize) -> bool {
        let Some(Budget(budget)) = &self.budget else { return true };
        let held = std::mem::replace(&mut self.held, wanted);
        if wanted < held {
            budget.used.fetch_sub(held - wanted, Ordering::Relaxed);
            return true;
        }
        let more = wanted - held;
        budget.used.fetch_add(more, Ordering::Relaxed) + more <= budget.most
    }
}

fn beyond(bytes: usize) -> usize {
    bytes.saturating_sub(FREE).next_multiple_of(STEP)
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_needs_more_than_there_is_has_to_go_and_nobody_else() {
        let budget = Budget::new(4 * STEP);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert!(one.hold(FREE) && two.hold(FREE));
        assert_eq!(budget.used(), 0);
        assert!(one.hold(FREE + 1));
        assert_eq!(budget.used(), STEP);
        assert!(one.hold(FREE + 3 * STEP) && two.hold(FREE + STEP));
        assert!(!two.hold(FREE + STEP + 1));
        assert!(one.hold(FREE + 3 * STEP) && one.hold(FREE + 2 * STEP), "who needs no more may stay");
        drop(two);
        assert!(one.hold(FREE + 4 * STEP));
        one.release(FREE + STEP);
        assert_eq!(budget.used(), STEP);
        drop(one);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn without_a_budget_there_is_no_bound() {
        let mut share = Share::default();
        assert!(share.hold(usize::MAX - STEP));
        share.release(0);
    }
}
