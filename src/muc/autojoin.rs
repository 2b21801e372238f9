//! A room that the person wants the account to be in, whatever its clients do (bookmarks with `autojoin`, XEP-0402 §4,
//! XEP-0048): joined with nobody asking, never left because clients leave or stay away. Who is put out, or not let in,
//! stays out until a client joins, or the account is told anew.

use secrecy::SecretString;

use crate::muc::room::{Phase, Room};
use crate::muc::{Now, Out};
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// The wish to be in a room.
#[derive(Debug)]
pub(super) struct Autojoin {
    /// The room's password.
    pub(super) password: Option<SecretString>,
}

impl Room {
    /// Whether the account stays in the room, or goes back to it, without any client.
    pub(super) fn stays(&self) -> bool {
        self.autojoin.is_some() && !self.put_out
    }

    /// The room did not want the account the last time, and no client has joined since.
    pub fn is_put_out(&self) -> bool {
        self.put_out
    }

    /// The room is new here, for a client joins it, and the person wants to be in it.
    pub fn is_bookmarked(&mut self, password: Option<SecretString>, put_out: bool) {
        (self.autojoin, self.put_out) = (Some(Autojoin { password }), put_out);
    }

    /// The person wants the account to be in the room: it joins with `nick`, if it is not in already.
    pub fn autojoin(&mut self, now: Now, nick: &str, password: Option<SecretString>, out: &mut Vec<Out>) {
        self.is_bookmarked(password, false);
        self.leave_at = None;
        self.usual_nick = Some(nick.to_owned());
        if self.phase == Phase::Out && self.waiting.is_empty() {
            self.nick = nick.to_owned();
            self.start_rejoin(now, out);
        }
    }

    /// The person does not want that any more: the account leaves, whoever is attached.
    pub fn bookmark_gone(&mut self, now: Now, out: &mut Vec<Out>) {
        self.autojoin = None;
        match &mut self.phase {
            Phase::Joined | Phase::Entering { .. } | Phase::Joining { asker: None, .. } => self.start_leave(now, out),
            Phase::Lost { .. } if self.waiting.is_empty() => self.left(now, out),
            // A client joins just now, and so wants it; it alone.
            Phase::Lost { .. } => self.phase = Phase::Out,
            Phase::Joining { keep, .. } => *keep = false,
            Phase::Leaving { .. } | Phase::Out => {}
        }
    }

    /// Who created the room is gone without configuring it, and nobody is there who could.
    pub(super) fn creator_is_gone(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.stays() { self.accept_defaults(out) } else { self.start_leave(now, out) }
    }
}

/// Whether an error that answered the account's own join may pass by itself: somebody has the nick, or the room is locked
/// or full (XEP-0045 §7.2.8, §10.1, §7.2.9).
pub(super) fn may_pass(error: &Stanza) -> bool {
    let passing = ["conflict", "item-not-found", "service-unavailable"];
    let Ok(tree) = error.tree() else { return false };
    let element = tree.root().child("error", ns::CLIENT);
    element.is_some_and(|e| e.children().any(|c| c.space() == ns::STANZA_ERRORS && passing.contains(&c.name())))
}
