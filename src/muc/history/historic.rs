//! Which messages a room's history shows, where the specification leaves it to the service (XEP-0045 §7.2.13).

use crate::xml::element::Tree;
use crate::xmpp::ns;

/// How the room's service keeps its history, learnt from what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keeping {
    /// Nothing has told yet.
    #[default]
    Unknown,
    /// The history is the archive (Prosody's `muc_mam`): what is in it bears the room's `<stanza-id/>`, and what has a
    /// body is in it, if its author does not ask that it be not.
    Archive,
    /// A queue of its own beside the archive (ejabberd): whatever has a body.
    Queue,
}

impl Keeping {
    /// Learns from a groupchat message. ejabberd says twice that it has archived one, with the same id, which nobody
    /// else can know before.
    pub fn learn(&mut self, tree: &Tree<'_>, room: &str) {
        let Some(id) = stanza_id(tree, room) else { return };
        let mut children = tree.root().children();
        if children.any(|c| c.is("archived", ns::MAM_OLD) && c.attr("id").as_deref() == Some(&id)) {
            *self = Keeping::Queue;
        } else if *self == Keeping::Unknown {
            *self = Keeping::Archive;
        }
    }

    /// Whether a live message, which is no change of the subject, goes into the room's history.
    pub fn keeps(self, tree: &Tree<'_>, room: &str) -> bool {
        let root = tree.root();
        let has = |name| root.child(name, ns::CLIENT).is_some();
        let hint = |name| root.child(name, ns::HINTS).is_some();
        if self == Keeping::Queue {
            return has("body") || has("subject");
        }
        // Also in an archive: where the server lets others write such ids, one of them must not keep all else out.
        if stanza_id(tree, room).is_some() {
            return true;
        }
        // What Prosody keeps; with others, what has a body.
        let spaces = [ns::ENCRYPTION, ns::CHAT_MARKERS];
        let no_store = hint("no-store") || hint("no-permanent-store");
        !no_store && (hint("store") || has("body") || root.children().any(|c| spaces.contains(&c.space())))
    }
}

/// The id under which the room has archived the message (XEP-0359). Others may have put in such elements too.
pub fn stanza_id(tree: &Tree<'_>, room: &str) -> Option<String> {
    let mut ids = tree.root().children().filter(|c| c.is("stanza-id", ns::STANZA_ID));
    ids.find(|c| c.attr("by").as_deref() == Some(room))?.attr("id").map(|id| id.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(keeping: Keeping, inner: &str) -> bool {
        keeping.keeps(&Tree::parse(format!("<message>{inner}</message>").as_bytes()).unwrap(), "r@s")
    }

    const STORED: &str = "<stanza-id xmlns='urn:xmpp:sid:0' by='r@s' id='1'/>";

    #[test]
    fn an_archive_keeps_what_is_to_be_stored_and_a_queue_what_has_a_body() {
        let hinted = format!("<no-store xmlns='urn:xmpp:hints'/>{STORED}");
        for (inner, archive, queue) in [
            ("<body/>", true, true),
            ("<subject/><thread/>", false, true),
            (STORED, true, false),
            (&hinted, true, false),
            ("<stanza-id xmlns='urn:xmpp:sid:0' by='r@other' id='1'/>", false, false),
            ("<body/><no-store xmlns='urn:xmpp:hints'/>", false, true),
            ("<body/><no-permanent-store xmlns='urn:xmpp:hints'/>", false, true),
            ("<store xmlns='urn:xmpp:hints'/>", true, false),
            ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", true, false),
            ("<encryption xmlns='urn:xmpp:eme:0'/>", true, false),
            ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", false, false),
            ("<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>", false, false),
        ] {
            assert_eq!(keeps(Keeping::Archive, inner), archive, "archive: {inner}");
            assert_eq!(keeps(Keeping::Queue, inner), queue, "queue: {inner}");
            assert_eq!(keeps(Keeping::Unknown, inner), archive, "unknown: {inner}");
        }
    }

    #[test]
    fn learns_from_the_room_alone() {
        let learnt = |inner: &str| {
            let mut keeping = Keeping::Unknown;
            keeping.learn(&Tree::parse(format!("<message>{inner}</message>").as_bytes()).unwrap(), "r@s");
            keeping
        };
        assert_eq!(learnt("<body/>"), Keeping::Unknown);
        assert_eq!(learnt("<stanza-id xmlns='urn:xmpp:sid:0' by='r@other' id='1'/>"), Keeping::Unknown);
        assert_eq!(learnt(STORED), Keeping::Archive);
        let archived = format!("<archived xmlns='urn:xmpp:mam:tmp' by='r@s' id='1'/>{STORED}");
        assert_eq!(learnt(&archived), Keeping::Queue);
    }
}
