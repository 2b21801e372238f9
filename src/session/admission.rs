//! Who is let in (S11): client connections are counted, in all and by their network, and of these those that have
//! not logged in yet. Pure: counters behind a lock that is held for a few instructions.
//!
//! What is kept is bounded by `limits.connections`: a network is forgotten with its last connection.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::Limits;
use crate::net::network::Network;
use crate::xmpp::conditions::StreamCondition;

/// The counters, and how far they may go. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: Pair,
    most_per_network: Pair,
    counts: Mutex<Counts>,
}

/// Connections, and those of them that have not logged in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Pair {
    all: usize,
    before_login: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: Pair,
    networks: HashMap<Network, Pair>,
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// `limits.connections`
    Connections,
    /// `limits.connections_before_login`
    BeforeLogin,
    /// `limits.connections_per_address`
    PerAddress,
    /// `limits.connections_before_login_per_address`
    BeforeLoginPerAddress,
}

impl Full {
    /// The limit's key in the configuration.
    pub fn limit(self) -> &'static str {
        match self {
            Full::Connections => "limits.connections",
            Full::BeforeLogin => "limits.connections_before_login",
            Full::PerAddress => "limits.connections_per_address",
            Full::BeforeLoginPerAddress => "limits.connections_before_login_per_address",
        }
    }

    /// What the client is told: the proxy is full, or the client asks too much.
    pub fn condition(self) -> (StreamCondition, &'static str) {
        let busy = (StreamCondition::ResourceConstraint, "too many connections; try again later");
        let greedy = (StreamCondition::PolicyViolation, "too many connections from your address");
        match self {
            Full::Connections | Full::BeforeLogin => busy,
            Full::PerAddress | Full::BeforeLoginPerAddress => greedy,
        }
    }
}

impl Admission {
    /// Nobody is in yet.
    pub fn new(limits: &Limits) -> Self {
        let most = Pair { all: limits.connections, before_login: limits.connections_before_login };
        let most_per_network =
            Pair { all: limits.connections_per_address, before_login: limits.connections_before_login_per_address };
        Admission(Arc::new(Shared { most, most_per_network, counts: Mutex::default() }))
    }

    /// Takes in a connection, whoever it is: call [`Place::belongs_to`] as soon as that is known.
    pub fn enter(&self) -> Result<Place, Full> {
        let mut counts = self.0.counts();
        let Counts { total, .. } = &mut *counts;
        if total.all >= self.0.most.all {
            return Err(Full::Connections);
        }
        if total.before_login >= self.0.most.before_login {
            return Err(Full::BeforeLogin);
        }
        total.all += 1;
        total.before_login += 1;
        Ok(Place { shared: self.0.clone(), network: None, before_login: true })
    }

    /// Connections that are in, and how many of them have not logged in.
    pub fn count(&self) -> (usize, usize) {
        let total = self.0.counts().total;
        (total.all, total.before_login)
    }
}

impl Shared {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic elsewhere cannot leave the counts half changed.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
#[must_use = "the place is given back when it is dropped"]
pub struct Place {
    shared: Arc<Shared>,
    network: Option<Network>,
    before_login: bool,
}

impl Place {
    /// Counts it for its address too. To be called once, before login.
    pub fn belongs_to(mut self, address: IpAddr) -> Result<Self, Full> {
        let network = Network::from(address);
        let most = self.shared.most_per_network;
        {
            let mut counts = self.shared.counts();
            let of = counts.networks.get(&network).copied().unwrap_or_default();
            if of.all >= most.all {
                return Err(Full::PerAddress);
            }
            if of.before_login >= most.before_login {
                return Err(Full::BeforeLoginPerAddress);
            }
            let of = counts.networks.entry(network).or_default();
            of.all += 1;
            of.before_login += 1;
        }
        self.network = Some(network);
        Ok(self)
    }

    /// A resource is bound: it no longer counts among those before login.
    pub fn logged_in(&mut self) {
        if std::mem::take(&mut self.before_login) {
            let mut counts = self.shared.counts();
            counts.total.before_login -= 1;
            if let Some(of) = self.network.and_then(|network| counts.networks.get_mut(&network)) {
                of.before_login -= 1;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.logged_in();
        let mut counts = self.shared.counts();
        counts.total.all -= 1;
        let Some(network) = self.network else { return };
        if let Some(of) = counts.networks.get_mut(&network) {
            of.all -= 1;
            if of.all == 0 {
                counts.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests;
