//! Certificates and keys from PEM files, with errors that an operator can act on.

use crate::config;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pemfile::Item;
use tokio_rustls::rustls::Error as RustlsError;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{TlsError, provider};

/// A certificate that ends within so many seconds (two weeks) should have been renewed by now.
const SOON: i64 = 14 * 86400;

/// All PEM blocks of a file. `rustls-pemfile` is archived (RUSTSEC-2025-0134): this function alone uses it.
fn read_pem(what: &'static str, path: &Path) -> Result<Vec<Item>, TlsError> {
    let unreadable = |cause: std::io::Error| {
        let remedy = match cause.kind() {
            std::io::ErrorKind::NotFound => "check the path; `minimix-proxy dev-certs` makes some for trying out",
            std::io::ErrorKind::PermissionDenied => "let the user that runs minimix-proxy read it",
            std::io::ErrorKind::InvalidData => "it is not valid PEM",
            _ => "check the path",
        };
        TlsError::Unreadable { what, path: path.to_owned(), cause, remedy }
    };
    let file = File::open(path).map_err(unreadable)?;
    rustls_pemfile::read_all(&mut BufReader::new(file)).collect::<Result<_, _>>().map_err(unreadable)
}

/// The certificates of a PEM file, at least one.
pub fn load_certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let items = read_pem(what, path)?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            Item::X509Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(TlsError::Missing { what: "certificate", path: path.to_owned(), label: "CERTIFICATE" });
    }
    Ok(certificates)
}

fn load_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key = read_pem("key", path)?.into_iter().find_map(|item| match item {
        Item::Pkcs1Key(key) => Some(key.into()),
        Item::Pkcs8Key(key) => Some(key.into()),
        Item::Sec1Key(key) => Some(key.into()),
        _ => None,
    });
    key.ok_or_else(|| TlsError::Missing { what: "private key", path: path.to_owned(), label: "PRIVATE KEY" })
}

/// Where a domain's certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The XMPP domain it is shown for.
    pub domain: String,
    /// PEM: the certificate, then those it was issued by.
    pub certificate: PathBuf,
    /// PEM: its private key. May be the same file.
    pub key: PathBuf,
}

impl From<&config::Domain> for CertificateFiles {
    fn from(domain: &config::Domain) -> Self {
        let config::Domain { name, certificate, key, .. } = domain;
        CertificateFiles { domain: name.clone(), certificate: certificate.clone(), key: key.clone() }
    }
}

impl CertificateFiles {
    /// Loads both and checks that they fit. Second: what is odd about them but can work (not valid for the domain,
    /// expired), worth a warning.
    pub fn load(&self) -> Result<(Arc<CertifiedKey>, Vec<String>), TlsError> {
        let chain = load_certificates("certificate", &self.certificate)?;
        let key = load_key(&self.key)?;
        let signing = provider().key_provider.load_private_key(key).map_err(|cause| TlsError::Invalid {
            what: "private key",
            path: self.key.clone(),
            cause: cause.to_string(),
        })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) | Err(RustlsError::InconsistentKeys(tokio_rustls::rustls::InconsistentKeys::Unknown)) => {}
            Err(RustlsError::InconsistentKeys(_)) => {
                return Err(TlsError::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() });
            }
            Err(cause) => return Err(self.invalid(&cause)),
        }
        let warnings = self.warnings(&certified.cert[0])?;
        Ok((Arc::new(certified), warnings))
    }

    fn invalid(&self, cause: &dyn std::fmt::Display) -> TlsError {
        TlsError::Invalid { what: "certificate", path: self.certificate.clone(), cause: cause.to_string() }
    }

    fn warnings(&self, certificate: &CertificateDer<'_>) -> Result<Vec<String>, TlsError> {
        let mut warnings = Vec::new();
        let path = self.certificate.display();
        if !covers(certificate, &self.domain) {
            warnings.push(format!(
                "the certificate {path} is not valid for {}: clients will refuse it; get one with that name as a \
                 subject alternative name",
                self.domain
            ));
        }
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|cause| self.invalid(&cause))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        let validity = parsed.validity();
        if validity.not_after.timestamp() < now {
            warnings
                .push(format!("the certificate {path} expired on {}: renew it, then send SIGHUP", validity.not_after));
        } else if validity.not_after.timestamp() < now + SOON {
            warnings.push(format!(
                "the certificate {path} expires on {}: renew it before, then send SIGHUP",
                validity.not_after
            ));
        } else if validity.not_before.timestamp() > now {
            warnings.push(format!(
                "the certificate {path} is not valid before {}: check the clock of this machine",
                validity.not_before
            ));
        }
        Ok(warnings)
    }
}

/// Whether a certificate is valid for an XMPP domain.
pub(super) fn covers(certificate: &CertificateDer<'_>, domain: &str) -> bool {
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
    server_name(domain).is_some_and(|name| verify_server_name(&parsed, &name).is_ok())
}

/// The name a certificate bears for an XMPP domain: its A-labels, or the address.
pub(super) fn server_name(domain: &str) -> Option<ServerName<'static>> {
    let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
    ServerName::try_from(ascii.trim_start_matches('[').trim_end_matches(']').to_owned()).ok()
}
