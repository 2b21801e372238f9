//! The store on disk: one SQLite database in a directory of its own, for one process.
//!
//! The directory is 0700, the files in it 0600 (S22). `lock` is held exclusively while the store is open.
//! Everything but the keys that rows are found by is sealed (see [`super::seal`]). Write-ahead log, and a commit is on
//! disk before it returns (`synchronous=FULL`): writes are rare.

mod operator;
mod rotate;

use super::seal::{Seal, Unopened};
use super::{Enrolment, Rotation, Store, StoreError, Summary, new_resource};
use super::{key_file as keys, record};
use crate::stream::sasl::{Mechanism, Secret};
use jid::BareJid;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The database's name in the data directory.
const DATABASE: &str = "minimix-proxy.sqlite";
const LOCK: &str = "lock";

/// Each brings the schema one version further; `user_version` counts those that were run. Never edit one that
/// was released: append.
const MIGRATIONS: [&str; 2] = [
    "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE enrolment (account TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE domain (name TEXT PRIMARY KEY, best_mechanism BLOB NOT NULL) STRICT, WITHOUT ROWID;
",
    "CREATE TABLE denied (account TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;",
];

const ENROLMENT: &str = "enrolment.record";
const BEST_MECHANISM: &str = "domain.best_mechanism";
/// A value that shows, at opening, whether the key is the right one.
const CHECK: (&str, &str) = ("meta.value", "check");

/// The store on disk.
#[derive(Debug)]
pub struct SqliteStore {
    inner: Mutex<Inner>,
    /// Held for as long as keys are rotated, so that it is done by one at a time.
    rotating: Mutex<()>,
    path: PathBuf,
    key_file: PathBuf,
    /// Held for its lock, which ends with it, also if the process is killed.
    _lock: File,
}

/// What is read under one lock belongs together: a value, and the keys of the time when it was read.
#[derive(Debug)]
struct Inner {
    connection: Connection,
    seal: Arc<Seal>,
}

impl SqliteStore {
    /// Opens the store in `dir`, encrypted under the key in `key_file`; both are made if there is neither.
    ///
    /// A `key_file` that is missing is made only for a store with nothing in it. A rotation of keys that was
    /// interrupted is finished.
    pub fn open(dir: &Path, key_file: &Path) -> Result<Self, StoreError> {
        prepare_directory(dir)?;
        let lock = lock(dir)?;
        let path = dir.join(DATABASE);
        private_file(&path)?;
        let connection = connect(&path).map_err(|e| failure(&path, e))?;
        let connection = migrate(connection, &path)?;
        keys::tidy(key_file);
        let seal = Arc::new(unlock(&connection, &path, key_file)?);
        let key_file = key_file.to_owned();
        let inner = Mutex::new(Inner { connection, seal });
        let store = Self { inner, rotating: Mutex::new(()), path, key_file, _lock: lock };
        store.resume_rotation();
        Ok(store)
    }

    /// The database of the store in `dir`.
    pub fn file(dir: &Path) -> PathBuf {
        dir.join(DATABASE)
    }

    /// A panic elsewhere cannot leave a transaction half done: it is rolled back when dropped.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self, error: rusqlite::Error) -> StoreError {
        failure(&self.path, error)
    }

    fn altered(&self, what: String) -> StoreError {
        StoreError::Altered { what, store: self.path.clone() }
    }

    /// A value of another key than the store's (which was checked at opening) is an altered one too.
    fn read(&self, seal: &Seal, account: &BareJid, sealed: &[u8]) -> Result<Enrolment, StoreError> {
        let altered = || self.altered(format!("the enrolment of {account}"));
        let opened = seal.open(ENROLMENT, account.as_str(), sealed).map_err(|_| altered())?;
        record::decode(account, &opened).ok_or_else(altered)
    }

    fn write(&self, seal: &Seal, connection: &Connection, enrolment: &Enrolment) -> Result<(), StoreError> {
        let account = enrolment.account.as_str();
        let plain = record::encode(enrolment).ok_or(StoreError::Crypto("the enrolment cannot be written"))?;
        let sealed = seal.seal(ENROLMENT, account, &plain)?;
        let written =
            connection.execute("REPLACE INTO enrolment (account, record) VALUES (?1, ?2)", params![account, sealed]);
        written.map(drop).map_err(|e| self.failure(e))
    }
}

