//! Floor 2, rooms (XEP-0045): pure and synchronous. One account's view of its rooms, and what its clients are shown.
//!
//! [`room::Room`] is the machine; each feature has a file of its own, named as the specification names it.

mod actor;
pub mod authors;
mod autojoin;
mod budget;
mod catch_up;
mod challenge;
pub mod codes;
pub mod dismiss;
mod entrance;
pub mod history;
pub mod invitations;
pub mod item;
pub mod join;
pub mod kept;
mod leave;
mod membership;
pub mod memory;
mod message;
mod muji;
mod nick;
mod occupancy;
pub mod occupant;
pub mod pace;
mod presence;
mod private;
mod probe;
mod repair;
mod replay;
mod resend;
pub mod room;
pub mod self_presence;
mod siblings;
pub mod subject;
mod verify;
mod visibility;

use std::sync::Arc;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use self::kept::Kept;
use crate::xmpp::caps;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// One client's session, unique in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// The time, as the shells tell it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For deadlines.
    pub at: Instant,
    /// For the stamps of messages (XEP-0203).
    pub wall: OffsetDateTime,
}

/// What an operator may set about rooms.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a room may take to answer an account join or leave.
    pub join_timeout: Duration,
    /// How long the last client to leave a room must stay online before the account leaves it too, and how long
    /// the presence of a client that was cut off is still shown.
    pub leave_grace: Duration,
    /// How long the account stays in a room that no client is attached to.
    pub offline_ttl: Duration,
    /// How many messages of a room are kept at most for clients that attach later: as many as it shows the account at a
    /// join, or 20.
    pub history: usize,
    /// After so long without a word from a room it is asked whether the account is in it.
    pub verify_after: Duration,
    /// What the room is shown while no client is attached: a `<show/>`, or none (available).
    pub detached_presence: Option<&'static str>,
    /// How many rooms the account may be in; joins beyond pass through.
    pub max_rooms: usize,
    /// How many clients of the account may be in one room.
    pub max_attached: usize,
    /// What all accounts keep of their rooms.
    pub kept: Kept,
    /// How many bytes that may be.
    pub memory: usize,
    /// How many bytes of its rooms one account may keep.
    pub memory_per_account: usize,
    /// Whether the account's bookmarks are fetched and followed.
    pub bookmarks: bool,
}

impl Settings {
    /// What the presence of the account holds while no client is attached.
    fn shown_detached(&self) -> String {
        let show = self.detached_presence.map(|show| format!("<show>{show}</show>")).unwrap_or_default();
        show + &caps::own_element()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            join_timeout: Duration::from_secs(60),
            leave_grace: Duration::from_secs(10),
            offline_ttl: Duration::from_secs(7 * 24 * 3600),
            verify_after: Duration::from_secs(15 * 60),
            history: 100,
            detached_presence: Some("away"),
            max_rooms: 200,
            max_attached: 64,
            kept: Kept::default(),
            memory: 1 << 30,
            memory_per_account: 128 << 20,
            bookmarks: false,
        }
    }
}

/// The clients attached to a room, as they were when something was sent to them.
pub type Audience = Arc<[ClientId]>;

/// What a room wants done, in order.
#[derive(Debug, Clone)]
pub enum Out {
    /// Out on the account session.
    Up(Stanza),
    /// To each of these clients.
    All(Audience, Arc<Shared>),
    /// To one client.
    One(ClientId, Arc<Shared>),
    /// To one client, at once and in order.
    Many(ClientId, Vec<Arc<Shared>>),
    /// The client's stanza is not the room's business: back to the client's own stream.
    Relay(ClientId, Stanza),
    /// An IQ of an attached client, to be sent over the account session and its answer brought back.
    Ask(ClientId, Stanza),
    /// Out on the account session: the client's message, of which the server may send its other clients copies;
    /// and what has been taken off it, to be put in those.
    Said(ClientId, Stanza, Option<Box<str>>),
    /// The client is no longer attached.
    Detached(ClientId),
    /// The client has met this limit.
    Limited(ClientId, &'static str),
    /// The account is to go back to the room when it is the room's turn.
    Lost,
    /// The account is not in the room, and nobody waits for it: forget it.
    Ended,
}
