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
use tokio::sync::{mpsc, oneshot};

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
    },
    /// The client sent broadcast unavailable presence (relayed as well); `true` again after broadcast presence.
    Available {
        /// The session.
        client: ClientId,
        /// Whether it is available.
        available: bool,
    },
    /// The client's server copies messages to it from now on (XEP-0280), or no longer. At first it does not.
    Carbons {
        /// The session.
        client: ClientId,
        /// Whether it does.
        enabled: bool,
    },
    /// The client's stream ended.
    Gone {
        /// The session.
        client: ClientId,
    },
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
