//! How many bytes all accounts keep of all their rooms (S20). What several of them share is counted once, by itself; what
//! a room of one account has beside that is counted by the room. Whatever is dropped is no longer counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The common count. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<AtomicUsize>);

impl Memory {
    /// Bytes that are kept now.
    pub fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A share of so many bytes.
    pub(super) fn share(&self, bytes: usize) -> Share {
        let mut share = Share { memory: self.clone(), held: 0 };
        share.hold(bytes);
        share
    }
}

/// What somebody has of it; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    memory: Memory,
    held: usize,
}

impl Share {
    /// It is so many bytes now.
    pub(super) fn hold(&mut self, bytes: usize) {
        let held = std::mem::replace(&mut self.held, bytes);
        if bytes >= held {
            self.memory.0.fetch_add(bytes - held, Ordering::Relaxed);
        } else {
            self.memory.0.fetch_sub(held - bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
    }
}
