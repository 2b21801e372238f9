//! A listener between the proxy and its server that hands everything on and keeps what went up: what did *not* reach
//! the server can be shown by it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running tap; ends with the test's runtime.
pub struct Tap {
    /// Where the proxy is to connect, without TLS.
    pub address: SocketAddr,
    up: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// In front of a server.
    pub async fn before(server: SocketAddr) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind on 127.0.0.1");
        let address = listener.local_addr().expect("the address of a bound socket");
        let up = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&up);
        tokio::spawn(async move {
            while let Ok((proxy, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let ((mut from_proxy, mut to_proxy), (mut from_server, mut to_server)) =
                        (proxy.into_split(), server.into_split());
                    let down = tokio::spawn(async move {
                        let _ = tokio::io::copy(&mut from_server, &mut to_proxy).await;
                        let _ = to_proxy.shutdown().await;
                    });
                    let mut buffer = vec![0; 16 * 1024];
                    while let Ok(n @ 1..) = from_proxy.read(&mut buffer).await {
                        // Connections are mixed, but a write of the proxy's is one read here, or nearly so.
                        seen.lock().expect("bytes").extend_from_slice(&buffer[..n]);
                        if to_server.write_all(&buffer[..n]).await.is_err() {
                            break;
                        }
                    }
                    let _ = to_server.shutdown().await;
                    let _ = down.await;
                });
            }
        });
        Tap { address, up }
    }

    /// Whether these bytes went to the server; if so, with what was around them.
    pub fn has(&self, bytes: impl AsRef<[u8]>) -> Option<String> {
        let up = self.up.lock().expect("bytes");
        let at = memchr::memmem::find(&up, bytes.as_ref())?;
        Some(String::from_utf8_lossy(&up[at.saturating_sub(100)..up.len().min(at + 200)]).into_owned())
    }

    /// How often these bytes went to the server.
    pub fn count(&self, bytes: impl AsRef<[u8]>) -> usize {
        memchr::memmem::find_iter(&self.up.lock().expect("bytes"), bytes.as_ref()).count()
    }
}
