//! Certificates for a test: an authority of its own, and what it signs for `localhost`.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::path::{Path, PathBuf};

/// Files of one certificate and the authority that signed it, all PEM.
#[derive(Debug, Clone)]
pub struct Certs {
    /// The authority's certificate: what a client must trust.
    pub ca: PathBuf,
    /// The server's certificate, followed by the authority's.
    pub chain: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// Chain and key in one file, as ejabberd likes it.
    pub both: PathBuf,
}

/// Writes `ca.pem`, `server.pem`, `server.key` and `both.pem` under `dir`, for `names` (and 127.0.0.1, ::1).
/// `expired`: the certificate ended a month ago.
pub fn make(dir: &Path, names: &[&str], expired: bool) -> Certs {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "minimix-proxy test authority");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // ejabberd cannot count the days to rcgen's default end, the year 4096, and then offers no TLS at all.
    (ca.not_before, ca.not_after) = validity(-1);
    let ca_key = KeyPair::generate().expect("generate a key");
    let ca_cert = ca.self_signed(&ca_key).expect("self-sign the authority");
    let issuer = Issuer::new(ca, ca_key);

    let mut all: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    all.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    let mut params = CertificateParams::new(all).expect("certificate names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names[0]);
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = if expired { validity(-400) } else { validity(-1) };
    let key = KeyPair::generate().expect("generate a key");
    let cert = params.signed_by(&key, &issuer).expect("sign the certificate");

    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        path
    };
    let chain = cert.pem() + &ca_cert.pem();
    Certs {
        ca: write("ca.pem", &ca_cert.pem()),
        key: write("server.key", &key.serialize_pem()),
        both: write("both.pem", &(chain.clone() + &key.serialize_pem())),
        chain: write("server.pem", &chain),
    }
}

/// 365 days from `begin` days from now.
fn validity(begin: i64) -> (time::OffsetDateTime, time::OffsetDateTime) {
    let begins = time::OffsetDateTime::now_utc() + time::Duration::days(begin);
    (begins, begins + time::Duration::days(365))
}
