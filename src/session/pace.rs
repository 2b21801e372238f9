//! How fast a client may send (limits on stanzas and bytes a second): says when it is to be read again. Pure.

use std::time::Instant;

use crate::config::Limits;
use crate::net::bucket::Bucket;

/// One client's two buckets.
#[derive(Debug)]
pub(super) struct Pace {
    stanzas: Option<Bucket>,
    bytes: Option<Bucket>,
    /// Bytes that have been counted.
    received: u64,
    slowed: bool,
}

impl Pace {
    /// `received`: bytes read so far, which do not count.
    pub(super) fn new(limits: &Limits, received: u64) -> Self {
        Pace {
            stanzas: limits.stanza_rate.map(Bucket::new),
            bytes: limits.byte_rate.map(Bucket::new),
            received,
            slowed: false,
        }
    }

    /// A stanza has been taken.
    pub(super) fn stanza(&mut self, now: Instant) {
        if let Some(bucket) = &mut self.stanzas {
            bucket.take(now, 1);
        }
    }

    /// So many bytes have been read, in all.
    pub(super) fn received(&mut self, now: Instant, received: u64) {
        if let Some(bucket) = &mut self.bytes
            && received > self.received
        {
            bucket.take(now, received - self.received);
        }
        self.received = received;
    }

    /// Until when the client is not to be read, and the key of the limit that says so.
    pub(super) fn wait(&self, now: Instant) -> Option<(Instant, &'static str)> {
        let wait = |bucket: &Option<Bucket>, key| Some((bucket.as_ref()?.empty_until(now)?, key));
        let stanzas = wait(&self.stanzas, "limits.stanzas_per_second");
        stanzas.max(wait(&self.bytes, "limits.bytes_per_second"))
    }

    /// Bytes that may be read before the next look.
    pub(super) fn allowance(&self, now: Instant) -> u64 {
        self.bytes.as_ref().map_or(u64::MAX, |bucket| bucket.available(now))
    }

    /// Whether this is the first time that the client is slowed.
    pub(super) fn first_slowed(&mut self) -> bool {
        !std::mem::replace(&mut self.slowed, true)
    }
}
