//! Log lines that somebody else can cause at will: one in a while is written, with the number of those that were
//! not, so that a flood does not fill the disk. Pure: time is passed in.

use std::time::{Duration, Instant};

/// At most one a second.
pub const A_SECOND: Duration = Duration::from_secs(1);

/// When to write one kind of line.
#[derive(Debug, Clone)]
pub struct Seldom {
    every: Duration,
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// The first time, and then once in `every`.
    pub const fn new(every: Duration) -> Self {
        Seldom { every, last: None, unsaid: 0 }
    }

    /// It happened again: whether to write it now, and how often it was not written since the last time.
    pub fn say(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < self.every) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_while_with_the_number_of_the_others() {
        let mut seldom = Seldom::new(A_SECOND);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(seldom.say(at(0)), Some(0));
        assert_eq!([1, 500, 999].map(|ms| seldom.say(at(ms))), [None; 3]);
        assert_eq!(seldom.say(at(1000)), Some(3));
        assert_eq!(seldom.say(at(1001)), None);
        assert_eq!(seldom.say(at(9000)), Some(1));
    }
}
