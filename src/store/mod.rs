//! Floor 3, disk: what survives a restart. Today the enrolments (DESIGN §5) and the best mechanism each domain
//! has offered.
//!
//! [`Store`] is the interface; [`sqlite`] keeps it on disk, encrypted by [`seal`]; [`memory`] is for tests. One
//! conformance suite runs over all of them. Methods block: call them on a blocking thread.

#[cfg(test)]
mod conformance;
mod key_file;
pub mod memory;
mod record;
pub mod seal;
pub mod sqlite;

use crate::stream::sasl::{Hash, Mechanism, Secret};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jid::BareJid;
use std::{io, path::PathBuf};
use thiserror::Error;

pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

/// An account whose account session can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// Whose it is: the bare JID as bound.
    pub account: BareJid,
    /// Which upstream the secret was proved at; it is not to be used at another (S25).
    pub upstream: String,
    /// The account session's resource: opaque, random, the same for as long as the account is enrolled.
    pub resource: String,
    /// What it logs in with.
    pub secret: Secret,
    /// When it was last enrolled, in seconds since the Unix epoch.
    pub enrolled_at: u64,
}

/// An enrolment without what is secret, to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whose it is.
    pub account: BareJid,
    /// Which upstream it was proved at.
    pub upstream: String,
    /// The hash that keys are kept for; `None` if the password itself is kept.
    pub keys_for: Option<Hash>,
    /// When it was last enrolled, in seconds since the Unix epoch.
    pub enrolled_at: u64,
}

/// What survives a restart. What a method has returned `Ok` for is on disk.
pub trait Store: Send + Sync {
    /// Enrols an account, or enrols it anew. The resource is made the first time and kept from then on. An error for
    /// one that is denied.
    fn put_enrolment(
        &self,
        account: &BareJid,
        upstream: &str,
        secret: &Secret,
        now: u64,
    ) -> Result<Enrolment, StoreError>;

    /// The enrolment of an account.
    fn enrolment(&self, account: &BareJid) -> Result<Option<Enrolment>, StoreError>;

    /// All enrolments, by account.
    fn enrolments(&self) -> Result<Vec<Summary>, StoreError>;

    /// Forgets an enrolment and wipes it; whether there was one. Works for one that cannot be read any more.
    fn remove_enrolment(&self, account: &BareJid) -> Result<bool, StoreError>;

    /// Forgets all that is kept of an account, whatever it is, and wipes it; whether there was anything. Whether it is
    /// denied is the operator's, and stays.
    fn purge(&self, account: &BareJid) -> Result<bool, StoreError>;

    /// Notes that an account is not to be enrolled, and forgets its enrolment; whether it was not denied before.
    fn deny(&self, account: &BareJid) -> Result<bool, StoreError>;

    /// Takes [`deny`](Self::deny) back; whether it was denied.
    fn allow(&self, account: &BareJid) -> Result<bool, StoreError>;

    /// Whether an account is denied.
    fn is_denied(&self, account: &BareJid) -> Result<bool, StoreError>;

    /// All that are denied, in order.
    fn denied(&self) -> Result<Vec<BareJid>, StoreError>;

    /// Binds an enrolment to another upstream (S25); whether there is one.
    fn rebind(&self, account: &BareJid, upstream: &str) -> Result<bool, StoreError>;

    /// The best mechanism that a domain is remembered to have offered (S5).
    fn best_mechanism(&self, domain: &str) -> Result<Option<Mechanism>, StoreError>;

    /// Remembers the best mechanism of a domain.
    fn set_best_mechanism(&self, domain: &str, best: Mechanism) -> Result<(), StoreError>;

    /// The operator's reset of [`best_mechanism`](Self::best_mechanism); whether there was one.
    fn forget_best_mechanism(&self, domain: &str) -> Result<bool, StoreError>;

    /// Makes a new key and seals everything anew with it (S22). What a rotation that was interrupted has begun is
    /// finished instead. Other calls are served meanwhile. What was sealed with the old key is wiped.
    fn rotate_key(&self) -> Result<Rotation, StoreError>;
}

