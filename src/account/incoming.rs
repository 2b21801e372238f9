//! What the account session receives: answers to who asked, rooms' traffic to the rooms, the rest answered here.

use std::sync::Arc;

use crate::account::account::{Account, Output, to_one};
use crate::account::handle::ToClient;
use crate::account::own;
use crate::muc::Now;
use crate::muc::codes::{MucUser, SELF};
use crate::xml::writer::escape;
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
            return self.spread(now, bare, outs, out);
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
                out.push(to_one(client, &answer));
            } else {
                self.bookmark_answer(now, &stanza, out);
            }
            return;
        }
        let room = self.rooms.get(bare).filter(|room| room.is_joined() && from.len() > bare.len());
        if let Some(room) = room {
            let audience = room.audience();
            let chosen = self.iqs.belongs_to(&stanza).filter(|c| audience.contains(c)).or_else(|| room.shown_client());
            if let Some(client) = chosen
                && let Some(handed) = self.iqs.hand_in(now.at, client, &stanza)
            {
                out.push(to_one(client, &handed));
                return;
            }
        }
        let trusted = from.is_empty() || bare == self.jid.as_str() || bare == self.jid.domain().as_str();
        out.extend(own::answer(&stanza, trusted).map(Output::Up));
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
