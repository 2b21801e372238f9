//! Whole exchanges against rsasl's server side, against a server of our own that sends extensions and lies on
//! request, and against the vectors of RFC 5802 and RFC 7677.

use super::*;
use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use ring::{digest, hmac};
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::mechanisms::scram::{
    SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS, SCRAM_SHA512, SCRAM_SHA512_PLUS,
};
use rsasl::mechname::Mechname;
use rsasl::prelude::{Registry, SASLConfig, SASLServer, Session, SessionError, Validation};
use rsasl::property::ChannelBindings;
use rsasl::validate::{Validate, ValidationError};
use secrecy::{ExposeSecret, SecretString};

const SALT: &[u8] = b"salt of the server";
const PLUS: [&str; 3] = ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-512-PLUS"];
const BARE: [&str; 3] = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"];
/// What a server lists by XEP-0440: without it `-PLUS` is not used.
const BOTH_TYPES: Option<&[&str]> = Some(&["tls-server-end-point", "tls-exporter"]);

fn password(text: &str) -> Secret {
    Secret::Password(SecretString::from(text))
}

fn salted(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> SaltedPassword {
    Derivation::new(hash, SecretString::from(password), salt.to_vec(), iterations).run()
}

fn both_bindings() -> ChannelBinding {
    ChannelBinding { exporter: Some(b"exported".to_vec()), server_end_point: Some(b"certificate".to_vec()) }
}

fn start(secret: Secret, offered: &[&str], binding: &ChannelBinding) -> Result<Start, SaslError> {
    let policy = Policy { allow_plain: true, tls: true, remembered: None };
    Login::start("user", secret, offered, BOTH_TYPES, binding, &policy)
}

fn gs2(start: &Start) -> String {
    let text = std::str::from_utf8(&start.initial).unwrap();
    text[..text.find("n=").unwrap()].to_owned()
}

/// Runs PBKDF2 where it is asked for.
fn respond(login: &mut Login, challenge: &[u8]) -> Result<Vec<u8>, SaslError> {
    match login.challenge(challenge)? {
        Step::Respond(response) => Ok(response),
        Step::Derive(derivation) => login.derived(derivation.run()),
    }
}

// --- a server of our own -----------------------------------------------------------------------------------

fn algorithms(hash: Hash) -> (hmac::Algorithm, &'static digest::Algorithm) {
    match hash {
        Hash::Sha1 => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY),
        Hash::Sha256 => (hmac::HMAC_SHA256, &digest::SHA256),
        Hash::Sha512 => (hmac::HMAC_SHA512, &digest::SHA512),
    }
}

fn sign(hash: Hash, key: &[u8], data: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithms(hash).0, key), data.as_bytes()).as_ref().to_vec()
}

/// A server that computes by the letter of RFC 5802 §3 from whole messages, whatever they contain.
struct Scripted {
    salted: SaltedPassword,
    bare: String,
    first: String,
}

impl Scripted {
    /// `tail` is what follows the nonce: salt, iterations, extensions.
    fn new(salted: &SaltedPassword, initial: &[u8], tail: &str) -> Self {
        let initial = std::str::from_utf8(initial).unwrap();
        let bare = initial.splitn(3, ',').nth(2).unwrap().to_owned();
        let nonce = bare.split(",r=").nth(1).unwrap();
        let first = format!("r={nonce}SERVER,{tail}");
        Self { salted: salted.clone(), bare, first }
    }

    /// The server-final message, if the client's proof is right.
    fn answer(&self, client_final: &[u8]) -> Option<String> {
        let hash = self.salted.hash;
        let client_final = std::str::from_utf8(client_final).unwrap();
        let (without_proof, proof) = client_final.split_once(",p=").unwrap();
        let message = format!("{},{},{without_proof}", self.bare, self.first);
        let client_key = sign(hash, &self.salted.key, "Client Key");
        let stored_key = digest::digest(algorithms(hash).1, &client_key);
        let signature = sign(hash, stored_key.as_ref(), &message);
        let proof = STANDARD.decode(proof).unwrap();
        let recovered: Vec<u8> = proof.iter().zip(&signature).map(|(p, s)| p ^ s).collect();
        let server_key = sign(hash, &self.salted.key, "Server Key");
        (recovered == client_key).then(|| format!("v={}", STANDARD.encode(sign(hash, &server_key, &message))))
    }
}

