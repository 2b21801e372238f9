//! The proxy's own certificates, shown to clients: one per configured domain, chosen by SNI (RFC 6066), reloadable.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::server::{Acceptor, NoServerSessionStorage, ServerConnection};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::pem::{CertificateFiles, covers};
use super::{ALPN, TlsError, UNSENT, provider};
use crate::net::binding::channel_binding;
use crate::net::link::{Io, Socket};
use crate::stream::sasl::ChannelBinding;

/// A client's connection, secured.
pub struct Accepted {
    /// The encrypted stream, at the start of an XMPP stream.
    pub socket: Socket,
    /// The name the client asked for, lower case.
    pub sni: Option<String>,
    /// Channel bindings of this hop.
    pub binding: ChannelBinding,
    shown: Arc<Shown>,
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accepted").field("sni", &self.sni).finish_non_exhaustive()
    }
}

impl Accepted {
    /// The configured domain whose certificate was shown.
    pub fn domain(&self) -> &str {
        &self.shown.domain
    }

    /// Whether `domain` belongs to the certificate that was shown (S1).
    pub fn covers(&self, domain: &str) -> bool {
        self.certificate().covers(domain)
    }

    /// The certificate that was shown, to be asked once the socket is in other hands.
    pub fn certificate(&self) -> ShownCertificate {
        ShownCertificate(self.shown.clone())
    }
}

/// A certificate that a client was shown.
#[derive(Clone)]
pub struct ShownCertificate(Arc<Shown>);

impl ShownCertificate {
    /// Whether `domain` belongs to it: it was shown for it, or is valid for it too.
    pub fn covers(&self, domain: &str) -> bool {
        self.0.domain == domain || covers(&self.0.key.cert[0], domain)
    }
}

/// One domain's certificate, ready to be shown.
struct Shown {
    domain: String,
    key: Arc<CertifiedKey>,
    starttls: Arc<ServerConfig>,
    direct: Arc<ServerConfig>,
}

struct Loaded {
    first: Arc<Shown>,
    by_name: HashMap<String, Arc<Shown>>,
}

/// The server's side of TLS.
pub struct ServerTls {
    files: Vec<CertificateFiles>,
    loaded: RwLock<Arc<Loaded>>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Loads the certificates of all domains; the first is shown where no name, or an unknown one, is asked for.
    /// Second: warnings for the operator.
    pub fn new(files: Vec<CertificateFiles>) -> Result<(Self, Vec<String>), TlsError> {
        let (loaded, warnings) = load(&files)?;
        Ok((ServerTls { files, loaded: RwLock::new(Arc::new(loaded)) }, warnings))
    }

    /// Loads them anew (SIGHUP). On an error the old ones stay. Connections that stand keep what they were shown.
    pub fn reload(&self) -> Result<Vec<String>, TlsError> {
        let (loaded, warnings) = load(&self.files)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        Ok(warnings)
    }

    fn loaded(&self) -> Arc<Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Secures a connection after `<proceed/>` (RFC 6120 §5). `domain` is the `to` of the stream header, whose
    /// certificate is shown if the client sends no known SNI.
    pub async fn accept_starttls(&self, io: impl Io + 'static, domain: &str) -> io::Result<Accepted> {
        self.accept(io, Some(domain), |shown| shown.starttls.clone()).await
    }

    /// Secures a connection from its first byte (XEP-0368). A client that offers ALPN must offer `xmpp-client`.
    pub async fn accept_direct(&self, io: impl Io + 'static) -> io::Result<Accepted> {
        self.accept(io, None, |shown| shown.direct.clone()).await
    }

    async fn accept(
        &self,
        io: impl Io + 'static,
        domain: Option<&str>,
        config: impl Fn(&Shown) -> Arc<ServerConfig>,
    ) -> io::Result<Accepted> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), io).await?;
        let sni = hello.client_hello().server_name().map(str::to_ascii_lowercase);
        let loaded = self.loaded();
        let by_name = |name: &str| loaded.by_name.get(&sni_of(name)).cloned();
        let shown =
            sni.as_deref().and_then(by_name).or_else(|| domain.and_then(by_name)).unwrap_or(loaded.first.clone());
        let stream = hello.into_stream_with(config(&shown), |tls| tls.set_buffer_limit(Some(UNSENT))).await?;
        let binding = binding_of(stream.get_ref().1, &shown.key);
        Ok(Accepted { socket: Box::new(stream), sni, binding, shown })
    }
}

fn load(files: &[CertificateFiles]) -> Result<(Loaded, Vec<String>), TlsError> {
    let mut by_name = HashMap::new();
    let mut first = None;
    let mut warnings = Vec::new();
    for file in files {
        let (key, odd) = file.load()?;
        warnings.extend(odd);
        let shown = Arc::new(Shown {
            domain: file.domain.clone(),
            starttls: config(&key, &[])?,
            direct: config(&key, &[ALPN])?,
            key,
        });
        by_name.insert(sni_of(&file.domain), shown.clone());
        first.get_or_insert(shown);
    }
    let first = first.ok_or(TlsError::NoDomain)?;
    Ok((Loaded { first, by_name }, warnings))
}

/// The name clients ask for when they mean `domain`: SNI bears A-labels, stream headers U-labels.
fn sni_of(domain: &str) -> String {
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_ascii_lowercase())
}

fn config(key: &Arc<CertifiedKey>, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from((**key).clone())));
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn binding_of(connection: &ServerConnection, key: &CertifiedKey) -> ChannelBinding {
    let export = |out, label: &[u8]| connection.export_keying_material(out, label, None).ok();
    channel_binding(connection, key.cert.first().map(|c| c.as_ref()), &export)
}
