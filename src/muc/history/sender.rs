//! Who wrote a message, as the history of a room that is not anonymous tells it (XEP-0045 §7.2.13).

use crate::muc::codes::Item;
use crate::muc::history::Keeping;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// What the service adds to a message of the occupant with this item, if anything is known of that.
pub(super) fn named(item: &Item, keeping: Keeping) -> String {
    let Some((jid, _)) = &item.jid else { return String::new() };
    match keeping {
        Keeping::Unknown => String::new(),
        // Prosody's archive.
        Keeping::Archive => {
            let affiliation = item.affiliation.as_deref().unwrap_or("none");
            // It tells the role that one usually has by the affiliation.
            let role = match (affiliation, item.role.as_deref()) {
                ("owner" | "admin", _) => "moderator",
                ("none", Some("visitor")) => "visitor",
                _ => "participant",
            };
            let bare = escape(jid.split('/').next().unwrap_or_default());
            let affiliation = escape(affiliation);
            format!("<x xmlns='{}'><item affiliation='{affiliation}' role='{role}' jid='{bare}'/></x>", ns::MUC_USER)
        }
        // ejabberd.
        Keeping::Queue => {
            let address = format!("<address type='ofrom' jid='{}'/>", escape(jid));
            format!("<addresses xmlns='{}'>{address}</addresses>", ns::ADDRESS)
        }
    }
}

/// The message without that, as Prosody shows it when the room has become anonymous; `None` if it does not tell.
pub(super) fn hidden(stanza: &Stanza) -> Option<Stanza> {
    let tree = stanza.tree().ok()?;
    let telling = tree.root().children().filter(|c| {
        c.is("x", ns::MUC_USER) && c.children().any(|item| item.is("item", ns::MUC_USER) && item.attr("jid").is_some())
    });
    let cuts: Vec<_> = telling.map(|x| x.range()).collect();
    if cuts.is_empty() {
        return None;
    }
    Some(cuts.into_iter().fold(stanza.edit(), |edit, range| edit.cut(range)).finish())
}
