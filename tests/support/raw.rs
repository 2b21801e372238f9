//! A client that writes what no real client would: bytes over TCP or TLS, as the test says.

use super::PATIENCE;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

/// Namespaces, as attributes.
pub const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
pub const TLS: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-tls'";

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// The connection.
pub struct Raw {
    io: Box<dyn Io>,
    read: Vec<u8>,
}

/// A stream header.
pub fn header(to: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{to}' version='1.0' xml:lang='en' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

/// `<auth/>` of SASL PLAIN.
pub fn plain(authzid: &str, user: &str, password: &str) -> String {
    let message = BASE64.encode(format!("{authzid}\0{user}\0{password}"));
    format!("<auth {SASL} mechanism='PLAIN'>{message}</auth>")
}

impl Raw {
    /// Connected, without TLS.
    pub async fn plaintext(address: SocketAddr) -> Raw {
        Raw { io: Box::new(TcpStream::connect(address).await.expect("connect")), read: Vec::new() }
    }

    /// Connected, with TLS from the first byte; `name` is asked for by SNI and must be the certificate's.
    pub async fn tls(address: SocketAddr, name: &str, ca: &Path) -> Raw {
        let mut roots = RootCertStore::empty();
        for certificate in minimix_proxy::net::tls::load_certificates("CA file", ca).expect("a CA") {
            roots.add(certificate).expect("a CA");
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = builder.with_safe_default_protocol_versions().expect("versions");
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"xmpp-client".to_vec()];
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tcp = TcpStream::connect(address).await.expect("connect");
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS with the proxy");
        Raw { io: Box::new(tls), read: Vec::new() }
    }

    /// Writes all of this.
    pub async fn say(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.expect("write");
        self.io.flush().await.expect("write");
    }

    /// Reads up to and with `end`.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, end.as_bytes()) {
                let got: Vec<u8> = self.read.drain(..at + end.len()).collect();
                return String::from_utf8(got).expect("text");
            }
            let more = timeout(PATIENCE, self.io.read_buf(&mut self.read)).await;
            let so_far = String::from_utf8_lossy(&self.read).into_owned();
            let more = more.unwrap_or_else(|_| panic!("no {end:?} came after {so_far:?}"));
            assert!(more.is_ok_and(|n| n > 0), "the connection ended before {end:?}, after {so_far:?}");
        }
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> String {
        let all = async { while self.io.read_buf(&mut self.read).await.is_ok_and(|n| n > 0) {} };
        let ended = timeout(PATIENCE, all).await;
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned();
        assert!(ended.is_ok(), "the connection does not end, after {rest:?}");
        rest
    }

    /// Opens a stream to `localhost` and reads the features.
    pub async fn open(&mut self) -> String {
        self.say(&header("localhost")).await;
        self.until("</stream:features>").await
    }

    /// Logs in by PLAIN with the test password and binds this resource; the JID.
    pub async fn log_in(&mut self, user: &str, resource: &str) -> String {
        self.open().await;
        self.say(&plain("", user, &super::server::password(user))).await;
        self.until("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").await;
        self.open().await;
        self.bind(resource).await
    }

    /// Binds this resource; the JID.
    pub async fn bind(&mut self, resource: &str) -> String {
        let bind = format!("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind>");
        self.say(&format!("<iq type='set' id='bind'>{bind}</iq>")).await;
        let answer = self.until("</iq>").await;
        super::scripted::between(&answer, "<jid>", "</jid>").unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}
