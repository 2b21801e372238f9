//! The `<item/>`s of an occupant's presence (XEP-0045 §7.2.2), as a join shows them: without what only the moment of
//! a change told, with or without real JIDs.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::xml::element::{Node, Tree};
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// The items in every `<x/>`: what must not be seen must not be seen in a second one either.
fn items<'t>(tree: &'t Tree<'t>) -> impl Iterator<Item = Node<'t>> {
    let all = tree.root().children().filter(|c| c.is("x", ns::MUC_USER));
    all.flat_map(|x| x.children()).filter(|c| c.is("item", ns::MUC_USER))
}

/// The presence without who changed the occupant's role and why, which a later join does not show; and without
/// `codes`, if they are to go too. `None` if there is nothing of that.
pub fn settled(stanza: &Stanza, codes: bool) -> Option<Stanza> {
    let tree = stanza.tree().ok()?;
    let told = |c: &Node<'_>| c.is("actor", ns::MUC_USER) || c.is("reason", ns::MUC_USER);
    let mut cuts: Vec<Range<usize>> =
        items(&tree).flat_map(|item| item.children().filter(told)).map(|c| c.range()).collect();
    if codes {
        let all = tree.root().children().filter(|c| c.is("x", ns::MUC_USER));
        let statuses = all.flat_map(|x| x.children()).filter(|c| c.is("status", ns::MUC_USER));
        cuts.extend(statuses.map(|c| c.range()));
    }
    if cuts.is_empty() {
        return None;
    }
    Some(cuts.into_iter().fold(stanza.edit(), |edit, range| edit.cut(range)).finish())
}

/// Whether the occupant's real JID is shown.
pub fn shows_jid(stanza: &Stanza) -> bool {
    stanza.tree().is_ok_and(|tree| items(&tree).any(|item| item.attr("jid").is_some()))
}

/// The presence without real JIDs, in one item; `None` if it shows none, or only `own` (a bare JID) is to be seen.
pub fn without_jids(stanza: &Stanza, own: &str) -> Option<Stanza> {
    let tree = stanza.tree().ok()?;
    let is_own = |jid: &str| jid.split('/').next() == Some(own);
    let mut edit = stanza.edit();
    let mut changed = false;
    for (at, item) in items(&tree).enumerate() {
        let Some(jid) = item.attr("jid").filter(|jid| !is_own(jid)) else { continue };
        changed = true;
        // A person with several sessions has an item for each; that there are several is not to be seen either.
        edit = match at {
            0 => edit.cut(attribute(stanza, item, "jid")?),
            _ => edit.cut(item.range()),
        };
        drop(jid);
    }
    changed.then(|| edit.finish())
}

/// A list of occupants or affiliations (XEP-0045 §9.5) for one client: where the account session is listed, the client
/// sees itself. `None` if it is not.
pub fn list_with_own_jid(answer: &Stanza, session: &str, own: &str) -> Option<Stanza> {
    // The resource is random: where these bytes are not, nothing can be about the account session.
    let resource = session.rsplit('/').next().unwrap_or(session);
    memchr::memmem::find(answer.bytes(), resource.as_bytes())?;
    let tree = answer.tree().ok()?;
    let query = tree.root().child("query", ns::MUC_ADMIN)?;
    let listed =
        query.children().filter(|c| c.is("item", ns::MUC_ADMIN) && c.attr("jid").is_some_and(|j| j == session));
    let places: Vec<Range<usize>> = listed.filter_map(|item| item.attr_range("jid")).collect();
    let own = escape(own);
    let edit = places.into_iter().fold(answer.edit(), |edit, range| edit.splice(range, &own));
    Some(edit.finish())
}

/// Where an attribute stands, with the space before it.
fn attribute(stanza: &Stanza, item: Node<'_>, name: &str) -> Option<Range<usize>> {
    let value = item.attr_range(name)?;
    let before = stanza.bytes().get(item.range().start..value.start)?;
    let start = item.range().start + memchr::memmem::rfind(before, name.as_bytes())?;
    Some(start - 1..value.end + 1)
}

/// The presence with its item once for each of `jids`, which the room has shown in no presence.
pub fn with_jids(stanza: &Stanza, jids: &[String]) -> Option<Stanza> {
    let tree = stanza.tree().ok()?;
    let item = items(&tree).next()?;
    if jids.is_empty() || item.attr("jid").is_some() {
        return None;
    }
    let name_end = 1 + item.qualified_name().len();
    let (head, tail) = item.raw().split_at_checked(name_end)?;
    let all: String = jids.iter().map(|jid| format!("{head} jid='{}'{tail}", escape(jid))).collect();
    Some(stanza.edit().splice(item.range(), &all).finish())
}

/// Whether two stanzas say the same but for ids and the order of attributes.
pub fn same(a: &Stanza, b: &Stanza) -> bool {
    let read = |stanza: &Stanza| Some(canonical(stanza.tree().ok()?.root(), true));
    matches!((read(a), read(b)), (Some(a), Some(b)) if a == b)
}

