//! The client's side of TLS, towards servers: their certificates are checked against the XMPP domain, never the
//! target of an SRV record (RFC 6120 §13.7.2, S6). There is no way to accept any certificate.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::{ClientConnection, Resumption};
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error as RustlsError, RootCertStore};

use super::pem::{load_certificates, server_name};
use super::{ALPN, TlsError, UNSENT, provider};
use crate::net::binding::channel_binding;
use crate::net::link::Socket;
use crate::stream::sasl::ChannelBinding;

/// Verifies servers.
#[derive(Clone)]
pub struct ClientTls {
    starttls: TlsConnector,
    direct: TlsConnector,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// A connection to a server, secured.
pub struct Connected {
    /// The encrypted stream, at the start of an XMPP stream.
    pub socket: Socket,
    /// Channel bindings of this hop.
    pub binding: ChannelBinding,
}

/// Why a connection could not be secured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server's certificate is refused.
    #[error("{0}")]
    Certificate(String),
    /// Anything else in the handshake.
    #[error("{0}")]
    Handshake(io::Error),
}

impl ClientTls {
    /// Trusts the certificates of the CA file, else those of the system.
    pub fn new(ca: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(path) => {
                for certificate in load_certificates("CA file", path)? {
                    roots.add(certificate).map_err(|cause| TlsError::Invalid {
                        what: "CA certificate",
                        path: path.to_owned(),
                        cause: cause.to_string(),
                    })?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                // Some old root that rustls cannot read is no reason to do without the others.
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let causes: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
                    return Err(TlsError::NoRoots(causes.join("; ")));
                }
            }
        }
        Self::with_roots(roots)
    }

    fn with_roots(roots: RootCertStore) -> Result<Self, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let mut direct = config.clone();
        direct.alpn_protocols = vec![ALPN.to_vec()];
        Ok(ClientTls { starttls: Arc::new(config).into(), direct: Arc::new(direct).into() })
    }

    /// Secures a connection to the server of `domain`; `direct`: from its first byte (XEP-0368), with ALPN.
    pub async fn connect(&self, io: TcpStream, domain: &str, direct: bool) -> Result<Connected, ConnectError> {
        let name = server_name(domain)
            .ok_or_else(|| ConnectError::Certificate(format!("{domain} is not a name that certificates can bear")))?;
        let connector = if direct { &self.direct } else { &self.starttls };
        let stream = connector
            .connect_with(name, io, |tls| tls.set_buffer_limit(Some(UNSENT)))
            .await
            .map_err(|error| connect_error(error, domain))?;
        let binding = binding_of(stream.get_ref().1);
        Ok(Connected { socket: Box::new(stream), binding })
    }
}

fn binding_of(connection: &ClientConnection) -> ChannelBinding {
    let export = |out, label: &[u8]| connection.export_keying_material(out, label, None).ok();
    let certificate = connection.peer_certificates().and_then(|chain| chain.first());
    channel_binding(connection, certificate.map(|c| c.as_ref()), &export)
}

fn connect_error(error: io::Error, domain: &str) -> ConnectError {
    let refused = error.get_ref().and_then(|e| e.downcast_ref::<RustlsError>()).and_then(|e| match e {
        RustlsError::InvalidCertificate(cause) => Some(certificate_error(cause, domain)),
        _ => None,
    });
    match refused {
        Some(message) => ConnectError::Certificate(message),
        None => ConnectError::Handshake(error),
    }
}

fn certificate_error(cause: &CertificateError, domain: &str) -> String {
    use CertificateError::*;
    match cause {
        Expired | ExpiredContext { .. } => {
            format!("its certificate has expired ({cause}); renew it on the server")
        }
        NotValidYet | NotValidYetContext { .. } => {
            format!("its certificate is not valid yet ({cause}); check the clocks of both machines")
        }
        NotValidForName | NotValidForNameContext { .. } => format!(
            "its certificate is not for {domain} ({cause}); give the server one for the XMPP domain (the name of its \
             machine does not count)"
        ),
        UnknownIssuer => format!(
            "its certificate for {domain} comes from an unknown issuer; if that is a private CA or self-signed, set \
             upstream.ca (--upstream-ca) to the issuer's certificate"
        ),
        BadSignature => format!(
            "its certificate for {domain} was not signed by the issuer that is trusted here, though that has the name \
             it gives; if the issuer was made anew, set upstream.ca (--upstream-ca) to its new certificate"
        ),
        other => format!("its certificate is not valid ({other}); look at what the server shows, and replace it there"),
    }
}
