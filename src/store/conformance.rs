//! What every store does. A new backend adds one line to `every_backend_conforms`.

use super::{MemoryStore, SqliteStore, Store, StoreError, Summary};
use crate::stream::sasl::{Hash, Mechanism, SaltedPassword, Secret};
use jid::BareJid;
use secrecy::SecretString;
use std::collections::HashSet;
use zeroize::Zeroizing;

pub(super) fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

pub(super) fn password(text: &str) -> Secret {
    Secret::Password(SecretString::from(text))
}

pub(super) fn salted(hash: Hash, key: &[u8]) -> Secret {
    let key = Zeroizing::new(key.to_vec());
    Secret::Salted(SaltedPassword { hash, salt: b"salt\0\xff".to_vec(), iterations: 10_000, key })
}

type Case = fn(&dyn Store);

fn conforms(name: &str, make: &dyn Fn() -> Box<dyn Store>) {
    let cases: [(&str, Case); 9] = [
        ("an empty store", empty),
        ("put and get", put_and_get),
        ("enrolling anew", enrolling_anew),
        ("listing and removing", listing_and_removing),
        ("mechanisms", mechanisms),
        ("denying and allowing", denying_and_allowing),
        ("binding and purging", binding_and_purging),
        ("rotating", rotating),
        ("threads", threads),
    ];
    for (case, test) in cases {
        println!("{name}: {case}");
        test(&*make());
    }
}

#[test]
fn every_backend_conforms() {
    conforms("memory", &|| Box::new(MemoryStore::new()));
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conforms("sqlite", &|| {
        count.set(count.get() + 1);
        let dir = dir.path().join(count.get().to_string());
        Box::new(SqliteStore::open(&dir, &dir.with_extension("key")).unwrap())
    });
}

fn empty(store: &dyn Store) {
    assert_eq!(store.enrolment(&jid("a@x")).unwrap(), None);
    assert_eq!(store.enrolments().unwrap(), []);
    assert!(!store.remove_enrolment(&jid("a@x")).unwrap());
    assert_eq!(store.best_mechanism("x").unwrap(), None);
    assert!(!store.forget_best_mechanism("x").unwrap());
}

fn put_and_get(store: &dyn Store) {
    let odd = "quote\" back\\slash nul\0 ünïcode 🦀 'sql; --";
    let long = "p".repeat(1024);
    let secrets = [
        password("pencil"),
        password(odd),
        password(&long),
        salted(Hash::Sha1, &[1; 20]),
        salted(Hash::Sha256, &[0xff; 32]),
        salted(Hash::Sha512, &[0; 64]),
    ];
    for (i, secret) in secrets.iter().enumerate() {
        let account = jid(&format!("user{i}@x"));
        let put = store.put_enrolment(&account, "xmpp.x:5222 \"odd\"", secret, u64::MAX - i as u64).unwrap();
        assert_eq!((&put.account, &put.secret, put.enrolled_at), (&account, secret, u64::MAX - i as u64));
        assert_eq!(put.upstream, "xmpp.x:5222 \"odd\"");
        assert_eq!(store.enrolment(&account).unwrap(), Some(put));
    }
    assert_eq!(store.enrolment(&jid("user0@y")).unwrap(), None, "another domain's account is another account");
    assert_eq!(store.enrolment(&jid("user@x")).unwrap(), None);
}

