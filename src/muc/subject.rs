//! The room's subject (XEP-0045 §7.2.15, §8.1): kept in the form in which a join shows it.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::muc::history::delay;
use crate::xml::element::Tree;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// The subject, and how this server shows it at a join.
#[derive(Debug, Default)]
pub struct Subject {
    message: Option<Arc<Shared>>,
    /// The subject shown at our own join bore a stamp (Prosody), so a later one must too.
    stamped: bool,
}

/// Whether a message changes the subject: with a subject, without body or thread (XEP-0045 §8.1).
pub fn is_subject(tree: &Tree<'_>) -> bool {
    let root = tree.root();
    let has = |name| root.child(name, ns::CLIENT).is_some();
    has("subject") && !has("body") && !has("thread")
}

impl Subject {
    /// The subject as our own join was shown it.
    pub fn at_join(&mut self, stanza: &Stanza, tree: &Tree<'_>) {
        self.stamped |= tree.root().child("delay", ns::DELAY).is_some();
        self.message = Some(Arc::new(Shared::new(&stanza.edit().finish(), None)));
    }

    /// The subject was changed while the account is in the room: no id, no stanza-id, as at a join.
    pub fn changed(&mut self, room: &str, stanza: &Stanza, tree: &Tree<'_>, wall: OffsetDateTime) {
        let mut edit = stanza.edit().remove("id");
        for child in tree.root().children().filter(|c| c.space() == "urn:xmpp:sid:0") {
            if child.name() == "stanza-id" {
                edit = edit.cut(child.range());
            }
        }
        if self.stamped {
            edit = edit.append(&delay(room, wall));
        }
        self.message = Some(Arc::new(Shared::new(&edit.finish(), None)));
    }

    /// What a join shows; an empty subject from the room if it never told one.
    pub fn show(&self, room: &str) -> Arc<Shared> {
        self.message.clone().unwrap_or_else(|| {
            let text = format!("<message from='{}' type='groupchat' to=''><subject/></message>", escape(room));
            Arc::new(Shared::new(&Stanza::own(text), None))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> bool {
        is_subject(&Tree::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_subject_with_a_body_is_a_message() {
        assert!(subject("<message><subject/></message>"));
        assert!(!subject("<message><subject/><body/></message>"));
        assert!(!subject("<message><body/></message>"));
    }

    #[test]
    fn a_change_is_kept_in_its_join_form() {
        let mut kept = Subject::default();
        let at_join = Stanza::own("<message><subject>a</subject><delay xmlns='urn:xmpp:delay' stamp='x'/></message>");
        kept.at_join(&at_join, &at_join.tree().unwrap());
        let live =
            Stanza::own("<message id='1'><subject>b</subject><stanza-id xmlns='urn:xmpp:sid:0' id='9'/></message>");
        kept.changed("r@s", &live, &live.tree().unwrap(), OffsetDateTime::UNIX_EPOCH);
        let shown = String::from_utf8(kept.show("r@s").bytes().to_vec()).unwrap();
        assert!(shown.starts_with("<message><subject>b</subject><delay "), "{shown}");
        assert!(!shown.contains("stanza-id"));
    }
}
