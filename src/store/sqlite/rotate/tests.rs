use super::super::tests::{KEY, Place, SECRET};
use super::super::{Inner, SqliteStore};
use super::SEALED;
use crate::store::conformance::{jid, password, salted};
use crate::store::{Store, StoreError};
use crate::stream::sasl::{Hash, Mechanism};
use rusqlite::Connection;
use std::fs;

/// Opens it, and finds everything that [`Place::filled`] put in.
fn is_whole(place: &Place) -> SqliteStore {
    let store = place.open().unwrap();
    assert_eq!(store.enrolment(&jid("alice@x")).unwrap().unwrap().secret, password(SECRET));
    assert_eq!(store.enrolment(&jid("bob@x")).unwrap().unwrap().secret, salted(Hash::Sha256, KEY));
    assert_eq!(store.best_mechanism("x").unwrap(), Some(Mechanism::ScramPlus(Hash::Sha1)));
    store
}

/// Every sealed value as it lies in the database.
fn sealed(place: &Place) -> Vec<Vec<u8>> {
    let connection = Connection::open(place.database()).unwrap();
    let column = |(table, _, column): &(&str, &str, &str)| -> Vec<Vec<u8>> {
        let mut query = connection.prepare(&format!("SELECT {column} FROM {table}")).unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    SEALED.iter().flat_map(column).collect()
}

/// Every byte in the data directory.
fn bytes(place: &Place) -> Vec<u8> {
    fs::read_dir(&place.dir).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn key(place: &Place) -> Vec<u8> {
    fs::read(&place.key).unwrap()
}

#[test]
fn s22_every_column_with_a_blob_is_rotated() {
    let place = Place::filled();
    let connection = Connection::open(place.database()).unwrap();
    let mut query = connection
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND c.type = 'BLOB' ORDER BY 1, 2",
        )
        .unwrap();
    let found: Vec<(String, String)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
    let mut known: Vec<_> =
        SEALED.iter().map(|(table, _, column)| ((*table).to_owned(), (*column).to_owned())).collect();
    known.sort();
    assert_eq!(found, known);
}

#[test]
fn s22_a_rotation_seals_everything_anew_and_leaves_nothing_of_the_old() {
    let place = Place::filled();
    let (before, old_key) = (sealed(&place), key(&place));
    let store = place.open().unwrap();
    let done = store.rotate_key().unwrap();
    assert_eq!((done.resealed, done.unreadable), (before.len(), 0));
    // At once, in the running store: nothing of an old value is in the database, the log or the index.
    let bytes = bytes(&place);
    for old in &before {
        assert!(memchr::memmem::find(&bytes, &old[9..]).is_none(), "an old value is left");
    }
    assert!(memchr::memmem::find(&bytes, &before[0][..9]).is_none(), "the old key's id is left");
    let new_key = key(&place);
    assert!(new_key.len() == 32 && new_key != old_key);
    store.put_enrolment(&jid("carol@x"), "up", &password("p"), 3).unwrap();
    drop(store);
    drop(is_whole(&place));
    // With the old key nothing opens.
    fs::write(&place.key, &old_key).unwrap();
    assert!(matches!(place.open().unwrap_err(), StoreError::WrongKey { .. }));
}

#[test]
fn s22_nothing_is_left_where_pages_were_split_and_merged() {
    let place = Place::filled();
    let store = place.open().unwrap();
    // Not in order, of all lengths, written more than once, and some forgotten again.
    let account = |i: usize| jid(&format!("user{}@x", i * 7919 % 1000));
    let put = |i: usize, length| store.put_enrolment(&account(i), "up", &password(&"p".repeat(length)), 1).unwrap();
    let mut old = Vec::new();
    for round in 0..3 {
        (0..600).filter(|i| round == 0 || i % 3 == round).for_each(|i| drop(put(i, 1 + i * (round + 1) % 900)));
        old.extend(sealed(&place));
    }
    {
        let connection = &store.inner().connection;
        connection.execute("DELETE FROM enrolment WHERE account LIKE '%5@x'", []).unwrap();
        store.wipe(connection).unwrap();
    }
    let gone = |old: &[Vec<u8>]| {
        let bytes = bytes(&place);
        // Not even a piece of them.
        let found = |piece: &[u8]| memchr::memmem::find(&bytes, piece).is_some();
        !old.iter().any(|value| value[9..].chunks_exact(32).any(found))
    };
    let now = sealed(&place);
    old.retain(|value| !now.contains(value));
    assert!(old.len() > 400 && gone(&old), "what was replaced or deleted");
    store.rotate_key().unwrap();
    assert!(gone(&now), "what the old key opens");
}

#[test]
fn s22_a_rotation_that_stops_after_any_step_is_finished_at_the_next_opening() {
    type Step = fn(&SqliteStore);
    let half: Step = |store| {
        // One table is sealed anew, the others are not.
        let (table, name, column) = SEALED[1];
        store.reseal_batch(table, name, column, "", &mut Default::default()).unwrap();
    };
    let steps: [Step; 5] = [
        |store| store.begin_rotation().unwrap(),
        half,
        |store| assert!(store.reseal().unwrap().resealed > 0),
        |store| store.wipe(&store.inner().connection).unwrap(),
        |store| store.end_rotation().unwrap(),
    ];
    for stop in 0..=steps.len() {
        let place = Place::filled();
        let (before, old_key) = (sealed(&place), key(&place));
        let store = place.open().unwrap();
        steps[..stop].iter().for_each(|step| step(&store));
        // What is written meanwhile is not lost either.
        store.put_enrolment(&jid("carol@x"), "up", &password("meanwhile"), 3).unwrap();
        drop(store);
        fs::write(place.key.with_extension("new"), "a draft").unwrap();
        let store = is_whole(&place);
        assert_eq!(store.enrolment(&jid("carol@x")).unwrap().unwrap().secret, password("meanwhile"));
        assert_eq!((key(&place).len(), key(&place) != old_key), (32, stop > 0), "after step {stop}");
        assert_eq!(fs::read_dir(place.key.parent().unwrap()).unwrap().count(), 2, "no drafts: key and data");
        let left = before.iter().any(|old| memchr::memmem::find(&bytes(&place), &old[9..]).is_some());
        assert_eq!(left, stop == 0, "after step {stop}");
    }
}

#[test]
fn a_rotation_that_cannot_go_on_leaves_a_store_that_works() {
    let place = Place::filled();
    let store = place.open().unwrap();
    store.begin_rotation().unwrap();
    drop(store);
    // Somebody reads the database, so that its log cannot be emptied.
    let reader = Connection::open(place.database()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM enrolment;").unwrap();
    let mut query = reader.prepare("SELECT account FROM enrolment").unwrap();
    let mut rows = query.query([]).unwrap();
    rows.next().unwrap();
    let store = is_whole(&place);
    assert_eq!(key(&place).len(), 64, "the old key is not given up before the old values are");
    let error = store.rotate_key().unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. } | StoreError::Database { .. }), "{error}");
    drop(rows);
    drop(query);
    drop(reader);
    store.rotate_key().unwrap();
    assert_eq!(key(&place).len(), 32);
    drop(store);
    drop(is_whole(&place));
}

