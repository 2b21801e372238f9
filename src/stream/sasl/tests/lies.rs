//! What servers may not say.

use super::*;

#[test]
fn s05_success_needs_the_servers_signature() {
    for extensions in ["", ",d=dGVzdA=="] {
        let (login, answer) = up_to_final(extensions);
        assert!(login.success(answer.as_bytes()).unwrap().is_some());

        let forged = format!("v={}", STANDARD.encode([7; 64]));
        for bad in [&forged, "v=", "v=%", "v", "", "x", &answer[..answer.len() - 4]] {
            let (login, _) = up_to_final(extensions);
            assert!(login.success(bad.as_bytes()).is_err(), "{bad:?} was believed");
        }
        let (login, _) = up_to_final(extensions);
        assert_eq!(login.success(b""), Err(SaslError::Unverified));
        let (login, _) = up_to_final(extensions);
        assert_eq!(login.success(b"e=invalid-proof"), Err(SaslError::Refused("invalid-proof")));
    }
    let early = start(password("pencil"), &BARE, &Default::default()).unwrap().login;
    assert_eq!(early.success(b""), Err(SaslError::Unverified));
}

#[test]
fn the_signature_may_come_in_a_challenge() {
    let (mut login, answer) = up_to_final("");
    assert!(matches!(login.challenge(answer.as_bytes()), Ok(Step::Respond(empty)) if empty.is_empty()));
    assert!(login.success(b"").unwrap().is_some());

    let (mut login, _) = up_to_final("");
    assert_eq!(login.challenge(b"v=AAAA").unwrap_err(), SaslError::ServerSignature);
    assert!(login.success(b"").is_err(), "dead after an error");
}

#[test]
fn s05_iterations_outside_the_bounds_are_refused_before_pbkdf2() {
    for bad in ["1", "4095", "1000001", "4294967295", "4294967296", "99999999999999999999999999"] {
        let Start { mut login, initial, .. } = start(password("pencil"), &BARE, &Default::default()).unwrap();
        let server = Scripted::new(&salted(Hash::Sha512, "", SALT, 1), &initial, &tail(SALT, bad, ""));
        let error = login.challenge(server.first.as_bytes()).unwrap_err();
        assert!(matches!(error, SaslError::Iterations { .. }), "i={bad}: {error}");
    }
    for good in ["4096", "1000000"] {
        let Start { mut login, initial, .. } = start(password("pencil"), &BARE, &Default::default()).unwrap();
        let server = Scripted::new(&salted(Hash::Sha512, "", SALT, 1), &initial, &tail(SALT, good, ""));
        assert!(matches!(login.challenge(server.first.as_bytes()), Ok(Step::Derive(_))));
    }
}

#[test]
fn malformed_server_first_messages_are_refused() {
    let salt = STANDARD.encode(SALT);
    let tails = [
        "s",
        "s=",
        "s=,i=4096",
        "s=%%%%,i=4096",
        &format!("s={salt}"),
        &format!("s={salt},i"),
        &format!("s={salt},i="),
        &format!("s={salt},i=04096"),
        &format!("s={salt},i=+4096"),
        &format!("s={salt},i=4096,"),
        &format!("s={salt},i=4096,d"),
        &format!("s={salt},i=4096,=d"),
        &format!("i=4096,s={salt}"),
    ];
    for bad in tails {
        let Start { mut login, initial, .. } = start(password("pencil"), &BARE, &Default::default()).unwrap();
        let server = Scripted::new(&salted(Hash::Sha512, "", SALT, 1), &initial, bad);
        let error = login.challenge(server.first.as_bytes()).unwrap_err();
        assert!(matches!(error, SaslError::Malformed(_)), "{bad}: {error}");
    }
    let rest = tail(SALT, "4096", "");
    for nonce in ["", "r=", "r=foreign", "m=ext,r=foreign", "r"] {
        let mut login = start(password("pencil"), &BARE, &Default::default()).unwrap().login;
        let error = login.challenge(format!("{nonce},{rest}").as_bytes()).unwrap_err();
        assert!(matches!(error, SaslError::Malformed(_)), "{nonce}: {error}");
    }
}

#[test]
fn a_nonce_that_is_only_ours_is_refused() {
    let Start { mut login, initial, .. } = start(password("pencil"), &BARE, &Default::default()).unwrap();
    let server = Scripted::new(&salted(Hash::Sha512, "", SALT, 1), &initial, &tail(SALT, "4096", ""));
    let echoed = server.first.replace("SERVER,", ",");
    assert!(matches!(login.challenge(echoed.as_bytes()), Err(SaslError::Malformed(_))));
}

#[test]
fn a_changed_salt_or_count_kills_kept_keys() {
    let kept = salted(Hash::Sha512, "pencil", SALT, 4096);
    for (salt, iterations) in [(&b"other salt"[..], "4096"), (SALT, "8192")] {
        let started = start(Secret::Salted(kept.clone()), &BARE, &Default::default()).unwrap();
        let Start { mut login, initial, .. } = started;
        let server = Scripted::new(&kept, &initial, &tail(salt, iterations, ""));
        assert_eq!(login.challenge(server.first.as_bytes()).unwrap_err(), SaslError::SaltChanged);
    }
}

#[test]
fn keys_that_nobody_asked_for_are_refused() {
    let Start { mut login, initial, .. } = start(password("pencil"), &BARE, &Default::default()).unwrap();
    let server = Scripted::new(&salted(Hash::Sha512, "", SALT, 1), &initial, &tail(SALT, "4096", ""));
    assert!(matches!(login.challenge(server.first.as_bytes()), Ok(Step::Derive(_))));
    assert!(login.derived(salted(Hash::Sha512, "pencil", b"other salt", 4096)).is_err());
}