impl Store for SqliteStore {
    fn put_enrolment(
        &self,
        account: &BareJid,
        upstream: &str,
        secret: &Secret,
        now: u64,
    ) -> Result<Enrolment, StoreError> {
        let Inner { connection, seal } = &mut *self.inner();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| self.failure(e))?;
        if operator::is_denied(&transaction, account).map_err(|e| self.failure(e))? {
            return Err(StoreError::Denied { account: account.clone() });
        }
        let earlier: Option<Vec<u8>> = transaction
            .query_row("SELECT record FROM enrolment WHERE account = ?1", [account.as_str()], |row| row.get(0))
            .optional()
            .map_err(|e| self.failure(e))?;
        let resource = match earlier {
            Some(sealed) => self.read(seal, account, &sealed)?.resource,
            None => new_resource()?,
        };
        let enrolment = Enrolment {
            account: account.clone(),
            upstream: upstream.to_owned(),
            resource,
            secret: secret.clone(),
            enrolled_at: now,
        };
        self.write(seal, &transaction, &enrolment)?;
        transaction.commit().map_err(|e| self.failure(e))?;
        Ok(enrolment)
    }

    fn enrolment(&self, account: &BareJid) -> Result<Option<Enrolment>, StoreError> {
        let (sealed, seal) = {
            let Inner { connection, seal } = &*self.inner();
            let sealed: Option<Vec<u8>> = connection
                .query_row("SELECT record FROM enrolment WHERE account = ?1", [account.as_str()], |row| row.get(0))
                .optional()
                .map_err(|e| self.failure(e))?;
            (sealed, seal.clone())
        };
        sealed.map(|sealed| self.read(&seal, account, &sealed)).transpose()
    }

    fn enrolments(&self) -> Result<Vec<Summary>, StoreError> {
        let (rows, seal) = {
            let Inner { connection, seal } = &*self.inner();
            let rows: Vec<(String, Vec<u8>)> = connection
                .prepare("SELECT account, record FROM enrolment ORDER BY account")
                .and_then(|mut query| query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
                .map_err(|e| self.failure(e))?;
            (rows, seal.clone())
        };
        let summary = |(account, sealed): (String, Vec<u8>)| {
            let jid = BareJid::new(&account)
                .map_err(|_| self.altered(format!("the enrolment of {}", account.escape_debug())))?;
            Ok(self.read(&seal, &jid, &sealed)?.summary())
        };
        rows.into_iter().map(summary).collect()
    }

    fn remove_enrolment(&self, account: &BareJid) -> Result<bool, StoreError> {
        self.delete(account, &["enrolment"])
    }

    fn purge(&self, account: &BareJid) -> Result<bool, StoreError> {
        self.delete(account, &operator::OF_AN_ACCOUNT)
    }

    fn deny(&self, account: &BareJid) -> Result<bool, StoreError> {
        self.note_denied(account)
    }

    fn allow(&self, account: &BareJid) -> Result<bool, StoreError> {
        self.note_allowed(account)
    }

    fn is_denied(&self, account: &BareJid) -> Result<bool, StoreError> {
        operator::is_denied(&self.inner().connection, account).map_err(|e| self.failure(e))
    }

    fn denied(&self) -> Result<Vec<BareJid>, StoreError> {
        self.list_denied()
    }

    fn rebind(&self, account: &BareJid, upstream: &str) -> Result<bool, StoreError> {
        self.bind(account, upstream)
    }

    fn best_mechanism(&self, domain: &str) -> Result<Option<Mechanism>, StoreError> {
        let Inner { connection, seal } = &*self.inner();
        let sealed: Option<Vec<u8>> = connection
            .query_row("SELECT best_mechanism FROM domain WHERE name = ?1", [domain], |row| row.get(0))
            .optional()
            .map_err(|e| self.failure(e))?;
        let Some(sealed) = sealed else { return Ok(None) };
        let altered = || self.altered(format!("the remembered mechanism of {domain}"));
        let name = seal.open(BEST_MECHANISM, domain, &sealed).map_err(|_| altered())?;
        let mechanism = std::str::from_utf8(&name).ok().and_then(Mechanism::from_name);
        mechanism.map(Some).ok_or_else(altered)
    }

    fn set_best_mechanism(&self, domain: &str, best: Mechanism) -> Result<(), StoreError> {
        let Inner { connection, seal } = &*self.inner();
        let sealed = seal.seal(BEST_MECHANISM, domain, best.name().as_bytes())?;
        connection
            .execute("REPLACE INTO domain (name, best_mechanism) VALUES (?1, ?2)", params![domain, sealed])
            .map_err(|e| self.failure(e))?;
        Ok(())
    }

    fn forget_best_mechanism(&self, domain: &str) -> Result<bool, StoreError> {
        let removed = self
            .inner()
            .connection
            .execute("DELETE FROM domain WHERE name = ?1", [domain])
            .map_err(|e| self.failure(e))?;
        Ok(removed > 0)
    }

    fn rotate_key(&self) -> Result<Rotation, StoreError> {
        self.rotate()
    }
}

