//! One bound client: relay or divert (DESIGN §4, §6, §7). Pure; [`crate::session::task`] is its shell, and
//! [`crate::account::handle`] tells the protocol between a session and its account.
//!
//! A room's *path* is fixed from join to leave (S19): to the account, or on the client's own stream. While it changes
//! hands, stanzas still under way to the account come back one by one, and what the client sends meanwhile follows
//! them there: so none overtakes another.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use jid::{BareJid, FullJid, Jid};

use super::bookmarks::Watch;
use super::carbons::{About, AboutSession};
use crate::account::bookmarks::Change;
use crate::account::handle::ToClient;
use crate::stream::negotiation::refuse::{Refusal, is_csi, refuse};
use crate::stream::negotiation::{Bound, condition_of};
use crate::xml::framer::Space;
use crate::xmpp::conditions::StreamCondition;
use crate::xmpp::header::Header;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::{Kind, Stanza};

/// Rooms on one client's own stream, and rooms asked for; a client that has more is not a chat client.
const MOST_ROUTES: usize = 10_000;

/// What is to be done.
#[derive(Debug)]
pub enum Output {
    /// To the server, on the client's own stream.
    Server(Bytes),
    /// To the client.
    Client(Bytes),
    /// To the client, with its own JID put in.
    Shared(Arc<Shared>),
    /// To the account: introduce the session, with a new queue. Comes before any other word to the account.
    Hello,
    /// To the account.
    Divert {
        /// The stanza, fit to stand on another stream.
        stanza: Stanza,
        /// There was no route to its room.
        fresh: bool,
    },
    /// To the account: the client goes offline (RFC 6121 §4.5), by this presence, fit to stand on another stream.
    Unavailable(Stanza),
    /// To the account: the server has copied to the client what the account session has sent (XEP-0280).
    Copied(Stanza),
    /// To the account: its bookmarks have changed.
    Bookmarks(Box<Change>),
    /// For the log: the client has met this limit of its account's.
    Limited(&'static str),
    /// The client did what a stream does not survive.
    End(StreamCondition, String),
    /// The client sent a stream error: relay it, and end.
    ClientError(Bytes, String),
    /// The server sent a stream error: relay it, and end.
    ServerError(Bytes, String),
}

/// Who has a room's stanzas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// The account; the number of the last stanza sent to it about this room.
    Account { last: u64 },
    /// The client's own stream. `joined`: the room has said so.
    Own { joined: bool },
}

/// A client's way to its account.
#[derive(Debug)]
struct ToItsAccount {
    about: Option<AboutSession>,
    bookmarks: Watch,
    routes: HashMap<BareJid, Route>,
    /// How many routes are `Own`.
    own: usize,
    /// Stanzas sent to the account.
    sent: u64,
    introduced: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    jid: FullJid,
    header: Header,
    csi: bool,
    account: Option<Box<ToItsAccount>>,
    /// Marks the ids that were added here: what comes back from the account loses them again.
    mark: Box<str>,
}

impl Session {
    /// The session of the client that negotiation `bound`. `account_session`: the full JID of its account's session,
    /// if the account is enrolled and the client may use it. `mark`: random, at least 64 bits, of this session only.
    pub fn new(bound: &Bound, account_session: Option<&str>, mark: &str) -> Self {
        let account = account_session.map(|jid| {
            Box::new(ToItsAccount {
                about: AboutSession::new(jid),
                bookmarks: Watch::default(),
                routes: HashMap::new(),
                own: 0,
                sent: 0,
                introduced: false,
            })
        });
        // Only what stanzas inherit is kept: there is one of these per client.
        let (lang, prefixes) = (bound.client.lang.clone(), bound.client.prefixes.clone());
        let header = Header { lang, prefixes, ..Header::default() };
        Session { jid: bound.jid.clone(), header, csi: bound.csi, account, mark: mark.into() }
    }

    /// The client's JID.
    pub fn jid(&self) -> &FullJid {
        &self.jid
    }

    /// How many rooms it has by its account; `None`: its joins pass through.
    pub fn rooms(&self) -> Option<usize> {
        self.account.as_ref().map(|account| account.routes.len() - account.own)
    }

