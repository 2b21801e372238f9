//! Who may try to log in (S3): the shell of [`limiter`], shared by all sessions and account sessions.

mod counts;
pub mod limiter;

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

pub use self::limiter::{Limit, Trust, Who};
use self::limiter::{Limiter, Ticket, Verdict};
use crate::config::LoginLimits;
use crate::stream::negotiation::Outcome;

/// How long an attempt waits for others that are under way.
const PATIENCE: Duration = Duration::from_secs(10);

/// The counts of failed logins.
#[derive(Debug)]
pub struct Guard {
    limiter: Mutex<Limiter>,
    settled: Notify,
}

impl Guard {
    /// For these domains; `true` for one whose server sees one address for all clients.
    pub fn new(limits: LoginLimits, domains: impl IntoIterator<Item = (String, bool)>) -> Arc<Guard> {
        let limiter = Limiter::new(limits, domains, Instant::now());
        Arc::new(Guard { limiter: Mutex::new(limiter), settled: Notify::new() })
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(self: &Arc<Self>, who: &Who<'_>) -> Result<Attempt, Verdict> {
        match self.limiter().ask(who, Instant::now()) {
            Verdict::Go(ticket) => {
                let vouched = who.trust == Trust::Vouched;
                Ok(Attempt { guard: self.clone(), ticket: Some(ticket), vouched })
            }
            verdict => Err(verdict),
        }
    }

    /// Lets an attempt begin, at once or, while others under way may use up what is left, after a while. Where the
    /// server's limit is in its way, `vouch` says whether the kept keys fit its password; `None`: that cannot be said.
    pub async fn enter(
        self: &Arc<Self>,
        who: Who<'_>,
        vouch: impl Future<Output = Option<bool>>,
    ) -> Result<Attempt, Limit> {
        let entered = tokio::time::timeout(PATIENCE, self.wait(who, vouch)).await;
        // Too many wait: the server's limit is what all of them share.
        entered.unwrap_or(Err(Limit::Server))
    }

    async fn wait(
        self: &Arc<Self>,
        mut who: Who<'_>,
        vouch: impl Future<Output = Option<bool>>,
    ) -> Result<Attempt, Limit> {
        let mut vouch = Some(std::pin::pin!(vouch));
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            let verdict = match self.ask(&who) {
                Ok(attempt) => return Ok(attempt),
                Err(verdict) => verdict,
            };
            if let (Verdict::Refused(Limit::Server) | Verdict::Wait(Limit::Server), Some(vouch)) =
                (&verdict, vouch.take())
            {
                match self.vouched(&who, vouch, matches!(verdict, Verdict::Refused(_))).await? {
                    true => {
                        who.trust = Trust::Vouched;
                        continue;
                    }
                    false if matches!(verdict, Verdict::Refused(_)) => return Err(Limit::Server),
                    false => {}
                }
            }
            if let Verdict::Refused(limit) = verdict {
                return Err(limit);
            }
            settled.await;
        }
    }

    /// Whether the kept keys fit. A wrong password counts for its sender, if that is all it is asked; as long as the
    /// server may still be asked, it may be a new one.
    async fn vouched(
        self: &Arc<Self>,
        who: &Who<'_>,
        vouch: impl Future<Output = Option<bool>>,
        last_word: bool,
    ) -> Result<bool, Limit> {
        let asking = match self.ask(&Who { trust: Trust::Asking, ..*who }) {
            Ok(attempt) => attempt,
            Err(Verdict::Wait(limit) | Verdict::Refused(limit)) if last_word => return Err(limit),
            Err(_) => return Ok(false),
        };
        let vouched = vouch.await;
        let wrong = vouched == Some(false) && last_word;
        asking.settle(if wrong { Outcome::Unanswered } else { Outcome::Withdrawn });
        Ok(vouched == Some(true))
    }

    /// Lets the proxy's own login begin: an account session, an enrolment.
    pub async fn enter_by_itself(self: &Arc<Self>, domain: &str) -> Result<Attempt, Limit> {
        let who = Who { address: None, account: None, domain, trust: Trust::Known };
        self.enter(who, std::future::ready(None)).await
    }

    /// A client failed by itself: what it sent makes no sense, and nobody else was asked.
    pub fn failed_unasked(&self, address: IpAddr) {
        self.limiter().failed_unasked(address, Instant::now());
    }

    /// The server said no to a login that was not let in here.
    pub fn failed_at_server(&self, domain: &str) {
        self.limiter().failed_at_server(domain, Instant::now());
        self.settled.notify_waiters();
    }
}

/// An attempt under way. Dropped without a word it has failed: who hangs up in the midst may have learned enough.
#[derive(Debug)]
pub struct Attempt {
    guard: Arc<Guard>,
    ticket: Option<Ticket>,
    vouched: bool,
}

impl Attempt {
    /// Whether the kept keys fit its password. If it fails all the same, they are of no use any more.
    pub fn vouched(&self) -> bool {
        self.vouched
    }

    /// How it ended.
    pub fn settle(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.guard.limiter().settle(ticket, outcome, Instant::now());
            self.guard.settled.notify_waiters();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end(Outcome::Failure);
    }
}
