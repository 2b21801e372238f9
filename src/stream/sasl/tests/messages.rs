//! What clients say, prepared and read.

use super::*;
use proptest::prelude::*;

#[test]
fn names_and_passwords_are_prepared_as_query_strings() {
    assert_eq!(prep::query("I\u{ad}X").as_deref(), Some("IX"));
    assert_eq!(prep::query("\u{2168}").as_deref(), Some("IX"));
    assert_eq!(prep::query("a\u{a0}b").as_deref(), Some("a b"));
    assert_eq!(prep::query("pass🦀\u{2168}").as_deref(), Some("pass🦀IX"));
    for prohibited in ["", "\u{ad}", "a\u{7}b", "\u{627}1", "\0"] {
        assert_eq!(prep::query(prohibited), None, "{prohibited:?}");
    }
    let escaped = Login::start("a=b,c", password("x"), &BARE, None, &Default::default(), &Policy::default()).unwrap();
    assert!(escaped.initial.starts_with(b"n,,n=a=3Db=2Cc,r="));
}

#[test]
fn s23_nothing_shown_contains_a_secret() {
    let secret = "hunter2\u{7}";
    let error = start(password(secret), &BARE, &Default::default()).unwrap_err();
    assert_eq!(error, SaslError::Unpreparable { what: "password" });
    let kept = salted(Hash::Sha256, "hunter2", SALT, 4096);
    let started = start(password("hunter2"), &BARE, &Default::default()).unwrap();
    let plain = parse_plain(b"\0user\0hunter2").unwrap();
    let derivation = Derivation::new(Hash::Sha1, SecretString::from("hunter2"), SALT.to_vec(), 4096);
    let login = started.login;
    let key = format!("{:?}", &kept.key[..8]);
    for shown in [
        format!("{kept:?}"),
        format!("{:?}", Secret::Salted(kept.clone())),
        format!("{:?}", password("hunter2")),
        format!("{plain:?} {derivation:?} {login:?} {error} {error:?}"),
    ] {
        assert!(!shown.contains("hunter2") && !shown.contains(&key[1..key.len() - 1]), "{shown}");
    }
}

#[test]
fn plain_messages_are_parsed_strictly() {
    let plain = parse_plain("romeo@montague.lit\0romeo\0pässword".as_bytes()).unwrap();
    assert_eq!(plain.authzid.as_deref(), Some("romeo@montague.lit"));
    assert_eq!((plain.authcid.as_str(), plain.password.expose_secret()), ("romeo", "pässword"));
    let long = "x".repeat(1100);
    let bad = [
        &b""[..],
        b"\0",
        b"\0\0",
        b"\0romeo\0",
        b"\0\0secret",
        b"romeo\0secret",
        b"\0romeo\0sec\0ret",
        b"\0romeo\0\xff",
        &[b"\0", long.as_bytes(), b"\0secret"].concat(),
        &[b"\0romeo\0", long.as_bytes()].concat(),
        &[long.as_bytes(), long.as_bytes(), b"\0romeo\0secret"].concat(),
    ];
    for message in bad {
        assert!(matches!(parse_plain(message), Err(PlainError::Malformed(_))), "{message:?}");
    }
}

#[test]
fn s02_a_foreign_authzid_is_refused() {
    let domain = jid::DomainPart::new("montague.lit").unwrap();
    let account = |message: &[u8]| parse_plain(message).unwrap().account(&domain).map(|a| a.to_string());
    assert_eq!(account(b"\0Romeo\0x").unwrap(), "romeo@montague.lit");
    assert_eq!(account(b"ROMEO@montague.lit\0romeo\0x").unwrap(), "romeo@montague.lit");
    for foreign in ["juliet@montague.lit", "romeo@capulet.lit", "montague.lit", "romeo", "romeo@montague.lit/r"] {
        let message = format!("{foreign}\0romeo\0x");
        assert_eq!(account(message.as_bytes()), Err(PlainError::ForeignAuthzid), "{foreign}");
    }
    assert_eq!(account(b"\0romeo@montague.lit\0x"), Err(PlainError::BadName));
}

#[test]
fn the_name_in_a_scram_message_is_read() {
    let first = |flag: Gs2Flag, authzid: Option<&str>, username: &str| {
        Some(ClientFirst { flag, authzid: authzid.map(str::to_owned), username: username.to_owned() })
    };
    assert_eq!(scram_username(b"n,,n=user,r=abc"), first(Gs2Flag::Unsupported, None, "user"));
    assert_eq!(
        scram_username(b"y,a=o=3Dk,n=a=2Cb=3D2C,r=abc,x=ext"),
        first(Gs2Flag::NotOffered, Some("o=k"), "a,b=2C")
    );
    assert_eq!(scram_username(b"p=tls-exporter,,n=u,r=n"), first(Gs2Flag::Used("tls-exporter".to_owned()), None, "u"));
    let bad = [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=user",
        "n,,n=,r=a",
        "n,,n=user,r=",
        "x,,n=user,r=a",
        "p=,,n=user,r=a",
        "p=a b,,n=user,r=a",
        "n,b=x,n=user,r=a",
        "n,a=,n=user,r=a",
        "n,,m=x,n=user,r=a",
        "n,,n=us=er,r=a",
        "n,,n=u=2c,r=a",
        "n,,n=user=,r=a",
        "n,,n=user,r=a\u{7f}",
        "n,,n=user,r=a,",
        "n,,n=user,r=a,1=x",
        "n,,n=u\0,r=a",
    ];
    for message in bad {
        assert_eq!(scram_username(message.as_bytes()), None, "{message:?}");
    }
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes: Vec<u8>, text in "([nyp=ars,]|2C|3D|\\PC|\0){0,40}") {
        for message in [&bytes[..], text.as_bytes()] {
            let _ = parse_plain(message);
            let _ = scram_username(message);
            let mut login = start(password("pencil"), &BARE, &Default::default()).unwrap().login;
            prop_assert!(login.challenge(message).is_err());
            prop_assert!(start(password("x"), &BARE, &Default::default()).unwrap().login.success(message).is_err());
            let _ = scram::check_server_final(message);
        }
    }

    #[test]
    fn what_the_server_appends_to_our_nonce_never_panics(text in "([rsivd=,409]|\\PC){0,40}") {
        let Start { mut login, initial, .. } = start(password("pencil"), &BARE, &Default::default()).unwrap();
        let server = Scripted::new(&salted(Hash::Sha1, "", SALT, 1), &initial, &text);
        let _ = login.challenge(server.first.as_bytes());
    }

    #[test]
    fn names_survive_the_way_to_the_server(name in "[a-z=,é]{1,20}") {
        let started = Login::start(&name, password("x"), &BARE, None, &Default::default(), &Policy::default());
        let read = scram_username(&started.unwrap().initial).unwrap();
        prop_assert_eq!(read.username, name);
    }

    #[test]
    fn plain_survives_the_way(name in "[a-z]{1,20}", pass in "[ -~]{1,40}") {
        let policy = Policy { allow_plain: true, tls: true, remembered: None };
        let started = Login::start(&name, password(&pass), &["PLAIN"], None, &Default::default(), &policy);
        let plain = parse_plain(&started.unwrap().initial).unwrap();
        prop_assert_eq!(plain.authcid, name);
        prop_assert_eq!(plain.password.expose_secret(), pass);
    }
}
