//! What an account logs in with, and how a password becomes SCRAM's SaltedPassword (RFC 5802 §3).

use super::{Hash, prep};
use ring::{hmac, pbkdf2};
use secrecy::{ExposeSecret, SecretString};
use std::{fmt, num::NonZeroU32};
use zeroize::Zeroizing;

/// What is given, or kept, to log in with.
#[derive(Clone, Debug)]
pub enum Secret {
    /// The password itself.
    Password(SecretString),
    /// SCRAM's salted password, good for one hash, salt and iteration count.
    Salted(SaltedPassword),
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Secret::Password(a), Secret::Password(b)) => a.expose_secret() == b.expose_secret(),
            (Secret::Salted(a), Secret::Salted(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Secret {}

impl Secret {
    /// Whether it was made of this password. Blocks, as [`Derivation::run`] does; takes no less time where it is not.
    pub fn fits(&self, password: &SecretString) -> bool {
        // Compared by a keyed digest: how much of a kept password is right does not show in the time it takes.
        let digest = |bytes: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"compare"), bytes);
        match self {
            Secret::Password(kept) => {
                let (kept, given) = (kept.expose_secret().as_bytes(), password.expose_secret().as_bytes());
                digest(kept).as_ref() == digest(given).as_ref()
            }
            Secret::Salted(kept) => prep::password(password).is_ok_and(|password| {
                Derivation::new(kept.hash, password, kept.salt.clone(), kept.iterations).run() == *kept
            }),
        }
    }
}

/// SCRAM's SaltedPassword, from which both keys follow, and what it was made with.
///
/// Who holds it can log in, and can pass for the server towards the account. Wiped when dropped; `Debug` shows
/// no key.
#[derive(Clone, PartialEq, Eq)]
pub struct SaltedPassword {
    /// The mechanism's hash.
    pub hash: Hash,
    /// The server's salt for the account.
    pub salt: Vec<u8>,
    /// The PBKDF2 iterations.
    pub iterations: u32,
    /// The SaltedPassword, as long as the hash's output.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for SaltedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaltedPassword")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// PBKDF2 waiting to be run: milliseconds of a core, up to half a second with the most iterations allowed.
#[derive(Debug)]
pub struct Derivation {
    hash: Hash,
    password: SecretString,
    salt: Vec<u8>,
    iterations: u32,
}

impl Derivation {
    /// `password` has been prepared; `iterations` checked.
    pub(super) fn new(hash: Hash, password: SecretString, salt: Vec<u8>, iterations: u32) -> Self {
        Self { hash, password, salt, iterations }
    }

    /// Runs it. Blocks: call it on a blocking thread.
    pub fn run(self) -> SaltedPassword {
        let (algorithm, length) = match self.hash {
            Hash::Sha1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
            Hash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
            Hash::Sha512 => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        };
        let iterations = NonZeroU32::new(self.iterations).unwrap_or(NonZeroU32::MIN);
        let mut key = Zeroizing::new(vec![0; length]);
        pbkdf2::derive(algorithm, iterations, &self.salt, self.password.expose_secret().as_bytes(), &mut key);
        SaltedPassword { hash: self.hash, salt: self.salt, iterations: self.iterations, key }
    }
}
