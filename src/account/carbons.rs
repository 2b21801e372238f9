//! Copies of private messages for the author's siblings (XEP-0280 §6): the message leaves on the account session, where
//! the server must not copy it, or its author would get it back. So the copies are made here, as the server would.

use std::sync::Arc;

use jid::{BareJid, FullJid};

use crate::account::account::{Account, Output};
use crate::account::handle::ToClient;
use crate::muc::ClientId;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

impl Account {
    /// The client's server copies messages to it from now on, or no longer.
    pub(super) fn carbons(&mut self, client: ClientId, enabled: bool) {
        if let Some(known) = self.clients.get_mut(&client) {
            known.carbons = enabled;
        }
    }

    /// Copies what `author` has sent to each other client in the room that wants copies.
    pub(super) fn copy_sent(&self, room: &str, author: ClientId, sent: &Stanza, out: &mut Vec<Output>) {
        let (Some(room), Some(from)) = (self.rooms.get(room), self.clients.get(&author)) else { return };
        let wants = |client: &&ClientId| **client != author && self.clients.get(client).is_some_and(|c| c.carbons);
        let mut copy = None;
        for client in room.audience().iter().filter(wants) {
            let copy =
                copy.get_or_insert_with(|| Arc::new(Shared::new(&sent_carbon(&self.jid, &from.jid, sent), None)));
            out.push(Output::Client(*client, ToClient::Shared(copy.clone())));
        }
    }
}

/// The carbon of what the client `author` of `account` has sent. Without `to`: each receiver's own is put in.
fn sent_carbon(account: &BareJid, author: &FullJid, sent: &Stanza) -> Stanza {
    // Inside `<forwarded/>` the stream's namespace is no longer the default one.
    let says_namespace = sent.tree().is_ok_and(|tree| tree.root().attr("xmlns").is_some());
    let mut message = sent.edit().set("from", author.as_str());
    if !says_namespace {
        message = message.set("xmlns", ns::CLIENT);
    }
    let message = message.finish();
    let type_ = sent.type_().map(|t| format!(" type='{}'", escape(&t))).unwrap_or_default();
    Stanza::own(format!(
        "<message from='{}'{type_}><sent xmlns='{}'><forwarded xmlns='{}'>{}</forwarded></sent></message>",
        escape(account.as_str()),
        ns::CARBONS,
        ns::FORWARD,
        String::from_utf8_lossy(message.bytes())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carbon(sent: &str) -> String {
        let (account, author) = (BareJid::new("a@b").unwrap(), FullJid::new("a@b/it's").unwrap());
        String::from_utf8(sent_carbon(&account, &author, &Stanza::own(sent)).bytes().to_vec()).unwrap()
    }

    #[test]
    fn what_was_sent_stands_whole_in_its_own_namespace() {
        assert_eq!(
            carbon("<message to='r@s/n' type='chat' id='1' xml:lang='de'><body>x</body></message>"),
            "<message from='a@b' type='chat'><sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message to='r@s/n' type='chat' id='1' xml:lang='de' from='a@b/it&apos;s' xmlns='jabber:client'>\
             <body>x</body></message></forwarded></sent></message>"
        );
        let said = carbon("<message xmlns='jabber:client' to='r@s/n'><body>x</body></message>");
        assert_eq!(said.matches("xmlns='jabber:client'").count(), 1);
        assert!(said.starts_with("<message from='a@b'><sent "), "{said}");
    }
}
