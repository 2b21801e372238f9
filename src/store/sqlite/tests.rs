//! What only a store on disk can get wrong.

use super::super::conformance::{jid, password, salted};
use super::*;
use crate::stream::sasl::Hash;
use std::io::{Seek, SeekFrom, Write};
use tempfile::TempDir;

pub(super) const SECRET: &str = "correct horse battery staple";
pub(super) const KEY: &[u8; 32] = b"0123456789abcdefSALTEDPASSWORD!!";

pub(super) struct Place {
    _tmp: TempDir,
    pub(super) dir: PathBuf,
    pub(super) key: PathBuf,
}

impl Place {
    pub(super) fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        Self { dir: tmp.path().join("data"), key: tmp.path().join("key"), _tmp: tmp }
    }

    pub(super) fn open(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(&self.dir, &self.key)
    }

    pub(super) fn database(&self) -> PathBuf {
        self.dir.join(DATABASE)
    }

    /// With two accounts and a remembered mechanism in it, closed.
    pub(super) fn filled() -> Self {
        let place = Self::new();
        let store = place.open().unwrap();
        store.put_enrolment(&jid("alice@x"), "upstream.example", &password(SECRET), 1).unwrap();
        store.put_enrolment(&jid("bob@x"), "upstream.example", &salted(Hash::Sha256, KEY), 2).unwrap();
        store.set_best_mechanism("x", Mechanism::ScramPlus(Hash::Sha1)).unwrap();
        place
    }

    pub(super) fn sql(&self, statement: &str) -> usize {
        Connection::open(self.database()).unwrap().execute(statement, []).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_restart_forgets_nothing() {
    let place = Place::filled();
    let before = place.open().unwrap().enrolment(&jid("alice@x")).unwrap().unwrap();
    let store = place.open().unwrap();
    assert_eq!(store.enrolment(&jid("alice@x")).unwrap(), Some(before.clone()));
    assert_eq!(before.secret, password(SECRET));
    assert_eq!(store.enrolment(&jid("bob@x")).unwrap().unwrap().secret, salted(Hash::Sha256, KEY));
    assert_eq!(store.best_mechanism("x").unwrap(), Some(Mechanism::ScramPlus(Hash::Sha1)));
    let again = store.put_enrolment(&jid("alice@x"), "up", &password("new"), 9).unwrap();
    assert_eq!(again.resource, before.resource);
}

#[test]
fn s22_one_process_at_a_time() {
    let place = Place::new();
    let first = place.open().unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(&error, StoreError::Locked { dir } if *dir == place.dir), "{error}");
    assert!(error.to_string().starts_with("another minimix-proxy has "), "{error}");
    drop(first);
    place.open().unwrap();
}

