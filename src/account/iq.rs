//! IQs that change streams (RFC 6120 §8.2.3): each gets a random id of its own on the way, and its answer is taken
//! from the exact peer that was asked only (S15).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::account::discovered::{Discovered, Key};
use crate::account::owners::Owners;
use crate::muc::ClientId;
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::ids;
use crate::xmpp::stanza::Stanza;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many may be under way for one account, each way.
const MOST: usize = 4096;
/// How many bytes of occupants' questions are kept, until they are answered.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Asked by a client.
#[derive(Debug)]
struct Asked {
    client: ClientId,
    /// The request without its content: its id is the answer's, and its error reply can be made of it.
    request: Stanza,
    peer: String,
    until: Instant,
}

/// Asked by an occupant.
#[derive(Debug)]
struct Handed {
    client: ClientId,
    /// The whole question: another client may have to be asked.
    question: Stanza,
    peer: String,
    until: Instant,
    /// The answer is kept under this.
    key: Option<Key>,
}

/// The IQs under way.
#[derive(Debug, Default)]
pub struct Iqs {
    /// By the id they bear upstream.
    out: HashMap<String, Asked>,
    /// By the id they bear towards the client.
    inward: HashMap<String, Handed>,
    inward_bytes: usize,
    pub(super) owners: Owners,
    pub(super) discovered: Discovered,
}

impl Iqs {
    /// A client asks `stanza`'s `to`; what to send upstream, or `None` if too many are under way.
    pub fn ask(&mut self, now: Instant, client: ClientId, stanza: &Stanza) -> Option<Stanza> {
        self.expire(now);
        if self.out.len() >= MOST {
            return None;
        }
        let peer = stanza.to().unwrap_or_default().into_owned();
        let id = ids::random();
        let up = stanza.edit().set("id", id.clone()).remove("from").finish();
        self.owners.asks(client, stanza);
        self.out.insert(id, Asked { client, request: head(stanza), peer, until: now + PATIENCE });
        Some(up)
    }

    /// An answer came from upstream: whose it is, under its own id again.
    pub fn answered(&mut self, stanza: &Stanza) -> Option<(ClientId, Stanza)> {
        let id = stanza.id()?;
        let from = stanza.from().unwrap_or_default();
        if !same_address(&self.out.get(id.as_ref())?.peer, &from) {
            return None;
        }
        let asked = self.out.remove(id.as_ref())?;
        let answer = match asked.request.id() {
            Some(id) => stanza.edit().set("id", id.into_owned()).finish(),
            None => stanza.edit().remove("id").finish(),
        };
        Some((asked.client, answer))
    }

    /// An occupant asks; what to hand to that client, or `None` if too much is under way. The answer is kept under `key`.
    pub fn hand_in(&mut self, now: Instant, client: ClientId, stanza: &Stanza, key: Option<Key>) -> Option<Stanza> {
        self.expire(now);
        let size = stanza.bytes().len();
        if self.inward.len() >= MOST || self.inward_bytes + size > MOST_BYTES {
            return None;
        }
        let peer = stanza.from().unwrap_or_default().into_owned();
        self.owners.is_asked(client, stanza);
        let id = ids::random();
        let handed = stanza.edit().set("id", id.clone()).finish();
        // A copy, so that it does not pin the buffer it came in.
        let question = stanza.edit().finish();
        self.inward_bytes += question.bytes().len();
        self.inward.insert(id, Handed { client, question, peer, until: now + PATIENCE, key });
        Some(handed)
    }

    /// A client answers an occupant: what to send upstream.
    pub fn hand_out(&mut self, client: ClientId, stanza: &Stanza) -> Option<Stanza> {
        let id = stanza.id()?;
        let asked = self.inward.get(id.as_ref())?;
        if asked.client != client || !same_address(&asked.peer, &stanza.to().unwrap_or_default()) {
            return None;
        }
        let asked = self.inward.remove(id.as_ref())?;
        self.inward_bytes = self.inward_bytes.saturating_sub(asked.question.bytes().len());
        let id = asked.question.id().unwrap_or_default().into_owned();
        let answer = stanza.edit().set("id", id).set("to", asked.peer).remove("from").finish();
        if let Some(key) = asked.key {
            self.discovered.keep(key, &answer);
        }
        Some(answer)
    }

