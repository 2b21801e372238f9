//! A message of the history: as it was delivered, which accounts share, and what of the account's own is put in when
//! it is shown.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::muc::history::{delay, rounded};
use crate::muc::kept::Delivered;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// Who gave the stamp under which a message is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamped {
    /// The room: it is in the message.
    ByRoom,
    /// It is the time at which the message came to this account; to the second, or to fractions of it.
    Here { fractions: bool },
}

impl Stamped {
    /// The stamp of a message that came at that time.
    pub(super) fn at(self, time: OffsetDateTime) -> OffsetDateTime {
        match self {
            Stamped::ByRoom => time,
            Stamped::Here { fractions } => rounded(time, fractions),
        }
    }

    /// What is put in when the message is shown.
    fn mark(self, room: &str, stamp: OffsetDateTime) -> Option<String> {
        match self {
            Stamped::ByRoom => None,
            Stamped::Here { fractions } => Some(delay(room, stamp, fractions)),
        }
    }
}

#[derive(Debug)]
pub(super) struct Message {
    delivered: Arc<Delivered>,
    /// The length of what is put in: the account session's address, and the stamp.
    added: u32,
    stamped: Stamped,
    /// Whoever has the nick that it came from is who wrote it; never so for the room itself.
    pub(super) by_nick: bool,
    /// The room tells who wrote it, but that is not known yet.
    pub(super) unnamed: bool,
}

impl Message {
    /// `delivered`, which has come to the account in `stanza`.
    pub(super) fn new(
        delivered: Arc<Delivered>,
        stanza: &Stanza,
        room: &str,
        stamp: OffsetDateTime,
        stamped: Stamped,
    ) -> Self {
        let address = stanza.to_range().map_or(0, |to| to.len());
        let mark = stamped.mark(room, stamp).map_or(0, |mark| mark.len());
        Message { delivered, added: (address + mark) as u32, stamped, by_nick: false, unnamed: false }
    }

    /// The nick it came from; empty for the room itself.
    pub(super) fn nick(&self) -> &str {
        &self.delivered.nick
    }

    /// The nick of who wrote it, as long as it is known.
    pub(super) fn author(&self) -> Option<&str> {
        self.by_nick.then(|| self.nick())
    }

    /// What all accounts share of it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.delivered.stanza.bytes()
    }

    /// The same, to be looked into and changed.
    pub(super) fn stanza(&self) -> Stanza {
        self.delivered.stanza.to_stanza()
    }

    /// Something else is shown in its place, at its time.
    pub(super) fn becomes(&mut self, delivered: Arc<Delivered>) {
        self.delivered = delivered;
    }

    /// Bytes of it as it is shown.
    pub(super) fn len(&self) -> usize {
        self.bytes().len() + self.added as usize
    }

    /// As it is shown.
    pub(super) fn shown(&self, room: &str, stamp: OffsetDateTime) -> Arc<Shared> {
        match self.stamped.mark(room, stamp) {
            None => self.delivered.stanza.clone(),
            Some(mark) => Arc::new(Shared::new(&self.stanza().edit().append(&mark).finish(), None)),
        }
    }
}
