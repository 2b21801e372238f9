//! What the account makes of its bookmarks (DESIGN §7): its session fetches them whenever it comes up and asks to be told of
//! changes (which Prosody does, ejabberd does not); the clients' sessions tell what they see pass. Rooms that are to be
//! joined by themselves are; rooms whose bookmark has gone are left.

use std::time::{Duration, Instant};

use crate::account::account::{Account, Link, Output};
use crate::account::bookmarks::read::{self, Change, Source};
use crate::account::bookmarks::{Bookmarks, is_event, is_ours};
use crate::muc::Now;
use crate::muc::room::Room;
use crate::xml::writer::escape;
use crate::xmpp::ids;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// A login does not make the bookmarks be fetched again for so long.
const FRESH: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
enum Ask {
    All(Source),
    Subscription(Source),
}

/// What the account session has asked about bookmarks.
#[derive(Debug, Default)]
pub(in crate::account) struct Fetch {
    /// To be fetched as soon as the account session is up.
    due: bool,
    /// When it was last asked for.
    at: Option<Instant>,
    /// Not answered yet, by id.
    asked: Vec<(String, Ask)>,
    /// Answers are awaited until then.
    until: Option<Instant>,
    /// What the account session is told changes of.
    subscribed: Vec<Source>,
}

impl Fetch {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until
    }

    fn is_under_way(&self) -> bool {
        self.due || !self.asked.is_empty()
    }
}

impl Bookmarks {
    /// The account session is needed for them.
    pub(in crate::account) fn want_session(&self) -> bool {
        self.any() || self.fetch.is_under_way()
    }
}

impl Account {
    /// A client of the account has logged in: it has bookmarks to follow, perhaps.
    pub(in crate::account) fn logged_in(&mut self, now: Now, out: &mut Vec<Output>) {
        let fresh = self.bookmarks.fetch.at.is_some_and(|at| now.at < at + FRESH);
        if !self.settings.bookmarks || fresh || self.bookmarks.fetch.is_under_way() {
            return;
        }
        self.bookmarks.fetch.due = true;
        if self.is_up() { self.fetch_bookmarks(now, out) } else { self.reopen_if_wanted(now, out) }
    }

    /// The account session is up.
    pub(in crate::account) fn take_up_bookmarks(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.settings.bookmarks {
            return;
        }
        for room in self.bookmarks.wanted() {
            self.autojoin(now, &room, out);
        }
        self.fetch_bookmarks(now, out);
    }

    /// It is lost: what was asked will not be answered.
    pub(in crate::account) fn bookmarks_session_lost(&mut self) {
        let fetch = &mut self.bookmarks.fetch;
        fetch.due |= !fetch.asked.is_empty();
        fetch.asked.clear();
        fetch.until = None;
    }

    fn fetch_bookmarks(&mut self, now: Now, out: &mut Vec<Output>) {
        let until = now.at + self.settings.join_timeout;
        self.bookmarks.fetch = Fetch { at: Some(now.at), until: Some(until), ..Fetch::default() };
        for source in Source::ALL {
            let payload = match node(source) {
                None => format!("<query xmlns='{}'><storage xmlns='{}'/></query>", ns::PRIVATE, ns::STORAGE_BOOKMARKS),
                Some(node) => format!("<pubsub xmlns='{}'><items node='{node}'/></pubsub>", ns::PUBSUB),
            };
            self.ask_server("get", &payload, Ask::All(source), out);
        }
        self.subscribe(Source::Items, out);
        self.subscribe(Source::Pep, out);
    }

    /// Asks to be told of changes; without presence the account session is not told by itself. Works where there is such a
    /// node already.
    fn subscribe(&mut self, source: Source, out: &mut Vec<Output>) {
        if let Some(node) = node(source) {
            let jid = escape(&self.session);
            let payload = format!("<pubsub xmlns='{}'><subscribe node='{node}' jid='{jid}'/></pubsub>", ns::PUBSUB);
            self.ask_server("set", &payload, Ask::Subscription(source), out);
        }
    }

    fn ask_server(&mut self, kind: &str, payload: &str, ask: Ask, out: &mut Vec<Output>) {
        let id = ids::random();
        out.push(Output::Up(Stanza::own(format!("<iq type='{kind}' id='{id}'>{payload}</iq>"))));
        self.bookmarks.fetch.asked.push((id, ask));
    }