    /// Takes an element from the client.
    pub fn from_client(&mut self, stanza: Stanza, out: &mut Vec<Output>) {
        if stanza.kind() == Kind::Other {
            return self.client_nonza(stanza, out);
        }
        if stanza.from().is_some_and(|from| !self.is_own(&from)) {
            let text = "'from' is not the JID of this session".to_owned();
            return out.push(Output::End(StreamCondition::InvalidFrom, text));
        }
        let Some(account) = &mut self.account else {
            return out.push(Output::Server(stanza.bytes().clone()));
        };
        account.bookmarks.from_client(&self.jid, &self.header, &stanza);
        let Some(to) = stanza.to() else {
            if stanza.is_presence() {
                account.broadcast(&self.header, &stanza, out);
            }
            return out.push(Output::Server(stanza.bytes().clone()));
        };
        if account.routes.is_empty() && !stanza.is_presence() {
            return out.push(Output::Server(stanza.bytes().clone()));
        }
        let Ok(to) = Jid::new(&to) else {
            // The server says best what is wrong with the address.
            return out.push(Output::Server(stanza.bytes().clone()));
        };
        let opens = stanza.is_presence() && stanza.type_().is_none() && to.is_full();
        let room = to.into_bare();
        let route = account.routes.get(&room).copied();
        match route {
            Some(Route::Own { .. }) => {
                account.left(&room, &stanza);
                out.push(Output::Server(stanza.bytes().clone()));
            }
            None if !opens => out.push(Output::Server(stanza.bytes().clone())),
            None if account.routes.len() >= MOST_ROUTES => {
                out.push(Output::End(StreamCondition::ResourceConstraint, "too many rooms".to_owned()));
            }
            Some(Route::Account { .. }) | None => {
                account.introduce(out);
                account.sent += 1;
                account.routes.insert(room, Route::Account { last: account.sent });
                let id = format!("{}-{}", self.mark, account.sent);
                let stanza = fit(&self.header, stanza, &id);
                out.push(Output::Divert { stanza, fresh: route.is_none() });
            }
        }
    }

    /// Takes an element from the client's own server stream.
    pub fn from_server(&mut self, stanza: Stanza, out: &mut Vec<Output>) {
        if stanza.space() == Space::Streams && stanza.name() == "error" {
            let why = format!("the server ended the stream: {}", condition_of(&stanza));
            return out.push(Output::ServerError(stanza.bytes().clone(), why));
        }
        if let Some(account) = &mut self.account {
            match account.about.as_ref().map_or(About::Others, |about| about.what(&stanza, account.introduced)) {
                About::Others => {}
                About::Itself => return,
                About::Said => {
                    account.introduce(out);
                    return out.push(Output::Copied(stanza));
                }
            }
            out.extend(account.bookmarks.from_server(&self.jid, &stanza).map(|c| Output::Bookmarks(Box::new(c))));
            if account.own > 0 && stanza.is_presence() {
                account.room_presence(&stanza);
            }
        }
        out.push(Output::Client(stanza.bytes().clone()));
    }

    /// Takes what the account sends.
    pub fn from_account(&mut self, item: ToClient, out: &mut Vec<Output>) {
        match item {
            ToClient::Shared(shared) => out.push(Output::Shared(shared)),
            ToClient::Own(bytes) => out.push(Output::Client(bytes)),
            ToClient::Batch(items) => items.iter().for_each(|item| self.from_account(item.clone(), out)),
            ToClient::Relay { stanza, seen, passes_through } => {
                if let Some(account) = &mut self.account
                    && let Some(room) = stanza.to().and_then(|to| Jid::new(&to).ok()).map(Jid::into_bare)
                {
                    account.caught_up(&room, seen, passes_through);
                    account.left(&room, &stanza);
                }
                out.push(Output::Server(self.give_back(stanza).bytes().clone()));
            }
            ToClient::Detached { room, seen } => {
                if let Some(account) = &mut self.account {
                    account.caught_up(&room, seen, false);
                }
            }
            ToClient::Limited(what) => out.push(Output::Limited(what)),
        }
    }

    /// The account is gone (no longer enrolled, say): the client is on its own from here on.
    pub fn forget_account(&mut self) {
        self.account = None;
    }

    /// RFC 6120 §8.1.2.1: the full or the bare JID.
    fn is_own(&self, from: &str) -> bool {
        from == self.jid.as_str()
            || match Jid::new(from).map(Jid::try_into_full) {
                Ok(Ok(full)) => full == self.jid,
                Ok(Err(bare)) => bare == self.jid.to_bare(),
                Err(_) => false,
            }
    }

