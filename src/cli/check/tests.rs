use std::fs;
use std::os::unix::fs::PermissionsExt;

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
    // How many open files there may be is the machine's.
    assert!(report.warnings.iter().all(|w| w.contains("open files")), "{report}");
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!((&json["ok"], &json["errors"]), (&true.into(), &serde_json::json!([])));
    assert!(json["fine"].as_array().is_some_and(|fine| fine.len() >= 5), "{json}");
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
    fs::set_permissions(directory.path().join("data"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.path().join("data/file"), "x").unwrap();
    fs::set_permissions(directory.path().join("data/file"), fs::Permissions::from_mode(0o644)).unwrap();
    let text = check(&learn).to_string();
    assert!(text.contains("data is open to others: chmod 700"), "{text}");
    assert!(text.contains("data/file is open to others: chmod 600"), "{text}");
}

#[test]
fn s22_a_key_file_that_is_not_safe_is_refused() {
    let Fixture { directory, flags } = fixture();
    let (data, key) = (directory.path().join("data"), directory.path().join("data.key"));
    let refused = |wanted: &[&str]| {
        let report = check(&flags);
        assert!(report.errors.len() == 1 && wanted.iter().all(|w| report.errors[0].contains(w)), "{report}");
    };
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    refused(&["data.key can be read by others", "chmod 600", "key rotate"]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(check(&flags).is_ok());
    fs::write(&key, "x").unwrap();
    refused(&["data.key is no key"]);
    // Only root can give a file away.
    fs::write(&key, [7; 32]).unwrap();
    if std::os::unix::fs::chown(&key, Some(65534), None).is_ok() {
        refused(&["data.key belongs to another user", "chown"]);
    }
    fs::remove_file(&key).unwrap();
    fs::create_dir(&data).unwrap();
    fs::write(data.join("minimix-proxy.sqlite"), "").unwrap();
    refused(&["data.key is missing", "minimix-proxy.sqlite", "restore it"]);
    fs::write(data.join("key"), [7; 32]).unwrap();
    refused(&["data.key is missing", "mv ", "data/key "]);
    let beside = Flags { key_file: Some(data.join("key")), ..flags.clone() };
    let report = check(&beside);
    assert!(report.errors[0].contains("beside the store"), "{report}");
}

/// An address of this machine that is not loopback, if it has one: where packets to the world would leave.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn s01_a_proxy_that_dials_itself_is_refused() {
    let Fixture { directory: _directory, flags } = fixture();
    let refused = |listen: &str, upstream: &str| {
        let auth = Some(crate::config::Auth::Mixed);
        let flags = Flags { listen: Some(listen.into()), upstream: Some(upstream.into()), auth, ..flags.clone() };
        let report = check(&flags);
        report.errors.iter().any(|e| e.contains("where the proxy itself listens"))
    };
    assert!(refused("127.0.0.1:5222", "127.0.0.1:5222"));
    assert!(refused("127.0.0.1:5222", "localhost"), "a name");
    assert!(refused("0.0.0.0:5222", "127.0.0.2:5222") && refused("0.0.0.0:5222", "localhost:5222"));
    assert!(refused("[::]:5222", "[::1]:5222"));
    assert!(!refused("0.0.0.0:5222", "127.0.0.1:15222") && !refused("127.0.0.1:5222", "127.0.0.2:5222"));
    assert!(!refused("0.0.0.0:5222", "192.0.2.1:5222"), "somebody else's address");
    if let Some(own) = own_address() {
        assert!(refused("0.0.0.0:5222", &format!("{own}:5222")), "{own}");
    }
}

#[test]
fn s06_plaintext_to_a_name_off_loopback_is_refused() {
    let Fixture { directory: _directory, flags } = fixture();
    // This machine's own name, where that is more than loopback.
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let none = Flags { upstream_tls: Some(crate::config::UpstreamTls::None), upstream_ca: None, ..flags };
    let near = Flags { upstream: Some("localhost:15222".into()), ..none.clone() };
    assert!(check(&near).is_ok());
    use std::net::ToSocketAddrs;
    let addresses = (name.as_str(), 15222).to_socket_addrs().map(Vec::from_iter).unwrap_or_default();
    if addresses.iter().any(|a| !a.ip().to_canonical().is_loopback()) {
        let far = Flags { upstream: Some(format!("{name}:15222")), ..none };
        let report = check(&far);
        assert!(report.errors.iter().any(|e| e.contains("is for a server on this machine")), "{report}");
    }
    let domain = |tls, insecure, proxy_protocol| crate::config::Domain {
        name: "example.org".into(),
        certificate: "".into(),
        key: "".into(),
        registration: false,
        legacy_auth: false,
        upstream: crate::config::Upstream {
            address: None,
            tls,
            ca: None,
            insecure,
            allow_plain: false,
            keep_password: true,
            proxy_protocol,
        },
    };
    use crate::config::UpstreamTls::{None as Plain, StartTls};
    let far = ["127.0.0.1:5222".parse().unwrap(), "192.0.2.1:5222".parse().unwrap()];
    for (tls, insecure, proxy_protocol, errors, warnings) in [
        (Plain, false, false, 1, 1),
        (Plain, true, false, 0, 1),
        (StartTls, false, false, 0, 1),
        (StartTls, false, true, 0, 0),
    ] {
        let mut report = Report::default();
        upstream::check_addresses(&domain(tls, insecure, proxy_protocol), &far, &[], &mut report);
        assert_eq!((report.errors.len(), report.warnings.len()), (errors, warnings), "{report}");
        let mut near = Report::default();
        upstream::check_addresses(&domain(tls, insecure, proxy_protocol), &far[..1], &[], &mut near);
        assert!(near.is_ok() && near.warnings.is_empty(), "{near}");
    }
}
