//! The own occupant's presence (XEP-0045 §7.2.2), as each client is to see it: 110 always and last, the room-wide
//! codes at a join, one item, and in it the client's own full JID (Pidgin ignores its own leave otherwise).

use std::collections::BTreeSet;
use std::ops::Range;

use crate::muc::actor::own_actor;
use crate::muc::codes::{self, MucUser};
use crate::muc::item;
use crate::muc::siblings::behind_name;
use crate::xml::element::Tree;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// Codes that a self-presence carries once only, at the moment they are about.
const PASSING: [u16; 3] = [codes::CREATED, codes::NICK_ASSIGNED, codes::NEW_NICK];

/// The own occupant.
#[derive(Debug)]
pub struct SelfPresence {
    /// As it came last.
    stanza: Stanza,
    /// Codes about the room that a join shows (100, 170 and the like).
    room_codes: BTreeSet<u16>,
    /// The room said that nobody may see JIDs (174).
    fully_anonymous: bool,
    order: Order,
}

/// In which order the service writes what a presence holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The codes of a join, but 110, before the item (Prosody).
    pub codes_first: bool,
    /// `<show/>`, `<status/>` and `<priority/>` behind all else (ejabberd).
    pub words_last: bool,
}

impl Order {
    /// Prosody's.
    pub const PROSODY: Order = Order { codes_first: true, words_last: false };
    /// ejabberd's.
    pub const EJABBERD: Order = Order { codes_first: false, words_last: true };
}

/// What is particular about one client's self-presence.
#[derive(Debug, Default, Clone, Copy)]
pub struct Extra<'a> {
    /// The id to answer to; none leaves out the attribute.
    pub id: Option<&'a str>,
    /// Tell the client that it has created the room.
    pub created: bool,
    /// Tell the client that it got another nick than it asked for.
    pub nick_assigned: bool,
}

impl SelfPresence {
    /// From the self-presence that answered the account's join. `order`: the service's, as far as that does not show it.
    pub fn joined(stanza: Stanza, user: &MucUser, mut order: Order) -> Self {
        let code = user.statuses.iter().find(|s| s.code != codes::SELF);
        if let (Some(code), Some(item)) = (code, user.items.first()) {
            order.codes_first = code.range.start < item.range.start;
        }
        let room_codes =
            user.statuses.iter().map(|s| s.code).filter(|c| *c != codes::SELF && !PASSING.contains(c)).collect();
        SelfPresence { stanza, room_codes, fully_anonymous: false, order }
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.stanza.bytes().len()
    }

    /// The own occupant changed (role, presence, nick).
    pub fn update(&mut self, stanza: Stanza) {
        self.stanza = stanza;
    }

    /// The nick changed (303). The presence under the new one is still to come, but who attaches before must not be
    /// shown the old one, which nobody will take away again.
    pub fn rename(&mut self, own_jid: &str) {
        self.stanza = self.stanza.edit().set("from", own_jid).finish();
    }

    /// The presence as it is shown to others: of the sibling that stays under the nick.
    pub fn of_another(&self) -> Stanza {
        let own = item::settled(&self.stanza, true).unwrap_or_else(|| self.stanza.clone());
        item::without_jids(&own, "").unwrap_or(own)
    }

    /// The room told of a change of its configuration (XEP-0045 §10.2.1).
    pub fn configuration_changed(&mut self, user: &MucUser) {
        for status in &user.statuses {
            if matches!(status.code, 172..=174) {
                self.fully_anonymous = status.code == 174;
            }
            match status.code {
                172 => drop(self.room_codes.insert(codes::NON_ANONYMOUS)),
                173 | 174 => drop(self.room_codes.remove(&codes::NON_ANONYMOUS)),
                codes::LOGGED => drop(self.room_codes.insert(codes::LOGGED)),
                codes::NOT_LOGGED => drop(self.room_codes.remove(&codes::LOGGED)),
                _ => {}
            }
        }
    }

    /// Whether a join would show this code.
    pub fn shows(&self, code: u16) -> bool {
        self.room_codes.contains(&code)
    }

    /// Whether nobody may see JIDs.
    pub fn is_fully_anonymous(&self) -> bool {
        self.fully_anonymous
    }

    /// The account's item.
    pub fn item(&self, session: &str) -> Option<codes::Item> {
        let user = MucUser::read(&self.stanza.tree().ok()?);
        own_item(&user, session).cloned()
    }

    /// The account's role.
    pub fn role(&self, session: &str) -> Option<String> {
        self.item(session)?.role
    }

    /// The stanza as it came last.
    pub fn stanza(&self) -> &Stanza {
        &self.stanza
    }