#[test]
fn s22_files_are_private() {
    let place = Place::new();
    let store = place.open().unwrap();
    store.put_enrolment(&jid("alice@x"), "up", &password(SECRET), 1).unwrap();
    assert_eq!(mode(&place.dir), 0o700);
    assert_eq!(mode(&place.key), 0o600);
    let files: Vec<PathBuf> = fs::read_dir(&place.dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 4, "lock, database, wal, shm: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn s22_wrong_modes_are_repaired_or_refused() {
    let place = Place::filled();
    chmod(&place.dir, 0o755);
    chmod(&place.database(), 0o644);
    drop(place.open().unwrap());
    assert_eq!((mode(&place.dir), mode(&place.database())), (0o700, 0o600));

    let empty = Place::new();
    fs::create_dir(&empty.dir).unwrap();
    chmod(&empty.dir, 0o755);
    drop(empty.open().unwrap());
    assert_eq!(mode(&empty.dir), 0o700);

    let shared = Place::new();
    fs::create_dir(&shared.dir).unwrap();
    fs::write(shared.dir.join("somebody's"), "").unwrap();
    chmod(&shared.dir, 0o755);
    let error = shared.open().unwrap_err();
    assert!(matches!(error, StoreError::DirectoryOpen { mode: 0o755, .. }), "{error}");
    assert_eq!(mode(&shared.dir), 0o755, "not ours to change");
}

#[test]
fn s22_a_key_that_others_can_read_is_refused() {
    let place = Place::filled();
    for open in [0o644, 0o640, 0o604] {
        chmod(&place.key, open);
        let error = place.open().unwrap_err();
        assert!(matches!(error, StoreError::KeyReadable { mode, .. } if mode == open), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    chmod(&place.key, 0o400);
    place.open().unwrap();
}

#[test]
fn s22_a_key_of_another_user_is_refused() {
    let place = Place::filled();
    // Only root can give a file away.
    if std::os::unix::fs::chown(&place.key, Some(65534), None).is_err() {
        return;
    }
    let error = place.open().unwrap_err();
    assert!(matches!(error, StoreError::KeyForeign { owner: 65534, .. }), "{error}");
    assert!(error.to_string().contains("chown"), "{error}");
}

#[test]
fn s22_a_wrong_missing_or_broken_key_is_an_error_and_never_an_empty_store() {
    let place = Place::filled();
    let right = fs::read(&place.key).unwrap();
    fs::write(&place.key, [7; 32]).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
    assert!(error.to_string().contains(&place.key.display().to_string()), "{error}");

    for broken in [&right[..31], &right.repeat(2), b""] {
        fs::write(&place.key, broken).unwrap();
        let error = place.open().unwrap_err();
        assert!(matches!(error, StoreError::KeyMalformed { .. }), "{error}");
    }

    fs::remove_file(&place.key).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, StoreError::KeyMissing { .. }), "{error}");
    assert!(!place.key.exists(), "no new key for an old store");

    fs::write(&place.key, &right).unwrap();
    chmod(&place.key, 0o600);
    assert_eq!(place.open().unwrap().enrolments().unwrap().len(), 2);
}

#[test]
fn a_key_file_is_made_once_and_whole() {
    let place = Place::new();
    fs::write(place.key.with_extension("new"), "half a k").unwrap();
    place.open().unwrap();
    let key = fs::read(&place.key).unwrap();
    assert_eq!(key.len(), 32);
    assert!(keys::create(&place.key).is_err(), "an existing key is never replaced");
    assert_eq!(fs::read(&place.key).unwrap(), key);
    assert_eq!(fs::read_dir(place.key.parent().unwrap()).unwrap().count(), 2, "no drafts: key and data");
}

#[test]
fn s22_altered_values_are_refused() {
    let place = Place::filled();
    let sealed: Vec<u8> = Connection::open(place.database())
        .unwrap()
        .query_row("SELECT record FROM enrolment WHERE account = 'alice@x'", [], |row| row.get(0))
        .unwrap();
    let write = |record: &[u8]| {
        let connection = Connection::open(place.database()).unwrap();
        connection.execute("UPDATE enrolment SET record = ?1 WHERE account = 'alice@x'", [record]).unwrap();
    };
    let mut variants: Vec<Vec<u8>> = (0..sealed.len())
        .step_by(7)
        .map(|at| {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            altered
        })
        .collect();
    variants.extend([0, 1, 20, 36, sealed.len() - 1].map(|length| sealed[..length].to_vec()));
    for altered in variants {
        write(&altered);
        let store = place.open().unwrap();
        let error = store.enrolment(&jid("alice@x")).unwrap_err();
        assert!(matches!(error, StoreError::Altered { .. }), "{error}");
        assert!(store.enrolments().is_err() && store.put_enrolment(&jid("alice@x"), "u", &password("p"), 1).is_err());
        assert!(store.enrolment(&jid("bob@x")).is_ok(), "a neighbour is not disturbed");
    }
    let store = place.open().unwrap();
    assert!(store.remove_enrolment(&jid("alice@x")).unwrap(), "the way out");
    assert_eq!(store.enrolments().unwrap().len(), 1);
}

#[test]
fn s22_values_open_only_where_they_were_sealed() {
    let place = Place::filled();
    place.sql("UPDATE enrolment SET record = (SELECT record FROM enrolment WHERE account = 'alice@x')");
    let store = place.open().unwrap();
    assert!(store.enrolment(&jid("alice@x")).is_ok());
    let error = store.enrolment(&jid("bob@x")).unwrap_err();
    assert!(matches!(error, StoreError::Altered { .. }), "{error}");
    assert!(error.to_string().contains("bob@x"), "{error}");
    drop(store);

    // Same row name, another column.
    place.sql("INSERT INTO domain SELECT account, record FROM enrolment WHERE account = 'alice@x'");
    let error = place.open().unwrap().best_mechanism("alice@x").unwrap_err();
    assert!(matches!(error, StoreError::Altered { .. }), "{error}");
}

#[test]
fn s22_no_secret_stands_in_any_file() {
    let place = Place::new();
    let store = place.open().unwrap();
    let put = store.put_enrolment(&jid("alice@x"), "upstream.example", &password(SECRET), 1).unwrap();
    store.put_enrolment(&jid("bob@x"), "upstream.example", &salted(Hash::Sha256, KEY), 2).unwrap();
    store.set_best_mechanism("x", Mechanism::ScramPlus(Hash::Sha1)).unwrap();
    let base64 = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes);
    let key_file = fs::read(&place.key).unwrap();
    let needles = [
        SECRET.as_bytes(),
        KEY,
        &key_file,
        put.resource.as_bytes(),
        b"upstream.example",
        b"SCRAM",
        base64(SECRET.as_bytes()).as_bytes(),
        base64(KEY).as_bytes(),
    ]
    .map(<[u8]>::to_vec);
    let search = || {
        let mut seen = 0;
        for entry in fs::read_dir(&place.dir).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            seen += memchr::memmem::find_iter(&bytes, "alice@x").count();
            for needle in &needles {
                assert!(memchr::memmem::find(&bytes, needle).is_none(), "found in {}", path.display());
            }
        }
        assert!(seen > 0, "the search finds what is there");
    };
    search();
    drop(store);
    search();
    let shown = format!("{:?} {put:?}", place.open().unwrap());
    assert!(!shown.contains(SECRET), "{shown}");
}

