//! Private messages (XEP-0045 §7.5): out on the account session, as they are, but for their mark as such (`<x/>`). Rooms put
//! it in, and Prosody 0.12 copies no message that has it already: the author's other clients would never see what was
//! said. It stands in the copies again.

use crate::muc::history::Keeping;
use crate::muc::room::Room;
use crate::muc::{ClientId, Out};
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

impl Room {
    /// A message of an attached client to an occupant, or to the room but not to all.
    pub(super) fn private_message(&mut self, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        self.authors.remember(&stanza, client);
        self.invitations.remember(&stanza, client);
        // ejabberd copies it all the same, and repeats it when it refuses one.
        let unmarked = Some(&stanza).filter(|_| *self.history.keeping() != Keeping::Queue).and_then(without_mark);
        let (up, mark) = unmarked.map_or((stanza, None), |(up, mark)| (up, Some(mark)));
        out.push(Out::Said(client, up, mark));
    }
}

/// The message without its mark, and the mark; none if it has none, or one that says something.
fn without_mark(stanza: &Stanza) -> Option<(Stanza, Box<str>)> {
    stanza.to().filter(|to| to.contains('/'))?;
    let tree = stanza.tree().ok()?;
    let mark = tree.root().child("x", ns::MUC_USER)?;
    let plain = mark.qualified_name() == "x" && mark.children().next().is_none() && mark.attr("xmlns").is_some();
    plain.then(|| (stanza.edit().cut(mark.range()).finish(), mark.raw().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(inner: &str, to: &str) -> Option<(String, Box<str>)> {
        let (up, mark) = without_mark(&Stanza::own(format!("<message to='{to}' id='1'>{inner}</message>")))?;
        Some((String::from_utf8(up.bytes().to_vec()).unwrap(), mark))
    }

    #[test]
    fn only_a_mark_that_says_nothing_is_taken_off() {
        let mark = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
        let (up, taken) = without(&format!("<body>b</body>{mark}"), "r@s/n").unwrap();
        assert_eq!((up.as_str(), &*taken), ("<message to='r@s/n' id='1'><body>b</body></message>", mark));
        assert!(without(mark, "r@s").is_none(), "to the room itself it is an invitation, or nothing known");
        let invite = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b'/></x>";
        for other in ["<body/>", invite, "<x xmlns='other'/>"] {
            assert!(without(other, "r@s/n").is_none(), "{other}");
        }
    }
}
