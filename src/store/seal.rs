//! Encryption at rest (S22): ChaCha20-Poly1305 (RFC 8439) under the key in the key file ([`super::key_file`]), each
//! value bound to where it stands.
//!
//! A sealed value is `version (1) | key id (8) | nonce (12) | ciphertext and tag`. Version, key id, column and
//! row are associated data, so that no value opens in another's place. The key id (the head of a hash of the
//! key) tells a wrong key from an altered value, and old from new while keys are rotated.
//!
//! Nonces are random: one key is good for 2³² writes (then two nonces are alike with a chance of 2⁻³²), which
//! is a write every second for 136 years.

use super::StoreError;
use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, Key as CipherKey, KeyInit, Nonce, Tag};
use ring::digest;
use zeroize::Zeroizing;

pub(super) const KEY_LENGTH: usize = 32;
const VERSION: u8 = 1;
const KEY_ID: usize = 8;
/// Version and key id: what every value under one key begins with.
pub(super) const HEADER: usize = 1 + KEY_ID;
const NONCE: usize = 12;
const TAG: usize = 16;

const NO_RANDOM: StoreError = StoreError::Crypto("the system gives no random bytes");

/// A key and its id. Wiped when dropped; the cipher made of it for each use wipes itself too.
#[derive(Clone)]
struct Key {
    bytes: Zeroizing<Vec<u8>>,
    id: [u8; KEY_ID],
}

/// The keys of a store: the one that seals, and, while keys are rotated, the one before it, which opens too.
#[derive(Clone)]
pub struct Seal {
    current: Key,
    former: Option<Key>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").field("rotating", &self.is_rotating()).finish_non_exhaustive()
    }
}

/// Why a value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// It was sealed with another key.
    OtherKey,
    /// It was changed, or stood elsewhere when it was sealed.
    Altered,
}

impl Key {
    /// `bytes` are [`KEY_LENGTH`] long.
    fn new(bytes: &[u8]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"minimix-proxy key id\0");
        context.update(bytes);
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&context.finish().as_ref()[..KEY_ID]);
        Key { bytes: Zeroizing::new(bytes.to_vec()), id }
    }

    fn random() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        getrandom::fill(&mut *bytes).map_err(|_| NO_RANDOM)?;
        Ok(Self::new(&*bytes))
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [VERSION; HEADER];
        header[1..].copy_from_slice(&self.id);
        header
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(CipherKey::from_slice(&self.bytes))
    }
}

impl Seal {
    /// A new key.
    pub(super) fn random() -> Result<Self, StoreError> {
        Ok(Seal { current: Key::random()?, former: None })
    }

    /// From a key file's content; `None` if it is none: one key, or two different ones, the current one first.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_at_checked(KEY_LENGTH)? {
            (current, []) => Some(Seal { current: Key::new(current), former: None }),
            (current, former) if former.len() == KEY_LENGTH && current != former => {
                Some(Seal { current: Key::new(current), former: Some(Key::new(former)) })
            }
            _ => None,
        }
    }

    /// A key file's content.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * KEY_LENGTH));
        bytes.extend_from_slice(&self.current.bytes);
        if let Some(former) = &self.former {
            bytes.extend_from_slice(&former.bytes);
        }
        bytes
    }

    /// Whether values under the former key are still to be sealed anew.
    pub fn is_rotating(&self) -> bool {
        self.former.is_some()
    }

    /// With a new key before the current one.
    pub(super) fn rotated(&self) -> Result<Self, StoreError> {
        Ok(Seal { current: Key::random()?, former: Some(self.current.clone()) })
    }

    /// With the current key alone.
    pub(super) fn settled(&self) -> Self {
        Seal { current: self.current.clone(), former: None }
    }

    /// What every value under the current key begins with.
    pub(super) fn header(&self) -> [u8; HEADER] {
        self.current.header()
    }

    /// Seals `plaintext` for a row of a column (`table.column`).
    pub fn seal(&self, column: &str, row: &str, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| NO_RANDOM)?;
        let header = self.header();
        let mut text = Zeroizing::new(plaintext.to_vec());
        let tag = self
            .current
            .cipher()
            .encrypt_in_place_detached(Nonce::from_slice(&nonce), &associated(&header, column, row), &mut text)
            .map_err(|_| StoreError::Crypto("the value is too long"))?;
        Ok([&header[..], &nonce, &text, &tag].concat())
    }

    /// Opens what was sealed for that row and column.
    pub fn open(&self, column: &str, row: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        if sealed.len() < HEADER + NONCE + TAG || sealed[0] != VERSION {
            return Err(Unopened::Altered);
        }
        let (header, rest) = sealed.split_at(HEADER);
        let keys = [Some(&self.current), self.former.as_ref()];
        let key = keys.into_iter().flatten().find(|key| header[1..] == key.id).ok_or(Unopened::OtherKey)?;
        let (nonce, rest) = rest.split_at(NONCE);
        let (text, tag) = rest.split_at(rest.len() - TAG);
        let mut text = Zeroizing::new(text.to_vec());
        key.cipher()
            .decrypt_in_place_detached(
                Nonce::from_slice(nonce),
                &associated(header, column, row),
                &mut text,
                Tag::from_slice(tag),
            )
            .map_err(|_| Unopened::Altered)?;
        Ok(text)
    }
}

