//! Messages and IQs: groupchat (XEP-0045 §7.4), private messages (§7.5), subjects (§8.1), and whose errors are whose.

use std::sync::Arc;

use crate::muc::codes::MucUser;
use crate::muc::history::{Arrival, Keeping};
use crate::muc::room::{Phase, Room};
use crate::muc::{ClientId, Now, Out, nick, subject};
use crate::xml::element::Tree;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How many stanzas' authors are remembered, for errors that may come back.
const MOST_AUTHORS: usize = 1024;

impl Room {
    pub(super) fn remember_author(&mut self, stanza: &Stanza, client: ClientId) {
        let Some(id) = stanza.id() else { return };
        if self.authors.len() == MOST_AUTHORS {
            self.authors.pop_front();
        }
        self.authors.push_back((id.into_owned(), client));
    }

    /// Who sent the stanza with this id; it is answered now, so it is forgotten.
    pub(super) fn author(&mut self, id: &str) -> Option<ClientId> {
        let at = self.authors.iter().position(|(sent, _)| sent == id)?;
        self.authors.remove(at).map(|(_, client)| client)
    }

    /// A message of an attached client to the room or an occupant.
    pub(super) fn client_message(&mut self, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        match stanza.type_().as_deref() {
            // Servers kick for a message error in a room, and this one would be the account's.
            Some("error") => return,
            Some("groupchat") => {
                self.remember_author(&stanza, client);
                return out.push(Out::Up(stanza));
            }
            _ => {}
        }
        self.remember_author(&stanza, client);
        let to_occupant = stanza.to().is_some_and(|to| to.contains('/'));
        if !to_occupant || !stanza.tree().is_ok_and(|tree| would_be_copied(&stanza, &tree)) {
            return out.push(Out::Up(stanza));
        }
        // The server would copy it to the author itself, whose own session did not send it (XEP-0280 §11).
        let marks = format!("<private xmlns='{}'/><no-copy xmlns='{}'/>", ns::CARBONS, ns::HINTS);
        out.push(Out::Up(stanza.edit().append(&marks).finish()));
    }

    /// An IQ of an attached client: a ping of itself is answered at once, all else is asked upstream.
    pub(super) fn client_iq(&mut self, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        let request = stanza.is_type("get") || stanza.is_type("set");
        let to = stanza.to().map(|to| to.into_owned()).unwrap_or_default();
        let to_self = to.split_once('/').is_some_and(|(_, asked)| nick::same(asked, &self.nick));
        if stanza.is_iq() && stanza.is_type("get") && to_self && is_ping(&stanza) {
            let id = stanza.id().unwrap_or_default();
            let answer = Stanza::own(format!("<iq from='{}' to='' id='{}' type='result'/>", escape(&to), escape(&id)));
            return out.push(Out::One(client, Arc::new(Shared::new(&answer, None))));
        }
        if self.creator == Some(client) && stanza.is_type("set") && configures(&stanza) {
            self.unconfigured = false;
        }
        out.push(if request { Out::Ask(client, stanza) } else { Out::Relay(client, stanza) });
    }

    /// A message from the room or an occupant.
    pub(super) fn room_message(&mut self, now: Now, from: Option<String>, stanza: Stanza, out: &mut Vec<Out>) {
        if let (Phase::Joining { .. }, Some(waiter)) = (&self.phase, self.waiting.front()) {
            // The join's dialogue (CAPTCHA, XEP-0158) is the joining client's.
            let to = waiter.client;
            return out.push(Out::One(to, Arc::new(Shared::new(&stanza, None))));
        }
        if stanza.is_type("error") {
            let author = stanza.id().and_then(|id| self.author(&id));
            return match author {
                Some(client) => out.push(Out::One(client, Arc::new(Shared::new(&stanza, None)))),
                None => self.show_all(Shared::new(&stanza, None), out),
            };
        }
        if !stanza.is_type("groupchat") {
            return self.show_all(Shared::new(&stanza, None), out);
        }
        self.groupchat(now, from, stanza, out);
    }

    fn groupchat(&mut self, now: Now, from: Option<String>, stanza: Stanza, out: &mut Vec<Out>) {
        if from.as_deref() == Some(self.nick.as_str())
            && let Some(id) = stanza.id()
        {
            self.author(&id);
        }
        let Ok(tree) = stanza.tree() else { return };
        if self.is_told_again(now, &stanza, &tree, out) {
            return;
        }
        let entering = matches!(self.phase, Phase::Entering { .. });
        let is_subject = subject::is_subject(&tree);
        if is_subject && entering {
            self.subject.at_join(&stanza, &tree);
        } else if is_subject {
            let stamped = *self.history.keeping() != Keeping::Queue;
            self.subject.changed(&self.jid, &stanza, &tree, now.wall, stamped);
        } else {
            if from.is_none() {
                self.configured(&MucUser::read(&tree));
            }
            let old = entering && is_delayed(&tree, &self.jid);
            if entering && !old {
                // Live traffic: whatever history there was has come, though no subject was told.
                self.joined(now, out);
            }
            let sender = from.as_deref().and_then(|nick| self.sender(nick));
            let arrival = Arrival { author: from.as_deref(), old, sender: sender.as_ref(), wall: now.wall };
            self.history.push(&self.jid, &stanza, &tree, arrival);
            self.keep_to_budget(None);
        }
        self.show_all(Shared::new(&stanza, None), out);
        if is_subject && entering {
            self.joined(now, out);
        }
    }
}

/// Whether the room marked the message as history.
pub(super) fn is_delayed(tree: &Tree<'_>, room: &str) -> bool {
    tree.root().children().any(|c| c.is("delay", ns::DELAY) && c.attr("from").is_none_or(|from| from == room))
}

/// Whether a server that knows carbons would copy the message (XEP-0280 §6.1), and nothing forbids it yet.
fn would_be_copied(stanza: &Stanza, tree: &Tree<'_>) -> bool {
    let root = tree.root();
    (stanza.is_type("chat") || root.child("body", ns::CLIENT).is_some()) && root.child("private", ns::CARBONS).is_none()
}

fn is_ping(stanza: &Stanza) -> bool {
    stanza.tree().is_ok_and(|tree| tree.root().child("ping", ns::PING).is_some())
}

/// Whether the IQ configures the room (XEP-0045 §10.1): after it, the room is no longer new.
fn configures(stanza: &Stanza) -> bool {
    stanza.tree().is_ok_and(|tree| tree.root().child("query", "http://jabber.org/protocol/muc#owner").is_some())
}
