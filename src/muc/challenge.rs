//! The dialogue of a join (CAPTCHA, XEP-0158): before it lets the account in, the room may ask something. That is the
//! joining client's: it is shown the question, and what it answers goes up before its join has been answered.

use std::sync::Arc;
use std::time::Duration;

use crate::muc::room::{Phase, Room};
use crate::muc::{ClientId, Now, Out};
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How long a person may take for the answer. The room is to be the one who says that it was too long (ejabberd: two
/// minutes).
const PATIENCE: Duration = Duration::from_secs(150);

/// The room's question, and who was shown it.
#[derive(Debug)]
pub(super) struct Challenge {
    client: ClientId,
    question: Arc<Shared>,
}

impl Room {
    /// A message of the room before it has answered the join: true if it was handed to the client that joins.
    pub(super) fn is_dialogue(&mut self, now: Now, stanza: &Stanza, out: &mut Vec<Out>) -> bool {
        let (Phase::Joining { deadline, .. }, Some(waiter)) = (&mut self.phase, self.waiting.front()) else {
            return false;
        };
        let shared = Arc::new(Shared::new(stanza, None));
        if has_captcha(stanza) {
            *deadline = (*deadline).max(now.at + PATIENCE);
            self.challenge = Some(Challenge { client: waiter.client, question: shared.clone() });
        }
        out.push(Out::One(waiter.client, shared));
        true
    }

    /// Whether this is a waiting client's answer to the room's question: it cannot wait for the room's answer.
    pub(super) fn answers_challenge(&self, client: ClientId, stanza: &Stanza) -> bool {
        let asked = self.challenge.as_ref().is_some_and(|challenge| challenge.client == client);
        matches!(self.phase, Phase::Joining { .. })
            && asked
            && stanza.is_iq()
            && stanza.is_type("set")
            && has_captcha(stanza)
    }

    /// A client waits no longer. If it was the one to answer, the next is asked: it wants to be let in by the same join.
    pub(super) fn pass_on_challenge(&mut self, out: &mut Vec<Out>) {
        let (Some(challenge), Some(waiter)) = (&mut self.challenge, self.waiting.front()) else { return };
        if matches!(self.phase, Phase::Joining { .. }) && challenge.client != waiter.client {
            challenge.client = waiter.client;
            out.push(Out::One(waiter.client, challenge.question.clone()));
        }
    }
}

fn has_captcha(stanza: &Stanza) -> bool {
    stanza.tree().is_ok_and(|tree| tree.root().child("captcha", ns::CAPTCHA).is_some())
}
