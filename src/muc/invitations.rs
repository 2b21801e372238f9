//! Mediated invitations (XEP-0045 §7.8.2): who was invited is answered to the client that did it, should they decline.

use indexmap::IndexMap;
use jid::Jid;

use crate::muc::ClientId;
use crate::xml::element::Node;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// How many are remembered; of more, the oldest is forgotten.
const MOST: usize = 128;

/// Who was invited and has not declined.
#[derive(Debug, Default)]
pub struct Invitations {
    /// Which client has last invited somebody, by bare JID.
    by_invited: IndexMap<String, ClientId>,
}

impl Invitations {
    /// `client` sends `stanza` to the room.
    pub fn remember(&mut self, stanza: &Stanza, client: ClientId) {
        let Ok(tree) = stanza.tree() else { return };
        for invited in of_kind(tree.root(), "invite").filter_map(|invite| person(&invite.attr("to")?)) {
            self.by_invited.shift_remove(&invited);
            if self.by_invited.len() == MOST {
                self.by_invited.shift_remove_index(0);
            }
            self.by_invited.insert(invited, client);
        }
    }

    /// The room says that somebody declines: the client that has invited them, which is forgotten then.
    pub fn declined(&mut self, stanza: &Stanza) -> Option<ClientId> {
        let tree = stanza.tree().ok()?;
        let invited = person(&of_kind(tree.root(), "decline").next()?.attr("from")?)?;
        self.by_invited.shift_remove(&invited)
    }

    /// The client is gone.
    pub fn client_gone(&mut self, client: ClientId) {
        self.by_invited.retain(|_, inviter| *inviter != client);
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.by_invited.len()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.by_invited = IndexMap::new();
    }
}

fn of_kind<'t>(message: Node<'t>, kind: &'static str) -> impl Iterator<Item = Node<'t>> {
    let x = message.child("x", ns::MUC_USER);
    x.into_iter().flat_map(|x| x.children()).filter(move |child| child.is(kind, ns::MUC_USER))
}

/// The bare JID, as servers write it.
fn person(jid: &str) -> Option<String> {
    Some(Jid::new(jid).ok()?.to_bare().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(content: &str) -> Stanza {
        Stanza::own(format!("<message><x xmlns='http://jabber.org/protocol/muc#user'>{content}</x></message>"))
    }

    fn declines(invitations: &mut Invitations, who: &str) -> Option<u64> {
        invitations.declined(&message(&format!("<decline from='{who}'/>"))).map(|client| client.0)
    }

    #[test]
    fn a_decline_is_for_the_client_that_invited_last() {
        let mut invitations = Invitations::default();
        invitations.remember(&message("<invite to='B@s'/><invite to='c@s/x'/>"), ClientId(1));
        invitations.remember(&message("<invite to='c@s'/>"), ClientId(2));
        invitations.remember(&message("<invite/><invite to='@'/>"), ClientId(2));
        assert_eq!(declines(&mut invitations, "b@s/desk"), Some(1));
        assert_eq!(declines(&mut invitations, "b@s"), None, "told already");
        assert_eq!(declines(&mut invitations, "d@s"), None);
        assert!(invitations.declined(&message("<invite from='c@s'/>")).is_none());
        invitations.client_gone(ClientId(2));
        assert_eq!((declines(&mut invitations, "c@s"), invitations.len()), (None, 0));
    }

    #[test]
    fn they_do_not_grow_without_bound() {
        let mut invitations = Invitations::default();
        for n in 0..1000 {
            invitations.remember(&message(&format!("<invite to='{n}@s'/>")), ClientId(n));
        }
        assert_eq!(invitations.len(), MOST);
        assert_eq!((declines(&mut invitations, "1@s"), declines(&mut invitations, "999@s")), (None, Some(999)));
    }
}
