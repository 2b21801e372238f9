//! What an account's task shows of itself, for the operator to look at without waiting for it.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use crate::account::account::{Account, Link};

/// How an account session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Not up: no room needs it, or it is tried again later.
    #[default]
    Down,
    /// Being opened.
    Connecting,
    /// Up.
    Up,
    /// Its keys do not work: it waits for a client of the account to log in.
    WaitingForLogin,
    /// Ended by the operator: it waits for a client of the account to log in.
    Killed,
    /// Others were given its place again and again (`conflict`): it waits for a client of the account to end.
    Evicted,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Standing::Down => "down",
            Standing::Connecting => "connecting",
            Standing::Up => "up",
            Standing::WaitingForLogin => "waiting-for-login",
            Standing::Killed => "killed",
            Standing::Evicted => "evicted",
        })
    }
}

/// What is shown: written by the account's task, read by anybody.
#[derive(Debug, Default)]
pub struct Gauge {
    standing: AtomicU8,
    rooms: AtomicUsize,
    clients: AtomicUsize,
}

impl Gauge {
    /// How the account session stands.
    pub fn standing(&self) -> Standing {
        use Standing::*;
        const ALL: [Standing; 6] = [Down, Connecting, Up, WaitingForLogin, Killed, Evicted];
        ALL.into_iter().find(|s| *s as u8 == self.standing.load(Ordering::Relaxed)).unwrap_or_default()
    }

    /// How many rooms the account has.
    pub fn rooms(&self) -> usize {
        self.rooms.load(Ordering::Relaxed)
    }

    /// How many clients have asked it for a room.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Shows an account as it is now. `killed`: by the operator, and no client has logged in since.
    pub(super) fn show(&self, account: &Account, killed: bool) {
        let standing = match account.link {
            Link::Down { .. } | Link::Lost { .. } => Standing::Down,
            Link::Connecting => Standing::Connecting,
            Link::Up { .. } => Standing::Up,
            Link::Barred if killed => Standing::Killed,
            Link::Barred => Standing::WaitingForLogin,
            Link::Evicted => Standing::Evicted,
        };
        self.standing.store(standing as u8, Ordering::Relaxed);
        self.rooms.store(account.rooms.len(), Ordering::Relaxed);
        self.clients.store(account.clients.len(), Ordering::Relaxed);
    }
}
