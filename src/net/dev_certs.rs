//! Certificates for trying out: a CA of one's own and a certificate for each domain. What is there and still good is
//! kept, so that clients need to be told of the CA only once.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jid::DomainPart;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::tls::{CertificateFiles, load_certificates};

const CA_DAYS: i64 = 3650;
/// Some clients refuse certificates that are good for longer.
const LEAF_DAYS: i64 = 825;

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DevCertsError {
    /// A file cannot be read or written.
    #[error("cannot write {path}: {cause}; check that the directory is yours to write", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Not a domain.
    #[error("\"{0}\" is no XMPP domain; write it like localhost or example.org")]
    Domain(String),
    /// The certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
}

/// What was done with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
    /// It was there already and is still good.
    pub kept: bool,
}

/// Makes `DIR/ca.pem` and for each domain `DIR/DOMAIN.pem` (with the CA behind it) and `DIR/DOMAIN.key`. The CA comes
/// first in what is returned. Keys are readable by their owner only.
pub fn make(directory: &Path, domains: &[String]) -> Result<Vec<Made>, DevCertsError> {
    fs::create_dir_all(directory).map_err(|cause| file_error(directory, cause))?;
    let ca = Ca::load_or_make(directory)?;
    let mut made = vec![ca.made.clone()];
    for domain in domains {
        made.push(leaf(directory, domain, &ca)?);
    }
    Ok(made)
}

fn file_error(path: &Path, cause: io::Error) -> DevCertsError {
    DevCertsError::File { path: path.to_owned(), cause }
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), DevCertsError> {
    // Replaced by a new file, so that the mode is the one asked for.
    let _ = fs::remove_file(path);
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|cause| file_error(path, cause))
}

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    made: Made,
}

impl Ca {
    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "minimix-proxy development CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, CA_DAYS);
        params
    }

    fn load_or_make(directory: &Path) -> Result<Ca, DevCertsError> {
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        if let Some((pem, pair)) = Ca::load(&certificate, &key) {
            let issuer = Issuer::new(Ca::params(), pair);
            return Ok(Ca { pem, issuer, made: Made { certificate, key, kept: true } });
        }
        let pair = KeyPair::generate()?;
        write(&key, 0o600, &pair.serialize_pem())?;
        let issued = CertifiedIssuer::self_signed(Ca::params(), &pair)?;
        let pem = issued.as_ref().pem();
        write(&certificate, 0o644, &pem)?;
        Ok(Ca { pem, issuer: Issuer::new(Ca::params(), pair), made: Made { certificate, key, kept: false } })
    }

    /// What is there, if it is whole and good for another month.
    fn load(certificate: &Path, key: &Path) -> Option<(String, KeyPair)> {
        let pair = KeyPair::from_pem(&fs::read_to_string(key).ok()?).ok()?;
        let der = load_certificates("CA certificate", certificate).ok()?.swap_remove(0);
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let soon = (OffsetDateTime::now_utc() + Duration::days(30)).unix_timestamp();
        let good = parsed.validity().not_after.timestamp() > soon
            && *parsed.public_key().subject_public_key.data == *pair.public_key_raw();
        if good { Some((fs::read_to_string(certificate).ok()?, pair)) } else { None }
    }
}

fn set_validity(params: &mut CertificateParams, days: i64) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(days);
}

fn leaf(directory: &Path, domain: &str, ca: &Ca) -> Result<Made, DevCertsError> {
    let wrong = || DevCertsError::Domain(domain.to_owned());
    let name = DomainPart::new(domain).map_err(|_| wrong())?.to_string();
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(wrong());
    }
    let (certificate, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
    if still_good(&name, &certificate, &key, ca) {
        return Ok(Made { certificate, key, kept: true });
    }
    let ascii = idna::domain_to_ascii(&name).unwrap_or_else(|_| name.clone());
    let ascii = ascii.trim_start_matches('[').trim_end_matches(']').to_owned();
    let mut names = vec![ascii.clone()];
    if ascii == "localhost" {
        names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    }
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, ascii);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, LEAF_DAYS);
    let pair = KeyPair::generate()?;
    let issued = params.signed_by(&pair, &ca.issuer)?;
    write(&key, 0o600, &pair.serialize_pem())?;
    write(&certificate, 0o644, &format!("{}{}", issued.pem(), ca.pem))?;
    Ok(Made { certificate, key, kept: false })
}

/// There, fitting, valid for the domain now, and issued by this CA.
fn still_good(name: &str, certificate: &Path, key: &Path, ca: &Ca) -> bool {
    let files = CertificateFiles { domain: name.to_owned(), certificate: certificate.to_owned(), key: key.to_owned() };
    let Ok((_, warnings)) = files.load() else { return false };
    warnings.is_empty() && fs::read_to_string(certificate).is_ok_and(|text| text.ends_with(&ca.pem))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn makes_once_and_keeps() {
        let directory = tempfile::tempdir().unwrap();
        let domains = ["localhost".to_owned(), "Bücher.example".to_owned()];
        let made = make(directory.path(), &domains).unwrap();
        assert_eq!(made.len(), 3);
        assert!(made.iter().all(|m| !m.kept));
        assert!(made[2].certificate.ends_with("bücher.example.pem"));
        for made in &made {
            let mode = fs::metadata(&made.key).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let again = make(directory.path(), &domains).unwrap();
        assert!(again.iter().all(|m| m.kept), "{again:?}");
        // Another CA: its leaves are made anew.
        fs::remove_file(&made[0].certificate).unwrap();
        let anew = make(directory.path(), &domains[..1]).unwrap();
        assert!(anew.iter().all(|m| !m.kept));
        assert!(make(directory.path(), &["../x".to_owned()]).is_err());
    }
}
