//! Copies (XEP-0280 §6) of private messages for the author's other clients. The message leaves on the account session,
//! so the server takes the account session for its author and copies it to every client that wants copies: the author
//! itself must not be shown that, and the others are to see who the author is.

use std::collections::VecDeque;

use jid::{FullJid, Jid};

use crate::account::account::{Account, Output, to_one};
use crate::muc::ClientId;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// How many messages are remembered: copies come at once.
const MOST: usize = 256;

/// What clients have sent of late, and may be copied.
#[derive(Debug, Default)]
pub struct Authors {
    sent: VecDeque<Sent>,
}

#[derive(Debug)]
struct Sent {
    to: String,
    id: String,
    author: ClientId,
    jid: FullJid,
    /// What has been taken off it, to stand in its copies.
    mark: Option<Box<str>>,
}

impl Authors {
    /// `author`, whose full JID is `jid`, has sent this.
    fn remember(&mut self, author: ClientId, jid: &FullJid, sent: &Stanza, mark: Option<Box<str>>) {
        if self.sent.len() == MOST {
            self.sent.pop_front();
        }
        let (to, id) = (sent.to().unwrap_or_default().into_owned(), sent.id().unwrap_or_default().into_owned());
        self.sent.push_back(Sent { to, id, author, jid: jid.clone(), mark });
    }

    /// Whose message it is, of several alike the latest.
    fn of(&self, to: &str, id: &str) -> Option<&Sent> {
        let same = |other: &str| other == to || matches!((Jid::new(other), Jid::new(to)), (Ok(a), Ok(b)) if a == b);
        self.sent.iter().rev().find(|sent| sent.id == id && same(&sent.to))
    }
}

impl Account {
    /// A client's message goes up, without its `mark`, and may be copied.
    pub(super) fn said(&mut self, author: ClientId, sent: Stanza, mark: Option<Box<str>>, out: &mut Vec<Output>) {
        if let Some(known) = self.clients.get(&author) {
            self.authors.remember(author, &known.jid, &sent, mark);
        }
        out.push(Output::Up(sent));
    }

    /// The server has copied to `client` what the account session has sent.
    pub(super) fn copied(&self, client: ClientId, copy: &Stanza, out: &mut Vec<Output>) {
        let Ok(tree) = copy.tree() else { return };
        let sent = tree.root().child("sent", ns::CARBONS).and_then(|sent| sent.child("forwarded", ns::FORWARD));
        let Some(message) = sent.and_then(|forwarded| forwarded.child("message", ns::CLIENT)) else { return };
        let (to, id) = (message.attr("to").unwrap_or_default(), message.attr("id").unwrap_or_default());
        let Some(said) = self.authors.of(&to, &id).filter(|said| said.author != client) else { return };
        if let Some(from) = message.attr_range("from") {
            let mut edit = copy.edit().splice(from, &escape(said.jid.as_str()));
            if let Some(mark) = &said.mark {
                edit = edit.append_to(message, mark);
            }
            out.push(to_one(client, &edit.finish()));
        }
    }
}