#[test]
fn altered_values_do_not_stop_a_rotation() {
    let place = Place::filled();
    place.sql("UPDATE enrolment SET record = zeroblob(100) WHERE account = 'alice@x'");
    let store = place.open().unwrap();
    assert_eq!(store.rotate_key().unwrap().unreadable, 1);
    assert!(matches!(store.enrolment(&jid("alice@x")).unwrap_err(), StoreError::Altered { .. }));
    assert!(store.remove_enrolment(&jid("alice@x")).unwrap());
    assert_eq!(store.enrolments().unwrap().len(), 1);
}

#[test]
fn calls_go_on_while_keys_are_rotated() {
    let place = Place::filled();
    let store = place.open().unwrap();
    for i in 0..500 {
        store.put_enrolment(&jid(&format!("user{i}@x")), "up", &password("p"), 1).unwrap();
    }
    std::thread::scope(|scope| {
        let rotating = scope.spawn(|| (0..3).map(|_| store.rotate_key().unwrap().resealed).sum::<usize>());
        let mut calls = 0;
        while !rotating.is_finished() {
            let account = jid(&format!("user{}@x", calls % 700));
            store.put_enrolment(&account, "up", &password("q"), 2).unwrap();
            assert_eq!(store.enrolment(&account).unwrap().unwrap().secret, password("q"));
            calls += 1;
        }
        assert!(rotating.join().unwrap() > 1000 && calls > 0);
    });
    let Inner { seal, .. } = &*store.inner();
    assert!(!seal.is_rotating());
}

#[test]
fn s22_what_is_removed_is_wiped_from_the_disk() {
    let place = Place::filled();
    let before = sealed(&place);
    let store = place.open().unwrap();
    assert!(memchr::memmem::find(&bytes(&place), b"alice@x").is_some());
    store.remove_enrolment(&jid("alice@x")).unwrap();
    let bytes = bytes(&place);
    assert!(memchr::memmem::find(&bytes, b"alice@x").is_none());
    let left = before.iter().filter(|old| memchr::memmem::find(&bytes, &old[9..]).is_some()).count();
    assert_eq!(left, before.len() - 1);
}
