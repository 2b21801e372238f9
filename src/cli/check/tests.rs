use std::fs;

use super::*;
use crate::net::dev_certs;

struct Fixture {
    directory: tempfile::TempDir,
    flags: Flags,
}

/// A configuration with nothing wrong.
fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let made = dev_certs::make(path, &["localhost".to_owned()]).unwrap();
    let flags = Flags {
        domain: Some("localhost".into()),
        listen: Some("127.0.0.1:5222".into()),
        upstream: Some("127.0.0.1:15222".into()),
        upstream_ca: Some(made[0].certificate.clone()),
        cert: Some(made[1].certificate.clone()),
        key: Some(made[1].key.clone()),
        data: Some(path.join("data")),
        ..Flags::default()
    };
    Fixture { directory, flags }
}

#[test]
fn a_good_configuration_is_fine() {
    let Fixture { directory: _directory, flags } = fixture();
    let report = check(&flags);
    assert!(report.is_ok(), "{report}");
    assert!(report.to_string().contains("ok: localhost: server 127.0.0.1:15222 (tls starttls)"), "{report}");
    assert!(report.warnings.is_empty(), "{report}");
}

#[test]
fn what_is_wrong_is_said_with_file_and_remedy() {
    let Fixture { directory, flags } = fixture();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("empty.pem"), "nothing").unwrap();
    fs::write(at("text"), "").unwrap();
    dev_certs::make(directory.path(), &["other.example".to_owned()]).unwrap();
    let cases: [(Flags, &[&str]); 7] = [
        (Flags { key: Some(at("gone.key")), ..flags.clone() }, &["cannot read key", "gone.key", "dev-certs"]),
        (
            Flags { cert: Some(at("empty.pem")), ..flags.clone() },
            &["no certificate in", "empty.pem", "BEGIN CERTIFICATE"],
        ),
        (Flags { key: Some(at("localhost.pem")), ..flags.clone() }, &["no private key in", "localhost.pem"]),
        (Flags { key: Some(at("other.example.key")), ..flags.clone() }, &["does not belong to", "other.example.key"]),
        (Flags { upstream_ca: Some(at("gone.pem")), ..flags.clone() }, &["cannot read CA file", "gone.pem"]),
        (Flags { upstream: Some("127.0.0.1:5222".into()), ..flags.clone() }, &["where the proxy itself listens"]),
        (Flags { data: Some(at("text")), ..flags.clone() }, &["is not a directory"]),
    ];
    for (flags, wanted) in cases {
        let report = check(&flags);
        assert!(!report.is_ok());
        assert!(wanted.iter().all(|w| report.errors[0].contains(w)), "{wanted:?} in {report}");
    }
}

#[test]
fn what_is_odd_is_warned_of() {
    let Fixture { directory, flags } = fixture();
    let other = Flags { domain: Some("other.example".into()), listen: Some("0.0.0.0:5222".into()), ..flags };
    let learn = Flags { auth: Some(crate::config::Auth::Learn), ..other };
    let report = check(&learn);
    assert!(report.is_ok(), "{report}");
    let text = report.to_string();
    assert!(text.contains("is not valid for other.example"), "{text}");
    assert!(text.contains("sees the password of everyone"), "{text}");

    fs::create_dir(directory.path().join("data")).unwrap();
    let key = directory.path().join("data.key");
    fs::write(&key, "x").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let report = check(&learn);
    assert!(report.errors[0].contains("can be read by others"), "{report}");
}
