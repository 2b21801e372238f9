//! Which client an occupant's IQ is for, where something that was said before tells: the session it speaks of (Jingle,
//! in-band bytestreams, SOCKS5) belongs to one client; else it may follow up on what a client asked that occupant.

use std::collections::HashMap;

use indexmap::IndexMap;

use crate::muc::ClientId;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// How much is remembered of one room, of each kind; of more, the oldest is forgotten.
const MOST: usize = 128;
/// No session id is longer; what is, is not remembered.
const LONGEST_SID: usize = 256;

/// What is remembered. Ends with the room, and with the client.
#[derive(Debug, Default)]
pub struct Owners {
    by_room: HashMap<String, InRoom>,
}

#[derive(Debug, Default)]
struct InRoom {
    /// Which client has last asked an occupant something, by nick.
    asked: IndexMap<String, ClientId>,
    /// Which client a session belongs to, by its id.
    sids: IndexMap<String, ClientId>,
}

impl Owners {
    /// `client` asks the `to` of `stanza`.
    pub fn asks(&mut self, client: ClientId, stanza: &Stanza) {
        let to = stanza.to().unwrap_or_default();
        let Some((room, nick)) = to.split_once('/') else { return };
        let in_room = self.by_room.entry(room.to_owned()).or_default();
        remember(&mut in_room.asked, nick.to_owned(), client);
        if let Some(sid) = sid(stanza) {
            remember(&mut in_room.sids, sid, client);
        }
    }

    /// `client` is asked by the `from` of `stanza`: the session is its own from now on.
    pub fn is_asked(&mut self, client: ClientId, stanza: &Stanza) {
        let Some(sid) = sid(stanza) else { return };
        let from = stanza.from().unwrap_or_default();
        let room = from.split('/').next().unwrap_or_default().to_owned();
        remember(&mut self.by_room.entry(room).or_default().sids, sid, client);
    }

    /// Whose an occupant's question is, if anything tells.
    pub fn of(&self, stanza: &Stanza) -> Option<ClientId> {
        let from = stanza.from()?;
        let (room, nick) = from.split_once('/')?;
        let in_room = self.by_room.get(room)?;
        let by_sid = sid(stanza).and_then(|sid| in_room.sids.get(&sid));
        by_sid.or_else(|| in_room.asked.get(nick)).copied()
    }

    /// The client is gone.
    pub fn client_gone(&mut self, client: ClientId) {
        for in_room in self.by_room.values_mut() {
            in_room.forget(client);
        }
        self.by_room.retain(|_, in_room| in_room.len() > 0);
    }

    /// The client is no longer in the room.
    pub fn detached(&mut self, client: ClientId, room: &str) {
        if let Some(in_room) = self.by_room.get_mut(room) {
            in_room.forget(client);
        }
    }

    /// The account is no longer in the room.
    pub fn room_ended(&mut self, room: &str) {
        self.by_room.remove(room);
    }

    /// How many things are remembered.
    pub fn len(&self) -> usize {
        self.by_room.values().map(InRoom::len).sum()
    }
}

impl InRoom {
    fn forget(&mut self, client: ClientId) {
        self.asked.retain(|_, owner| *owner != client);
        self.sids.retain(|_, owner| *owner != client);
    }

    fn len(&self) -> usize {
        self.asked.len() + self.sids.len()
    }
}

/// The latest goes last.
fn remember(map: &mut IndexMap<String, ClientId>, key: String, client: ClientId) {
    map.shift_remove(&key);
    if map.len() == MOST {
        map.shift_remove_index(0);
    }
    map.insert(key, client);
}

/// The session an IQ speaks of: Jingle (XEP-0166), in-band bytestreams (XEP-0047), SOCKS5 (XEP-0065).
fn sid(stanza: &Stanza) -> Option<String> {
    let tree = stanza.tree().ok()?;
    let payload = tree.root().children().find(|c| matches!(c.space(), ns::JINGLE | ns::IBB | ns::BYTESTREAMS))?;
    payload.attr("sid").filter(|sid| sid.len() <= LONGEST_SID).map(|sid| sid.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId(1);
    const B: ClientId = ClientId(2);

    fn iq(attributes: &str, space: &str, sid: &str) -> Stanza {
        Stanza::own(format!("<iq {attributes} type='set' id='1'><x xmlns='{space}' sid='{sid}'/></iq>"))
    }

    #[test]
    fn a_session_sticks_to_its_client_and_other_questions_follow_the_last_asked() {
        let mut owners = Owners::default();
        owners.asks(A, &iq("to='r@s/n'", ns::JINGLE, "7"));
        owners.asks(B, &iq("to='r@s/n'", "urn:x", "8"));
        assert_eq!(owners.of(&iq("from='r@s/renamed'", ns::JINGLE, "7")), Some(A));
        assert_eq!(owners.of(&iq("from='r@s/n'", "urn:x", "7")), Some(B), "no session's namespace");
        assert_eq!(owners.of(&iq("from='r@s/renamed'", ns::IBB, "8")), None);
        assert_eq!(owners.of(&iq("from='other@s/n'", ns::JINGLE, "7")), None, "another room");
        owners.is_asked(B, &iq("from='r@s/n'", ns::BYTESTREAMS, "9"));
        assert_eq!(owners.of(&iq("from='r@s/n'", ns::BYTESTREAMS, "9")), Some(B));
        owners.detached(B, "r@s");
        assert_eq!(owners.of(&iq("from='r@s/n'", ns::BYTESTREAMS, "9")), None);
        owners.client_gone(A);
        assert_eq!(owners.len(), 0);
    }

    #[test]
    fn nothing_grows_without_bound() {
        let mut owners = Owners::default();
        for n in 0..1000 {
            owners.asks(A, &iq(&format!("to='r@s/{n}'"), "urn:x", ""));
            owners.is_asked(A, &iq("from='r@s/n'", ns::IBB, &n.to_string()));
        }
        owners.is_asked(A, &iq("from='r@s/n'", ns::IBB, &"x".repeat(LONGEST_SID + 1)));
        assert_eq!(owners.len(), 2 * MOST);
        assert_eq!(owners.of(&iq("from='r@s/n'", ns::IBB, "999")), Some(A));
        assert_eq!(owners.of(&iq("from='r@s/n'", ns::IBB, "1")), None);
        owners.room_ended("r@s");
        assert!(owners.by_room.is_empty());
    }
}
