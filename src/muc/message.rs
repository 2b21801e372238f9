//! Messages and IQs: groupchat (XEP-0045 §7.4), subjects (§8.1), and whose errors are whose.

use std::sync::Arc;

use crate::muc::codes::MucUser;
use crate::muc::history::{Arrival, Keeping};
use crate::muc::room::{Phase, Room};
use crate::muc::{ClientId, Now, Out, nick, subject};
use crate::xml::element::Tree;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

impl Room {
    /// A message of an attached client to the room or an occupant.
    pub(super) fn client_message(&mut self, now: Now, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        match stanza.type_().as_deref() {
            // Servers kick for a message error in a room, and this one would be the account's.
            Some("error") => {}
            Some("groupchat") => self.say(now, client, stanza, out),
            _ => self.private_message(client, stanza, out),
        }
    }

    /// An IQ of an attached client: a ping of itself is answered at once, all else is asked upstream.
    pub(super) fn client_iq(&mut self, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        let request = stanza.is_type("get") || stanza.is_type("set");
        let to = stanza.to().map(|to| to.into_owned()).unwrap_or_default();
        let to_self = to.split_once('/').is_some_and(|(_, asked)| nick::same(asked, &self.nick));
        if stanza.is_iq() && stanza.is_type("get") && to_self && is_ping(&stanza) {
            return self.client_pings(client, stanza, out);
        }
        if self.creator == Some(client) && stanza.is_type("set") && configures(&stanza) {
            self.unconfigured = false;
        }
        out.push(if request { Out::Ask(client, stanza) } else { Out::Relay(client, stanza) });
    }

    /// A message from the room or an occupant.
    pub(super) fn room_message(&mut self, now: Now, from: Option<String>, stanza: Stanza, out: &mut Vec<Out>) {
        if self.is_dialogue(now, &stanza, out) {
            return;
        }
        if stanza.is_type("error") {
            // Without an author it answers a client that is gone, and is nobody else's.
            let author = self.authors.answered(&stanza);
            if self.was_refused(now, &stanza, out) {
                return;
            }
            if may_be_cut_off(&stanza) {
                self.verify(now, out);
            }
            if let Some(client) = author {
                out.push(Out::One(client, Arc::new(Shared::new(&stanza, None))));
            }
            return;
        }
        if !stanza.is_type("groupchat") {
            let shared = Shared::new(&stanza, None);
            return match from.is_none().then(|| self.invitations.declined(&stanza)).flatten() {
                Some(client) => out.push(Out::One(client, Arc::new(shared))),
                None => self.show_all(shared, out),
            };
        }
        self.groupchat(now, from, stanza, out);
    }

    fn groupchat(&mut self, now: Now, from: Option<String>, stanza: Stanza, out: &mut Vec<Out>) {
        if from.as_deref() == Some(self.nick.as_str())
            && let Some(id) = stanza.id()
        {
            self.authors.reflected(&id);
            self.was_taken(now, &id, out);
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

/// Whether the error says that the room's server could not be reached: what it has sent meanwhile may be lost.
fn may_be_cut_off(error: &Stanza) -> bool {
    let Ok(tree) = error.tree() else { return false };
    let Some(element) = tree.root().child("error", ns::CLIENT) else { return false };
    ["remote-server-not-found", "remote-server-timeout"]
        .iter()
        .any(|name| element.child(name, ns::STANZA_ERRORS).is_some())
}

fn is_ping(stanza: &Stanza) -> bool {
    stanza.tree().is_ok_and(|tree| tree.root().child("ping", ns::PING).is_some())
}

/// Whether the IQ configures the room (XEP-0045 §10.1): after it, the room is no longer new.
fn configures(stanza: &Stanza) -> bool {
    stanza.tree().is_ok_and(|tree| tree.root().child("query", "http://jabber.org/protocol/muc#owner").is_some())
}
