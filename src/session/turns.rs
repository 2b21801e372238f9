//! Turns for the work before login: TLS handshakes, the reading of what strangers send. It costs more than all that is
//! done for who is logged in, and a flood of it would stand before them in the runtime's queue. So of these streams
//! only as many as there are turns run at a time, half of the processors' number; the others wait in line here, in the
//! order they came.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;

use tokio::sync::Semaphore;
use tokio_util::sync::PollSemaphore;

/// The turns. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
        Turns::new(processors.div_ceil(2))
    }
}

impl Turns {
    /// That many, at least one.
    pub fn new(turns: usize) -> Self {
        Turns(Arc::new(Semaphore::new(turns.max(1))))
    }

    /// Does the work, each step of it in a turn; what waits for something holds none. The work is boxed: a future that
    /// is handed over by value is kept twice.
    pub async fn take<F: Future>(&self, mut work: Pin<Box<F>>) -> F::Output {
        let mut turn = PollSemaphore::new(self.0.clone());
        poll_fn(move |cx| {
            let turn = ready!(turn.poll_acquire(cx));
            let done = work.as_mut().poll(cx);
            drop(turn);
            done
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_than_there_are_turns_run_at_a_time_and_all_are_done() {
        let turns = Turns::new(2);
        let running = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (turns, running) = (turns.clone(), running.clone());
                tokio::spawn(async move {
                    let work = async {
                        for _ in 0..20 {
                            let now = running.0.fetch_add(1, Ordering::SeqCst) + 1;
                            running.1.fetch_max(now, Ordering::SeqCst);
                            std::thread::yield_now();
                            running.0.fetch_sub(1, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                        }
                    };
                    turns.take(Box::pin(work)).await;
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!((1..=2).contains(&running.1.load(Ordering::SeqCst)), "{running:?}");
    }

    #[tokio::test]
    async fn who_waits_for_something_else_holds_no_turn() {
        let turns = Turns::new(1);
        let (send, receive) = tokio::sync::oneshot::channel();
        let waits = turns.take(Box::pin(async { receive.await.unwrap() }));
        let comes = turns.take(Box::pin(async { send.send(7).unwrap() }));
        assert_eq!(tokio::join!(waits, comes).0, 7);
    }
}
