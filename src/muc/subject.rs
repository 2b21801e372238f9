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
    /// Whether a join shows when it was set, if our own has told (XEP-0045 §7.2.15 wants it, ejabberd does not).
    stamped: Option<bool>,
}

/// Whether a message changes the subject: with a subject, without body or thread (XEP-0045 §8.1).
pub fn is_subject(tree: &Tree<'_>) -> bool {
    let root = tree.root();
    let has = |name| root.child(name, ns::CLIENT).is_some();
    has("subject") && !has("body") && !has("thread")
}

impl Subject {
    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.len())
    }

    /// The subject as our own join was shown it.
    pub fn at_join(&mut self, stanza: &Stanza, tree: &Tree<'_>) {
        let root = tree.root();
        if root.child("delay", ns::DELAY).is_some() {
            self.stamped = Some(true);
        } else if root.child_text("subject", ns::CLIENT).is_some_and(|subject| !subject.is_empty()) {
            self.stamped = Some(false);
        }
        self.message = Some(Arc::new(Shared::new(&stanza.edit().finish(), None)));
    }

    /// The subject was changed while the account is in the room: from now on a join shows it, and nothing else of the
    /// message. `stamped`: with the time, if no join has told otherwise.
    pub fn changed(&mut self, room: &str, stanza: &Stanza, tree: &Tree<'_>, wall: OffsetDateTime, stamped: bool) {
        let mut edit = stanza.edit().remove("id").remove("xml:lang");
        for child in tree.root().children().filter(|c| !c.is("subject", ns::CLIENT)) {
            edit = edit.cut(child.range());
        }
        if self.stamped.unwrap_or(stamped) {
            edit = edit.append(&delay(room, wall, false));
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

    fn shown(at_join: Option<&str>, stamped: bool) -> String {
        let mut kept = Subject::default();
        if let Some(at_join) = at_join.map(Stanza::own) {
            kept.at_join(&at_join, &at_join.tree().unwrap());
        }
        let live = "<message from='r@s/n' id='1' xml:lang='en'><subject xml:lang='de'>b</subject><nick xmlns='n'/>\
            <stanza-id xmlns='urn:xmpp:sid:0' id='9'/></message>";
        let live = Stanza::own(live);
        kept.changed("r@s", &live, &live.tree().unwrap(), OffsetDateTime::UNIX_EPOCH, stamped);
        String::from_utf8(kept.show("r@s").bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_change_is_kept_in_its_join_form() {
        let plain = "<message from='r@s/n'><subject xml:lang='de'>b</subject></message>";
        let stamp = "<delay xmlns='urn:xmpp:delay' from='r@s' stamp='1970-01-01T00:00:00Z'/></message>";
        let stamped = plain.replace("</message>", stamp);
        let with_stamp = "<message><subject/><delay xmlns='urn:xmpp:delay' stamp='x'/></message>";
        assert_eq!(shown(Some(with_stamp), false), stamped);
        assert_eq!(shown(Some("<message><subject>a</subject></message>"), true), plain);
        // Nobody had set one: that does not tell.
        assert_eq!(shown(Some("<message><subject/></message>"), true), stamped);
        assert_eq!(shown(None, false), plain);
    }

    #[test]
    fn one_that_was_never_told_is_empty() {
        let shown = Subject::default().show("r@s");
        assert_eq!(&shown.bytes()[..], b"<message from='r@s' type='groupchat' to=''><subject/></message>");
    }
}
