//! Listeners for clients: bound with errors that an operator can act on, accepting without ever giving up.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use super::seldom::{A_SECOND, Seldom};

const BACKLOG: u32 = 1024;
/// A peer that has been silent this long is asked whether it is still there: before most NATs forget it.
const KEEPALIVE: Duration = Duration::from_secs(240);
const PAUSE: Duration = Duration::from_millis(100);

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}; {}", self.remedy())]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub cause: io::Error,
}

impl BindError {
    fn remedy(&self) -> &'static str {
        match self.cause.kind() {
            io::ErrorKind::AddrInUse => {
                "something listens there already (see `ss -ltnp`): stop it, or choose another port"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE, or choose another port"
            }
            io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
            _ => "choose another address",
        }
    }
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    exhausted: Mutex<Seldom>,
}

impl Listener {
    /// Binds it. An IPv6 address takes IPv6 only, so that `0.0.0.0` and `[::]` can be listened on side by side.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bind = || {
            let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
            socket.set_reuseaddr(true)?;
            if address.is_ipv6() {
                SockRef::from(&socket).set_only_v6(true)?;
            }
            socket.bind(address)?;
            let socket = socket.listen(BACKLOG)?;
            let address = socket.local_addr()?;
            Ok(Listener { socket, address, exhausted: Mutex::new(Seldom::new(A_SECOND)) })
        };
        bind().map_err(|cause| BindError { address, cause })
    }

    /// Where it listens; with the real port if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection. Waits while the process is out of file descriptors, and skips connections that broke
    /// before they were taken. Other errors are the listener's own; they come after a pause, so that who logs them and
    /// goes on does not spin. Cancel-safe.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    prepare(&stream);
                    return Ok((stream, peer));
                }
                Err(error) if is_about_one_connection(&error) => {
                    tracing::debug!(address = %self.address, %error, "a connection broke before it was accepted");
                }
                Err(error) if is_exhaustion(&error) => {
                    let say = self.exhausted.lock().unwrap_or_else(PoisonError::into_inner).say(Instant::now());
                    if say.is_some() {
                        tracing::warn!(address = %self.address, %error, "cannot accept; raise the limit of open files (LimitNOFILE, ulimit -n)");
                    }
                    sleep(PAUSE).await;
                }
                Err(error) => {
                    sleep(PAUSE).await;
                    return Err(error);
                }
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), ConnectionAborted | ConnectionReset | ConnectionRefused | Interrupted)
}

fn is_exhaustion(error: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM on Linux
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}

/// Stanzas go out at once, and dead peers are noticed in the end. A socket that refuses either works all the same.
pub(crate) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}
