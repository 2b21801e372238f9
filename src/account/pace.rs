//! How many account sessions are opened at the same time, whoever's: a mass login or a restart must not be a flood. Most of
//! the places are for those that a client waits for; what only fetches bookmarks, or goes back to rooms, has few.

use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// All.
const AT_ONCE: usize = 32;
/// Those that no client waits for.
const UNAWAITED: usize = 8;

/// The places.
#[derive(Debug)]
pub struct Pace {
    all: Semaphore,
    unawaited: Semaphore,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Turn<'p> {
    _all: SemaphorePermit<'p>,
    _unawaited: Option<SemaphorePermit<'p>>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { all: Semaphore::new(AT_ONCE), unawaited: Semaphore::new(UNAWAITED) }
    }
}

impl Pace {
    /// Waits for a place; `awaited`: whether a client waits for the session by now. `None` if nobody wants it any more.
    pub async fn turn(&self, mut awaited: watch::Receiver<bool>) -> Option<Turn<'_>> {
        let unawaited = tokio::select! {
            biased;
            told = async { awaited.wait_for(|awaited| *awaited).await.is_ok() } => {
                told.then_some(None)?
            }
            permit = self.unawaited.acquire() => Some(permit.ok()?),
        };
        Some(Turn { _all: self.all.acquire().await.ok()?, _unawaited: unawaited })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn who_is_waited_for_does_not_wait_behind_those_that_are_not() {
        let pace = Pace::default();
        let (nobody, somebody) = (watch::Sender::new(false), watch::Sender::new(true));
        let mut turns = Vec::new();
        for _ in 0..UNAWAITED {
            turns.push(timeout(SOON, pace.turn(nobody.subscribe())).await.unwrap().unwrap());
        }
        assert!(timeout(SOON, pace.turn(nobody.subscribe())).await.is_err());
        for _ in UNAWAITED..AT_ONCE {
            turns.push(timeout(SOON, pace.turn(somebody.subscribe())).await.unwrap().unwrap());
        }
        assert!(timeout(SOON, pace.turn(somebody.subscribe())).await.is_err(), "there is an end to it");
        turns.truncate(1);
        timeout(SOON, pace.turn(nobody.subscribe())).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn one_that_a_client_comes_to_wait_for_goes_on_at_once() {
        let pace = Pace::default();
        let (nobody, client) = (watch::Sender::new(false), watch::Sender::new(false));
        let mut turns = Vec::new();
        for _ in 0..UNAWAITED {
            turns.push(pace.turn(nobody.subscribe()).await.unwrap());
        }
        let waits = pace.turn(client.subscribe());
        tokio::pin!(waits);
        assert!(timeout(SOON, &mut waits).await.is_err());
        client.send_replace(true);
        assert!(timeout(SOON, waits).await.unwrap().is_some());
        drop(client);
    }
}