/// Whether two presences say the same but for real JIDs, ids and the order of attributes.
pub fn same_but_jids(a: &Stanza, b: &Stanza) -> bool {
    let read = |stanza: &Stanza| {
        let bare = without_jids(stanza, "");
        let tree = bare.as_ref().unwrap_or(stanza).tree().ok()?;
        Some(canonical(tree.root(), true))
    };
    matches!((read(a), read(b)), (Some(a), Some(b)) if a == b)
}

/// One of a kind for all ways to write an element.
fn canonical(node: Node<'_>, outermost: bool) -> String {
    let attributes: BTreeMap<&str, String> = node
        .attributes()
        .filter(|(name, _)| !(name.starts_with("xmlns") || outermost && matches!(*name, "id" | "to")))
        .map(|(name, value)| (name, value.into_owned()))
        .collect();
    let children: Vec<String> = node.children().map(|child| canonical(child, false)).collect();
    let text = if children.is_empty() { node.text() } else { String::new() };
    format!("{{{}}}{}{attributes:?}{text:?}{children:?}", node.space(), node.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(inner: &str) -> Stanza {
        Stanza::own(format!(
            "<presence from='r@s/n' to='a@b/x'><c/><x xmlns='http://jabber.org/protocol/muc#user'>{inner}</x></presence>"
        ))
    }

    fn text(stanza: Option<Stanza>) -> String {
        String::from_utf8(stanza.unwrap().bytes().to_vec()).unwrap()
    }

    #[test]
    fn what_only_the_moment_told_goes() {
        let inner = "<item role='visitor'><actor nick='m'/><reason>noise</reason></item><status code='110'/>";
        let all = text(settled(&presence(inner), true));
        assert!(all.contains("<item role='visitor'></item></x>"), "{all}");
        assert!(text(settled(&presence(inner), false)).contains("</item><status code='110'/>"));
        assert!(settled(&presence("<item role='visitor'/>"), true).is_none());
    }

    #[test]
    fn s18_jids_are_hidden_in_every_item_but_ones_own() {
        for inner in [
            "<item role='visitor' jid='p@q/1'/>",
            "<item jid = \"p@q/1\" role='visitor'/><item jid='p@q/2' role='visitor'/>",
            "<item jid='p@q/1' role='visitor'></item></x><x xmlns='http://jabber.org/protocol/muc#user'>\
             <item jid='p@q/2'/>",
        ] {
            let hidden = without_jids(&presence(inner), "a@b").unwrap();
            assert!(!shows_jid(&hidden) && !text(Some(hidden.clone())).contains("p@q"), "{inner}");
            assert_eq!(text(Some(hidden.clone())).matches("<item").count(), 1);
            assert!(text(Some(hidden)).contains("role='visitor'"));
        }
        assert!(without_jids(&presence("<item jid='a@b/y'/>"), "a@b").is_none());
        assert!(without_jids(&presence("<item role='jid='/>"), "a@b").is_none());
    }

    #[test]
    fn jids_are_put_in_one_item_each() {
        let anonymous = presence("<item affiliation='none' role='visitor'/>");
        let shown = with_jids(&anonymous, &["p@q/1".into(), "p@q/'".into()]).unwrap();
        let seen = text(Some(shown.clone()));
        assert!(seen.contains("<item jid='p@q/1' affiliation='none' role='visitor'/><item jid='p@q/&apos;'"), "{seen}");
        assert!(shows_jid(&shown) && same_but_jids(&shown, &anonymous));
        assert!(with_jids(&shown, &["z@q/1".into()]).is_none(), "the room has shown one");
        assert!(with_jids(&anonymous, &[]).is_none());
    }

    #[test]
    fn presences_are_compared_by_what_they_say() {
        let a = Stanza::own("<presence id='1' from='r@s/n'><show>away</show><c a='1' b='2'/></presence>");
        let b = Stanza::own("<presence from='r@s/n' id='2' to='x'><show>away</show><c b='2' a='1'></c></presence>");
        assert!(same_but_jids(&a, &b));
        for other in [
            "<presence from='r@s/n'><show>xa</show><c a='1' b='2'/></presence>",
            "<presence from='r@s/n'><show>away</show><c a='1' b='3'/></presence>",
            "<presence from='r@s/n'><show>away</show></presence>",
        ] {
            assert!(!same_but_jids(&a, &Stanza::own(other)), "{other}");
        }
    }

    #[test]
    fn in_a_list_a_client_sees_itself() {
        let list = |jid: &str| {
            let items = format!("<item nick='n' jid='{jid}' role='none'/><item jid='c@d/session'/>");
            Stanza::own(format!("<iq><query xmlns='{}'>{items}</query></iq>", ns::MUC_ADMIN))
        };
        let seen = list_with_own_jid(&list("a@b/session"), "a@b/session", "a@b/it's").unwrap();
        assert_eq!(seen.bytes(), list("a@b/it&apos;s").bytes());
        assert!(list_with_own_jid(&list("a@b/other"), "a@b/random", "a@b/x").is_none());
    }
}
