//! The client sessions of this process, for the operator to look at and to end (S25). As many as there are logged-in
//! clients, which the limits bound; a small entry each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use dashmap::DashMap;
use jid::FullJid;
use tokio::sync::Notify;

use crate::account::handle::ClientId;
use crate::config::ListenTls;

/// All client sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    all: DashMap<u64, Arc<Entry>>,
}

/// Instead of a number of rooms: the session's joins pass through.
const PASSES_THROUGH: usize = usize::MAX;

#[derive(Debug)]
struct Entry {
    jid: Box<str>,
    peer: SocketAddr,
    tls: ListenTls,
    since: SystemTime,
    rooms: AtomicUsize,
    kill: Notify,
}

/// A session's place among all: while it lives, the session is listed.
#[derive(Debug)]
pub struct Registered {
    id: ClientId,
    entry: Arc<Entry>,
    sessions: Arc<Sessions>,
}

/// What is told of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its number; never used twice while the process runs.
    pub id: u64,
    /// Its full JID.
    pub jid: String,
    /// The client's address.
    pub peer: SocketAddr,
    /// How TLS began.
    pub tls: ListenTls,
    /// When it logged in.
    pub since: SystemTime,
    /// How many rooms it has by its account; `None`: its joins pass through.
    pub rooms: Option<usize>,
}

impl Sessions {
    /// Takes a session in.
    pub fn register(self: &Arc<Self>, id: ClientId, jid: &FullJid, peer: SocketAddr, tls: ListenTls) -> Registered {
        let entry = Arc::new(Entry {
            jid: jid.as_str().into(),
            peer,
            tls,
            since: SystemTime::now(),
            rooms: AtomicUsize::new(PASSES_THROUGH),
            kill: Notify::new(),
        });
        self.all.insert(id.0, entry.clone());
        Registered { id, entry, sessions: self.clone() }
    }

    /// All of them, by number.
    pub fn list(&self) -> Vec<Told> {
        let told = |id: u64, entry: &Entry| Told {
            id,
            jid: entry.jid.to_string(),
            peer: entry.peer,
            tls: entry.tls,
            since: entry.since,
            rooms: Some(entry.rooms.load(Ordering::Relaxed)).filter(|rooms| *rooms != PASSES_THROUGH),
        };
        let mut all: Vec<Told> = self.all.iter().map(|entry| told(*entry.key(), entry.value())).collect();
        all.sort_by_key(|told| told.id);
        all
    }

    /// Ends the session of that number; whether there is one.
    pub fn kill(&self, id: u64) -> bool {
        self.all.get(&id).map(|entry| entry.kill.notify_one()).is_some()
    }

    /// Ends the sessions of that full JID; how many there are (while one takes the place of another, two).
    pub fn kill_jid(&self, jid: &FullJid) -> usize {
        self.all.iter().filter(|entry| *entry.jid == *jid.as_str()).map(|entry| entry.kill.notify_one()).count()
    }
}

impl Registered {
    /// Its number.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// Notes how many rooms it has by its account; `None`: its joins pass through.
    pub fn note(&self, rooms: Option<usize>) {
        self.entry.rooms.store(rooms.unwrap_or(PASSES_THROUGH), Ordering::Relaxed);
    }

    /// Waits until the operator ends it. Cancel-safe.
    pub async fn killed(&self) {
        self.entry.kill.notified().await;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.sessions.all.remove(&self.id.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn s25_sessions_are_listed_and_ended_one_by_one() {
        let sessions = Arc::<Sessions>::default();
        let jid = |text: &str| FullJid::new(text).unwrap();
        let peer = "192.0.2.1:1234".parse().unwrap();
        let place = |id, name| sessions.register(ClientId(id), &jid(name), peer, ListenTls::Direct);
        let (one, two) = (place(2, "a@x/1"), place(1, "a@x/2"));
        one.note(Some(3));
        let all = sessions.list();
        assert_eq!(
            all.iter().map(|t| (t.id, t.jid.as_str(), t.rooms)).collect::<Vec<_>>(),
            [(1, "a@x/2", None), (2, "a@x/1", Some(3))]
        );
        // The word is not lost when it comes before anybody waits for it.
        assert!(sessions.kill(2) && !sessions.kill(3));
        one.killed().await;
        assert_eq!(sessions.kill_jid(&jid("a@x/2")), 1);
        assert_eq!(sessions.kill_jid(&jid("a@x/3")), 0);
        two.killed().await;
        drop(one);
        assert!(!sessions.kill(2));
        assert_eq!(sessions.list().len(), 1);
    }
}
