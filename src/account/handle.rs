//! What passes between a client's session (floor 5) and its account (floor 4): two bounded queues, and the counting
//! that keeps a client's stanzas in order when a room changes hands.
//!
//! A session sends every stanza that may be about a room of the account as [`ToAccount::Stanza`], counting them. The
//! account consumes it, or gives it back as [`ToClient::Relay`] for the client's own stream, with the number of that
//! client's stanzas it has seen. While more are under way (`seen` is behind), the session goes on sending the room's
//! stanzas to the account, so none overtakes another; when it has caught up, the room is the session's own again. Of
//! several stanzas given back at once only the last bears the full number, the others 0: all of them come first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use jid::{BareJid, FullJid};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::account::bookmarks::Change;
use crate::account::gauge::Gauge;
use crate::account::rooms::RoomState;
pub use crate::muc::ClientId;
pub use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// From a session to its account.
#[derive(Debug)]
pub enum ToAccount {
    /// A session's first word: who it is and where it is reached. Sent once, before any other.
    Hello {
        /// The session.
        client: ClientId,
        /// Its full JID, as the server bound it.
        jid: FullJid,
        /// Its queue.
        queue: Queue,
    },
    /// A stanza that may be about a room. Made fit to stand on another stream: prefixes declared, `xml:lang` written.
    Stanza {
        /// The session.
        client: ClientId,
        /// What the client sent.
        stanza: Stanza,
        /// Set if the session had no route to this room: the first stanza of a new conversation with it.
        fresh: bool,
        /// What it takes of the client's credit.
        credit: Credit,
    },
    /// The client sent broadcast unavailable presence (relayed as well).
    Unavailable {
        /// The session.
        client: ClientId,
        /// The presence, fit to stand on another stream.
        stanza: Stanza,
        /// What it takes of the client's credit.
        credit: Credit,
    },
    /// The client's server has copied to it what the account session has sent (XEP-0280): the account knows whose it is.
    Copied {
        /// The session.
        client: ClientId,
        /// The carbon.
        copy: Stanza,
        /// What it takes of the client's credit.
        credit: Credit,
    },
    /// The client's stream ended.
    Gone {
        /// The session.
        client: ClientId,
    },
    /// A client of the account has logged in.
    LoggedIn,
    /// A client's session has seen the account's bookmarks change: told by the server (S17).
    Bookmarks(Box<Change>),
    /// A login has shown what opens the account: the account session may be tried again.
    KeysChanged,
    /// The operator has taken the keys away: the account session ends, and the clients join by themselves.
    Unenrolled,
    /// The operator has ended the account session: the clients join by themselves until one of them logs in (S25).
    Killed,
    /// The operator wants to know the rooms.
    Rooms {
        /// Who to tell.
        answer: oneshot::Sender<Vec<RoomState>>,
    },
    /// The operator has the account leave a room.
    LeaveRoom {
        /// The room.
        room: BareJid,
        /// Who to tell whether the account had it.
        answer: oneshot::Sender<bool>,
    },
}

impl ToAccount {
    /// The client that says it.
    pub fn client(&self) -> Option<ClientId> {
        match self {
            ToAccount::Hello { client, .. }
            | ToAccount::Stanza { client, .. }
            | ToAccount::Unavailable { client, .. }
            | ToAccount::Copied { client, .. }
            | ToAccount::Gone { client } => Some(*client),
            // Not of a client, or not about what it says.
            _ => None,
        }
    }

    /// Whether it has what it needs; what a client says once needs none.
    fn has_credit(&self) -> bool {
        match self {
            ToAccount::Stanza { credit, .. }
            | ToAccount::Unavailable { credit, .. }
            | ToAccount::Copied { credit, .. } => credit.0.is_some(),
            _ => true,
        }
    }

    /// Bytes, for who shares them out; what is no stanza weighs nothing.
    pub fn size(&self) -> usize {
        match self {
            ToAccount::Stanza { stanza, .. }
            | ToAccount::Unavailable { stanza, .. }
            | ToAccount::Copied { copy: stanza, .. } => stanza.bytes().len(),
            _ => 0,
        }
    }
}

/// Bytes one client may have under way to its account; what is beyond waits in its session, which reads no more.
const CREDIT: usize = 64 * 1024;
/// What a message weighs beside its bytes.
const OVERHEAD: usize = 256;

/// Part of a client's credit; given back when it is dropped.
#[derive(Debug, Default)]
pub struct Credit(Option<OwnedSemaphorePermit>);

/// A client's credit with its account.
#[derive(Debug)]
pub struct Allowance(Arc<Semaphore>);

impl Default for Allowance {
    fn default() -> Self {
        Allowance(Arc::new(Semaphore::new(CREDIT)))
    }
}

impl Allowance {
    /// Takes what the message needs; false if there is not so much left.
    pub fn take_for(&self, message: &mut ToAccount) -> bool {
        let needed = Self::needed(message);
        if !message.has_credit()
            && let ToAccount::Stanza { credit, .. }
            | ToAccount::Unavailable { credit, .. }
            | ToAccount::Copied { credit, .. } = message
        {
            credit.0 = self.0.clone().try_acquire_many_owned(needed).ok();
        }
        message.has_credit()
    }

