//! Failed logins, counted (pure): by the client's address, by the account, by the domain's server (S3).
//!
//! The server sees one address for everybody and may ban it: ejabberd's mod_fail2ban counts failures in a row, a
//! success begins anew, and the ban ends a time after the last. The server's count here is the same count, with a
//! lower limit.
//!
//! Who logged in to an account from an address before is *known* there. A known pair is asked by neither of the first
//! two limits, so nobody is locked out of her own account from elsewhere, nor a household by one stale phone; its own
//! failures make it unknown. A part of the server's count is reserved for those who are known, and for account
//! sessions, the last place for whom the kept keys vouch: their success sets it back to zero for all.
//!
//! Memory: a map each for addresses, accounts and known pairs, by 64-bit keyed hashes, of at most [`MOST`] entries.
//! When one is full, what counts least goes first: an attacker with many addresses pushes out single failures, not
//! the counts that stand near a limit.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

use jid::BareJid;

use super::counts::{Count, Counts, Room};
use crate::config::LoginLimits;
use crate::net::network::Network;
use crate::stream::negotiation::Outcome;

/// Entries of a map. In-flight attempts come on top; those are bounded by connections.
const MOST: usize = 100_000;
/// Addresses from which an account is known: an account with many addresses pushes out its own only.
const MOST_ADDRESSES: usize = 8;

/// What an attempt runs into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `login_failures_per_address`
    Address,
    /// `login_failures_per_account`
    Account,
    /// `login_failures_per_server`
    Server,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Limit::Address => "login_failures_per_address",
            Limit::Account => "login_failures_per_account",
            Limit::Server => "login_failures_per_server",
        })
    }
}

/// Who wants to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who<'a> {
    /// The client's address; none for the proxy's own logins.
    pub address: Option<IpAddr>,
    /// The account, prepared, where the first message tells it.
    pub account: Option<&'a BareJid>,
    /// The configured domain.
    pub domain: &'a str,
    /// How much the server's count may hold.
    pub trust: Trust,
}

/// How likely an attempt is no guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Anybody.
    None,
    /// It logged in before.
    Known,
    /// The kept keys say that the password is right.
    Vouched,
    /// It is asked first whether they do: the server is not counted yet.
    Asking,
}

/// What to do with an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may go up; it is to be settled.
    Go(Ticket),
    /// Attempts that are under way may use up what is left: ask again when one is settled.
    Wait(Limit),
    /// It must not.
    Refused(Limit),
}

/// An attempt under way: what it has reserved.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    address: Option<u64>,
    account: Option<u64>,
    /// The pair is known, and has reserved in the place of the two.
    known: bool,
    domain: String,
    /// A place in the server's count is reserved.
    at_server: bool,
    /// The server's failures, in all, when this began.
    before: u64,
}

/// From where an account is known.
#[derive(Debug)]
struct Known {
    addresses: Vec<(u64, Count)>,
    used: Instant,
}

#[derive(Debug)]
struct Server {
    count: Count,
    /// All failures ever.
    total: u64,
    /// False: it sees the clients' own addresses.
    limited: bool,
}

/// The counts.
#[derive(Debug)]
pub struct Limiter {
    limits: LoginLimits,
    hasher: RandomState,
    addresses: Counts,
    accounts: Counts,
    servers: HashMap<String, Server>,
    known: HashMap<u64, Known>,
    most: usize,
}

impl Limiter {
    /// For these domains; `true` for one whose server sees one address for all clients.
    pub fn new(limits: LoginLimits, domains: impl IntoIterator<Item = (String, bool)>, now: Instant) -> Self {
        let server = |(name, limited)| (name, Server { count: Count::new(now), total: 0, limited });
        let counts = || Counts { map: HashMap::new(), most: MOST };
        Limiter {
            limits,
            hasher: RandomState::new(),
            addresses: counts(),
            accounts: counts(),
            servers: domains.into_iter().map(server).collect(),
            known: HashMap::new(),
            most: MOST,
        }
    }

    /// Whether an attempt may go up. Reserves its failure if so.
    pub fn ask(&mut self, who: &Who<'_>, now: Instant) -> Verdict {
        let address = who.address.map(|address| self.address(address));
        let account = who.account.map(|account| self.hasher.hash_one(account));
        let limits = self.limits;
        let mut rooms = Vec::with_capacity(3);
        let mut trust = who.trust;
        let pair = self.pair(address, account);
        let known = pair.is_some();
        if let Some(pair) = pair {
            trust = trust.max(Trust::Known);
            rooms.push((pair.room(now, limits.window, limits.per_account), Limit::Account));
        } else {
            if let Some(key) = address {
                rooms.push((self.addresses.room(key, now, limits.window, limits.per_address), Limit::Address));
            }
            if let Some(key) = account {
                rooms.push((self.accounts.room(key, now, limits.window, limits.per_account), Limit::Account));
            }
        }
        let limit = server_limit(limits.per_server, trust);
        let mut server = self.servers.get_mut(who.domain).filter(|s| s.limited && trust != Trust::Asking);
        if let Some(server) = &mut server {
            rooms.push((server.count.room(now, limits.window, limit), Limit::Server));
        }
        for (wanted, verdict) in [(Room::None, Verdict::Refused as fn(Limit) -> Verdict), (Room::Taken, Verdict::Wait)]
        {
            if let Some((_, limit)) = rooms.iter().find(|(room, _)| *room == wanted) {
                return verdict(*limit);
            }
        }
        let at_server = server.is_some();
        let before = server.as_ref().map_or(0, |server| server.total);
        if let Some(server) = server {
            server.count.in_flight += 1;
        }
        if let Some(pair) = self.pair(address, account) {
            pair.in_flight += 1;
        } else {
            if let Some(key) = address {
                self.addresses.entry(key, now, limits.window).in_flight += 1;
            }
            if let Some(key) = account {
                self.accounts.entry(key, now, limits.window).in_flight += 1;
            }
        }
        Verdict::Go(Ticket { address, account, known, domain: who.domain.to_owned(), at_server, before })
    }

