//! Encryption at rest (S22): ChaCha20-Poly1305 (RFC 8439) under the key in the key file, each value bound to
//! where it stands.
//!
//! A sealed value is `version (1) | key id (8) | nonce (12) | ciphertext and tag`. Version, key id, column and
//! row are associated data, so that no value opens in another's place. The key id (the head of a hash of the
//! key) tells a wrong key from an altered value, and will tell old from new while keys are rotated.
//!
//! Nonces are random: one key is good for 2³² writes (then two nonces are alike with a chance of 2⁻³²), which
//! is a write every second for 136 years.

use super::StoreError;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const KEY_LENGTH: usize = 32;
const VERSION: u8 = 1;
const KEY_ID: usize = 8;
const HEADER: usize = 1 + KEY_ID;
const MINIMUM: usize = HEADER + NONCE_LEN + 16;

/// The key of a store.
pub struct Seal {
    key: LessSafeKey,
    id: [u8; KEY_ID],
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal").finish_non_exhaustive()
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

impl Seal {
    /// Loads the key file; `None` if there is none.
    pub fn load(path: &Path) -> Result<Option<Self>, StoreError> {
        let fail = |action| move |source| StoreError::File { action, path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail("open the key file")(e)),
        };
        // Of the opened file, not of the path: nobody can change it for another in between.
        let mode = file.metadata().map_err(fail("examine the key file"))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(StoreError::KeyReadable { path: path.to_owned(), mode });
        }
        let mut key = Zeroizing::new(Vec::with_capacity(64));
        file.take(KEY_LENGTH as u64 + 1).read_to_end(&mut key).map_err(fail("read the key file"))?;
        if key.len() != KEY_LENGTH {
            return Err(StoreError::KeyMalformed { path: path.to_owned(), length: key.len() });
        }
        Self::from_key(&key).map(Some)
    }

    /// Makes a new key file, readable by us alone. Whole or not at all, also if we are killed meanwhile; an
    /// existing one is never replaced.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let fail = |action| move |source| StoreError::File { action, path: path.to_owned(), source };
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        getrandom::fill(&mut *key).map_err(|_| StoreError::Crypto("the system gives no random bytes"))?;
        let draft = draft_of(path);
        match fs::remove_file(&draft) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail("make the key file")(e)),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)
            .map_err(fail("make the key file"))?;
        let written = file.write_all(&*key).and_then(|()| file.sync_all());
        // A link, not a renaming: it fails where there is a file already.
        let placed = written.and_then(|()| fs::hard_link(&draft, path));
        let removed = fs::remove_file(&draft);
        placed.and(removed).map_err(fail("make the key file"))?;
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail("make the key file"))?;
        }
        Self::from_key(&*key)
    }

    fn from_key(key: &[u8]) -> Result<Self, StoreError> {
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| StoreError::Crypto("bad key"))?;
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"minimix-proxy key id\0");
        context.update(key);
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&context.finish().as_ref()[..KEY_ID]);
        Ok(Self { key: LessSafeKey::new(unbound), id })
    }

    /// Seals `plaintext` for a row of a column (`table.column`).
    pub fn seal(&self, column: &str, row: &str, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| StoreError::Crypto("the system gives no random bytes"))?;
        let mut header = [VERSION; HEADER];
        header[1..].copy_from_slice(&self.id);
        let mut text = Zeroizing::new(plaintext.to_vec());
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                associated(&header, column, row),
                &mut text,
            )
            .map_err(|_| StoreError::Crypto("the value is too long"))?;
        Ok([&header[..], &nonce, &text, tag.as_ref()].concat())
    }

    /// Opens what was sealed for that row and column.
    pub fn open(&self, column: &str, row: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        if sealed.len() < MINIMUM || sealed[0] != VERSION {
            return Err(Unopened::Altered);
        }
        let (header, rest) = sealed.split_at(HEADER);
        if header[1..] != self.id {
            return Err(Unopened::OtherKey);
        }
        let (nonce, text) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopened::Altered)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .key
            .open_in_place(nonce, associated(header, column, row), &mut text)
            .map_err(|_| Unopened::Altered)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

/// NUL parts them: none of them contains one (the header has a fixed length).
fn associated(header: &[u8], column: &str, row: &str) -> Aad<Vec<u8>> {
    Aad::from([header, column.as_bytes(), b"\0", row.as_bytes()].concat())
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s22_a_value_is_bound_to_key_column_and_row() {
        let seal = Seal::from_key(&[1; KEY_LENGTH]).unwrap();
        let sealed = seal.seal("table.column", "row", b"plain").unwrap();
        assert_eq!(**seal.open("table.column", "row", &sealed).unwrap(), *b"plain");
        for (column, row) in [("table.other", "row"), ("table.column", "other"), ("table.columnr", "ow"), ("", "")] {
            assert_eq!(seal.open(column, row, &sealed), Err(Unopened::Altered), "{column} {row}");
        }
        let other = Seal::from_key(&[2; KEY_LENGTH]).unwrap();
        assert_eq!(other.open("table.column", "row", &sealed), Err(Unopened::OtherKey));
        assert_ne!(seal.seal("table.column", "row", b"plain").unwrap(), sealed, "a new nonce for every write");
    }
}
