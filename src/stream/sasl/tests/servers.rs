//! The servers that logins are tried at: one of our own, and rsasl's.

use super::*;
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
pub(super) struct Scripted {
    salted: SaltedPassword,
    bare: String,
    pub(super) first: String,
}

impl Scripted {
    /// `tail` is what follows the nonce: salt, iterations, extensions.
    pub(super) fn new(salted: &SaltedPassword, initial: &[u8], tail: &str) -> Self {
        let initial = std::str::from_utf8(initial).unwrap();
        let bare = initial.splitn(3, ',').nth(2).unwrap().to_owned();
        let nonce = bare.split(",r=").nth(1).unwrap();
        let first = format!("r={nonce}SERVER,{tail}");
        Self { salted: salted.clone(), bare, first }
    }

    /// The server-final message, if the client's proof is right.
    pub(super) fn answer(&self, client_final: &[u8]) -> Option<String> {
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

pub(super) fn tail(salt: &[u8], iterations: &str, extensions: &str) -> String {
    format!("s={},i={iterations}{extensions}", STANDARD.encode(salt))
}

/// A login with a password up to the client-final message, and the server's true answer to it.
pub(super) fn up_to_final(extensions: &str) -> (Login, String) {
    let Start { mut login, initial, .. } = start(password("pencil"), &BARE, &Default::default()).unwrap();
    let kept = salted(Hash::Sha512, "pencil", SALT, 4096);
    let server = Scripted::new(&kept, &initial, &tail(SALT, "4096", extensions));
    let response = respond(&mut login, server.first.as_bytes()).unwrap();
    let answer = server.answer(&response).expect("the proof is right");
    (login, answer)
}

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
pub(super) fn login_at_rsasl(
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
