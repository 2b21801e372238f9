//! Presence probes (RFC 6121 §4.3) of occupants: services differ in whether they answer, so the room is asked. What it
//! answers is for who asked; the others know it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::muc::room::Room;
use crate::muc::self_presence::with_own_jid_only;
use crate::muc::{ClientId, Now, Out, item, nick};
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How long the room may take; what comes later is shown to all.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many probes are remembered.
const MOST: usize = 64;

/// Probes that the room has not answered.
#[derive(Debug, Default)]
pub(super) struct Probes {
    asked: VecDeque<Probe>,
}

#[derive(Debug)]
struct Probe {
    nick: String,
    client: ClientId,
    until: Instant,
}

/// Prosody answers a probe of the own occupant without 110.
fn without_codes(stanza: &Stanza) -> Stanza {
    item::settled(stanza, true).unwrap_or_else(|| stanza.clone())
}

impl Probes {
    /// The client is gone, or out of the room.
    pub(super) fn forget_client(&mut self, client: ClientId) {
        self.asked.retain(|probe| probe.client != client);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    /// Who has asked about `asked`; each is answered once.
    fn asker(&mut self, now: Instant, asked: &str) -> Option<ClientId> {
        self.asked.retain(|probe| now < probe.until);
        let at = self.asked.iter().position(|probe| nick::same(&probe.nick, asked))?;
        self.asked.remove(at).map(|probe| probe.client)
    }
}

impl Room {
    /// An attached client asks for somebody's presence.
    pub(super) fn client_probes(&mut self, now: Now, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        let asked = stanza.to().and_then(|to| to.split_once('/').map(|(_, nick)| nick.to_owned()));
        if let Some(nick) = asked {
            if self.probes.asked.len() == MOST {
                self.probes.asked.pop_front();
            }
            self.probes.asked.push_back(Probe { nick, client, until: now.at + PATIENCE });
        }
        self.authors.remember(&stanza, client);
        out.push(Out::Up(stanza));
    }

    /// An occupant's presence, available or not: true if it says nothing new and is the answer to a probe.
    pub(super) fn answers_probe(&mut self, now: Now, asked: &str, stanza: &Stanza, out: &mut Vec<Out>) -> bool {
        if self.probes.asked.is_empty() {
            return false;
        }
        let gone = stanza.is_type("unavailable");
        let same = |known: &Stanza| !gone && item::same_but_jids(&without_codes(known), &without_codes(stanza));
        let own = asked == self.nick;
        let nothing_new = match self.occupants.get(asked) {
            Some(known) => same(&known.to_stanza()),
            None if own => self.own.as_ref().is_some_and(|own| same(own.stanza())),
            None => gone,
        };
        let Some(client) = nothing_new.then(|| self.probes.asker(now.at, asked)).flatten() else { return false };
        let asker = self.attached.iter().find(|a| a.client == client).filter(|_| own);
        let shown = match asker {
            Some(asker) => with_own_jid_only(&asker.with_its_id(stanza), &self.session),
            None => Shared::new(stanza, None),
        };
        out.push(Out::One(client, Arc::new(shown)));
        true
    }
}