#[test]
fn a_damaged_file_is_an_error_that_says_so() {
    let place = Place::filled();
    let whole = fs::read(place.database()).unwrap();
    assert!(whole.len() > 8192);
    fs::write(place.database(), "this is no database, but long enough to have a header".repeat(100)).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");

    for page in 1..whole.len() / 4096 {
        fs::write(place.database(), &whole).unwrap();
        let mut file = OpenOptions::new().write(true).open(place.database()).unwrap();
        file.seek(SeekFrom::Start(4096 * page as u64)).unwrap();
        file.write_all(&[0xa5; 4096]).unwrap();
        let error = place.open().expect_err("every page is looked at");
        assert!(matches!(error, StoreError::Damaged { .. }), "page {page}: {error}");
    }
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let place = Place::filled();
    Connection::open(place.database()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = place.open().unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, known: 2, .. }), "{error}");
}

#[test]
fn a_place_that_cannot_be_is_an_error_naming_it() {
    let place = Place::new();
    fs::write(&place.dir, "a file").unwrap();
    let error = place.open().unwrap_err().to_string();
    assert!(error.contains(&place.dir.display().to_string()), "{error}");

    let place = Place::new();
    let key = place.dir.join("no such directory").join("key");
    let error = SqliteStore::open(&place.dir, &key).unwrap_err().to_string();
    assert!(error.contains("no such directory"), "{error}");
}

#[test]
fn s25_a_purge_wipes_every_table_with_an_account() {
    let place = Place::filled();
    let connection = Connection::open(place.database()).unwrap();
    let mut query = connection
        .prepare(
            "SELECT t.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND c.name = 'account' ORDER BY 1",
        )
        .unwrap();
    let found: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let mut known = [&operator::OF_AN_ACCOUNT[..], &["denied"]].concat();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn a_store_of_the_first_schema_is_brought_up_to_date() {
    let place = Place::filled();
    place.sql("DROP TABLE denied");
    Connection::open(place.database()).unwrap().pragma_update(None, "user_version", 1).unwrap();
    let store = place.open().unwrap();
    assert_eq!(store.enrolment(&jid("alice@x")).unwrap().unwrap().secret, password(SECRET));
    assert!(store.deny(&jid("alice@x")).unwrap());
}
