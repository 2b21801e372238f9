//! Private messages (XEP-0045 §7.5): out on the account session, as they are.

use crate::muc::room::Room;
use crate::muc::{ClientId, Out};
use crate::xmpp::stanza::Stanza;

impl Room {
    /// A message of an attached client to an occupant, or to the room but not to all.
    pub(super) fn private_message(&mut self, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        self.authors.remember(&stanza, client);
        self.invitations.remember(&stanza, client);
        out.push(Out::Said(client, stanza));
    }
}
