//! IQs that change streams (RFC 6120 §8.2.3): each gets a random id of its own on the way, and its answer is taken
//! from the exact peer that was asked only (S15).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::muc::ClientId;
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::ids;
use crate::xmpp::stanza::Stanza;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How many may be under way for one account, each way.
const MOST: usize = 4096;

#[derive(Debug)]
struct Asked {
    client: ClientId,
    /// The request, as the asker sent it: its id is the answer's, and its error reply can be made of it.
    request: Stanza,
    peer: String,
    until: Instant,
}

/// The IQs under way.
#[derive(Debug, Default)]
pub struct Iqs {
    /// Asked by clients, by the id they bear upstream.
    out: HashMap<String, Asked>,
    /// Asked by occupants, by the id they bear towards the client.
    inward: HashMap<String, Asked>,
    /// Which client last asked an occupant something.
    asked_last: HashMap<String, ClientId>,
    /// Which client a session (Jingle, in-band bytes…) belongs to, by its sid.
    sids: HashMap<String, ClientId>,
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
        if self.asked_last.len() < MOST {
            self.asked_last.insert(peer.clone(), client);
            if let Some(sid) = sid(stanza) {
                self.sids.insert(sid, client);
            }
        }
        self.out.insert(id, Asked { client, request: stanza.clone(), peer, until: now + PATIENCE });
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

    /// Which of the attached clients an occupant's IQ belongs to, if any did something that tells.
    pub fn belongs_to(&self, stanza: &Stanza) -> Option<ClientId> {
        let by_sid = sid(stanza).and_then(|sid| self.sids.get(&sid));
        by_sid.or_else(|| self.asked_last.get(stanza.from()?.as_ref())).copied()
    }

    /// An occupant asks; what to hand to that client, or `None` if too many are under way.
    pub fn hand_in(&mut self, now: Instant, client: ClientId, stanza: &Stanza) -> Option<Stanza> {
        self.expire(now);
        if self.inward.len() >= MOST {
            return None;
        }
        let peer = stanza.from().unwrap_or_default().into_owned();
        if let Some(sid) = sid(stanza).filter(|_| self.sids.len() < MOST) {
            self.sids.insert(sid, client);
        }
        let id = ids::random();
        let handed = stanza.edit().set("id", id.clone()).finish();
        self.inward.insert(id, Asked { client, request: stanza.clone(), peer, until: now + PATIENCE });
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
        let id = asked.request.id().unwrap_or_default().into_owned();
        Some(stanza.edit().set("id", id).set("to", asked.peer).remove("from").finish())
    }

    /// The client is gone: nobody waits for its answers. Returns what it was asked and has not answered.
    pub fn client_gone(&mut self, client: ClientId) -> Vec<Stanza> {
        self.out.retain(|_, asked| asked.client != client);
        self.asked_last.retain(|_, asker| *asker != client);
        self.sids.retain(|_, owner| *owner != client);
        self.inward.extract_if(|_, asked| asked.client == client).map(|(_, asked)| asked.request).collect()
    }

    /// The account session is gone, and with it every answer: error answers for the clients that wait.
    pub fn session_lost(&mut self) -> Vec<(ClientId, Stanza)> {
        self.inward.clear();
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
        self.out.len() + self.inward.len() + self.asked_last.len() + self.sids.len()
    }

    fn expire(&mut self, now: Instant) {
        if self.out.len() >= MOST {
            self.out.retain(|_, asked| asked.until > now);
        }
        if self.inward.len() >= MOST {
            self.inward.retain(|_, asked| asked.until > now);
        }
    }
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

/// The session an IQ speaks of: Jingle (XEP-0166), in-band bytestreams (XEP-0047), SOCKS5 (XEP-0065).
fn sid(stanza: &Stanza) -> Option<String> {
    let tree = stanza.tree().ok()?;
    tree.root().children().find_map(|child| child.attr("sid")).map(|sid| sid.into_owned())
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
        assert_eq!(iqs.belongs_to(&question), Some(A));
        let handed = iqs.hand_in(Instant::now(), A, &question).unwrap();
        let id = handed.id().unwrap().into_owned();
        let answer = Stanza::own(format!("<iq to='r@s/n' type='result' id='{id}'/>"));
        assert!(iqs.hand_out(B, &answer).is_none());
        let up = iqs.hand_out(A, &answer).unwrap();
        assert_eq!((up.id().as_deref(), up.to().as_deref()), (Some("theirs"), Some("r@s/n")));
    }

    #[test]
    fn nobody_is_left_hanging() {
        let (mut iqs, _) = asked();
        iqs.hand_in(Instant::now(), A, &Stanza::own("<iq from='r@s/n' to='a@b/x' type='get' id='theirs'/>"));
        let unanswered = iqs.client_gone(A);
        assert_eq!(unanswered.len(), 1);
        assert_eq!(unanswered[0].id().as_deref(), Some("theirs"));
        let (mut iqs, _) = asked();
        let errors = iqs.session_lost();
        assert_eq!(errors[0].1.id().as_deref(), Some("mine"));
        assert!(errors[0].1.is_type("error"));
    }

    #[test]
    fn a_session_sticks_to_its_client() {
        let (iqs, _) = asked();
        let other =
            Stanza::own("<iq from='r@s/somebody' type='set' id='x'><jingle xmlns='urn:xmpp:jingle:1' sid='7'/></iq>");
        assert_eq!(iqs.belongs_to(&other), Some(A));
    }
}