/// NUL parts them: none of them contains one (the header has a fixed length).
fn associated(header: &[u8], column: &str, row: &str) -> Vec<u8> {
    [header, column.as_bytes(), b"\0", row.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s22_a_value_is_bound_to_key_column_and_row() {
        let seal = Seal::from_bytes(&[1; KEY_LENGTH]).unwrap();
        let sealed = seal.seal("table.column", "row", b"plain").unwrap();
        assert_eq!(**seal.open("table.column", "row", &sealed).unwrap(), *b"plain");
        for (column, row) in [("table.other", "row"), ("table.column", "other"), ("table.columnr", "ow"), ("", "")] {
            assert_eq!(seal.open(column, row, &sealed), Err(Unopened::Altered), "{column} {row}");
        }
        let other = Seal::from_bytes(&[2; KEY_LENGTH]).unwrap();
        assert_eq!(other.open("table.column", "row", &sealed), Err(Unopened::OtherKey));
        assert_ne!(seal.seal("table.column", "row", b"plain").unwrap(), sealed, "a new nonce for every write");
    }

    #[test]
    fn s22_the_form_of_a_sealed_value_is_fixed() {
        // Made by ring's implementation of the same cipher: a store outlives the library that wrote it.
        let sealed = ring_sealed(&[7; KEY_LENGTH], "table.column", "row", b"plain");
        let seal = Seal::from_bytes(&[7; KEY_LENGTH]).unwrap();
        assert_eq!(**seal.open("table.column", "row", &sealed).unwrap(), *b"plain");
    }

    fn ring_sealed(key: &[u8], column: &str, row: &str, plain: &[u8]) -> Vec<u8> {
        use ring::aead;
        let header = Key::new(key).header();
        let unbound = aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key).unwrap();
        let (nonce, mut text) = ([9; NONCE], plain.to_vec());
        let aad = aead::Aad::from(associated(&header, column, row));
        aead::LessSafeKey::new(unbound)
            .seal_in_place_append_tag(aead::Nonce::assume_unique_for_key(nonce), aad, &mut text)
            .unwrap();
        [&header[..], &nonce, &text].concat()
    }

    #[test]
    fn while_keys_are_rotated_both_open_and_the_new_one_seals() {
        let old = Seal::random().unwrap();
        let before = old.seal("t.c", "r", b"plain").unwrap();
        let both = Seal::from_bytes(&old.rotated().unwrap().to_bytes()).unwrap();
        assert!(both.is_rotating() && !old.is_rotating());
        assert_eq!(**both.open("t.c", "r", &before).unwrap(), *b"plain");
        let after = both.seal("t.c", "r", b"plain").unwrap();
        assert!(after.starts_with(&both.header()) && !before.starts_with(&both.header()));
        assert_eq!(old.open("t.c", "r", &after), Err(Unopened::OtherKey));
        let new = Seal::from_bytes(&both.settled().to_bytes()).unwrap();
        assert_eq!(new.open("t.c", "r", &before), Err(Unopened::OtherKey));
        assert_eq!(**new.open("t.c", "r", &after).unwrap(), *b"plain");
    }
}
