//! Channel bindings of a TLS connection (RFC 5056): `tls-exporter` (RFC 9266) and `tls-server-end-point`
//! (RFC 5929 §4), computed alike on both sides.

use ring::digest;
use tokio_rustls::rustls::{CommonState, ProtocolVersion};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::stream::sasl::ChannelBinding;

const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Keying material exported from either side's connection.
type Export<'a> = &'a dyn Fn([u8; 32], &[u8]) -> Option<[u8; 32]>;

/// The bindings of a connection whose server showed `certificate`. `export(buffer, label)` is rustls'
/// `export_keying_material` with an empty context.
///
/// On TLS 1.2 RFC 9266 §3 wants the extended master secret. rustls uses it where the peer can, but does not tell
/// whether it did; so there `tls-exporter` is not offered.
pub fn channel_binding(state: &CommonState, certificate: Option<&[u8]>, export: Export<'_>) -> ChannelBinding {
    let exporter = match state.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => export([0; 32], EXPORTER_LABEL).map(Vec::from),
        _ => None,
    };
    ChannelBinding { exporter, server_end_point: certificate.and_then(server_end_point) }
}

/// `tls-server-end-point` of a certificate (DER): its hash under the hash of its own signature, SHA-256 in place of
/// MD5 and SHA-1. `None` where RFC 5929 leaves it undefined: no hash (Ed25519), or not a single one of ours.
pub fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let oid = parsed.signature_algorithm.algorithm.to_id_string();
    let algorithm = match oid.as_str() {
        "1.2.840.113549.1.1.10" => pss_hash(&parsed)?,
        oid => signature_hash(oid)?,
    };
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

fn signature_hash(oid: &str) -> Option<&'static digest::Algorithm> {
    Some(match oid {
        // RSA PKCS #1 with MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => &digest::SHA256,
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => &digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        _ => return None,
    })
}

/// RSASSA-PSS names its hash in the parameters (RFC 4055 §3.1; SHA-1 if absent).
fn pss_hash(certificate: &X509Certificate<'_>) -> Option<&'static digest::Algorithm> {
    use x509_parser::signature_algorithm::SignatureAlgorithm;
    let SignatureAlgorithm::RSASSA_PSS(parameters) =
        SignatureAlgorithm::try_from(&certificate.signature_algorithm).ok()?
    else {
        return None;
    };
    Some(match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => &digest::SHA256,
        "2.16.840.1.101.3.4.2.2" => &digest::SHA384,
        "2.16.840.1.101.3.4.2.3" => &digest::SHA512,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap();
        certificate.der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let p256 = certificate(&PKCS_ECDSA_P256_SHA256);
        assert_eq!(server_end_point(&p256), Some(digest::digest(&digest::SHA256, &p256).as_ref().to_vec()));
        let p384 = certificate(&PKCS_ECDSA_P384_SHA384);
        assert_eq!(server_end_point(&p384), Some(digest::digest(&digest::SHA384, &p384).as_ref().to_vec()));
        assert_eq!(server_end_point(&certificate(&PKCS_ED25519)), None);
        assert_eq!(server_end_point(b"no certificate"), None);
    }

    #[test]
    fn old_hashes_are_replaced_by_sha_256() {
        for (oid, length) in [
            ("1.2.840.113549.1.1.4", 32),
            ("1.2.840.113549.1.1.5", 32),
            ("1.2.840.113549.1.1.11", 32),
            ("1.2.840.113549.1.1.12", 48),
            ("1.2.840.113549.1.1.13", 64),
            ("1.2.840.10045.4.3.4", 64),
        ] {
            assert_eq!(signature_hash(oid).unwrap().output_len(), length);
        }
        assert!(signature_hash("1.3.101.112").is_none());
    }
}