    /// An answer to one of these questions; false if it is none.
    pub(in crate::account) fn bookmark_answer(&mut self, now: Now, stanza: &Stanza, out: &mut Vec<Output>) -> bool {
        let id = stanza.id();
        let Some(at) = self.bookmarks.fetch.asked.iter().position(|(asked, _)| Some(asked.as_str()) == id.as_deref())
        else {
            return false;
        };
        if !is_ours(&self.jid, stanza.from().as_deref()) {
            return false;
        }
        let (_, ask) = self.bookmarks.fetch.asked.swap_remove(at);
        if self.bookmarks.fetch.asked.is_empty() {
            self.bookmarks.fetch.until = None;
        }
        match ask {
            Ask::All(source) => {
                if let Some(change) = read::answer(source, stanza) {
                    self.apply(now, change, out);
                }
            }
            Ask::Subscription(source) if stanza.is_type("result") => self.bookmarks.fetch.subscribed.push(source),
            Ask::Subscription(_) => {}
        }
        true
    }

    /// An event of the account's own PEP service, received by the account session; false if it is none. The clients get
    /// theirs on their own streams.
    pub(in crate::account) fn bookmark_event(&mut self, now: Now, stanza: &Stanza, out: &mut Vec<Output>) -> bool {
        if !is_ours(&self.jid, stanza.from().as_deref()) || !is_event(stanza) {
            return false;
        }
        if let Some(change) = read::event(stanza).filter(|_| self.settings.bookmarks) {
            self.apply(now, change, out);
        }
        true
    }

    /// A client's session has seen a change pass.
    pub(in crate::account) fn bookmarks_seen(&mut self, now: Now, change: Change, out: &mut Vec<Output>) {
        // Without keys nothing can be joined, and with new ones all is fetched anew.
        if !self.settings.bookmarks || self.link == Link::Barred {
            return;
        }
        let source = match &change {
            Change::Published(_) | Change::Retracted(_) => Source::Items,
            Change::All(source, _) => *source,
            Change::Unknown => return self.apply(now, change, out),
        };
        self.apply(now, change, out);
        let fetch = &self.bookmarks.fetch;
        let asked = fetch.asked.iter().any(|(_, ask)| matches!(ask, Ask::Subscription(s) if *s == source));
        if self.is_up() && !asked && !fetch.subscribed.contains(&source) {
            // The node may have come into being by this.
            self.bookmarks.fetch.until = Some(now.at + self.settings.join_timeout);
            self.subscribe(source, out);
        }
        self.reopen_if_wanted(now, out);
    }

    fn apply(&mut self, now: Now, change: Change, out: &mut Vec<Output>) {
        if change == Change::Unknown {
            if self.is_up() && self.bookmarks.fetch.asked.is_empty() {
                self.fetch_bookmarks(now, out);
            }
            return;
        }
        let was_full = self.bookmarks.full;
        for room in self.bookmarks.change(now.at, self.settings.leave_grace, change) {
            self.autojoin(now, &room, out);
        }
        if self.bookmarks.full && !was_full {
            out.push(Output::Limited("too many bookmarks: some are not heeded"));
        }
    }

    /// The account is to join the room with no client asking, or to stay in it.
    fn autojoin(&mut self, now: Now, room: &str, out: &mut Vec<Output>) {
        let Some((bookmark, _)) = self.bookmarks.autojoin(room) else { return };
        let (password, is_up) = (bookmark.password.clone(), self.is_up());
        match self.rooms.get_mut(room) {
            // It is joined when the account session is up.
            Some(found) if !is_up => found.is_bookmarked(password, false),
            Some(_) => self.join_by_bookmark(now, room, None, out),
            None if is_up => self.autojoins.push(room),
            None => {}
        }
    }

    /// A room that the account is not in yet, with what its bookmark says.
    pub(in crate::account) fn new_room(&self, jid: &str) -> Room {
        let mut room = Room::new(jid, &self.session, ids::random(), self.settings.clone());
        if let Some((bookmark, put_out)) = self.bookmarks.autojoin(jid) {
            room.is_bookmarked(bookmark.password.clone(), put_out);
        }
        room
    }

    /// Bookmarks that went and did not come again: the account leaves those rooms.
    pub(in crate::account) fn tick_bookmarks(&mut self, now: Now, out: &mut Vec<Output>) {
        let fetch = &mut self.bookmarks.fetch;
        if fetch.until.is_some_and(|until| now.at >= until) {
            fetch.asked.clear();
            fetch.until = None;
        }
        for room in self.bookmarks.gone(now.at) {
            let Some(found) = self.rooms.get_mut(&room) else { continue };
            let mut outs = Vec::new();
            found.bookmark_gone(now, &mut outs);
            self.spread(now, &room, outs, out);
        }
    }
}

/// Its PEP node.
fn node(source: Source) -> Option<&'static str> {
    match source {
        Source::Items => Some(ns::BOOKMARKS),
        Source::Pep => Some(ns::STORAGE_BOOKMARKS),
        Source::Private => None,
    }
}
