//! The work before login: TLS handshakes, the keys derived from passwords, the reading of what strangers send. It costs
//! more than all that is done for who is logged in, and a flood of it would stand before them. So it has threads of its
//! own, which the system lets run when the others do not want to ([`NICE`]).
//!
//! Sockets and timers of that work belong to the runtime that asked for it, and stay there when it is done.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// How much nicer than the rest of the process these threads are: of a processor that both want they get a tenth.
const NICE: i32 = 10;

thread_local! {
    static IN_BACKGROUND: Cell<bool> = const { Cell::new(false) };
}

/// The threads. Cheap to clone; they end with the last clone.
#[derive(Debug, Clone)]
pub struct Background(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Dropped as it is, a runtime would wait for its threads, which a task must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Background {
    /// As many threads as there are processors.
    pub fn new() -> io::Result<Self> {
        Background::with_threads(std::thread::available_parallelism().map_or(1, |n| n.get()))
    }

    fn with_threads(threads: usize) -> io::Result<Self> {
        let begin = || {
            IN_BACKGROUND.set(true);
            // Linux has it by thread. Where it is refused, all run alike, as they would without.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::nice(NICE);
        };
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).thread_name("background").on_thread_start(begin).build()?;
        Ok(Background(Arc::new(Owned { handle: runtime.handle().clone(), runtime: Some(runtime) })))
    }

    /// Does the work here, and gives it up when the returned future is dropped. `None`: it panicked, or the process
    /// ends. The work is boxed: a future that is handed over by value is kept twice.
    pub async fn run<F>(&self, mut work: Pin<Box<F>>) -> Option<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let asked_by = Handle::current();
        let work = poll_fn(move |cx| {
            let _entered = asked_by.enter();
            work.as_mut().poll(cx)
        });
        AbortOnDropHandle::new(self.0.handle.spawn(work)).await.ok()
    }
}

/// Does what keeps a thread busy: at once on a background thread, of which there are few, so that no more is done at a
/// time; else on one of the threads for what blocks. `None`: the process ends.
pub async fn busy<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if IN_BACKGROUND.get() { Some(work()) } else { tokio::task::spawn_blocking(work).await.ok() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn its_threads_are_nicer_and_the_others_are_not() {
        let background = Background::with_threads(1).unwrap();
        let before = niceness();
        assert_eq!(background.run(Box::pin(async { niceness() })).await, Some((before + NICE).min(19)));
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn what_is_busy_is_busy_in_the_background_only_if_it_was_asked_there() {
        let background = Background::with_threads(1).unwrap();
        let name = || std::thread::current().name().map(str::to_owned);
        let there = background.run(Box::pin(async move { busy(name).await })).await.flatten().flatten();
        assert_eq!(there.as_deref(), Some("background"));
        assert_ne!(busy(name).await.flatten().as_deref(), Some("background"));
    }

    #[tokio::test]
    async fn a_socket_opened_in_the_background_outlives_it() {
        let background = Background::with_threads(1).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connect = async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            TcpStream::connect(address).await.unwrap()
        };
        let mut opened = background.run(Box::pin(connect)).await.unwrap();
        drop(background);
        let (mut accepted, _) = listener.accept().await.unwrap();
        accepted.write_all(b"x").await.unwrap();
        assert_eq!(opened.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_given_up() {
        let background = Background::with_threads(1).unwrap();
        let (held, mut gone) = oneshot::channel::<()>();
        let mut waits = Box::pin(background.run(Box::pin(async move {
            let _held = held;
            std::future::pending::<()>().await;
        })));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut waits).await.is_err());
        assert!(gone.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty));
        drop(waits);
        assert!(gone.await.is_err());
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_work_only() {
        let background = Background::with_threads(1).unwrap();
        assert_eq!(background.run(Box::pin(async { panic!("in a test") })).await, None::<()>);
        assert_eq!(background.run(Box::pin(async { 7 })).await, Some(7));
    }
}