/// What a rotation of keys did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Values that were sealed anew.
    pub resealed: usize,
    /// Values that could not be opened: somebody had altered them. They are emptied.
    pub unreadable: usize,
}

/// Why the store cannot be opened or used: what, where, and what to do.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process (or another handle) has it.
    #[error("another minimix-proxy has {} open; stop it first, or use another data directory", .dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// A directory that others may enter, and that is not evidently ours to close.
    #[error(
        "the data directory {} is open to other users (mode {mode:03o}) and holds other things than the store; \
         use a directory of its own, or chmod 700 it", .dir.display()
    )]
    DirectoryOpen {
        /// The data directory.
        dir: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file may be read by others (S22).
    #[error(
        "the key file {} may be read by other users (mode {mode:03o}); chmod 600 it, and replace the key if \
         somebody may have read it", .path.display()
    )]
    KeyReadable {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is somebody else's, who can read and change it.
    #[error(
        "the key file {} belongs to another user (uid {owner}); chown it to the user that runs minimix-proxy",
        .path.display()
    )]
    KeyForeign {
        /// The key file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// The store has content, but its key file is not there.
    #[error(
        "the key file {} is missing, and {} is encrypted with it; restore the key file (or set key_file to where it \
         is), or move the store away to start with no enrolments", .path.display(), .store.display()
    )]
    KeyMissing {
        /// The key file.
        path: PathBuf,
        /// The database.
        store: PathBuf,
    },
    /// The key file has not the form of one.
    #[error(
        "{} is not a key file: {length} bytes that are no key of 32; restore the right one, or, if no store was made with \
         it yet, remove it", .path.display()
    )]
    KeyMalformed {
        /// The key file.
        path: PathBuf,
        /// Its length, 65 for anything longer than two keys.
        length: usize,
    },
    /// The store was encrypted with another key.
    #[error(
        "{} is encrypted with another key than the one in {}; give the right key file, or move the store away to \
         start with no enrolments", .store.display(), .path.display()
    )]
    WrongKey {
        /// The key file.
        path: PathBuf,
        /// The database.
        store: PathBuf,
    },
    /// A sealed value does not open: somebody changed or moved it.
    #[error(
        "{what} in {} was altered since it was written, and is not used; remove it (account remove), and \
         enrol anew", .store.display()
    )]
    Altered {
        /// Which value.
        what: String,
        /// The database.
        store: PathBuf,
    },
    /// The database file is damaged, or none.
    #[error(
        "the store {} is damaged ({detail}); restore it from a backup, or move it away to start with no enrolments",
        .path.display()
    )]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A newer minimix-proxy wrote it.
    #[error(
        "the store {} has schema {found}, this minimix-proxy knows {known} at most; run the newer version again",
        .path.display()
    )]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Something else has the database open, so that what was deleted cannot be wiped.
    #[error("another program has {} open; end it, and try again", .path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// The operator has said that this account is not to be enrolled.
    #[error("{account} is denied; `minimix-proxy account allow {account}` takes that back")]
    Denied {
        /// The account.
        account: BareJid,
    },
    /// No room left.
    #[error("the disk that holds {} is full; free some space", .path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// Any other failure of the database.
    #[error("the store {} cannot be used: {source}", .path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's report.
        source: rusqlite::Error,
    },
    /// A file or directory cannot be used.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's report.
        source: io::Error,
    },
    /// This process is ending.
    #[error("the store is not used any more: this process is ending")]
    Ending,
    /// The system gives no random bytes, or the cipher refused a value.
    #[error("the store cannot encrypt: {0}")]
    Crypto(&'static str),
}

/// A resource for an account session: 128 random bits.
fn new_resource() -> Result<String, StoreError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| StoreError::Crypto("the system gives no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

impl Enrolment {
    fn summary(&self) -> Summary {
        let keys_for = match &self.secret {
            Secret::Password(_) => None,
            Secret::Salted(salted) => Some(salted.hash),
        };
        let (account, upstream) = (self.account.clone(), self.upstream.clone());
        Summary { account, upstream, keys_for, enrolled_at: self.enrolled_at }
    }
}
