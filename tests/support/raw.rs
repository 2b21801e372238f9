//! A client that says whatever a test wants, byte by byte if need be: for input that no real client would send.

use super::PATIENCE;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// A good stream header to `localhost`.
pub const HEADER: &str = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xml:lang='en' \
    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
/// Namespaces, as attributes.
pub const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
pub const TLS: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-tls'";

/// A good stream header to another domain.
pub fn header(to: &str) -> String {
    HEADER.replace("localhost", to)
}

/// `<auth/>` of SASL PLAIN.
pub fn plain(authzid: &str, user: &str, password: &str) -> String {
    let message = BASE64.encode(format!("{authzid}\0{user}\0{password}"));
    format!("<auth {SASL} mechanism='PLAIN'>{message}</auth>")
}

/// A connection from an address of one's own choice, such as 127.0.0.7.
pub async fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source.parse().expect("an IP address"), 0)).expect("bind the source address");
    let socket = socket.connect(address).await.expect("connect");
    socket.set_nodelay(true).expect("set TCP_NODELAY");
    socket
}

/// A byte stream of either kind.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One connection.
pub struct Raw {
    io: Box<dyn Io>,
    got: Vec<u8>,
    /// What `expect` has not taken yet begins here.
    at: usize,
    /// The full JID, once bound.
    pub jid: String,
}

