//! Whole exchanges against rsasl's server side, against a server of our own that sends extensions and lies on
//! request, and against the vectors of RFC 5802 and RFC 7677.

mod choice;
mod lies;
mod messages;
mod servers;

use super::*;
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret, SecretString};
use servers::{Scripted, login_at_rsasl, tail, up_to_final};

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
fn a_wrong_password_or_binding_is_refused_by_the_server() {
    let truth = ("pencil", &b"exported"[..]);
    let wrong = login_at_rsasl(password("pen"), &BARE, &Default::default(), truth).unwrap_err();
    assert!(wrong.contains("invalid-proof"), "{wrong}");
    let other = ChannelBinding { exporter: Some(b"of another connection".to_vec()), ..Default::default() };
    let wrong = login_at_rsasl(password("pencil"), &PLUS, &other, truth).unwrap_err();
    assert!(wrong.contains("channel-bindings-dont-match"), "{wrong}");
}

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