    fn client_nonza(&mut self, stanza: Stanza, out: &mut Vec<Output>) {
        if stanza.space() == Space::Streams && stanza.name() == "error" {
            let why = format!("the client sent a stream error: {}", condition_of(&stanza));
            out.push(Output::ClientError(stanza.bytes().clone(), why));
        } else if self.csi && is_csi(&stanza, &self.header) {
            out.push(Output::Server(stanza.bytes().clone()));
        } else {
            out.push(match refuse(&stanza, &self.header) {
                Refusal::Answer(bytes) => Output::Client(bytes),
                Refusal::End(condition, text) => Output::End(condition, text),
            });
        }
    }

    /// A stanza that stays on its own stream after all: without the id that it got for the account.
    pub fn give_back(&self, stanza: Stanza) -> Stanza {
        if !stanza.id().is_some_and(|id| id.strip_prefix(&*self.mark).is_some_and(|rest| rest.starts_with('-'))) {
            return stanza;
        }
        stanza.edit().remove("id").finish()
    }
}

/// Makes a stanza fit to stand on another stream (DESIGN §6): what its own stream said for it is written on it, and
/// it gets the id without which an error could not be told from another.
fn fit(header: &Header, stanza: Stanza, id: &str) -> Stanza {
    let stanza = by_itself(header, stanza);
    if stanza.id().is_some() {
        return stanza;
    }
    stanza.edit().set("id", id).finish()
}

/// The stanza with all that its own stream said for it.
fn by_itself(header: &Header, stanza: Stanza) -> Stanza {
    let stanza = header.detach(stanza);
    let lang = header.lang.as_deref().filter(|_| stanza.lang().is_none());
    if lang.is_none() && stanza.from().is_none() {
        return stanza;
    }
    let edit = stanza.edit().remove("from");
    match lang {
        Some(lang) => edit.set("xml:lang", lang).finish(),
        None => edit.finish(),
    }
}

impl ToItsAccount {
    fn introduce(&mut self, out: &mut Vec<Output>) {
        if !self.introduced {
            self.introduced = true;
            out.push(Output::Hello);
        }
    }

    /// Broadcast presence reaches no room through the account, but unavailability detaches (DESIGN §7); the rooms on
    /// the client's own stream are left by the server itself.
    fn broadcast(&mut self, header: &Header, presence: &Stanza, out: &mut Vec<Output>) {
        if !presence.is_type("unavailable") {
            return;
        }
        self.routes.retain(|_, route| !matches!(route, Route::Own { .. }));
        self.own = 0;
        if self.introduced {
            out.push(Output::Unavailable(by_itself(header, presence.clone())));
        }
    }

    /// The account has nothing of this room under way any more that it had not seen: the route is settled.
    fn caught_up(&mut self, room: &BareJid, seen: u64, passes_through: bool) {
        match self.routes.get(room) {
            Some(Route::Account { last }) if seen >= *last => {}
            _ => return,
        }
        if passes_through {
            self.own += 1;
            self.routes.insert(room.clone(), Route::Own { joined: false });
        } else {
            self.routes.remove(room);
        }
    }

    fn forget_own(&mut self, room: &BareJid) {
        if let Some(Route::Own { .. }) = self.routes.get(room) {
            self.routes.remove(room);
            self.own -= 1;
        }
    }

    /// A client's own stanza to a room on its own stream: is it the leave?
    fn left(&mut self, room: &BareJid, stanza: &Stanza) {
        if stanza.is_presence() && stanza.is_type("unavailable") {
            self.forget_own(room);
        }
    }

    /// Presence from the server: does it end, or confirm, a room on the client's own stream?
    fn room_presence(&mut self, presence: &Stanza) {
        let Some(room) = presence.from().and_then(|from| Jid::new(&from).ok()).map(Jid::into_bare) else { return };
        let Some(Route::Own { joined }) = self.routes.get_mut(&room) else { return };
        match presence.type_().as_deref() {
            // The join failed. An error to who is inside is about something else (a nick, say).
            Some("error") if !*joined => self.forget_own(&room),
            None if !*joined => *joined = has_codes(presence, true, false),
            // With 303 it is only a change of nick (XEP-0045 §7.6).
            Some("unavailable") if has_codes(presence, true, true) => self.forget_own(&room),
            _ => {}
        }
    }
}

/// Whether the room says "this is yourself" (110), and, if asked, nothing of a new nick (303).
fn has_codes(presence: &Stanza, own: bool, no_rename: bool) -> bool {
    let Ok(tree) = presence.tree() else { return false };
    let Some(x) = tree.root().child("x", ns::MUC_USER) else { return false };
    let has =
        |code: &str| x.children().any(|c| c.is("status", ns::MUC_USER) && c.attr("code").as_deref() == Some(code));
    (!own || has("110")) && !(no_rename && has("303"))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