    /// What a join shows: the last presence with the room-wide codes.
    pub fn at_join(&self, session: &str, extra: Extra<'_>) -> Shared {
        let mut wanted = self.room_codes.clone();
        if extra.created {
            wanted.insert(codes::CREATED);
        }
        if extra.nick_assigned {
            wanted.insert(codes::NICK_ASSIGNED);
        }
        render(&self.stanza, session, &wanted, extra.id, self.order)
    }

    /// The last presence again, as the answer to a client whose own update changed nothing.
    pub fn reflected(&self, session: &str, id: Option<&str>) -> Shared {
        render(&self.stanza, session, &BTreeSet::new(), id, self.order)
    }

    /// What the room sends when the client leaves (XEP-0045 §7.14), made here because the account stays: the client's
    /// own words (`leave`: its unavailable presence) back, with what the room adds.
    pub fn unavailable(&self, session: &str, leave: Option<&Stanza>, extra_codes: &[u16]) -> Shared {
        let tree = self.stanza.tree().ok();
        let user = tree.as_ref().map(MucUser::read).unwrap_or_default();
        let affiliation = own_item(&user, session).and_then(|i| i.affiliation.clone()).unwrap_or("none".into());
        let codes: String = extra_codes.iter().map(|c| format!("<status code='{c}'/>")).collect();
        // Written anew: as it stands there it may bear a prefix that only that stanza declares.
        let occupant_id = tree.as_ref().and_then(|t| t.root().child("occupant-id", ns::OCCUPANT_ID)?.attr("id"));
        let occupant_id =
            occupant_id.map(|id| format!("<occupant-id xmlns='{}' id='{}'/>", ns::OCCUPANT_ID, escape(&id)));
        let added = format!(
            "{}<x xmlns='{}'><item affiliation='{}' jid='' role='none'/>{codes}<status code='110'/></x>",
            occupant_id.unwrap_or_default(),
            ns::MUC_USER,
            escape(&affiliation),
        );
        let plain = Stanza::own("<presence type='unavailable'/>");
        let leave = leave.unwrap_or(&plain);
        let from = self.stanza.from().unwrap_or_default();
        let (words, ranges) = self.last_words(leave);
        let edit = leave.edit().set("from", from).set("to", "").append(&(added + &words));
        let stanza = ranges.into_iter().fold(edit, |edit, range| edit.cut(range)).finish();
        with_own_jid(&stanza, session)
    }

    /// What the service writes behind all else, in its order: as text, and where it stands.
    fn last_words(&self, leave: &Stanza) -> (String, Vec<Range<usize>>) {
        let Ok(tree) = leave.tree() else { return Default::default() };
        let words = |name| tree.root().children().filter(move |c| c.is(name, ns::CLIENT));
        let all = ["priority", "show", "status"].into_iter().flat_map(words).filter(|_| self.order.words_last);
        all.map(|word| (word.raw().to_owned(), word.range())).unzip()
    }
}

/// The item of this account's own session, of several that a room may list for one nick.
fn own_item<'u>(user: &'u MucUser, session: &str) -> Option<&'u codes::Item> {
    user.items.iter().find(|i| i.jid.as_ref().is_some_and(|(jid, _)| jid == session)).or(user.items.first())
}

/// `stanza` is the own occupant's: 110 is added where it is missing, of several items one is kept, and the item's
/// JID is left open for each client's own.
pub fn with_own_jid(stanza: &Stanza, session: &str) -> Shared {
    let Ok(tree) = stanza.tree() else { return Shared::new(stanza, None) };
    let user = MucUser::read(&tree);
    // Who destroys a room need not say whose presence it is (ejabberd does not).
    if (user.has(codes::SELF) || user.destroyed) && user.items.len() <= 1 {
        return Shared::with_two(stanza, own_jids(&tree, &user, session));
    }
    let have: BTreeSet<u16> = user.statuses.iter().map(|s| s.code).collect();
    let id = stanza.id().map(|id| id.into_owned());
    // None is missing but 110.
    rewrite(stanza, &user, session, |_| false, (&have, Order::PROSODY), id.as_deref())
}

/// The same, with all else as it is.
pub fn with_own_jid_only(stanza: &Stanza, session: &str) -> Shared {
    match stanza.tree() {
        Ok(tree) => Shared::with_two(stanza, own_jids(&tree, &MucUser::read(&tree), session)),
        Err(_) => Shared::new(stanza, None),
    }
}

/// Where the own JID stands: the item's, and the actor's within it.
fn own_jids(tree: &Tree<'_>, user: &MucUser, session: &str) -> [Option<Range<usize>>; 2] {
    let item = user.items.first().and_then(|i| i.jid.as_ref()).map(|(_, range)| range.clone());
    [item, own_actor(tree, session)]
}

