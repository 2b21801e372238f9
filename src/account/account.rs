//! One account (pure): its rooms, its clients, and the account session they share. Says what to send where; owns no
//! socket and no clock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jid::{BareJid, FullJid};

use crate::account::archive::Queries;
use crate::account::autojoin::Autojoins;
use crate::account::bookmarks::{Bookmarks, Change};
use crate::account::carbons::Authors;
use crate::account::handle::ToClient;
use crate::account::iq::Iqs;
use crate::account::limits::Limits;
use crate::account::upkeep::{IDLE_TIME, RETRY};
use crate::muc::join::Join;
use crate::muc::room::Room;
use crate::muc::{ClientId, Now, Out, Settings};
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How many stanzas of its clients an account keeps while its session is being opened.
const MOST_PENDING: usize = 4096;

/// How many rooms that ended are remembered.
const MOST_ENDED: usize = 64;

/// What happens to an account.
#[derive(Debug)]
pub enum Input {
    /// A client's session says hello.
    Hello(ClientId, FullJid),
    /// A client's stanza; `true` if the session had no route to its room before.
    Stanza(ClientId, Stanza, bool),
    /// The client sent broadcast unavailable presence: this.
    Unavailable(ClientId, Stanza),
    /// The client's server has copied to it what the account session has sent (XEP-0280).
    Copied(ClientId, Stanza),
    /// The client's stream ended.
    Gone(ClientId),
    /// The account session is up; the largest stanza that its server takes, if it said so (XEP-0478).
    SessionUp(Option<usize>),
    /// The account session could not be opened. `true` if the keys do not work: it waits for a login.
    SessionFailed(bool),
    /// The account session ended.
    SessionLost,
    /// The account session ended: another one took its place, or there were too many (RFC 6120 §4.9.3.3).
    SessionConflict,
    /// The keys may work again: a client logged in with the password.
    KeysChanged,
    /// A client of the account has logged in.
    LoggedIn,
    /// A client's session has seen the account's bookmarks change.
    Bookmarks(Change),
    /// The operator has taken the keys away; the account session is closed.
    Unenrolled,
    /// The account session received a stanza.
    FromServer(Stanza),
    /// The operator has the account leave this room.
    LeaveRoom(String),
    /// A deadline has passed.
    Tick,
}

/// What an account wants done, in order.
#[derive(Debug)]
pub enum Output {
    /// Open the account session.
    Connect,
    /// Close it.
    Disconnect,
    /// Send on it.
    Up(Stanza),
    /// Hand to a client.
    Client(ClientId, ToClient),
    /// For the log: the account has met this limit.
    Limited(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Not opened before that time.
    Down { retry_at: Option<Instant> },
    /// It was up and is lost; opened again at that time, and joins wait for that.
    Lost { retry_at: Instant },
    /// Being opened.
    Connecting,
    /// Since that time.
    Up { since: Instant },
    /// The keys do not work.
    Barred,
    /// Others were given its place more than once: it stays down until a client ends.
    Evicted,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) jid: FullJid,
    /// How many of its stanzas were seen.
    pub(super) seen: u64,
    /// Rooms that it joins on its own stream, as long as stanzas to them may still be under way to us.
    pub(super) passing: HashSet<String>,
}

/// One account.
#[derive(Debug)]
pub struct Account {
    pub(super) jid: BareJid,
    pub(super) session: String,
    pub(super) settings: Arc<Settings>,
    pub(super) connect_timeout: Duration,
    pub(super) link: Link,
    /// Who waits for the account session waits until then.
    pub(super) patience: Option<Instant>,
    pub(super) retry_wait: Duration,
    pub(super) rooms: HashMap<String, Room>,
    pub(super) clients: HashMap<ClientId, Client>,
    /// What clients sent while the account session was being opened, in order.
    pub(super) pending: VecDeque<(ClientId, String, Stanza)>,
    pub(super) strays: VecDeque<Arc<Shared>>,
    /// Rooms that were left or given up of late: one may still answer a join.
    pub(super) ended: VecDeque<String>,
    pub(super) iqs: Iqs,
    pub(super) queries: Queries,
    pub(super) authors: Authors,
    pub(super) idle_since: Option<Instant>,
    pub(super) limits: Limits,
    pub(super) bookmarks: Bookmarks,
    pub(super) autojoins: Autojoins,
}

