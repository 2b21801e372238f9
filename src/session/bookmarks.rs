//! What passes on a client's own stream about the account's bookmarks (XEP-0402, XEP-0048), for the account to know: events of
//! the PEP service, and what this client changes, once the server has said that it did. All of it passes untouched.

use std::collections::VecDeque;

use jid::FullJid;

use crate::account::bookmarks::{self, Change, is_ours};
use crate::xmpp::header::Header;
use crate::xmpp::stanza::Stanza;

/// How many changes of one client may wait for the server's answer; of more the oldest are forgotten (S20).
const MOST: usize = 16;

/// Looks at what passes.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// What the client has asked for and the server has not answered, by the IQ's id.
    asked: VecDeque<(String, Change)>,
}

impl Watch {
    /// Looks at an IQ of the client that is `own`.
    pub(super) fn from_client(&mut self, own: &FullJid, header: &Header, stanza: &Stanza) {
        if !stanza.is_iq() || !bookmarks::may_tell(stanza) || !is_ours(&own.to_bare(), stanza.to().as_deref()) {
            return;
        }
        let Some(change) = bookmarks::request(&header.detach(stanza.clone())) else { return };
        let Some(id) = stanza.id() else { return };
        if self.asked.len() == MOST {
            self.asked.pop_front();
        }
        self.asked.push_back((id.into_owned(), change));
    }

    /// Looks at a stanza of the server's; what the bookmarks have changed to, if they have. The word of nobody else counts
    /// (S17).
    pub(super) fn from_server(&mut self, own: &FullJid, stanza: &Stanza) -> Option<Change> {
        if stanza.is_message() {
            let told = bookmarks::may_tell(stanza) && is_ours(&own.to_bare(), stanza.from().as_deref());
            return told.then(|| bookmarks::event(stanza)).flatten();
        }
        if self.asked.is_empty() || !stanza.is_iq() {
            return None;
        }
        let done = stanza.is_type("result");
        if !done && !stanza.is_type("error") {
            return None;
        }
        let id = stanza.id()?;
        let at = self.asked.iter().position(|(asked, _)| *asked == id)?;
        if !is_ours(&own.to_bare(), stanza.from().as_deref()) {
            return None;
        }
        self.asked.remove(at).map(|(_, change)| change).filter(|_| done)
    }
}
