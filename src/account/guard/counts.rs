//! Counts of failures that expire together, and a bounded map of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Failures, and what is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) failures: u32,
    /// When the last failure was.
    pub(super) last: Instant,
    pub(super) in_flight: u32,
}

/// What is left below a limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    Some,
    /// Nothing, if all that is under way fails.
    Taken,
    None,
}

impl Count {
    pub(super) fn new(now: Instant) -> Count {
        Count { failures: 0, last: now, in_flight: 0 }
    }

    fn forget_old(&mut self, now: Instant, window: Duration) {
        if now.saturating_duration_since(self.last) >= window {
            self.failures = 0;
        }
    }

    pub(super) fn room(&mut self, now: Instant, window: Duration, limit: u32) -> Room {
        self.forget_old(now, window);
        match () {
            () if self.failures >= limit => Room::None,
            () if self.failures.saturating_add(self.in_flight) >= limit => Room::Taken,
            () => Room::Some,
        }
    }

    pub(super) fn fail(&mut self, now: Instant, window: Duration) {
        self.forget_old(now, window);
        self.failures = self.failures.saturating_add(1);
        self.last = now;
    }

    fn is_idle(&self) -> bool {
        self.failures == 0 && self.in_flight == 0
    }
}

/// A bounded map of counts.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) map: HashMap<u64, Count>,
    pub(super) most: usize,
}

impl Counts {
    pub(super) fn room(&mut self, key: u64, now: Instant, window: Duration, limit: u32) -> Room {
        self.map.get_mut(&key).map_or(Room::Some, |count| count.room(now, window, limit))
    }

    pub(super) fn entry(&mut self, key: u64, now: Instant, window: Duration) -> &mut Count {
        if self.map.len() >= self.most && !self.map.contains_key(&key) {
            self.make_room(now, window);
        }
        self.map.entry(key).or_insert_with(|| Count::new(now))
    }

    /// Drops what has expired; if that is too little, an eighth of the rest, what counts least and is oldest.
    fn make_room(&mut self, now: Instant, window: Duration) {
        self.map.retain(|_, count| count.in_flight > 0 || now.saturating_duration_since(count.last) < window);
        let few = self.most - self.most / 8;
        if self.map.len() <= few {
            return;
        }
        let idle = self.map.iter().filter(|(_, count)| count.in_flight == 0);
        let mut ranked: Vec<_> = idle.map(|(key, count)| (count.failures, count.last, *key)).collect();
        let excess = (self.map.len() - few).min(ranked.len());
        if excess > 0 {
            ranked.select_nth_unstable(excess - 1);
            for (_, _, key) in &ranked[..excess] {
                self.map.remove(key);
            }
        }
    }

    pub(super) fn release(&mut self, key: u64) {
        if let Some(count) = self.map.get_mut(&key) {
            count.in_flight = count.in_flight.saturating_sub(1);
            if count.is_idle() {
                self.map.remove(&key);
            }
        }
    }

    pub(super) fn reset(&mut self, key: u64) {
        if let Some(count) = self.map.get_mut(&key) {
            count.failures = 0;
            if count.is_idle() {
                self.map.remove(&key);
            }
        }
    }
}
