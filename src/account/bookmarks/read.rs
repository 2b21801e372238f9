//! Reading bookmarks: XEP-0402 (an item for each room), and XEP-0048 (all in one element), in a PEP node or in private
//! XML storage. Both sides read here: the account session what it fetched or is told, a client's session what passes.
//!
//! Whose word it is (S17) is for the caller to check: [`is_ours`].

use jid::{BareJid, Jid, ResourcePart};
use secrecy::{ExposeSecret, SecretString};

use crate::xml::element::Node;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// What all that is about bookmarks has in its bytes, as they are usually written.
const MARK: &[u8] = b":bookmarks";
/// How many one stanza may speak of; more are not looked at (S20).
const MOST: usize = 1000;
/// A longer password is no room's.
const LONGEST_PASSWORD: usize = 1023;

/// What one bookmark says.
#[derive(Debug, Clone)]
pub struct Bookmark {
    /// The room is to be joined by itself.
    pub autojoin: bool,
    /// The nick to join with.
    pub nick: Option<String>,
    /// The room's password.
    pub password: Option<SecretString>,
}

impl PartialEq for Bookmark {
    fn eq(&self, other: &Self) -> bool {
        let password = |b: &Bookmark| b.password.as_ref().map(|p| p.expose_secret().to_owned());
        self.autojoin == other.autojoin && self.nick == other.nick && password(self) == password(other)
    }
}

impl Bookmark {
    /// Bytes that it keeps.
    pub(super) fn len(&self) -> usize {
        let nick = self.nick.as_ref().map_or(0, String::len);
        nick + self.password.as_ref().map_or(0, |password| password.expose_secret().len())
    }
}

/// Where bookmarks stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// XEP-0402.
    Items,
    /// XEP-0048 in a PEP node.
    Pep,
    /// XEP-0048 in private XML storage (XEP-0049).
    Private,
}

impl Source {
    /// All, in the order in which they are asked: the first that has any is believed.
    pub const ALL: [Source; 3] = [Source::Items, Source::Pep, Source::Private];

    fn of_node(node: &str) -> Option<Source> {
        match node {
            ns::BOOKMARKS => Some(Source::Items),
            ns::STORAGE_BOOKMARKS => Some(Source::Pep),
            _ => None,
        }
    }
}

/// What happened to bookmarks. Rooms are bare JIDs, normalised.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// These are new, or changed (XEP-0402).
    Published(Vec<(String, Bookmark)>),
    /// These are gone (XEP-0402).
    Retracted(Vec<String>),
    /// These are all that stand there.
    All(Source, Vec<(String, Bookmark)>),
    /// Something changed, it was not said what: to be fetched.
    Unknown,
}

/// Whether `from` speaks for the account `own` (S17, CVE-2023-28686): it is its bare JID, or nobody is named, which means
/// the same (RFC 6120 §8.1.2.1).
pub fn is_ours(own: &BareJid, from: Option<&str>) -> bool {
    from.is_none_or(|from| from == own.as_str() || Jid::new(from).is_ok_and(|from| from == *own))
}

/// Whether the stanza can be about bookmarks: to be asked first, for it costs next to nothing.
pub fn may_tell(stanza: &Stanza) -> bool {
    memchr::memmem::find(stanza.bytes(), MARK).is_some()
}

/// Whether it is an event of some node (XEP-0060), whatever the node.
pub fn is_event(stanza: &Stanza) -> bool {
    memchr::memmem::find(stanza.bytes(), ns::PUBSUB_EVENT.as_bytes()).is_some()
        && stanza.tree().is_ok_and(|tree| tree.root().child("event", ns::PUBSUB_EVENT).is_some())
}

/// What a message of the PEP service tells (XEP-0060 §7.1.2.1, §7.2.2.1, §8.4, §8.5).
pub fn event(stanza: &Stanza) -> Option<Change> {
    if !stanza.is_message() || stanza.is_type("error") || !may_tell(stanza) {
        return None;
    }
    let tree = stanza.tree().ok()?;
    let event = tree.root().child("event", ns::PUBSUB_EVENT)?;
    event.children().find_map(|told| {
        let source = Source::of_node(&told.attr("node")?)?;
        match told.name() {
            "items" => Some(told_items(source, told)),
            "purge" | "delete" => Some(Change::All(source, Vec::new())),
            _ => None,
        }
    })
}

fn told_items(source: Source, items: Node<'_>) -> Change {
    let named = |name: &'static str| items.children().filter(move |c| c.is(name, ns::PUBSUB_EVENT));
    match source {
        Source::Items if named("retract").next().is_some() => {
            Change::Retracted(named("retract").filter_map(room).take(MOST).collect())
        }
        Source::Items if named("item").all(|item| item.child("conference", ns::BOOKMARKS).is_some()) => {
            Change::Published(named("item").filter_map(item).take(MOST).collect())
        }
        Source::Items => Change::Unknown,
        _ => match named("item").last() {
            Some(item) => match item.child("storage", ns::STORAGE_BOOKMARKS) {
                Some(storage) => Change::All(source, conferences(storage)),
                None => Change::Unknown,
            },
            None => Change::All(source, Vec::new()),
        },
    }
}