fn enrolling_anew(store: &dyn Store) {
    let (alice, bob) = (jid("alice@x"), jid("bob@x"));
    let first = store.put_enrolment(&alice, "one", &password("old"), 1).unwrap();
    let other = store.put_enrolment(&bob, "one", &password("old"), 1).unwrap();
    let again = store.put_enrolment(&alice, "two", &salted(Hash::Sha256, &[2; 32]), 2).unwrap();
    assert_eq!(again.resource, first.resource, "the resource is stable");
    assert_eq!((again.upstream.as_str(), again.enrolled_at), ("two", 2));
    assert_eq!(store.enrolment(&alice).unwrap(), Some(again));
    assert_eq!(store.enrolment(&bob).unwrap(), Some(other.clone()));
    assert_eq!(first.resource.len(), 22, "128 bits in base64url");
    assert!(first.resource.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
    assert_ne!(first.resource, other.resource);

    assert!(store.remove_enrolment(&alice).unwrap());
    let new = store.put_enrolment(&alice, "one", &password("old"), 3).unwrap();
    assert_ne!(new.resource, first.resource, "forgotten is forgotten");
}

fn listing_and_removing(store: &dyn Store) {
    for name in ["carol@x", "alice@x", "bob@y"] {
        store.put_enrolment(&jid(name), "up", &password("p"), 7).unwrap();
    }
    store.put_enrolment(&jid("bob@y"), "up", &salted(Hash::Sha512, &[3; 64]), 8).unwrap();
    let line = |name: &str, keys_for, enrolled_at| Summary {
        account: jid(name),
        upstream: "up".to_owned(),
        keys_for,
        enrolled_at,
    };
    let (alice, bob, carol) =
        (line("alice@x", None, 7), line("bob@y", Some(Hash::Sha512), 8), line("carol@x", None, 7));
    assert_eq!(store.enrolments().unwrap(), [alice, bob.clone(), carol.clone()]);
    assert!(store.remove_enrolment(&jid("alice@x")).unwrap());
    assert!(!store.remove_enrolment(&jid("alice@x")).unwrap());
    assert_eq!(store.enrolment(&jid("alice@x")).unwrap(), None);
    assert_eq!(store.enrolments().unwrap(), [bob, carol]);
}

fn mechanisms(store: &dyn Store) {
    for best in Mechanism::ALL {
        store.set_best_mechanism("x", best).unwrap();
        assert_eq!(store.best_mechanism("x").unwrap(), Some(best));
    }
    assert_eq!(store.best_mechanism("y").unwrap(), None);
    assert!(store.forget_best_mechanism("x").unwrap());
    assert_eq!(store.best_mechanism("x").unwrap(), None);
    assert!(!store.forget_best_mechanism("x").unwrap());
}

fn denying_and_allowing(store: &dyn Store) {
    let (alice, bob) = (jid("alice@x"), jid("bob@x"));
    store.put_enrolment(&alice, "up", &password("p"), 1).unwrap();
    store.put_enrolment(&bob, "up", &password("p"), 1).unwrap();
    assert!(store.deny(&alice).unwrap());
    assert!(!store.deny(&alice).unwrap());
    assert!(store.deny(&jid("carol@x")).unwrap());
    assert_eq!(store.denied().unwrap(), [alice.clone(), jid("carol@x")]);
    assert!(store.is_denied(&alice).unwrap() && !store.is_denied(&bob).unwrap());
    assert_eq!(store.enrolment(&alice).unwrap(), None, "its keys are forgotten");
    let error = store.put_enrolment(&alice, "up", &password("p"), 2).unwrap_err();
    assert!(matches!(&error, StoreError::Denied { account } if *account == alice), "{error}");
    assert!(!store.purge(&alice).unwrap());
    assert!(store.is_denied(&alice).unwrap(), "the operator's word stays");
    assert!(store.allow(&alice).unwrap());
    assert!(!store.allow(&alice).unwrap());
    store.put_enrolment(&alice, "up", &password("p"), 2).unwrap();
    assert!(store.enrolment(&bob).unwrap().is_some());
}

fn binding_and_purging(store: &dyn Store) {
    let alice = jid("alice@x");
    assert!(!store.rebind(&alice, "two").unwrap());
    let before = store.put_enrolment(&alice, "one", &salted(Hash::Sha256, &[4; 32]), 5).unwrap();
    assert!(store.rebind(&alice, "two").unwrap());
    let after = store.enrolment(&alice).unwrap().unwrap();
    assert_eq!(after.upstream, "two");
    assert_eq!(super::Enrolment { upstream: "one".to_owned(), ..after }, before, "all else is as it was");
    assert!(store.purge(&alice).unwrap());
    assert!(!store.purge(&alice).unwrap());
    assert_eq!(store.enrolment(&alice).unwrap(), None);
}

fn rotating(store: &dyn Store) {
    let put = store.put_enrolment(&jid("alice@x"), "up", &password("p"), 1).unwrap();
    store.deny(&jid("bob@x")).unwrap();
    store.set_best_mechanism("x", Mechanism::Plain).unwrap();
    for _ in 0..2 {
        store.rotate_key().unwrap();
        assert_eq!(store.enrolment(&jid("alice@x")).unwrap(), Some(put.clone()));
        assert_eq!(store.best_mechanism("x").unwrap(), Some(Mechanism::Plain));
        assert!(store.is_denied(&jid("bob@x")).unwrap());
    }
}

fn threads(store: &dyn Store) {
    let resources: Vec<String> = std::thread::scope(|scope| {
        let put = |i: usize| {
            let account = jid(&format!("user{}@x", i % 4));
            store.put_enrolment(&account, "up", &password("p"), 1).unwrap().resource
        };
        let workers: Vec<_> = (0..16).map(|i| scope.spawn(move || put(i))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(resources.into_iter().collect::<HashSet<_>>().len(), 4, "one resource per account");
    assert_eq!(store.enrolments().unwrap().len(), 4);
}