    /// The client is gone: nobody waits for its answers. Returns what it was asked and has not answered.
    pub fn client_gone(&mut self, client: ClientId) -> Vec<Stanza> {
        self.out.retain(|_, asked| asked.client != client);
        self.owners.client_gone(client);
        self.take_inward(|asked| asked.client == client)
    }

    /// The client is no longer in the room. Returns what it was asked there and has not answered.
    pub fn detached(&mut self, client: ClientId, room: &str) -> Vec<Stanza> {
        self.owners.detached(client, room);
        self.take_inward(|asked| asked.client == client && is_in(&asked.peer, room))
    }

    /// The account is no longer in the room: nobody there can be answered.
    pub fn room_ended(&mut self, room: &str) {
        self.owners.room_ended(room);
        self.take_inward(|asked| is_in(&asked.peer, room));
    }

    /// The account session is gone, and with it every answer: error answers for the clients that wait.
    pub fn session_lost(&mut self) -> Vec<(ClientId, Stanza)> {
        self.take_inward(|_| true);
        let text = "the connection to the server was lost";
        let asked = self.out.drain().map(|(_, asked)| asked);
        asked
            .filter_map(|asked| {
                let reply = error_reply(&asked.request, "", StanzaCondition::RemoteServerTimeout, text)?;
                Some((asked.client, Stanza::own(reply)))
            })
            .collect()
    }

    /// How many are under way, and what is remembered of them.
    pub fn len(&self) -> usize {
        self.out.len() + self.inward.len() + self.owners.len()
    }

    fn take_inward(&mut self, of: impl Fn(&Handed) -> bool) -> Vec<Stanza> {
        let taken: Vec<Stanza> =
            self.inward.extract_if(|_, asked| of(asked)).map(|(_, asked)| asked.question).collect();
        let bytes: usize = taken.iter().map(|question| question.bytes().len()).sum();
        self.inward_bytes = self.inward_bytes.saturating_sub(bytes);
        taken
    }

    fn expire(&mut self, now: Instant) {
        if self.out.len() >= MOST {
            self.out.retain(|_, asked| asked.until > now);
        }
        if self.inward.len() >= MOST || self.inward_bytes >= MOST_BYTES / 2 {
            self.take_inward(|asked| asked.until <= now);
        }
    }
}

/// The stanza without its content.
fn head(stanza: &Stanza) -> Stanza {
    let name = stanza.name();
    let mut text = format!("<{name}");
    for (attribute, value) in
        [("to", stanza.to()), ("from", stanza.from()), ("id", stanza.id()), ("type", stanza.type_())]
    {
        if let Some(value) = value {
            text += &format!(" {attribute}='{}'", crate::xml::writer::escape(&value));
        }
    }
    Stanza::own(text + "/>")
}

fn is_in(occupant: &str, room: &str) -> bool {
    occupant.split('/').next() == Some(room)
}

/// The stanza without `from`: what the account session sends bears its own.
pub fn drop_from(stanza: &Stanza) -> Stanza {
    stanza.edit().remove("from").finish()
}