fn tail(salt: &[u8], iterations: &str, extensions: &str) -> String {
    format!("s={},i={iterations}{extensions}", STANDARD.encode(salt))
}

/// A login with a password up to the client-final message, and the server's true answer to it.
fn up_to_final(extensions: &str) -> (Login, String) {
    let Start { mut login, initial, .. } = start(password("pencil"), &BARE, &Default::default()).unwrap();
    let kept = salted(Hash::Sha512, "pencil", SALT, 4096);
    let server = Scripted::new(&kept, &initial, &tail(SALT, "4096", extensions));
    let response = respond(&mut login, server.first.as_bytes()).unwrap();
    let answer = server.answer(&response).expect("the proof is right");
    (login, answer)
}

// --- rsasl's server ----------------------------------------------------------------------------------------

struct Accepted;
impl Validation for Accepted {
    type Value = bool;
}

struct ServerSide {
    salted: SaltedPassword,
    binding: Vec<u8>,
}

impl SessionCallback for ServerSide {
    fn callback(&self, _: &SessionData, _: &Context, request: &mut Request) -> Result<(), SessionError> {
        let hash = self.salted.hash;
        let client_key = sign(hash, &self.salted.key, "Client Key");
        let stored_key = digest::digest(algorithms(hash).1, &client_key);
        let server_key = sign(hash, &self.salted.key, "Server Key");
        let (iterations, salt) = (self.salted.iterations, &self.salted.salt);
        request
            .satisfy::<ScramStoredPassword>(&ScramStoredPassword::new(
                iterations,
                salt,
                stored_key.as_ref(),
                &server_key,
            ))?
            .satisfy::<ChannelBindings>(&self.binding)?;
        Ok(())
    }

    fn validate(&self, _: &SessionData, _: &Context, validate: &mut Validate<'_>) -> Result<(), ValidationError> {
        validate.finalize::<Accepted>(true);
        Ok(())
    }
}

fn rsasl_server(mechanism: Mechanism, salted: SaltedPassword, binding: &[u8]) -> Session<Accepted> {
    static MECHANISMS: [rsasl::prelude::Mechanism; 6] =
        [SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS, SCRAM_SHA512, SCRAM_SHA512_PLUS];
    let config = SASLConfig::builder()
        .with_registry(Registry::with_mechanisms(&MECHANISMS))
        .with_callback(ServerSide { salted, binding: binding.to_vec() })
        .unwrap();
    let name = Mechname::parse(mechanism.name().as_bytes()).unwrap();
    SASLServer::<Accepted>::new(config).start_suggested(name).unwrap()
}

/// A whole login at rsasl's server; what it learned, or the first error of either side.
fn login_at_rsasl(
    secret: Secret,
    offered: &[&str],
    binding: &ChannelBinding,
    truth: (&str, &[u8]),
) -> Result<SaltedPassword, String> {
    let Start { mut login, mechanism, initial } = start(secret, offered, binding).unwrap();
    let kept = salted(mechanism.hash().unwrap(), truth.0, SALT, 4096);
    let mut server = rsasl_server(mechanism, kept, truth.1);
    let mut first = Vec::new();
    server.step(Some(&initial), &mut first).map_err(|e| e.to_string())?;
    let response = respond(&mut login, &first).map_err(|e| e.to_string())?;
    let mut last = Vec::new();
    server.step(Some(&response), &mut last).map_err(|e| e.to_string())?;
    let learned = login.success(&last).map_err(|e| e.to_string())?;
    assert_eq!(server.validation(), Some(true), "we believe in a success that the server knows nothing of");
    Ok(learned.expect("SCRAM yields keys to keep"))
}

