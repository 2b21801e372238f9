//! Nicks (XEP-0045 §7.6): one for the account, compared as the server compares them.

use std::sync::Arc;

use jid::ResourcePart;

use crate::muc::room::Room;
use crate::muc::{ClientId, Now, Out};
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How many requests for another nick wait for the answer to one.
const MOST_WANTED: usize = 16;

/// Whether two nicks are the same after resourceprep (RFC 7622 §3.4): 'Ａl①' joins as 'Al1'.
pub fn same(a: &str, b: &str) -> bool {
    a == b || matches!((ResourcePart::new(a), ResourcePart::new(b)), (Ok(a), Ok(b)) if a.as_str() == b.as_str())
}

impl Room {
    /// An attached client asks for another nick, which is the account's: errors come back to the asker alone. The room is
    /// shown the best presence still, whoever asks.
    pub(super) fn ask_nick(&mut self, client: ClientId, stanza: &Stanza, out: &mut Vec<Out>) {
        let (Some(to), Some(best)) = (stanza.to(), self.best_presence()) else { return };
        let mut up = best.edit().set("to", to).remove("from");
        up = match stanza.id() {
            Some(id) => up.set("id", id.into_owned()),
            None => up.remove("id"),
        };
        let up = up.finish();
        self.authors.remember(stanza, client);
        if let Some(id) = stanza.id() {
            self.goes_up(client, &id, stanza);
        }
        self.shown.joined_with(&up);
        out.push(Out::Up(up));
    }

    /// The room has not answered the last request for another nick; what it makes of this one depends on that.
    pub(super) fn ask_nick_later(&mut self, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        if self.shown.nicks_wanted.len() < MOST_WANTED {
            return self.shown.nicks_wanted.push_back((client, stanza));
        }
        let text = "too many changes of the nick";
        let reply = error_reply(&stanza, "", StanzaCondition::ResourceConstraint, text);
        out.extend(reply.map(|reply| Out::One(client, Arc::new(Shared::new(&Stanza::own(reply), None)))));
    }

    /// Asks for the nick that is wanted next, unless another one is asked for.
    pub(super) fn ask_next_nick(&mut self, now: Now, out: &mut Vec<Out>) {
        while !self.shown.is_renaming(now.at) {
            let Some((client, stanza)) = self.shown.nicks_wanted.pop_front() else { return };
            if self.is_attached(client) {
                self.client_presence(now, client, stanza, out);
            }
        }
    }

    pub(super) fn tick_nick(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.shown.next_nick_at().is_some_and(|at| now.at >= at) {
            self.ask_next_nick(now, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compared_after_preparation_and_case_sensitive() {
        assert!(same("a", "a"));
        assert!(same("Ａl①", "Al1"));
        assert!(!same("a", "A"));
    }
}