/// Whether the peer that answers is the peer that was asked, both as addresses. The asker may have written it
/// otherwise than the server prepares it.
fn same_address(asked: &str, answering: &str) -> bool {
    asked == answering || matches!((jid::Jid::new(asked), jid::Jid::new(answering)), (Ok(a), Ok(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientId = ClientId(1);
    const B: ClientId = ClientId(2);

    fn asked() -> (Iqs, Stanza) {
        let mut iqs = Iqs::default();
        let request = Stanza::own("<iq to='r@s/n' type='get' id='mine'><q xmlns='urn:q' sid='7'/></iq>");
        let up = iqs.ask(Instant::now(), A, &request).unwrap();
        assert_ne!(up.id().as_deref(), Some("mine"));
        (iqs, up)
    }

    #[test]
    fn s15_an_answer_counts_with_the_right_id_from_the_right_peer_only() {
        let (mut iqs, up) = asked();
        let id = up.id().unwrap().into_owned();
        for from in ["r@s/other", "r@s", "a@b"] {
            assert!(iqs.answered(&Stanza::own(format!("<iq from='{from}' type='result' id='{id}'/>"))).is_none());
        }
        assert!(iqs.answered(&Stanza::own("<iq from='r@s/n' type='result' id='mine'/>")).is_none());
        let (client, answer) =
            iqs.answered(&Stanza::own(format!("<iq from='r@s/n' type='result' id='{id}'/>"))).unwrap();
        assert_eq!((client, answer.id().as_deref()), (A, Some("mine")));
        assert!(iqs.answered(&Stanza::own(format!("<iq from='r@s/n' type='result' id='{id}'/>"))).is_none());
    }

    #[test]
    fn an_occupants_question_goes_to_who_asked_it_last_and_back_under_its_own_id() {
        let (mut iqs, _) = asked();
        let question = Stanza::own("<iq from='r@s/n' to='a@b/x' type='get' id='theirs'/>");
        assert_eq!(iqs.owners.of(&question), Some(A));
        let handed = iqs.hand_in(Instant::now(), A, &question, None).unwrap();
        let id = handed.id().unwrap().into_owned();
        let answer = Stanza::own(format!("<iq to='r@s/n' type='result' id='{id}'/>"));
        assert!(iqs.hand_out(B, &answer).is_none());
        let up = iqs.hand_out(A, &answer).unwrap();
        assert_eq!((up.id().as_deref(), up.to().as_deref()), (Some("theirs"), Some("r@s/n")));
        assert_eq!(iqs.inward_bytes, 0);
    }

    #[test]
    fn nobody_is_left_hanging() {
        let (mut iqs, _) = asked();
        iqs.hand_in(Instant::now(), A, &Stanza::own("<iq from='r@s/n' to='a@b/x' type='get' id='theirs'/>"), None);
        let unanswered = iqs.client_gone(A);
        assert_eq!(unanswered.len(), 1);
        assert_eq!(unanswered[0].id().as_deref(), Some("theirs"));
        let (mut iqs, _) = asked();
        let errors = iqs.session_lost();
        assert_eq!(errors[0].1.id().as_deref(), Some("mine"));
        assert!(errors[0].1.is_type("error"));
    }

    #[test]
    fn questions_are_kept_up_to_a_bound_and_no_longer_than_their_room() {
        let mut iqs = Iqs::default();
        let large = "x".repeat(256 * 1024);
        let question = |id: usize| {
            Stanza::own(format!("<iq from='r@s/n' to='a@b/x' type='set' id='{id}'><q xmlns='u'>{large}</q></iq>"))
        };
        let start = Instant::now();
        let taken = (0..64).filter(|id| iqs.hand_in(start, A, &question(*id), None).is_some()).count();
        assert_eq!(taken, 15, "a little less than 4 MiB");
        assert!(iqs.hand_in(start + PATIENCE, A, &question(99), None).is_some(), "those that nobody answered went");
        assert_eq!(iqs.len(), 1);
        assert!(iqs.detached(A, "other@s").is_empty() && iqs.detached(B, "r@s").is_empty());
        assert_eq!(iqs.detached(A, "r@s").len(), 1);
        iqs.hand_in(start, A, &question(1), None);
        iqs.room_ended("r@s");
        assert_eq!((iqs.len(), iqs.inward_bytes), (0, 0));
    }
}