impl Account {
    /// An account whose session is to have the full JID `session`.
    pub fn new(session: FullJid, settings: Arc<Settings>, connect_timeout: Duration) -> Self {
        Account {
            jid: session.to_bare(),
            session: session.to_string(),
            settings,
            connect_timeout,
            link: Link::Down { retry_at: None },
            patience: None,
            retry_wait: RETRY.0,
            rooms: HashMap::new(),
            clients: HashMap::new(),
            pending: VecDeque::new(),
            strays: VecDeque::new(),
            ended: VecDeque::new(),
            iqs: Iqs::default(),
            queries: Queries::default(),
            authors: Authors::default(),
            idle_since: None,
            limits: Limits::default(),
            bookmarks: Bookmarks::default(),
            autojoins: Autojoins::default(),
        }
    }

    /// Nothing holds this account in memory: no room, no client, no bookmark to follow.
    pub fn is_idle(&self) -> bool {
        self.rooms.is_empty() && self.clients.is_empty() && self.strays.is_empty() && !self.bookmarks.any()
    }

    /// How many things are kept for clients, attached or waiting: what is sent or asked and not answered yet. None when
    /// the last client is gone; the fuzz target of rooms watches it.
    pub fn kept_for_clients(&self) -> usize {
        let rooms: usize = self.rooms.values().map(Room::kept_for_clients).sum();
        let passing: usize = self.clients.values().map(|client| client.passing.len()).sum();
        self.pending.len() + self.iqs.len() + self.queries.len() + passing + rooms
    }

