//! A token bucket: so many a second in the long run, so many at once. Pure: time is passed in.
//!
//! What has been read cannot be unread, so a bucket may be overdrawn; its owner then waits until the debt is paid.
//! It is kept as one point in time, the one at which the bucket will be full again.

use std::time::{Duration, Instant};

use crate::config::Rate;

/// A token bucket, full at first.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    full_at: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        Bucket { rate, full_at: None }
    }

    /// Takes `tokens`, be they there or not.
    pub fn take(&mut self, now: Instant, tokens: u64) {
        let from = self.full_at.map_or(now, |full| full.max(now));
        // A debt that no clock can show is none that anybody waits for.
        self.full_at = from.checked_add(self.time(tokens)).or(self.full_at);
    }

    /// Tokens that are there.
    pub fn available(&self, now: Instant) -> u64 {
        let missing = self.full_at.map_or(Duration::ZERO, |full| full.saturating_duration_since(now));
        let span = self.time(self.rate.burst.into()).saturating_sub(missing);
        // The last token is there for good only when it is whole.
        u64::try_from(span.as_nanos() * u128::from(self.rate.per_second) / NANOS).unwrap_or(u64::MAX)
    }

    /// When there will be a token, if there is none.
    pub fn empty_until(&self, now: Instant) -> Option<Instant> {
        if self.available(now) > 0 {
            return None;
        }
        let earlier = self.time(self.rate.burst.into()).saturating_sub(self.time(1));
        // Rounded up, so that there is one when it says so.
        self.full_at.map(|full| full.checked_sub(earlier).unwrap_or(now).max(now) + Duration::from_nanos(1))
    }

    /// How long that many take to come.
    fn time(&self, tokens: u64) -> Duration {
        let nanos = (u128::from(tokens) * NANOS).div_ceil(u128::from(self.rate.per_second.max(1)));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// In a second.
const NANOS: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bucket(per_second: u32, burst: u32) -> Bucket {
        Bucket::new(Rate { per_second, burst })
    }

    #[test]
    fn a_burst_at_once_and_then_the_rate() {
        let (mut bucket, start) = (bucket(100, 1000), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(bucket.available(start), 1000);
        bucket.take(start, 1000);
        assert_eq!(bucket.available(start), 0);
        let next = bucket.empty_until(start).unwrap();
        assert!(next > at(9) && next <= at(11), "{:?}", next - start);
        assert_eq!(bucket.available(at(500)), 50);
        bucket.take(at(500), 50);
        assert!(bucket.empty_until(at(500)).is_some());
        assert_eq!(bucket.available(at(3_600_000)), 1000, "no more than a burst is saved");
    }

    #[test]
    fn a_debt_is_paid_before_anything_else_is_taken() {
        let (mut bucket, start) = (bucket(1000, 1), Instant::now());
        bucket.take(start, 5001);
        let next = bucket.empty_until(start).unwrap() - start;
        assert!(next >= Duration::from_secs(5) && next < Duration::from_millis(5010), "{next:?}");
        bucket.take(start, u64::MAX);
        bucket.take(start, u64::MAX);
        assert_eq!(bucket.available(start), 0);
    }

    proptest! {
        /// Whoever waits as told gets no more than the rate and the burst, and not much less.
        #[test]
        fn the_rate_holds_in_the_long_run(
            per_second in 1u32..2_000_000, burst in 1u32..10_000_000, sizes in prop::collection::vec(1u64..20_000, 1..200)
        ) {
            let (mut bucket, start) = (bucket(per_second, burst), Instant::now());
            let (mut now, mut taken) = (start, 0);
            for size in sizes {
                if let Some(until) = bucket.empty_until(now) {
                    prop_assert!(until > now);
                    now = until;
                }
                prop_assert!(bucket.available(now) > 0);
                let allowed = (now - start).as_secs_f64() * f64::from(per_second) + f64::from(burst);
                prop_assert!((taken as f64) < allowed + 1.0, "{taken} > {allowed}");
                bucket.take(now, size);
                taken += size;
            }
        }
    }
}
