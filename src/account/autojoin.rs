//! Joining with no client asking: rooms that bookmarks want, and rooms that were lost with the account session. Few at once,
//! for the account's clients share its rate limit at the server: theirs go at once, these wait for their turn. A room
//! whose bookmark names no nick is first asked for the one that it reserves for the account (XEP-0045 §7.12).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jid::ResourcePart;

use crate::account::account::{Account, Output};
use crate::muc::Now;
use crate::muc::room::Room;
use crate::xml::element::Node;
use crate::xml::writer::escape;
use crate::xmpp::ids;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// How many are under way at once.
const AT_ONCE: usize = 8;
/// How long one that is not answered keeps others waiting.
const TURN: Duration = Duration::from_secs(10);
/// How long a room may take to name the reserved nick.
const NICK_TIME: Duration = Duration::from_secs(5);

/// The rooms whose turn has not come yet, and those whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Autojoins {
    waiting: VecDeque<String>,
    turns: Vec<Turn>,
}

#[derive(Debug)]
struct Turn {
    room: String,
    /// It counts no longer from then on.
    until: Instant,
    /// The id of the question for the reserved nick.
    question: Option<String>,
}

impl Autojoins {
    /// The room is to be joined, or gone back to, when it is its turn.
    pub(super) fn push(&mut self, room: &str) {
        let known = self.waiting.iter().any(|waiting| waiting == room)
            || self.turns.iter().any(|turn| turn.room == room && turn.question.is_some());
        if !known {
            self.waiting.push_back(room.to_owned());
        }
    }

    /// The account session is gone: all begins anew with the next one.
    pub(super) fn clear(&mut self) {
        *self = Autojoins::default();
    }

    /// When something is to be done though nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waits = |turn: &&Turn| turn.question.is_some() || !self.waiting.is_empty();
        self.turns.iter().filter(waits).map(|turn| turn.until).min()
    }

    /// The rooms that are asked for the nick and have not answered in time.
    fn unanswered(&mut self, now: Instant) -> Vec<String> {
        let (over, rest) = std::mem::take(&mut self.turns).into_iter().partition(|turn| now >= turn.until);
        self.turns = rest;
        over.into_iter().filter(|turn: &Turn| turn.question.is_some()).map(|turn| turn.room).collect()
    }

    /// Whether it answers a question for the nick: the room.
    fn answered(&mut self, stanza: &Stanza) -> Option<String> {
        let (from, id) = (stanza.from()?, stanza.id()?);
        let asked = |turn: &Turn| turn.room == from && turn.question.as_deref() == Some(&*id);
        let at = self.turns.iter().position(asked)?;
        Some(self.turns.swap_remove(at).room)
    }
}

impl Account {
    /// Gives the next ones their turn.
    pub(super) fn next_autojoins(&mut self, now: Now, out: &mut Vec<Output>) {
        if !self.is_up() {
            return;
        }
        for room in self.autojoins.unanswered(now.at) {
            self.join_by_bookmark(now, &room, None, out);
        }
        let rooms = &self.rooms;
        let under_way =
            |turn: &Turn| turn.question.is_some() || rooms.get(&turn.room).is_some_and(Room::joins_by_itself);
        self.autojoins.turns.retain(under_way);
        while self.autojoins.turns.len() < AT_ONCE {
            let Some(room) = self.autojoins.waiting.pop_front() else { return };
            self.take_turn(now, &room, out);
        }
    }

    fn take_turn(&mut self, now: Now, jid: &str, out: &mut Vec<Output>) {
        if let Some(room) = self.rooms.get_mut(jid) {
            let mut outs = Vec::new();
            room.go_back(now, &mut outs);
            self.spread(now, jid, outs, out);
            return self.turn_began(now, jid, TURN, None);
        }
        if !self.bookmarks.wants(jid) {
            return;
        }
        let Some((bookmark, _)) = self.bookmarks.autojoin(jid) else { return };
        if bookmark.nick.is_some() {
            return self.join_by_bookmark(now, jid, None, out);
        }
        let (id, to, space) = (ids::random(), escape(jid), ns::DISCO_INFO);
        let query = format!("<query xmlns='{space}' node='x-roomuser-item'/>");
        out.push(Output::Up(Stanza::own(format!("<iq to='{to}' type='get' id='{id}'>{query}</iq>"))));
        self.turn_began(now, jid, NICK_TIME, Some(id));
    }

    fn turn_began(&mut self, now: Now, room: &str, time: Duration, question: Option<String>) {
        self.autojoins.turns.push(Turn { room: room.to_owned(), until: now.at + time, question });
    }

    /// A room's answer to the question for the reserved nick; false if it is none.
    pub(super) fn reserved_nick(&mut self, now: Now, stanza: &Stanza, out: &mut Vec<Output>) -> bool {
        let Some(room) = self.autojoins.answered(stanza) else { return false };
        self.join_by_bookmark(now, &room, read_nick(stanza), out);
        true
    }

    /// Joins as the bookmark says; `reserved`: the nick that the room keeps for the account.
    pub(super) fn join_by_bookmark(&mut self, now: Now, jid: &str, reserved: Option<String>, out: &mut Vec<Output>) {
        if !self.bookmarks.wants(jid) {
            return;
        }
        let Some((bookmark, _)) = self.bookmarks.autojoin(jid) else { return };
        let bookmark = bookmark.clone();
        if !self.rooms.contains_key(jid) {
            if let Some([_, why]) = self.is_full_for(now, jid) {
                return out.push(Output::Limited(why));
            }
            self.takes_up(jid);
            let new = self.new_room(jid);
            self.rooms.insert(jid.to_owned(), new);
        }
        let localpart = self.jid.node().map(|node| node.as_str());
        let known = bookmark.nick.as_deref().or(reserved.as_deref());
        let nick = known.or(self.bookmarks.last_nick(jid)).or(localpart).unwrap_or_default().to_owned();
        let Some(found) = self.rooms.get_mut(jid) else { return };
        let mut outs = Vec::new();
        found.autojoin(now, &nick, bookmark.password.clone(), &mut outs);
        self.spread(now, jid, outs, out);
        self.turn_began(now, jid, TURN, None);
    }
}

/// The nick in an answer, if there is one that is fit to be one.
fn read_nick(answer: &Stanza) -> Option<String> {
    if !answer.is_type("result") {
        return None;
    }
    let tree = answer.tree().ok()?;
    let query = tree.root().child("query", ns::DISCO_INFO)?;
    let is_text = |c: &Node<'_>| c.attr("type").as_deref() == Some("text");
    let mut identities = query.children().filter(|c| c.is("identity", ns::DISCO_INFO) && is_text(c));
    let nick = identities.find(|c| c.attr("category").as_deref() == Some("conference"))?.attr("name")?;
    ResourcePart::new(&nick).is_ok().then(|| nick.into_owned())
}
