//! Whether the server copies the account's messages to this client (XEP-0280 §4): the client asks for it, the server
//! agrees. The account wants to know, for it makes the copies of what it sends in a client's name itself.

use std::collections::VecDeque;

use jid::{FullJid, Jid};

use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// How many requests may be unanswered; of more, the oldest are forgotten.
const MOST_ASKED: usize = 8;

/// What the client asked for, and what the server said.
#[derive(Debug, Default)]
pub(super) struct Copies {
    enabled: bool,
    /// Requests that are not answered yet: id, and what is asked for.
    asked: VecDeque<(String, bool)>,
}

impl Copies {
    /// Whether the client gets copies.
    pub(super) fn enabled(&self) -> bool {
        self.enabled
    }

    /// The client sends `stanza` to its server, which has no address or that of the account.
    pub(super) fn asked(&mut self, stanza: &Stanza) {
        if !stanza.is_iq() || memchr::memmem::find(stanza.bytes(), ns::CARBONS.as_bytes()).is_none() {
            return;
        }
        let Some(id) = stanza.id().filter(|_| stanza.is_type("set")) else { return };
        let Ok(tree) = stanza.tree() else { return };
        let Some(request) = tree.root().children().find(|c| c.space() == ns::CARBONS) else { return };
        let enable = match request.name() {
            "enable" => true,
            "disable" => false,
            _ => return,
        };
        if self.asked.len() == MOST_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back((id.into_owned(), enable));
    }

    /// The server sends `stanza`. What is true from now on, if that has changed.
    pub(super) fn answered(&mut self, stanza: &Stanza, own: &FullJid) -> Option<bool> {
        if self.asked.is_empty() || !stanza.is_iq() || !(stanza.is_type("result") || stanza.is_type("error")) {
            return None;
        }
        let id = stanza.id()?;
        let at = self.asked.iter().position(|(request, _)| *request == id)?;
        if !stanza.from().is_none_or(|from| is_own_server(&from, own)) {
            return None;
        }
        let (_, enable) = self.asked.remove(at)?;
        if stanza.is_type("error") || self.enabled == enable {
            return None;
        }
        self.enabled = enable;
        Some(enable)
    }
}

/// Whether an answer is from the server on the account's behalf (RFC 6120 §10.3.3).
fn is_own_server(from: &str, own: &FullJid) -> bool {
    Jid::new(from).is_ok_and(|from| from == own.to_bare() || from == *own || from.as_str() == own.domain().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> FullJid {
        FullJid::new("juliet@example.org/phone").unwrap()
    }

    fn ask(copies: &mut Copies, id: &str, what: &str) {
        copies.asked(&Stanza::own(format!("<iq type='set' id='{id}'><{what} xmlns='urn:xmpp:carbons:2'/></iq>")));
    }

    fn answer(copies: &mut Copies, text: &str) -> Option<bool> {
        copies.answered(&Stanza::own(text), &own())
    }

    #[test]
    fn on_when_the_server_says_so_and_off_again() {
        let mut copies = Copies::default();
        ask(&mut copies, "1", "enable");
        assert!(!copies.enabled());
        assert_eq!(answer(&mut copies, "<iq type='result' id='other'/>"), None);
        assert_eq!(answer(&mut copies, "<iq type='result' id='1' from='juliet@example.org'/>"), Some(true));
        assert!(copies.enabled() && copies.asked.is_empty());
        ask(&mut copies, "2", "enable");
        assert_eq!(answer(&mut copies, "<iq type='result' id='2'/>"), None, "it is on already");
        ask(&mut copies, "3", "disable");
        assert_eq!(answer(&mut copies, "<iq type='error' id='3'/>"), None);
        assert!(copies.enabled());
        ask(&mut copies, "4", "disable");
        assert_eq!(answer(&mut copies, "<iq type='result' id='4' from='example.org'/>"), Some(false));
    }

    #[test]
    fn nobody_else_can_answer_and_nothing_else_is_a_request() {
        let mut copies = Copies::default();
        copies.asked(&Stanza::own("<message id='1'><enable xmlns='urn:xmpp:carbons:2'/></message>"));
        copies.asked(&Stanza::own("<iq type='get' id='1'><enable xmlns='urn:xmpp:carbons:2'/></iq>"));
        copies.asked(&Stanza::own("<iq type='set' id='1'><x><enable xmlns='urn:xmpp:carbons:2'/></x></iq>"));
        assert!(copies.asked.is_empty());
        ask(&mut copies, "1", "enable");
        assert_eq!(answer(&mut copies, "<iq type='result' id='1' from='evil@example.org'/>"), None);
        assert_eq!(answer(&mut copies, "<iq type='result' id='1' from='juliet@example.org/phone'/>"), Some(true));
    }

    #[test]
    fn requests_without_answers_are_bounded() {
        let mut copies = Copies::default();
        (0..100).for_each(|id| ask(&mut copies, &id.to_string(), "enable"));
        assert_eq!(copies.asked.len(), MOST_ASKED);
        assert_eq!(answer(&mut copies, "<iq type='result' id='99'/>"), Some(true));
    }
}
