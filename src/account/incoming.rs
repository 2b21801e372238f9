//! What the account session receives: answers to who asked, rooms' traffic to the rooms, the rest answered here.

use std::sync::Arc;

use crate::account::account::{Account, Output, to_one};
use crate::account::handle::ToClient;
use crate::account::{discovered, own};
use crate::muc::codes::{MucUser, SELF};
use crate::muc::{Now, item};
use crate::xml::writer::escape;
use crate::xmpp::caps;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How many messages to the account session wait for a client, and how many bytes of them (S21). Of more the oldest go.
const MOST_STRAYS: usize = 100;
const STRAY_BYTES: usize = 1024 * 1024;

impl Account {
    pub(super) fn from_server(&mut self, now: Now, stanza: Stanza, out: &mut Vec<Output>) {
        let from = stanza.from().map(|f| f.into_owned()).unwrap_or_default();
        let bare = from.split('/').next().unwrap_or_default();
        if stanza.is_iq() {
            return self.iq_from_server(now, stanza, out);
        }
        if stanza.is_message()
            && let Some((client, result)) = self.queries.result(&stanza)
        {
            out.push(to_one(client, &result));
            return;
        }
        if let Some(room) = self.rooms.get_mut(bare) {
            let mut outs = Vec::new();
            room.from_room(now, stanza, &mut outs);
            let grown = room.recount();
            self.spread(now, bare, outs, out);
            if grown {
                self.keep_to_budget(now, bare, out);
            }
            return;
        }
        if stanza.is_presence() {
            return self.leave_unwanted(bare, &stanza, out);
        }
        if stanza.is_message() && self.bookmark_event(now, &stanza, out) {
            return;
        }
        if stanza.is_message() && !stanza.is_type("groupchat") && !stanza.is_type("error") {
            self.stray(&stanza, out);
        }
    }

    /// A message to the account session itself: each client gets it once, or it waits for one.
    pub(super) fn stray(&mut self, stanza: &Stanza, out: &mut Vec<Output>) {
        let frame = Arc::new(Shared::new(&stanza.edit().finish(), None));
        if self.clients.is_empty() {
            self.strays.push_back(frame);
            while self.strays.len() > MOST_STRAYS || self.strays.iter().map(|s| s.len()).sum::<usize>() > STRAY_BYTES {
                self.strays.pop_front();
            }
            return;
        }
        out.extend(self.clients.keys().map(|c| Output::Client(*c, ToClient::Shared(frame.clone()))));
    }

    pub(super) fn iq_from_server(&mut self, now: Now, stanza: Stanza, out: &mut Vec<Output>) {
        let from = stanza.from().unwrap_or_default();
        let bare = from.split('/').next().unwrap_or_default();
        if stanza.is_type("result") || stanza.is_type("error") {
            if let Some((client, answer)) = self.iqs.answered(&stanza) {
                let own = self.clients.get(&client).map(|known| known.jid.as_str());
                let listed = own.and_then(|own| item::list_with_own_jid(&answer, &self.session, own));
                out.push(match answer.to() {
                    Some(_) => to_one(client, listed.as_ref().unwrap_or(&answer)),
                    // What the account's own server refuses bears none (Prosody).
                    None => Output::Client(client, ToClient::Own(answer.bytes().clone())),
                });
            } else if self.reserved_nick(now, &stanza, out) {
                // It is joined with that.
            } else if let Some(room) = self.rooms.get_mut(bare) {
                let mut outs = Vec::new();
                room.answered(now, &stanza, &mut outs);
                self.spread(now, bare, outs, out);
            } else {
                self.bookmark_answer(now, &stanza, out);
            }
            return;
        }
        if let Some(answer) = self.asked_by_occupant(now, bare, &stanza) {
            out.push(answer);
            return;
        }
        let trusted = from.is_empty() || bare == self.jid.as_str() || bare == self.jid.domain().as_str();
        out.extend(own::answer(&stanza, trusted).map(Output::Up));
    }

    /// An occupant's question: handed to the client that it is for, or answered as that one has answered before. `None`
    /// if nobody is there to ask.
    fn asked_by_occupant(&mut self, now: Now, room: &str, question: &Stanza) -> Option<Output> {
        let room =
            self.rooms.get(room).filter(|room| room.is_joined() && question.from().is_some_and(|f| f.contains('/')))?;
        let Some(node) = discovered::asked(question) else {
            let audience = room.audience();
            let client =
                self.iqs.owners.of(question).filter(|c| audience.contains(c)).or_else(|| room.active_client())?;
            return Some(to_one(client, &self.iqs.hand_in(now.at, client, question, None)?));
        };
        // What the room is shown, or was a moment ago, is what is asked about.
        if let Some(answer) = node.as_deref().and_then(|node| self.iqs.discovered.by_node(question, node)) {
            return Some(Output::Up(answer));
        }
        if node.as_deref().is_some_and(caps::is_own_node) {
            return None;
        }
        let by_node = node.as_deref().and_then(|node| room.client_with_caps(node));
        let client = by_node.or_else(|| room.shown_client())?;
        let key = discovered::key(node.as_deref(), room.caps_of(client));
        if let Some(answer) = key.as_ref().and_then(|key| self.iqs.discovered.answer(question, key)) {
            return Some(Output::Up(answer));
        }
        Some(to_one(client, &self.iqs.hand_in(now.at, client, question, key)?))
    }

    /// Presence of a room that this account asked to join and has given up: if it lets us in, too late, that is undone
    /// (S19). Nobody else is answered.
    fn leave_unwanted(&self, room: &str, stanza: &Stanza, out: &mut Vec<Output>) {
        let entered = stanza.type_().is_none() && stanza.tree().is_ok_and(|tree| MucUser::read(&tree).has(SELF));
        if entered && self.ended.iter().any(|ended| ended == room) {
            let to = stanza.from().unwrap_or_default();
            out.push(Output::Up(Stanza::own(format!("<presence to='{}' type='unavailable'/>", escape(&to)))));
        }
    }
}