    /// Waits until there is what the message needs.
    pub async fn wait_for(&self, message: &ToAccount) {
        if message.has_credit() {
            return;
        }
        drop(self.0.acquire_many(Self::needed(message)).await);
    }

    /// The largest stanza needs all of it.
    fn needed(message: &ToAccount) -> u32 {
        u32::try_from((message.size() + OVERHEAD).min(CREDIT)).unwrap_or(u32::MAX)
    }
}

/// From an account to one of its sessions.
#[derive(Debug, Clone)]
pub enum ToClient {
    /// The same bytes for every attached client; each puts its own JID where it belongs.
    Shared(Arc<Shared>),
    /// Complete, for this client alone.
    Own(Bytes),
    /// Several at once, in order (what a client that attaches is shown).
    Batch(Arc<[ToClient]>),
    /// The client's stanza, given back for its own stream.
    Relay {
        /// The stanza.
        stanza: Stanza,
        /// How many of this client's stanzas the account had seen, this one included.
        seen: u64,
        /// Set if it is a join that passes through: the room stays the client's own until it leaves it.
        passes_through: bool,
    },
    /// The client is no longer attached to the room.
    Detached {
        /// The room.
        room: BareJid,
        /// How many of this client's stanzas the account had seen.
        seen: u64,
    },
    /// For the log, which knows the client's address: it has met this limit.
    Limited(&'static str),
}

impl ToClient {
    /// Bytes it keeps waiting, for the queue's bound.
    pub fn len(&self) -> usize {
        match self {
            ToClient::Shared(shared) => shared.len(),
            ToClient::Own(bytes) => bytes.len(),
            ToClient::Batch(all) => all.iter().map(ToClient::len).sum(),
            ToClient::Relay { stanza, .. } => stanza.bytes().len(),
            ToClient::Detached { .. } | ToClient::Limited(_) => 0,
        }
    }

    /// Whether it carries no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The sending end of a client's queue: bounded in frames and in bytes, and never waited for.
#[derive(Debug, Clone)]
pub struct Queue {
    sender: mpsc::Sender<ToClient>,
    bytes: Arc<AtomicUsize>,
    most_bytes: usize,
}

/// The receiving end, owned by the client's session.
#[derive(Debug)]
pub struct Inbox {
    receiver: mpsc::Receiver<ToClient>,
    bytes: Arc<AtomicUsize>,
}

/// A queue for at most `frames` frames (a replay counts as one) and `most_bytes` bytes.
pub fn queue(frames: usize, most_bytes: usize) -> (Queue, Inbox) {
    let (sender, receiver) = mpsc::channel(frames);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Queue { sender, bytes: bytes.clone(), most_bytes }, Inbox { receiver, bytes })
}

impl Queue {
    /// Puts one in without waiting; `false` if the client is too slow (or gone) and must be given up. A replay may
    /// exceed the bound by itself when the queue is empty.
    pub fn push(&self, item: ToClient) -> bool {
        let len = item.len();
        let before = self.bytes.fetch_add(len, Ordering::Relaxed);
        let fits = before == 0 || before + len <= self.most_bytes;
        let sent = fits && self.sender.try_send(item).is_ok();
        if !sent {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
        }
        sent
    }
}

impl Inbox {
    /// The next one; `None` when the account has given this client up. Cancel-safe.
    pub async fn recv(&mut self) -> Option<ToClient> {
        let item = self.receiver.recv().await?;
        self.bytes.fetch_sub(item.len(), Ordering::Relaxed);
        Some(item)
    }

    /// The next one, if it is there already.
    pub fn try_recv(&mut self) -> Option<ToClient> {
        let item = self.receiver.try_recv().ok()?;
        self.bytes.fetch_sub(item.len(), Ordering::Relaxed);
        Some(item)
    }
}

/// How a session reaches its account.
#[derive(Debug, Clone)]
pub struct Handle {
    sender: mpsc::Sender<ToAccount>,
    session_jid: Arc<str>,
    gauge: Arc<Gauge>,
}

impl Handle {
    /// A handle on the actor that reads `sender`'s other end.
    pub fn new(sender: mpsc::Sender<ToAccount>, session_jid: Arc<str>) -> Self {
        Handle { sender, session_jid, gauge: Arc::default() }
    }

    /// Where to send to. Bounded: a session that finds it full stops reading its client until there is room.
    pub fn sender(&self) -> &mpsc::Sender<ToAccount> {
        &self.sender
    }

    /// What the account shows of itself.
    pub fn gauge(&self) -> &Arc<Gauge> {
        &self.gauge
    }

    /// The account session's full JID: presence from it and carbons of its messages are kept from the clients.
    pub fn session_jid(&self) -> &str {
        &self.session_jid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_client_is_given_up_not_waited_for() {
        let (queue, mut inbox) = queue(2, 10);
        assert!(queue.push(ToClient::Own(Bytes::from_static(b"larger than the bound"))));
        assert!(!queue.push(ToClient::Own(Bytes::from_static(b"x"))));
        assert!(inbox.try_recv().is_some());
        assert!(inbox.try_recv().is_none());
    }
}
