//! Sessions of the account that have joined the room by themselves, past the proxy, with the account's nick. Servers show
//! that as one occupant: Prosody lists an item for each session and tells each of its own 110; ejabberd shows what one
//! session does to the others as it shows it to anybody, without 110 and JID.

use crate::muc::codes::{self, Departure, MucUser};
use crate::muc::room::{Phase, Room};
use crate::muc::{Now, Out};
use crate::xmpp::stanza::Stanza;

impl Room {
    /// An available presence of another nick: with 110 it is the account's own, which has left the old nick to a sibling.
    /// ejabberd tells of such a change by this alone, without 303.
    pub(super) fn leaves_nick_to_sibling(&mut self, nick: &str, user: &MucUser) {
        if nick == self.nick || !self.is_joined() || !user.has(codes::SELF) {
            return;
        }
        self.shown.renamed();
        if let Some(own) = &self.own {
            // Nobody will be told of the sibling again, and a join would show it.
            self.occupants.available(&self.nick, &own.of_another());
        }
        self.occupants.unavailable(nick);
        nick.clone_into(&mut self.nick);
    }

    /// The own nick is gone, with this: true if only a sibling is. The room tells a session of its own end by 110; what
    /// removes people (a kick, a ban) removes all who share the nick, and not every service says 110 then.
    pub(super) fn is_siblings_end(&mut self, now: Now, user: &MucUser, out: &mut Vec<Out>) -> bool {
        let told = user.has(codes::SELF) || user.has(codes::NEW_NICK);
        if told || Departure::read(user) != Departure::Unmarked || matches!(self.phase, Phase::Leaving { .. }) {
            return false;
        }
        // A service that never says 110 is asked.
        self.verify(now, out);
        true
    }
}

/// Where an `<item/>` takes one more attribute: behind its name.
pub(super) fn behind_name(stanza: &Stanza, item: &codes::Item) -> Option<usize> {
    let tag = stanza.bytes().get(item.range.clone())?;
    let name = tag.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'))?;
    Some(item.range.start + name)
}