fn render(stanza: &Stanza, session: &str, wanted: &BTreeSet<u16>, id: Option<&str>, order: Order) -> Shared {
    let Ok(tree) = stanza.tree() else { return Shared::new(stanza, None) };
    let user = MucUser::read(&tree);
    rewrite(stanza, &user, session, |code| code != codes::SELF && !wanted.contains(&code), (wanted, order), id)
}

/// Rewrites the codes, keeping the order in which the server writes them: new ones go before the item, or before 110,
/// which ends them.
fn rewrite(
    stanza: &Stanza,
    user: &MucUser,
    session: &str,
    unwanted: impl Fn(u16) -> bool,
    (wanted, order): (&BTreeSet<u16>, Order),
    id: Option<&str>,
) -> Shared {
    let mut edit = stanza.edit();
    edit = match id {
        Some(id) => edit.set("id", id.to_owned()),
        None => edit.remove("id"),
    };
    let mut kept = BTreeSet::new();
    let mut own_at = None;
    for status in &user.statuses {
        if status.code == codes::SELF && own_at.is_none() {
            own_at = Some(status.range.start);
        } else if unwanted(status.code) || !kept.insert(status.code) {
            edit = edit.cut(status.range.clone());
        }
    }
    let own = own_item(user, session).map(|i| i.range.clone());
    for item in &user.items {
        if Some(&item.range) != own.as_ref() {
            edit = edit.cut(item.range.clone());
        } else if let (None, None, Some(at)) = (own_at, &item.jid, behind_name(stanza, item)) {
            // Told as of somebody else (ejabberd, of a sibling): a client looks for its own JID.
            edit = edit.splice(at..at, " jid=''");
        }
    }
    let missing: String =
        wanted.iter().filter(|c| !kept.contains(c) && **c != codes::SELF).map(|c| user.status(*c)).collect();
    let own_code = user.status(codes::SELF);
    let item_at = own.map(|range| range.start).filter(|_| order.codes_first && own_at.is_some());
    edit = match (item_at.or(own_at), user.end) {
        (Some(at), _) => edit.splice(at..at, &missing),
        (None, Some(end)) => edit.splice(end..end, &format!("{missing}{own_code}")),
        (None, None) => edit.append(&format!("<x xmlns='{}'>{missing}{own_code}</x>", ns::MUC_USER)),
    };
    let stanza = edit.finish();
    let jids = stanza.tree().map(|tree| own_jids(&tree, &MucUser::read(&tree), session)).unwrap_or_default();
    Shared::with_two(&stanza, jids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    const PROSODY: &str = "<presence from='r@s/n' to='a@b/x' id='1'><x xmlns='http://jabber.org/protocol/muc#user'>\
        <status code='100'/><status code='201'/><item affiliation='owner' jid='a@b/x' role='moderator'/>\
        <status code='110'/></x></presence>";

    fn show(shared: Shared) -> String {
        let mut out = BytesMut::new();
        shared.write("a@b/phone", &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn joined(text: &str) -> SelfPresence {
        let stanza = Stanza::own(text);
        let user = MucUser::read(&stanza.tree().unwrap());
        SelfPresence::joined(stanza.clone(), &user, Order::PROSODY)
    }

    #[test]
    fn the_creator_sees_what_the_server_sent() {
        let seen = show(joined(PROSODY).at_join("a@b/x", Extra { id: Some("1"), created: true, nick_assigned: false }));
        assert_eq!(seen, PROSODY.replace("a@b/x", "a@b/phone"));
    }

    #[test]
    fn a_later_client_sees_the_room_wide_codes_and_its_own_id() {
        let mut own = joined(PROSODY);
        own.update(Stanza::own(PROSODY.replace("<status code='100'/><status code='201'/>", "")));
        let seen = show(own.at_join("a@b/x", Extra { id: Some("7"), created: false, nick_assigned: true }));
        assert_eq!(
            seen,
            "<presence from='r@s/n' to='a@b/phone' id='7'><x xmlns='http://jabber.org/protocol/muc#user'>\
             <status code='100'/><status code='210'/><item affiliation='owner' jid='a@b/phone' role='moderator'/>\
             <status code='110'/></x></presence>"
        );
    }

    #[test]
    fn codes_and_words_stand_where_the_service_puts_them() {
        let read = |text: &str, order| {
            let stanza = Stanza::own(text);
            SelfPresence::joined(stanza.clone(), &MucUser::read(&stanza.tree().unwrap()), order)
        };
        let extra = Extra { id: None, created: false, nick_assigned: true };
        let place = |own: &SelfPresence| {
            let seen = show(own.at_join("a@b/x", extra));
            seen.find("<status code='210'/>").unwrap() < seen.find("<item").unwrap()
        };
        let plain = PROSODY.replace("<status code='100'/><status code='201'/>", "");
        let behind = plain.replace("<status code='110'/>", "<status code='201'/><status code='110'/>");
        assert!(place(&read(&plain, Order::PROSODY)) && !place(&read(&plain, Order::EJABBERD)));
        assert!(!place(&read(&behind, Order::PROSODY)), "the join has shown it");
        let leave = "<presence type='unavailable'><status>bye</status><show>xa</show><c xmlns='u'/></presence>";
        let leaves = |order| show(read(&plain, order).unavailable("a@b/x", Some(&Stanza::own(leave)), &[]));
        assert!(leaves(Order::EJABBERD).ends_with("</x><show>xa</show><status>bye</status></presence>"));
        let seen = leaves(Order::PROSODY);
        assert!(
            seen.contains("><status>bye</status><show>xa</show><c xmlns='u'/><x ") && seen.ends_with("</x></presence>"),
            "{seen}"
        );
    }

    #[test]
    fn of_several_items_the_own_one_stays_and_110_is_added() {
        let text = "<presence from='r@s/n' to='a@b/x'><x xmlns='http://jabber.org/protocol/muc#user'>\
            <item jid='a@b/other' role='participant'/><item jid='a@b/x' role='participant'/></x></presence>";
        let seen = show(with_own_jid(&Stanza::own(text), "a@b/x"));
        assert_eq!(seen.matches("<item").count(), 1);
        assert!(seen.contains("jid='a@b/phone'") && seen.contains("<status code='110'/>"));
    }

    #[test]
    fn its_leave_leans_on_no_prefix_of_another_stanza() {
        let joined = joined(
            "<presence from='r@s/n' to='a@b/x' xmlns:o='urn:xmpp:occupant-id:0'><o:occupant-id id='1'/></presence>",
        );
        let seen = show(joined.unavailable("a@b/x", None, &[]));
        assert!(seen.contains("<occupant-id xmlns='urn:xmpp:occupant-id:0' id='1'/>"), "{seen}");
    }

    #[test]
    fn its_leave_names_the_client() {
        let leave = Stanza::own("<presence to='r@s/n' type='unavailable' id='l'><status>bye</status></presence>");
        let seen = show(joined(PROSODY).unavailable("a@b/x", Some(&leave), &[]));
        assert!(seen.contains("<status>bye</status>") && seen.contains("from='r@s/n'"), "{seen}");
        assert!(seen.contains("type='unavailable'") && seen.contains("affiliation='owner'"));
        assert!(seen.contains("to='a@b/phone'") && seen.contains("jid='a@b/phone'") && seen.contains("id='l'"));
    }

    #[test]
    fn room_wide_codes_are_kept_apart_from_presence() {
        let mut own = joined(&PROSODY.replace("<status code='201'/>", ""));
        let plain = PROSODY.replace("<status code='100'/><status code='201'/>", "");
        for (changes, shown) in [
            (&[104][..], &[100][..]),
            (&[170], &[100, 170]),
            (&[173], &[170]),
            (&[172, 171], &[100]),
            (&[174], &[]),
            (&[170, 172], &[100, 170]),
        ] {
            let statuses: String = changes.iter().map(|code| format!("<status code='{code}'/>")).collect();
            let text = format!("<message><x xmlns='http://jabber.org/protocol/muc#user'>{statuses}</x></message>");
            let configured = Stanza::own(text);
            own.configuration_changed(&MucUser::read(&configured.tree().unwrap()));
            assert_eq!(own.is_fully_anonymous(), changes == [174]);
            // The presences between do not bear them.
            own.update(Stanza::own(plain.as_str()));
            let at_join = Stanza::own(show(own.at_join("a@b/x", Extra::default())));
            let user = MucUser::read(&at_join.tree().unwrap());
            let codes: Vec<u16> = user.statuses.iter().map(|status| status.code).collect();
            assert_eq!(codes, [shown, &[110]].concat(), "after {changes:?}");
            let reflected = Stanza::own(show(own.reflected("a@b/x", None)));
            assert_eq!(MucUser::read(&reflected.tree().unwrap()).statuses.len(), 1);
        }
    }

    #[test]
    fn codes_that_are_put_in_behind_a_prefix_are_read() {
        let text = PROSODY
            .replace("<x xmlns=", "<u:x xmlns:u=")
            .replace("</x>", "</u:x>")
            .replace("<status", "<u:status")
            .replace("<item", "<u:item")
            .replace("<u:status code='110'/>", "");
        let shown = show(with_own_jid(&Stanza::own(text), "a@b/x"));
        let shown = Stanza::own(shown);
        let tree = shown.tree().unwrap();
        assert!(MucUser::read(&tree).has(codes::SELF), "{:?}", tree.root().range());
    }
}
