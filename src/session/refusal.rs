//! A connection that is not let in (S11): told why where that costs nothing, and closed.
//!
//! A refused connection must not become a burden itself: no more than [`TOLD`] are told at a time, for no longer than
//! a farewell takes; the others are just closed. So are all on listeners with direct TLS, where telling would take a
//! handshake first.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tracing::warn;

use super::admission::Full;
use super::closing::close;
use crate::config::ListenTls;
use crate::net::link::Link;
use crate::net::seldom::{A_SECOND, Seldom};
use crate::xml::framer;
use crate::xmpp::conditions::stream_error;
use crate::xmpp::header::Header;
use crate::xmpp::ids;

/// How many are told at the same time.
const TOLD: usize = 100;

/// What refusals share.
#[derive(Debug)]
pub struct Refusals {
    told: Semaphore,
    /// For each limit.
    log: Mutex<[Seldom; 4]>,
}

impl Default for Refusals {
    fn default() -> Self {
        let log = Mutex::new([const { Seldom::new(A_SECOND) }; 4]);
        Refusals { told: Semaphore::new(TOLD), log }
    }
}

impl Refusals {
    /// Closes the connection. Always `None`: there is no place for it.
    pub async fn refuse<T>(&self, socket: TcpStream, peer: SocketAddr, tls: ListenTls, full: Full) -> Option<T> {
        let say = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log[full as usize].say(Instant::now())
        };
        let (condition, text) = full.condition();
        if let Some(unsaid) = say {
            warn!(%peer, limit = full.limit(), %condition, unsaid, "connection refused");
        }
        if tls == ListenTls::Direct {
            return None;
        }
        let _turn = self.told.try_acquire().ok()?;
        let mut link = Link::new(socket, framer::Limits::BEFORE_LOGIN);
        link.queue(Header::server("", &ids::random()).as_bytes());
        link.queue(stream_error(condition, text).as_bytes());
        link.queue(b"</stream:stream>");
        close(link).await;
        None
    }
}