/// What a client's IQ changes, if the server does it.
pub fn request(stanza: &Stanza) -> Option<Change> {
    if !stanza.is_iq() || !stanza.is_type("set") || !may_tell(stanza) {
        return None;
    }
    let tree = stanza.tree().ok()?;
    let payload = tree.root().children().next()?;
    if payload.is("query", ns::PRIVATE) {
        let storage = payload.child("storage", ns::STORAGE_BOOKMARKS)?;
        return Some(Change::All(Source::Private, conferences(storage)));
    }
    let owner = payload.is("pubsub", ns::PUBSUB_OWNER);
    if !owner && !payload.is("pubsub", ns::PUBSUB) {
        return None;
    }
    payload.children().find_map(|asked| {
        let source = Source::of_node(&asked.attr("node")?)?;
        let items = || asked.children().filter(|c| c.is("item", ns::PUBSUB));
        match (asked.name(), source) {
            ("publish", Source::Items) => Some(Change::Published(items().filter_map(item).take(MOST).collect())),
            ("publish", _) => {
                let storage = items().last()?.child("storage", ns::STORAGE_BOOKMARKS)?;
                Some(Change::All(source, conferences(storage)))
            }
            ("retract", Source::Items) => Some(Change::Retracted(items().filter_map(room).take(MOST).collect())),
            ("retract", _) => Some(Change::All(source, Vec::new())),
            ("purge" | "delete", _) if owner => Some(Change::All(source, Vec::new())),
            _ => None,
        }
    })
}

/// The answer to a request for all that stands there; `None` if it does not tell.
pub fn answer(source: Source, stanza: &Stanza) -> Option<Change> {
    let tree = stanza.tree().ok()?;
    let root = tree.root();
    if stanza.is_type("error") {
        // Others may pass: nothing is taken to be gone because of them.
        let error = root.child("error", ns::CLIENT)?;
        error.child("item-not-found", ns::STANZA_ERRORS)?;
        return Some(Change::All(source, Vec::new()));
    }
    if source == Source::Private {
        let storage = root.child("query", ns::PRIVATE)?.child("storage", ns::STORAGE_BOOKMARKS);
        return Some(Change::All(source, storage.map(conferences).unwrap_or_default()));
    }
    let pubsub = root.child("pubsub", ns::PUBSUB)?;
    let mut all = pubsub.child("items", ns::PUBSUB)?.children().filter(|c| c.is("item", ns::PUBSUB));
    Some(match source {
        // One page of several (XEP-0059).
        Source::Items if pubsub.child("set", ns::RSM).is_some() => {
            Change::Published(all.filter_map(item).take(MOST).collect())
        }
        Source::Items => Change::All(source, all.filter_map(item).take(MOST).collect()),
        _ => {
            let storage = all.find_map(|i| i.child("storage", ns::STORAGE_BOOKMARKS));
            Change::All(source, storage.map(conferences).unwrap_or_default())
        }
    })
}

/// XEP-0402: the item's id is the room.
fn item(item: Node<'_>) -> Option<(String, Bookmark)> {
    Some((room(item)?, conference(item.child("conference", ns::BOOKMARKS)?, ns::BOOKMARKS)))
}

fn room(item: Node<'_>) -> Option<String> {
    normal(&item.attr("id")?)
}

/// XEP-0048: of several for one room the last counts.
fn conferences(storage: Node<'_>) -> Vec<(String, Bookmark)> {
    let all = storage.children().filter(|c| c.is("conference", ns::STORAGE_BOOKMARKS));
    all.filter_map(|c| Some((normal(&c.attr("jid")?)?, conference(c, ns::STORAGE_BOOKMARKS)))).take(MOST).collect()
}

/// A room has a local part; what else is bookmarked is none.
fn normal(jid: &str) -> Option<String> {
    let jid = BareJid::new(jid).ok()?;
    jid.node().is_some().then(|| jid.to_string())
}

fn conference(conference: Node<'_>, space: &str) -> Bookmark {
    let text = |name| conference.child_text(name, space).filter(|text| !text.is_empty());
    Bookmark {
        autojoin: matches!(conference.attr("autojoin").as_deref().map(str::trim), Some("true" | "1")),
        nick: text("nick").filter(|nick| ResourcePart::new(nick).is_ok()),
        password: text("password").filter(|p| p.len() <= LONGEST_PASSWORD).map(SecretString::from),
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
