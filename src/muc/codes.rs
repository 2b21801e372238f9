//! What a room says in `<x xmlns='…muc#user'/>` (XEP-0045 §15.6): status codes, items, destruction.

use std::ops::Range;

use crate::xml::element::{Node, Tree};
use crate::xmpp::ns;

/// This presence is of the receiver's own occupant.
pub const SELF: u16 = 110;
/// Occupants may see real JIDs.
pub const NON_ANONYMOUS: u16 = 100;
/// The room is logged.
pub const LOGGED: u16 = 170;
/// The room is logged no longer.
pub const NOT_LOGGED: u16 = 171;
/// The room was created just now.
pub const CREATED: u16 = 201;
/// The service chose another nick.
pub const NICK_ASSIGNED: u16 = 210;
/// Nick change.
pub const NEW_NICK: u16 = 303;
/// Removed for a technical problem.
pub const TECHNICAL: u16 = 333;
/// Removed because the service shuts down.
pub const SHUTDOWN: u16 = 332;
/// Removed: banned, kicked, affiliation changed, members only.
pub const REMOVED: [u16; 4] = [301, 307, 321, 322];

/// One `<status code='…'/>` and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: u16,
    /// Its place in the stanza's bytes.
    pub range: Range<usize>,
}

/// One `<item/>` and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place in the stanza's bytes.
    pub range: Range<usize>,
    /// `jid`, and the place of its value.
    pub jid: Option<(String, Range<usize>)>,
    /// `nick`
    pub nick: Option<String>,
    /// `affiliation`
    pub affiliation: Option<String>,
    /// `role`
    pub role: Option<String>,
}

/// The content of the one `<x/>`; nothing at all if there are several (S14: an ambiguous one changes no state).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MucUser {
    /// The codes, in order.
    pub statuses: Vec<Status>,
    /// The items, in order.
    pub items: Vec<Item>,
    /// Whether the room is destroyed.
    pub destroyed: bool,
    /// Where the content of `<x/>` ends; `None` for `<x/>` without content, or if there is no `<x/>`.
    pub end: Option<usize>,
    /// The tag of `<x/>` bears a prefix: what is put in has to declare its namespace.
    pub prefixed: bool,
}

impl MucUser {
    /// Reads a stanza of a room.
    pub fn read(tree: &Tree<'_>) -> MucUser {
        let mut all = tree.root().children().filter(|c| c.is("x", ns::MUC_USER));
        match (all.next(), all.next()) {
            (Some(x), None) => Self::content(x),
            _ => MucUser::default(),
        }
    }

    fn content(x: Node<'_>) -> MucUser {
        let end = (!x.is_empty_tag()).then(|| x.inner().end);
        let mut user = MucUser { end, prefixed: x.qualified_name().contains(':'), ..MucUser::default() };
        for child in x.children().filter(|c| c.space() == ns::MUC_USER) {
            match child.name() {
                "status" => {
                    if let Some(code) = child.attr("code").and_then(|c| c.parse().ok()) {
                        user.statuses.push(Status { code, range: child.range() });
                    }
                }
                "item" => user.items.push(Item {
                    range: child.range(),
                    jid: child.attr("jid").zip(child.attr_range("jid")).map(|(v, r)| (v.into_owned(), r)),
                    nick: child.attr("nick").map(|v| v.into_owned()),
                    affiliation: child.attr("affiliation").map(|v| v.into_owned()),
                    role: child.attr("role").map(|v| v.into_owned()),
                }),
                "destroy" => user.destroyed = true,
                _ => {}
            }
        }
        user
    }

    /// A code as it is put in.
    pub fn status(&self, code: u16) -> String {
        let xmlns = if self.prefixed { format!(" xmlns='{}'", ns::MUC_USER) } else { String::new() };
        format!("<status{xmlns} code='{code}'/>")
    }

    /// Whether a code is there.
    pub fn has(&self, code: u16) -> bool {
        self.statuses.iter().any(|s| s.code == code)
    }
}

/// Why the own occupant left the room, by the precedence of DESIGN §7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// For a technical reason, or the service shuts down: the account goes back.
    Technical,
    /// Somebody meant it: kicked, banned, no longer a member, or the room is destroyed.
    Removed,
    /// Nothing says why: what was asked for, or ejabberd's kick for an error.
    Unmarked,
}

impl Departure {
    /// Reads the own occupant's unavailable presence.
    pub fn read(user: &MucUser) -> Departure {
        if user.destroyed {
            Departure::Removed
        } else if user.has(TECHNICAL) || user.has(SHUTDOWN) {
            // Whatever other codes are there (XEP-0045 §9.10).
            Departure::Technical
        } else if REMOVED.iter().any(|&code| user.has(code)) {
            Departure::Removed
        } else {
            Departure::Unmarked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(x: &str) -> MucUser {
        MucUser::read(&Tree::parse(format!("<presence>{x}</presence>").as_bytes()).unwrap())
    }

    #[test]
    fn reads_codes_and_items() {
        let user = read(
            "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/><item jid='a@b/c' role='none'/></x>",
        );
        assert!(user.has(110) && !user.has(100));
        assert_eq!(user.items[0].jid.as_ref().unwrap().0, "a@b/c");
    }

    #[test]
    fn s14_an_ambiguous_or_foreign_x_says_nothing() {
        let x = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x>";
        assert!(!read(&format!("{x}{x}")).has(110));
        assert!(!read("<x xmlns='urn:other'><status code='110'/></x>").has(110));
        assert!(!read("<x xmlns='http://jabber.org/protocol/muc#user'><status xmlns='u' code='110'/></x>").has(110));
        assert!(!read(&format!("<forwarded>{x}</forwarded>")).has(110));
    }

    #[test]
    fn precedence_of_departures() {
        let x = |inner: &str| read(&format!("<x xmlns='http://jabber.org/protocol/muc#user'>{inner}</x>"));
        assert_eq!(Departure::read(&x("<destroy/><status code='333'/>")), Departure::Removed);
        assert_eq!(Departure::read(&x("<status code='307'/><status code='333'/>")), Departure::Technical);
        assert_eq!(Departure::read(&x("<status code='307'/>")), Departure::Removed);
        assert_eq!(Departure::read(&x("<status code='110'/>")), Departure::Unmarked);
    }
}