/// TLS that trusts one authority.
pub fn tls(ca: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(ca).expect("read the authority's certificate");
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.expect("a certificate")).expect("a good certificate");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("TLS versions");
    TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl Raw {
    /// Plain TCP.
    pub async fn plain(address: SocketAddr) -> Raw {
        Raw::over(TcpStream::connect(address).await.expect("connect"))
    }

    /// Plain TCP, connected already.
    pub fn over(socket: TcpStream) -> Raw {
        socket.set_nodelay(true).expect("set TCP_NODELAY");
        Raw { io: Box::new(socket), got: Vec::new(), at: 0, jid: String::new() }
    }

    /// Plain TCP from another address of loopback than 127.0.0.1.
    pub async fn plain_from(from: impl Into<Ipv4Addr>, address: SocketAddr) -> Raw {
        Raw::over(connect_from(&from.into().to_string(), address).await)
    }

    /// TLS from the first byte, from another address of loopback than 127.0.0.1.
    pub async fn direct_from(from: impl Into<Ipv4Addr>, address: SocketAddr, tls: &TlsConnector) -> Raw {
        Raw::try_direct_from(from, address, tls).await.expect("TLS")
    }

    /// The same; `None` if the connection ends before TLS stands.
    pub async fn try_direct_from(from: impl Into<Ipv4Addr>, address: SocketAddr, tls: &TlsConnector) -> Option<Raw> {
        Raw::secure(connect_from(&from.into().to_string(), address).await, tls).await
    }

    /// TLS from the first byte; the system takes in next to nothing that is not read.
    pub async fn direct_that_reads_little(address: SocketAddr, tls: &TlsConnector) -> Raw {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("set SO_RCVBUF");
        Raw::secure(socket.connect(address).await.expect("connect"), tls).await.expect("TLS")
    }

    async fn secure(socket: TcpStream, tls: &TlsConnector) -> Option<Raw> {
        let name = ServerName::try_from("localhost").expect("a name");
        Some(Raw::on(timeout(PATIENCE, tls.connect(name, socket)).await.expect("TLS in time").ok()?))
    }

    /// On whatever is connected.
    pub fn on(io: impl Io + 'static) -> Raw {
        Raw { io: Box::new(io), got: Vec::new(), at: 0, jid: String::new() }
    }

    /// TLS from the first byte.
    pub async fn direct(address: SocketAddr, tls: &TlsConnector) -> Raw {
        Raw::direct_to(address, "localhost", tls).await
    }

    /// The same; `name` is asked for by SNI and must be the certificate's.
    pub async fn direct_to(address: SocketAddr, name: &str, tls: &TlsConnector) -> Raw {
        Raw::direct_over(TcpStream::connect(address).await.expect("connect"), name, tls).await
    }

    /// The same on a socket that is connected already.
    pub async fn direct_over(socket: TcpStream, name: &str, tls: &TlsConnector) -> Raw {
        socket.set_nodelay(true).expect("set TCP_NODELAY");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let io = timeout(PATIENCE, tls.connect(name, socket)).await.expect("TLS in time").expect("TLS");
        Raw { io: Box::new(io), got: Vec::new(), at: 0, jid: String::new() }
    }

    /// TLS, the stream opened: the mechanisms have been offered.
    pub async fn opened(address: SocketAddr, tls: &TlsConnector) -> Raw {
        let mut raw = Raw::direct(address, tls).await;
        raw.open().await;
        raw
    }

    /// Opens a stream to `localhost`, the first or the next; the features.
    pub async fn open(&mut self) -> String {
        self.send(HEADER).await;
        self.expect("</stream:features>").await
    }

    /// Logged in with PLAIN as `user`, with the test password: the next header is to be sent.
    pub async fn authenticated(address: SocketAddr, tls: &TlsConnector, user: &str) -> Raw {
        let mut raw = Raw::direct(address, tls).await;
        raw.authenticate(user).await;
        raw
    }

    /// The same, and binding has been offered.
    pub async fn logged_in(address: SocketAddr, tls: &TlsConnector, user: &str) -> Raw {
        let mut raw = Raw::authenticated(address, tls, user).await;
        raw.open().await;
        raw
    }

    /// Logged in and bound as `user` or `user/resource`.
    pub async fn bound(address: SocketAddr, tls: &TlsConnector, user: &str) -> Raw {
        let (user, resource) = user.split_once('/').unwrap_or((user, ""));
        let mut raw = Raw::direct(address, tls).await;
        raw.log_in(user, resource).await;
        raw
    }

    async fn authenticate(&mut self, user: &str) {
        self.open().await;
        self.send(plain("", user, &super::server::password(user))).await;
        self.expect("<success").await;
        self.expect(">").await;
    }

    /// Logs in by PLAIN with the test password and binds this resource, or any; the JID.
    pub async fn log_in(&mut self, user: &str, resource: &str) -> String {
        self.authenticate(user).await;
        self.open().await;
        self.bind(resource).await
    }

    /// Binds this resource, or any; the JID.
    pub async fn bind(&mut self, resource: &str) -> String {
        let asked = match resource {
            "" => String::new(),
            resource => format!("<resource>{resource}</resource>"),
        };
        let bind = format!("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{asked}</bind>");
        self.send(format!("<iq type='set' id='bind-1'>{bind}</iq>")).await;
        let result = self.expect("</iq>").await;
        self.jid =
            super::scripted::between(&result, "<jid>", "</jid>").unwrap_or_else(|| panic!("{result}")).to_owned();
        self.jid.clone()
    }

    /// Sends all at once. What cannot be sent because the peer has ended is no fault of the test.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.io.write_all(bytes.as_ref()).await;
        let _ = self.io.flush().await;
    }

    /// Sends one byte at a time.
    pub async fn trickle(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.io.write_all(&[*byte]).await.is_err() || self.io.flush().await.is_err() {
                return;
            }
        }
    }

    /// Closes this side in good order.
    pub async fn finish(&mut self) {
        let _ = self.io.shutdown().await;
    }

    /// Reads until `piece` has come; what came up to its end, from where the last call ended.
    pub async fn expect(&mut self, piece: &str) -> String {
        let outcome = self.try_expect(piece).await;
        outcome.unwrap_or_else(|e| {
            let last = String::from_utf8_lossy(&self.got[self.got.len().saturating_sub(500)..]);
            panic!("{e} instead of {piece:?} after {last:?}")
        })
    }

    /// The same; `Err` says what came instead.
    pub async fn try_expect(&mut self, piece: &str) -> Result<String, String> {
        let read = async {
            loop {
                if let Some(found) = memchr::memmem::find(&self.got[self.at..], piece.as_bytes()) {
                    let (start, end) = (self.at, self.at + found + piece.len());
                    self.at = end;
                    return Ok(String::from_utf8_lossy(&self.got[start..end]).into_owned());
                }
                match self.io.read_buf(&mut self.got).await {
                    Ok(0) => return Err("the end".to_owned()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        timeout(PATIENCE, read).await.unwrap_or_else(|_| Err("silence".to_owned()))
    }

    /// Reads to the end: what came since the last `expect`, and whether the end was in good order (TLS: with a
    /// close_notify).
    pub async fn rest(&mut self) -> (String, bool) {
        self.rest_within(PATIENCE).await.unwrap_or_else(|| panic!("it does not end: {:?}", self.unread()))
    }

    /// As [`Raw::rest`]; `None` if there is no end within that time.
    pub async fn rest_within(&mut self, patience: Duration) -> Option<(String, bool)> {
        let read = async {
            loop {
                match self.io.read_buf(&mut self.got).await {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        };
        let clean = timeout(patience, read).await.ok()?;
        let rest = self.unread();
        self.at = self.got.len();
        Some((rest, clean))
    }

    fn unread(&self) -> String {
        String::from_utf8_lossy(&self.got[self.at..]).into_owned()
    }
}
