//! Which mechanism is chosen, what the gs2 header says, and what is kept of it.

use super::*;

#[test]
fn s05_plus_taken_out_of_the_list_is_noticed_by_what_is_remembered() {
    let policy = Policy { remembered: Some(Mechanism::ScramPlus(Hash::Sha256)), ..Policy::default() };
    let all: Vec<&str> = PLUS.into_iter().chain(BARE).collect();
    let (both, none) = (both_bindings(), ChannelBinding::default());
    let start = |offered: &[&str], types: Option<&[&str]>, binding: &ChannelBinding| {
        Login::start("user", password("pencil"), offered, types, binding, &policy).map(|started| started.mechanism)
    };
    assert_eq!(start(&all, BOTH_TYPES, &both), Ok(Mechanism::ScramPlus(Hash::Sha512)));
    let remembered = Mechanism::ScramPlus(Hash::Sha256);
    let downgrade = Err(SaslError::Downgrade { best: Mechanism::Scram(Hash::Sha512), remembered });
    assert_eq!(start(&BARE, BOTH_TYPES, &both), downgrade);
    // Taking out the list of binding types, or all that we have, comes to the same.
    assert_eq!(start(&all, None, &both), downgrade);
    assert_eq!(start(&all, Some(&["tls-unique"]), &both), downgrade);
    assert_eq!(start(&all, BOTH_TYPES, &none), downgrade);
}

#[test]
fn the_best_mechanism_is_chosen() {
    let all: Vec<&str> = Mechanism::ALL.iter().rev().map(|m| m.name()).collect();
    for end in (1..=all.len()).rev() {
        let chosen = start(password("pencil"), &all[..end], &both_bindings()).unwrap().mechanism;
        assert_eq!(chosen.name(), all[end - 1]);
    }
    let unbound = start(password("pencil"), &all, &Default::default()).unwrap().mechanism;
    assert_eq!(unbound, Mechanism::Scram(Hash::Sha512));
}

#[test]
fn the_gs2_header_says_what_is_bound() {
    let both = both_bindings();
    let end_point = ChannelBinding { exporter: None, ..both.clone() };
    let none = ChannelBinding::default();
    let all: Vec<&str> = PLUS.into_iter().chain(BARE).collect();
    let header = |offered: &[&str], types: Option<&[&str]>, binding: &ChannelBinding| {
        gs2(&Login::start("user", password("x"), offered, types, binding, &Policy::default()).unwrap())
    };
    for plus in PLUS {
        assert_eq!(header(&[plus], BOTH_TYPES, &both), "p=tls-exporter,,");
        assert_eq!(header(&[plus], BOTH_TYPES, &end_point), "p=tls-server-end-point,,");
    }
    assert_eq!(header(&all, Some(&["tls-server-end-point"]), &both), "p=tls-server-end-point,,");
    assert_eq!(header(&all, Some(&["tls-exporter", "tls-server-end-point"]), &both), "p=tls-exporter,,");
    // Nothing in common, or no list (ejabberd 23.01 takes tls-unique alone and does not say so): no -PLUS, and
    // never `y`, which servers refuse.
    assert_eq!(header(&all, None, &both), "n,,");
    assert_eq!(header(&all, Some(&[]), &both), "n,,");
    assert_eq!(header(&all, Some(&["tls-exporter"]), &end_point), "n,,");
    assert_eq!(header(&all, Some(&["tls-unique"]), &both), "n,,");
    assert_eq!(header(&all, None, &none), "n,,");
    for bare in BARE {
        assert_eq!(header(&[bare], None, &none), "n,,");
        assert_eq!(header(&[bare], None, &both), "n,,");
        assert_eq!(header(&[bare], BOTH_TYPES, &both), "n,,");
    }
    for plus in PLUS {
        let policy = Policy::default();
        let error = Login::start("user", password("x"), &[plus], None, &both, &policy).unwrap_err();
        assert_eq!(error, SaslError::NoMechanism { offered: plus.to_owned() });
    }
    // Keys for SHA-256 where only SHA-1 comes with -PLUS, as on ejabberd 23.01.
    let kept = Secret::Salted(salted(Hash::Sha256, "pencil", SALT, 4096));
    let started = start(kept, &["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256"], &both).unwrap();
    assert_eq!((gs2(&started).as_str(), started.mechanism), ("n,,", Mechanism::Scram(Hash::Sha256)));
}

#[test]
fn kept_keys_are_used_for_their_hash_only() {
    let kept = || Secret::Salted(salted(Hash::Sha1, "pencil", SALT, 4096));
    let started = start(kept(), &["SCRAM-SHA-512", "SCRAM-SHA-1", "PLAIN"], &Default::default()).unwrap();
    assert_eq!(started.mechanism, Mechanism::Scram(Hash::Sha1));
    let error = start(kept(), &["SCRAM-SHA-512", "PLAIN"], &Default::default()).unwrap_err();
    assert_eq!(error, SaslError::HashNotOffered { wanted: Mechanism::Scram(Hash::Sha1) });
}

#[test]
fn s05_plain_only_where_allowed() {
    let plain = |allow_plain, tls, remembered| {
        let policy = Policy { allow_plain, tls, remembered };
        Login::start("user", password("pencil"), &["PLAIN"], None, &Default::default(), &policy)
    };
    assert_eq!(plain(true, true, None).unwrap().initial[..], *b"\0user\0pencil");
    for refused in [plain(false, true, None), plain(true, false, None)] {
        let error = refused.unwrap_err();
        assert!(matches!(&error, SaslError::NoMechanism { offered } if offered == "PLAIN"), "{error}");
    }
    let error = plain(true, true, Some(Mechanism::Scram(Hash::Sha1))).unwrap_err();
    assert!(matches!(error, SaslError::Downgrade { .. }), "{error}");
    assert!(plain(true, true, Some(Mechanism::Plain)).is_ok());
}

#[test]
fn plain_takes_success_and_no_challenge() {
    let plain = || start(password("pencil"), &["PLAIN"], &Default::default()).unwrap().login;
    assert_eq!(plain().success(b"").unwrap(), None);
    assert!(plain().challenge(b"").is_err());
}