    /// The rooms.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.rooms.values()
    }

    /// Takes one input; what to do about it is appended to `out`.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Hello(client, jid) => self.hello(client, jid, out),
            Input::Stanza(client, stanza, fresh) => self.from_client(now, client, stanza, fresh, out),
            Input::Unavailable(client, presence) => {
                self.each_room(now, out, |room, outs| room.client_unavailable(now, client, &presence, outs));
            }
            Input::Copied(client, copy) => self.copied(client, &copy, out),
            Input::Gone(client) => self.gone(now, client, out),
            Input::SessionUp(announced) => {
                self.limits.announced = announced;
                self.session_up(now, out);
            }
            Input::SessionFailed(barred) => self.session_failed(now, barred, out),
            Input::SessionLost => self.session_lost(now, out),
            Input::SessionConflict => self.session_conflict(now, out),
            Input::KeysChanged => {
                if !self.is_up() && !matches!(self.link, Link::Connecting | Link::Evicted) {
                    self.link = Link::Down { retry_at: None };
                    self.retry_wait = RETRY.0;
                    self.reopen_if_wanted(now, out);
                }
            }
            Input::Unenrolled => {
                self.session_lost(now, out);
                self.session_failed(now, true, out);
                // Nobody will take the account back to these rooms.
                self.rooms.clear();
                self.bookmarks = Bookmarks::default();
                self.autojoins.clear();
            }
            Input::LoggedIn => self.logged_in(now, out),
            Input::Bookmarks(change) => self.bookmarks_seen(now, change, out),
            Input::FromServer(stanza) => self.from_server(now, stanza, out),
            Input::LeaveRoom(room) => self.dismiss(now, &room, out),
            Input::Tick => self.tick(now, out),
        }
        self.next_autojoins(now, out);
        self.note_idle(now);
    }

    /// When [`Input::Tick`] is wanted.
    pub fn deadline(&self) -> Option<Instant> {
        let link = match self.link {
            Link::Down { retry_at } if self.wants_session() => retry_at,
            Link::Lost { retry_at } if self.wants_session() => Some(retry_at),
            Link::Up { .. } => self.idle_since.map(|since| since + IDLE_TIME),
            _ => None,
        };
        let patience = self.patience.filter(|_| !self.is_up());
        // Rooms wait for nothing while there is no session.
        let rooms = self.rooms.values().filter(|_| self.is_up()).filter_map(Room::deadline).min();
        let autojoins = self.autojoins.deadline().filter(|_| self.is_up());
        [link, patience, rooms, autojoins, self.bookmarks.deadline()].into_iter().flatten().min()
    }

    // ---- clients

    fn hello(&mut self, client: ClientId, jid: FullJid, out: &mut Vec<Output>) {
        self.clients.insert(client, Client { jid, seen: 0, passing: HashSet::new() });
        out.extend(self.strays.drain(..).map(|stray| Output::Client(client, ToClient::Shared(stray))));
    }

    fn gone(&mut self, now: Now, client: ClientId, out: &mut Vec<Output>) {
        self.pending.retain(|(c, _, _)| *c != client);
        let unanswered = self.iqs.client_gone(client);
        self.queries.client_gone(client);
        // Whatever follows is not for it.
        self.clients.remove(&client);
        if self.clients.is_empty() {
            self.authors = Authors::default();
        }
        self.each_room(now, out, |room, outs| room.client_gone(now, client, outs));
        // What it was asked by occupants is asked of another client, or answered by the account.
        for question in unanswered {
            self.iq_from_server(now, question, out);
        }
        self.room_was_made(now, out);
    }

    fn from_client(&mut self, now: Now, client: ClientId, stanza: Stanza, fresh: bool, out: &mut Vec<Output>) {
        let Some(known) = self.clients.get_mut(&client) else { return };
        known.seen += 1;
        let seen = known.seen;
        let Some(room) = bare_to(&stanza) else {
            // The server says best what is wrong with the address.
            out.push(Output::Client(client, ToClient::Relay { stanza, seen, passes_through: false }));
            return;
        };
        if fresh {
            known.passing.remove(&room);
        } else if known.passing.contains(&room) {
            out.push(Output::Client(client, ToClient::Relay { stanza, seen, passes_through: true }));
            return;
        }
        if self.is_up() {
            self.dispatch(now, client, &room, stanza, out);
        } else {
            self.without_session(now, client, room, stanza, out);
        }
    }

    /// The account session is up: the stanza goes to the room's machine.
    pub(super) fn dispatch(&mut self, now: Now, client: ClientId, room: &str, stanza: Stanza, out: &mut Vec<Output>) {
        if stanza.is_iq() && (stanza.is_type("result") || stanza.is_type("error")) {
            match self.iqs.hand_out(client, &stanza) {
                Some(answer) => out.push(Output::Up(answer)),
                None if self.rooms.get(room).is_some_and(|r| r.knows(client)) => {}
                None => out.push(Output::Client(client, ToClient::Relay { stanza, seen: 0, passes_through: false })),
            }
            return self.settle(client, room, out);
        }
        if self.bounces(client, room, &stanza, out) {
            return self.settle(client, room, out);
        }
        let new = !self.rooms.contains_key(room);
        if (new || self.has_given_up(room)) && Join::read(&stanza).is_some() {
            if self.is_full(now, client, room, &stanza, out) {
                return self.settle(client, room, out);
            }
            self.takes_up(room);
            if new {
                let new = self.new_room(room);
                self.rooms.insert(room.to_owned(), new);
            }
        }
        match self.rooms.get_mut(room) {
            Some(found) => {
                let mut outs = Vec::new();
                found.from_client(now, client, stanza, &mut outs);
                self.spread(now, room, outs, out);
            }
            None => out.push(Output::Client(client, ToClient::Relay { stanza, seen: 0, passes_through: false })),
        }
        self.settle(client, room, out);
    }

    /// The account session is not up: a join opens it, and what follows a join to the same room waits with it.
    fn without_session(&mut self, now: Now, client: ClientId, room: String, stanza: Stanza, out: &mut Vec<Output>) {
        let waits = self.rooms.get(&room).is_some_and(|r| r.knows(client))
            || self.pending.iter().any(|(c, r, _)| *c == client && *r == room);
        let join = Join::read(&stanza).is_some();
        let can_wait = match self.link {
            Link::Down { retry_at } => retry_at.is_none_or(|at| now.at >= at),
            Link::Lost { .. } | Link::Connecting => self.patience.is_none_or(|until| now.at < until),
            Link::Up { .. } => true,
            Link::Barred | Link::Evicted => false,
        };
        if (waits || join) && can_wait && self.pending.len() < MOST_PENDING {
            self.patience.get_or_insert(now.at + self.connect_timeout);
            self.pending.push_back((client, room, stanza));
            return self.reopen_if_wanted(now, out);
        }
        self.pass(client, &room, stanza, join || waits, out);
        self.settle(client, &room, out);
    }

    pub(super) fn pass(&mut self, client: ClientId, room: &str, stanza: Stanza, joins: bool, out: &mut Vec<Output>) {
        let Some(known) = self.clients.get_mut(&client) else { return };
        if joins {
            known.passing.insert(room.to_owned());
        }
        let passes_through = known.passing.contains(room);
        out.push(Output::Client(client, ToClient::Relay { stanza, seen: 0, passes_through }));
    }

    /// After a client's stanzas to a room were dealt with: if the room has no more business with the client, its
    /// session must learn so, once everything else about the room is on its way to it.
    pub(super) fn settle(&mut self, client: ClientId, room: &str, out: &mut Vec<Output>) {
        let Some(known) = self.clients.get(&client) else { return };
        let busy = self.rooms.get(room).is_some_and(|r| r.knows(client))
            || self.pending.iter().any(|(c, r, _)| *c == client && r == room);
        if busy {
            return;
        }
        let all_seen = known.seen;
        let mut to_client = out.iter_mut().rev().filter_map(|o| match o {
            Output::Client(to, item) if *to == client => Some(item),
            _ => None,
        });
        match to_client.next() {
            Some(ToClient::Relay { stanza, seen, .. }) if bare_to(stanza).as_deref() == Some(room) => *seen = all_seen,
            Some(ToClient::Detached { room: told, .. }) if told.as_str() == room => {}
            _ => {
                let Ok(room) = BareJid::new(room) else { return };
                out.push(Output::Client(client, ToClient::Detached { room, seen: all_seen }));
            }
        }
    }

    // ---- rooms

    pub(super) fn each_room(&mut self, now: Now, out: &mut Vec<Output>, mut act: impl FnMut(&mut Room, &mut Vec<Out>)) {
        let mut done: Vec<(String, Vec<Out>)> = Vec::new();
        for (jid, room) in &mut self.rooms {
            let mut outs = Vec::new();
            act(room, &mut outs);
            if !outs.is_empty() {
                done.push((jid.clone(), outs));
            }
        }
        for (jid, outs) in done {
            self.spread(now, &jid, outs, out);
        }
    }

    /// Turns a room's wishes into the account's.
    pub(super) fn spread(&mut self, now: Now, room: &str, outs: Vec<Out>, out: &mut Vec<Output>) {
        let mut unsettled: Vec<ClientId> = Vec::new();
        let mut unasked: Vec<Stanza> = Vec::new();
        for wish in outs {
            match wish {
                Out::Up(stanza) => out.push(Output::Up(stanza)),
                Out::All(audience, frame) => {
                    out.extend(audience.iter().map(|c| Output::Client(*c, ToClient::Shared(frame.clone()))));
                }
                Out::One(client, frame) => {
                    out.push(Output::Client(client, ToClient::Shared(frame)));
                    unsettled.push(client);
                }
                Out::Many(client, frames) => {
                    let all = frames.into_iter().map(ToClient::Shared).collect();
                    out.push(Output::Client(client, ToClient::Batch(all)));
                }
                Out::Relay(client, stanza) => {
                    self.pass(client, room, stanza, false, out);
                    unsettled.push(client);
                }
                Out::Ask(client, stanza) => self.ask(now, client, stanza, out),
                Out::Said(author, sent, mark) => self.said(author, sent, mark, out),
                Out::Detached(client) => {
                    unasked.extend(self.iqs.detached(client, room));
                    unsettled.push(client);
                }
                Out::Limited(client, what) => {
                    out.push(Output::Client(client, ToClient::Limited(what)));
                    unsettled.push(client);
                }
                Out::Lost => self.autojoins.push(room),
                Out::Ended => {
                    if let Some(ended) = self.rooms.remove(room) {
                        self.bookmarks.ended(room, ended.nick(), ended.is_put_out());
                    }
                    self.iqs.room_ended(room);
                    if self.ended.len() == MOST_ENDED {
                        self.ended.pop_front();
                    }
                    self.ended.push_back(room.to_owned());
                }
            }
        }
        unsettled.sort_unstable();
        unsettled.dedup();
        for client in unsettled {
            self.settle(client, room, out);
        }
        // What occupants asked a client that has left is asked of another, or answered by the account.
        for question in unasked {
            self.iq_from_server(now, question, out);
        }
    }

    fn ask(&mut self, now: Now, client: ClientId, stanza: Stanza, out: &mut Vec<Output>) {
        let query = self.queries.ask(client, stanza.clone());
        match self.iqs.ask(now.at, client, &query) {
            Some(up) => out.push(Output::Up(up)),
            None => {
                let reply = error_reply(&stanza, "", StanzaCondition::ResourceConstraint, "too many requests");
                out.extend(reply.map(|r| to_one(client, &Stanza::own(r))));
            }
        }
    }

    /// The clients, for whoever wants to know who is attached where.
    pub fn clients(&self) -> impl Iterator<Item = (ClientId, &FullJid)> {
        self.clients.iter().map(|(id, client)| (*id, &client.jid))
    }
}

/// The bare JID a stanza is addressed to, normalised.
fn bare_to(stanza: &Stanza) -> Option<String> {
    Some(jid::Jid::new(&stanza.to()?).ok()?.to_bare().to_string())
}

pub(super) fn to_one(client: ClientId, stanza: &Stanza) -> Output {
    Output::Client(client, ToClient::Shared(Arc::new(Shared::new(stanza, None))))
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod model_tests;
#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