#[test]
fn every_scram_logs_in_with_the_password_and_then_with_what_it_learned() {
    let exporter = ChannelBinding { exporter: Some(b"exported".to_vec()), server_end_point: None };
    let none = ChannelBinding::default();
    for (name, exporter) in PLUS.map(|name| (name, &exporter)).into_iter().chain(BARE.map(|name| (name, &none))) {
        let truth = ("pencil", &b"exported"[..]);
        let learned = login_at_rsasl(password("pencil"), &[name], exporter, truth).unwrap();
        assert_eq!((&learned.salt[..], learned.iterations), (SALT, 4096));
        let again = login_at_rsasl(Secret::Salted(learned.clone()), &[name], exporter, truth).unwrap();
        assert_eq!(again, learned);
    }
}

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
fn a_wrong_password_or_binding_is_refused_by_the_server() {
    let truth = ("pencil", &b"exported"[..]);
    let wrong = login_at_rsasl(password("pen"), &BARE, &Default::default(), truth).unwrap_err();
    assert!(wrong.contains("invalid-proof"), "{wrong}");
    let other = ChannelBinding { exporter: Some(b"of another connection".to_vec()), ..Default::default() };
    let wrong = login_at_rsasl(password("pencil"), &PLUS, &other, truth).unwrap_err();
    assert!(wrong.contains("channel-bindings-dont-match"), "{wrong}");
}

// --- the choice and the gs2 header -------------------------------------------------------------------------

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

// --- the server's lies -------------------------------------------------------------------------------------

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

// --- computation -------------------------------------------------------------------------------------------

#[test]
fn extensions_of_the_server_are_signed() {
    // ejabberd since 23.10 sends `d=`, Prosody's mod_sasl_ssdp `h=` (XEP-0474).
    for (hash, name) in [(Hash::Sha1, BARE[0]), (Hash::Sha256, BARE[1]), (Hash::Sha512, BARE[2])] {
        let kept = salted(hash, "pencil", SALT, 4096);
        let Start { mut login, initial, .. } = start(password("pencil"), &[name], &Default::default()).unwrap();
        let server = Scripted::new(&kept, &initial, &tail(SALT, "4096", ",h=dGVzdA==,x=y=z"));
        let response = respond(&mut login, server.first.as_bytes()).unwrap();
        let answer = server.answer(&response).expect("a server that signs extensions accepts the proof");
        assert_eq!(login.success(answer.as_bytes()).unwrap(), Some(kept));
    }
}

#[test]
fn our_computation_is_rsasls_where_there_are_no_extensions() {
    for name in BARE.into_iter().chain(PLUS) {
        let Start { mut login, mechanism, initial } = start(password("x"), &[name], &both_bindings()).unwrap();
        let hash = mechanism.hash().unwrap();
        let kept = salted(hash, "pencil", SALT, 4096);
        let server = Scripted::new(&kept, &initial, &tail(SALT, "4096", ""));
        let bound = matches!(mechanism, Mechanism::ScramPlus(_)).then_some(&b"exported"[..]);
        let mut ours = scram::Transcript::new(mechanism, &initial, bound).unwrap();
        let first = scram::ServerFirst::parse(server.first.as_bytes(), ours.client_nonce()).unwrap();
        assert!(matches!(login.challenge(server.first.as_bytes()), Ok(Step::Derive(_))));
        let theirs = login.derived(kept.clone()).unwrap();
        assert_eq!(ours.client_final(&first, &kept), theirs);
        let answer = server.answer(&theirs).expect("the proof is right");
        let signature = STANDARD.encode(ours.server_signature().unwrap());
        assert_eq!(answer, format!("v={signature}"));
    }
}

#[test]
fn the_vectors_of_rfc_5802_and_rfc_7677() {
    let cases = [
        (
            Mechanism::Scram(Hash::Sha1),
            "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            Mechanism::Scram(Hash::Sha256),
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ];
    for (mechanism, client_first, server_first, client_final, server_final) in cases {
        let mut ours = scram::Transcript::new(mechanism, client_first.as_bytes(), None).unwrap();
        let first = scram::ServerFirst::parse(server_first.as_bytes(), ours.client_nonce()).unwrap();
        let keys = salted(mechanism.hash().unwrap(), "pencil", &first.salt, first.iterations);
        assert_eq!(ours.client_final(&first, &keys), client_final.as_bytes());
        scram::verify_signature(server_final.as_bytes(), ours.server_signature().unwrap()).unwrap();
    }
}

// --- preparation -------------------------------------------------------------------------------------------

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

// --- our clients' messages ---------------------------------------------------------------------------------

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