/// Makes the directory, or closes an existing one to others, if nobody else can be living in it.
fn prepare_directory(dir: &Path) -> Result<(), StoreError> {
    let fail = |action| move |source| StoreError::File { action, path: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail("make the data directory"))?;
    let mode = fs::metadata(dir).map_err(fail("examine the data directory"))?.mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let empty = fs::read_dir(dir).map_err(fail("list the data directory"))?.next().is_none();
    let sticky = mode & 0o1000 != 0;
    if sticky || !(empty || dir.join(DATABASE).is_file()) {
        return Err(StoreError::DirectoryOpen { dir: dir.to_owned(), mode });
    }
    tracing::warn!(dir = %dir.display(), "the data directory was open to other users (mode {mode:03o}); closing it (700)");
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(fail("close to other users (chmod 700)"))
}

fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let file = private_file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(StoreError::File { action: "lock", path, source }),
    }
}

/// Opens or makes a file that only we can read. SQLite's side files get its mode.
fn private_file(path: &Path) -> Result<File, StoreError> {
    let fail = |action| move |source| StoreError::File { action, path: path.to_owned(), source };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(fail("open"))?;
    let mode = file.metadata().map_err(fail("examine"))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "was open to other users (mode {mode:03o}); closing it (600)");
        file.set_permissions(Permissions::from_mode(0o600)).map_err(fail("close to other users (chmod 600)"))?;
    }
    Ok(file)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    Ok(connection)
}

/// Checks the database and brings its schema up to date, each step whole or not at all.
fn migrate(mut connection: Connection, path: &Path) -> Result<Connection, StoreError> {
    let fail = |e| failure(path, e);
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fail)?;
    if verdict != "ok" {
        return Err(StoreError::Damaged { path: path.to_owned(), detail: verdict });
    }
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(fail)?;
    if found as usize > MIGRATIONS.len() {
        return Err(StoreError::TooNew { path: path.to_owned(), found, known: MIGRATIONS.len() as u32 });
    }
    for (version, migration) in (1_u32..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction().map_err(fail)?;
        transaction.execute_batch(migration).map_err(fail)?;
        transaction.pragma_update(None, "user_version", version).map_err(fail)?;
        transaction.commit().map_err(fail)?;
    }
    Ok(connection)
}

/// Loads the key and proves that it is the store's; a store without one gets a new one.
fn unlock(connection: &Connection, path: &Path, key_file: &Path) -> Result<Seal, StoreError> {
    let check: Option<Vec<u8>> = connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [CHECK.1], |row| row.get(0))
        .optional()
        .map_err(|e| failure(path, e))?;
    let seal = keys::load(key_file)?;
    let Some(check) = check else {
        let seal = seal.map_or_else(|| keys::create(key_file), Ok)?;
        let sealed = seal.seal(CHECK.0, CHECK.1, b"")?;
        connection
            .execute("INSERT INTO meta (name, value) VALUES (?1, ?2)", params![CHECK.1, sealed])
            .map_err(|e| failure(path, e))?;
        return Ok(seal);
    };
    let (key_file, store) = (key_file.to_owned(), path.to_owned());
    let Some(seal) = seal else { return Err(StoreError::KeyMissing { path: key_file, store }) };
    match seal.open(CHECK.0, CHECK.1, &check) {
        Ok(_) => Ok(seal),
        Err(Unopened::OtherKey) => Err(StoreError::WrongKey { path: key_file, store }),
        Err(Unopened::Altered) => {
            Err(StoreError::Damaged { path: store, detail: "its check value was altered".to_owned() })
        }
    }
}

fn failure(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path, detail: error.to_string() }
        }
        Some(ErrorCode::DiskFull) => StoreError::Full { path },
        _ => StoreError::Database { path, source: error },
    }
}

#[cfg(test)]
mod tests;
