//! How often the account's presence in a room may change: so many times at once, then one in a while. What may not go
//! up yet is not lost: the latest goes when it may.

use std::time::{Duration, Instant};

/// How many changes may follow each other at once.
const BURST: u32 = 5;
/// After that, one in this time.
const INTERVAL: Duration = Duration::from_secs(2);

/// A token bucket, as the one point in time at which it is full again.
#[derive(Debug, Default)]
pub struct Pace {
    full_at: Option<Instant>,
}

impl Pace {
    /// Whether a change may go now; if so, it is counted. Else when the next one may.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let from = self.full_at.map_or(now, |full| full.max(now));
        let full = from + INTERVAL;
        // All tokens but this one are missing at most.
        let allowed = now + INTERVAL * BURST;
        if full > allowed {
            return Err(now + (full - allowed));
        }
        self.full_at = Some(full);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_at_once_then_one_every_two_seconds() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!((0..BURST).all(|_| pace.take(start).is_ok()));
        assert_eq!(pace.take(start), Err(at(2)));
        assert_eq!(pace.take(at(1)), Err(at(2)));
        assert_eq!(pace.take(at(2)), Ok(()));
        assert_eq!(pace.take(at(2)), Err(at(4)));
        let taken = (2..=102).filter(|second| pace.take(at(*second)).is_ok()).count();
        assert_eq!(taken, 50);
        assert!((0..BURST).all(|_| pace.take(at(1000)).is_ok()), "no more than a burst is saved");
        assert!(pace.take(at(1000)).is_err());
    }
}
