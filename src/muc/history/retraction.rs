//! Messages that are taken back: by their author (XEP-0424), by a moderator (XEP-0425), in the forms of both
//! generations. What is taken back is no longer shown to who comes later (S18).

use time::OffsetDateTime;

use crate::muc::history::stamp;
use crate::xml::element::{Node, Tree};
use crate::xml::writer::escape;
use crate::xmpp::ns;

/// What a message takes back.
#[derive(Debug, PartialEq, Eq)]
pub struct Retraction {
    /// The id of the message.
    pub id: String,
    /// By a moderator, as the room says: whoever wrote it.
    pub moderated: bool,
    /// What an archive has in its place: the content of a tombstone (XEP-0425 §5).
    pub tombstone: Option<String>,
}

impl Retraction {
    /// Reads a groupchat message; `from_room`: it came from the room itself, nobody in it.
    pub fn read(tree: &Tree<'_>, from_room: bool, wall: OffsetDateTime) -> Option<Retraction> {
        let root = tree.root();
        if let Some(apply) = root.child("apply-to", ns::FASTEN) {
            let id = apply.attr("id")?.into_owned();
            let moderated = apply.child("moderated", ns::MODERATE_0).filter(|_| from_room);
            if let Some(moderated) = moderated.filter(|m| m.child("retract", ns::RETRACT_0).is_some()) {
                return Some(Retraction { id, moderated: true, tombstone: Some(old_tombstone(moderated, wall)) });
            }
            let own = apply.child("retract", ns::RETRACT_0).filter(|_| !from_room);
            return own.map(|_| Retraction { id, moderated: false, tombstone: None });
        }
        let retract = root.child("retract", ns::RETRACT_1)?;
        let id = retract.attr("id")?.into_owned();
        let moderated = retract.child("moderated", ns::MODERATE_1);
        let tombstone = moderated.map(|moderated| tombstone(retract, moderated, wall));
        (moderated.is_some() == from_room).then_some(Retraction { id, moderated: from_room, tombstone })
    }
}

fn tombstone(retract: Node<'_>, moderated: Node<'_>, wall: OffsetDateTime) -> String {
    let by = by(moderated);
    let occupant = moderated.child("occupant-id", ns::OCCUPANT_ID).and_then(|occupant| occupant.attr("id"));
    let occupant = occupant.map(|id| format!("<occupant-id xmlns='{}' id='{}'/>", ns::OCCUPANT_ID, escape(&id)));
    format!(
        "<retracted xmlns='{}' stamp='{}'><moderated xmlns='{}'{by}>{}</moderated>{}</retracted>",
        ns::RETRACT_1,
        stamp(wall),
        ns::MODERATE_1,
        occupant.unwrap_or_default(),
        reason(retract.child_text("reason", ns::RETRACT_1))
    )
}

/// As Prosody's `mod_muc_moderation` writes it.
fn old_tombstone(moderated: Node<'_>, wall: OffsetDateTime) -> String {
    let (by, reason) = (by(moderated), reason(moderated.child_text("reason", ns::MODERATE_0)));
    format!(
        "<moderated xmlns='{}'{by}><retracted xmlns='{}' stamp='{}'/>{reason}</moderated>",
        ns::MODERATE_0,
        ns::RETRACT_0,
        stamp(wall)
    )
}

fn by(moderated: Node<'_>) -> String {
    moderated.attr("by").map(|by| format!(" by='{}'", escape(&by))).unwrap_or_default()
}

fn reason(text: Option<String>) -> String {
    text.map(|text| format!("<reason>{}</reason>", escape(&text))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inner: &str, from_room: bool) -> Option<Retraction> {
        let text = format!("<message>{inner}</message>");
        Retraction::read(&Tree::parse(text.as_bytes()).unwrap(), from_room, OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn s18_a_moderation_is_the_rooms_word_and_a_retraction_an_occupants() {
        let old = "<apply-to xmlns='urn:xmpp:fasten:0' id='7'><moderated xmlns='urn:xmpp:message-moderate:0' \
            by='r@s/m'><retract xmlns='urn:xmpp:message-retract:0'/><reason>&lt;spam></reason></moderated></apply-to>";
        let new = "<retract xmlns='urn:xmpp:message-retract:1' id='7'>\
            <moderated xmlns='urn:xmpp:message-moderate:1' by='r@s/m'/><reason>&lt;spam></reason></retract>";
        for moderation in [old, new] {
            assert!(read(moderation, true).unwrap().moderated);
            assert_eq!(read(moderation, false), None, "a forged one");
            let tombstone = read(moderation, true).unwrap().tombstone.unwrap();
            assert!(tombstone.contains("by='r@s/m'") && tombstone.contains("<reason>&lt;spam"), "{tombstone}");
            assert!(tombstone.contains("<retracted ") && Tree::parse(tombstone.as_bytes()).is_ok());
        }
        let old = "<apply-to xmlns='urn:xmpp:fasten:0' id='7'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to>";
        for retraction in [old, "<retract xmlns='urn:xmpp:message-retract:1' id='7'/>"] {
            assert_eq!(read(retraction, false).map(|r| (r.id, r.moderated)), Some(("7".to_owned(), false)));
            assert_eq!(read(retraction, true), None);
        }
        assert_eq!(read("<apply-to xmlns='urn:xmpp:fasten:0' id='7'><other xmlns='u'/></apply-to>", false), None);
    }
}
