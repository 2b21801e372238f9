//! TLS on both hops, by rustls with its `ring` provider, passed explicitly everywhere: with two providers compiled
//! in, rustls' own choice panics. No early data, no session tickets (they cost 4 KiB a connection and carry state over
//! a reload). STARTTLS and direct TLS (XEP-0368) differ in nothing but ALPN `xmpp-client`.

mod client;
mod pem;
mod server;

pub use client::{ClientTls, ConnectError, Connected};
pub use pem::{CertificateFiles, load_certificates};
pub use server::{Accepted, ServerTls, ShownCertificate};

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};

/// Bytes that rustls may keep of what the peer does not take: they are counted nowhere else.
const UNSENT: usize = 16 * 1024;
const ALPN: &[u8] = b"xmpp-client";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What is wrong with certificates and keys on disk. Each message names the file and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {what} {path}: {cause}; {remedy}", path = .path.display())]
    Unreadable {
        /// `certificate`, `key` or `CA file`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The file is there, but what it should contain is not in it.
    #[error("no {what} in {path}; it must be a PEM file with a \"-----BEGIN {label}-----\" block", path = .path.display())]
    Missing {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The PEM label expected.
        label: &'static str,
    },
    /// The file's content is broken.
    #[error("{path} is not a valid {what}: {cause}; create it anew or restore it from a backup", path = .path.display())]
    Invalid {
        /// `certificate`, `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// Certificate and key do not belong together.
    #[error(
        "the key {key} does not belong to the certificate {certificate}; \
         set `certificate` and `key` to files made together, the server's own certificate first in its file",
        key = .key.display(), certificate = .certificate.display()
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// No root certificate is known.
    #[error("no system root certificates found ({0}); install ca-certificates, or set upstream.ca to a PEM file")]
    NoRoots(String),
    /// No domain is configured.
    #[error("no domain is configured; add a [[domain]] with its certificate and key")]
    NoDomain,
    /// rustls accepts none of it.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] tokio_rustls::rustls::Error),
}
