//! A domain that is served: how its server is reached, and what may be sent to it.

use std::sync::Mutex;

use crate::config;
use crate::net::dial::Upstream;
use crate::stream::sasl::{Mechanism, Policy};

/// A domain.
#[derive(Debug)]
pub struct Domain {
    /// Its name, normalised.
    pub name: String,
    /// Its server.
    pub upstream: Upstream,
    /// What enrolments are bound to (S25): another server of the same name does not get the keys.
    pub upstream_id: String,
    /// PLAIN may be used where the server offers nothing better.
    pub allow_plain: bool,
    /// The password may be kept where keys do not do.
    pub keep_password: bool,
    /// Sizes.
    pub limits: config::Limits,
    /// The best mechanism the server was seen to offer (S5).
    pub best_mechanism: Mutex<Option<Mechanism>>,
}

impl Domain {
    /// What may be sent over a link to its server.
    pub fn policy(&self, tls: bool) -> Policy {
        let remembered = self.best_mechanism.lock().map(|m| *m).unwrap_or_default();
        Policy { allow_plain: self.allow_plain, tls, remembered }
    }

    /// Remembers the mechanism of a login; whether it is better than what was known.
    pub fn remember(&self, mechanism: Mechanism) -> bool {
        let Ok(mut best) = self.best_mechanism.lock() else { return false };
        let better = best.is_none_or(|known| mechanism > known);
        if better {
            *best = Some(mechanism);
        }
        better
    }

    /// Forgets the best mechanism.
    pub fn forget(&self) {
        if let Ok(mut best) = self.best_mechanism.lock() {
            *best = None;
        }
    }
}
