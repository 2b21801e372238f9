//! Who sent what: an error that the room or an occupant answers with is for the author alone.

use std::collections::VecDeque;

use crate::muc::ClientId;
use crate::xmpp::stanza::Stanza;

/// How many are remembered. Only what is refused is ever asked for again, and soon.
const MOST: usize = 1024;

#[derive(Debug)]
struct Sent {
    id: String,
    /// The resource it was sent to: an occupant's nick, or empty for the room.
    to: String,
    client: ClientId,
}

/// What was sent and is not known to be answered.
#[derive(Debug, Default)]
pub struct Authors {
    sent: VecDeque<Sent>,
}

impl Authors {
    /// `client` sent `stanza`.
    pub fn remember(&mut self, stanza: &Stanza, client: ClientId) {
        let Some(id) = stanza.id() else { return };
        let to = stanza.to().map(|to| resource(&to).to_owned()).unwrap_or_default();
        if self.sent.len() == MOST {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { id: id.into_owned(), to, client });
    }

    /// An answer came: who had sent what it answers, which is forgotten then. Two clients may use the same id. To the
    /// room all is answered, in its order; to an occupant only what is refused, so that is the latest.
    pub fn answered(&mut self, answer: &Stanza) -> Option<ClientId> {
        let (id, from) = (answer.id()?, answer.from().unwrap_or_default());
        let peer = resource(&from);
        let fits = |sent: &Sent| sent.id == id && sent.to == peer;
        let exact = if peer.is_empty() { self.sent.iter().position(fits) } else { self.sent.iter().rposition(fits) };
        let at = exact.or_else(|| self.sent.iter().position(|sent| sent.id == id))?;
        self.sent.remove(at).map(|sent| sent.client)
    }

    /// The room has shown the groupchat message with this id to all: no error will come.
    pub fn reflected(&mut self, id: &str) {
        if let Some(at) = self.sent.iter().position(|sent| sent.id == id && sent.to.is_empty()) {
            self.sent.remove(at);
        }
    }

    /// The client is gone: nobody is to get its errors.
    pub fn client_gone(&mut self, client: ClientId) {
        self.sent.retain(|sent| sent.client != client);
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.sent = VecDeque::new();
    }
}

fn resource(jid: &str) -> &str {
    jid.split_once('/').map_or("", |(_, resource)| resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(authors: &mut Authors, to: &str, client: u64) {
        authors.remember(&Stanza::own(format!("<message to='{to}' id='1'/>")), ClientId(client));
    }

    fn answered(authors: &mut Authors, from: &str) -> Option<u64> {
        authors.answered(&Stanza::own(format!("<message from='{from}' id='1' type='error'/>"))).map(|c| c.0)
    }

    #[test]
    fn of_equal_ids_the_one_that_was_sent_there_counts() {
        let mut authors = Authors::default();
        sent(&mut authors, "r@s/a", 1);
        sent(&mut authors, "r@s/b", 2);
        sent(&mut authors, "r@s", 3);
        sent(&mut authors, "r@s", 4);
        sent(&mut authors, "r@s/a", 5);
        sent(&mut authors, "r@s", 6);
        authors.reflected("1");
        assert_eq!(answered(&mut authors, "r@s"), Some(4), "the room answers in order");
        assert_eq!(answered(&mut authors, "r@s/a"), Some(5), "what went well is not answered");
        assert_eq!(answered(&mut authors, "r@s/b"), Some(2));
        authors.client_gone(ClientId(1));
        assert_eq!((authors.len(), answered(&mut authors, "r@s/x")), (1, Some(6)));
        assert!(answered(&mut authors, "r@s/x").is_none() && authors.is_empty());
    }
}
