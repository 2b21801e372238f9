//! Nicks (XEP-0045 §7.6): one for the account, compared as the server compares them.

use jid::ResourcePart;

use crate::muc::room::Room;
use crate::muc::{ClientId, Out};
use crate::xmpp::stanza::Stanza;

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