    /// How an attempt ended.
    pub fn settle(&mut self, ticket: Ticket, outcome: Outcome, now: Instant) {
        let Ticket { address, account, known, domain, at_server, before } = ticket;
        if at_server && let Some(server) = self.servers.get_mut(&domain) {
            server.count.in_flight = server.count.in_flight.saturating_sub(1);
        }
        if !known {
            address.into_iter().for_each(|key| self.addresses.release(key));
            account.into_iter().for_each(|key| self.accounts.release(key));
        } else if let Some(pair) = self.pair(address, account) {
            pair.in_flight = pair.in_flight.saturating_sub(1);
        }
        match outcome {
            Outcome::Success => {
                account.into_iter().for_each(|key| self.accounts.reset(key));
                // What failed since this began may have failed after it at the server: it goes on counting.
                if let Some(Server { count, total, .. }) = self.servers.get_mut(&domain) {
                    count.failures = count.failures.min(u32::try_from(*total - before).unwrap_or(u32::MAX));
                }
                self.remember(address, account, now);
            }
            Outcome::Failure | Outcome::Unanswered => {
                if outcome == Outcome::Failure {
                    self.failed_at_server(&domain, now);
                }
                self.client_failed(address, account, now);
            }
            Outcome::Withdrawn => {}
        }
    }

    /// The server said no to a login that nobody asked for here.
    pub fn failed_at_server(&mut self, domain: &str, now: Instant) {
        let window = self.limits.window;
        if let Some(server) = self.servers.get_mut(domain) {
            server.count.fail(now, window);
            server.total += 1;
        }
    }

    /// A client failed by itself, without the server being asked.
    pub fn failed_unasked(&mut self, address: IpAddr, now: Instant) {
        let (key, window) = (self.address(address), self.limits.window);
        self.addresses.entry(key, now, window).fail(now, window);
    }

    fn client_failed(&mut self, address: Option<u64>, account: Option<u64>, now: Instant) {
        let LoginLimits { window, per_account, .. } = self.limits;
        if let Some(pair) = self.pair(address, account) {
            pair.fail(now, window);
            if pair.failures >= per_account
                && let (Some(address), Some(account)) = (address, account)
            {
                self.forget(address, account);
            }
            return;
        }
        if let Some(key) = address {
            self.addresses.entry(key, now, window).fail(now, window);
        }
        if let Some(key) = account {
            self.accounts.entry(key, now, window).fail(now, window);
        }
    }

    /// An IPv4 address, or the /64 of an IPv6 one: what one subscriber has.
    fn address(&self, address: IpAddr) -> u64 {
        self.hasher.hash_one(Network::from(address))
    }

    fn pair(&mut self, address: Option<u64>, account: Option<u64>) -> Option<&mut Count> {
        let address = address?;
        let known = self.known.get_mut(&account?)?;
        known.addresses.iter_mut().find(|(a, _)| *a == address).map(|(_, count)| count)
    }

    fn forget(&mut self, address: u64, account: u64) {
        if let Some(known) = self.known.get_mut(&account) {
            known.addresses.retain(|(a, _)| *a != address);
            if known.addresses.is_empty() {
                self.known.remove(&account);
            }
        }
    }

    fn remember(&mut self, address: Option<u64>, account: Option<u64>, now: Instant) {
        let (Some(address), Some(account)) = (address, account) else { return };
        if self.known.len() >= self.most && !self.known.contains_key(&account) {
            let mut ages: Vec<(Instant, u64)> = self.known.iter().map(|(key, known)| (known.used, *key)).collect();
            let some = (ages.len() / 8).max(1);
            ages.select_nth_unstable(some - 1);
            for (_, key) in &ages[..some] {
                self.known.remove(key);
            }
        }
        let known = self.known.entry(account).or_insert_with(|| Known { addresses: Vec::new(), used: now });
        known.used = now;
        // The last in the list is the one used last.
        let count = match known.addresses.iter().position(|(a, _)| *a == address) {
            Some(at) => known.addresses.remove(at).1,
            None => Count::new(now),
        };
        if known.addresses.len() >= MOST_ADDRESSES {
            known.addresses.remove(0);
        }
        known.addresses.push((address, Count { failures: 0, ..count }));
    }
}

/// 15 for anybody, 18 for who is known, 19 for whom the kept keys vouch: all below the 20 of ejabberd's mod_fail2ban.
fn server_limit(limit: u32, trust: Trust) -> u32 {
    let known = limit.saturating_add(limit / 5);
    match trust {
        Trust::None => limit,
        Trust::Known => known,
        Trust::Vouched | Trust::Asking => known.saturating_add(1),
    }
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
mod tests;
