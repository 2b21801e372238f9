//! What was said in a room while the account was not in it, from the room's archive (XEP-0313): asked when the history
//! shown at a join does not reach back to the last message that the clients have seen. Of that room, under that query, and
//! from an occupant of it, or it is nothing (S15).

use std::time::{Duration, Instant};

use crate::muc::history;
use crate::muc::room::Room;
use crate::muc::{Now, Out};
use crate::xml::element::{Node, Tree};
use crate::xml::framer::{Frame, Framer, Limits};
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// How long the archive may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many messages are asked for: who has missed more asks for them better by itself.
const MOST: usize = 100;
/// How many stanzas of the room wait meanwhile.
const MOST_LATER: usize = 1024;
/// A stream whose stanzas a client's are (RFC 6120 §4.8).
const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// The query under way.
#[derive(Debug)]
pub(super) struct CatchUp {
    id: String,
    queryid: String,
    until: Instant,
    messages: Vec<Stanza>,
    /// What the room has sent meanwhile: it comes behind.
    later: Vec<Stanza>,
}

impl CatchUp {
    /// Bytes of the stanzas that it keeps.
    pub(super) fn bytes(&self) -> usize {
        self.messages.iter().chain(&self.later).map(|stanza| stanza.bytes().len()).sum()
    }
}

impl Room {
    /// Asks the archive for what is behind the message with that id.
    pub(super) fn start_catch_up(&mut self, now: Now, last: &str, out: &mut Vec<Out>) {
        let (id, queryid) = (self.next_id(), self.next_id());
        out.push(Out::Up(Stanza::own(format!(
            "<iq to='{}' type='set' id='{id}'><query xmlns='{}' queryid='{queryid}'><set xmlns='{}'><max>{MOST}</max>\
             <after>{}</after></set></query></iq>",
            escape(&self.jid),
            ns::MAM,
            ns::RSM,
            escape(last),
        ))));
        if let Some(repair) = &mut self.repair {
            let until = now.at + PATIENCE;
            repair.catch_up = Some(CatchUp { id, queryid, until, messages: Vec::new(), later: Vec::new() });
        }
    }

    fn catch_up(&mut self) -> Option<&mut CatchUp> {
        self.repair.as_mut()?.catch_up.as_mut()
    }

    /// When the archive is given up waiting for.
    pub(super) fn catch_up_until(&self) -> Option<Instant> {
        Some(self.repair.as_ref()?.catch_up.as_ref()?.until)
    }

    /// A stanza from the room; back if nothing is asked of the archive.
    pub(super) fn while_catching_up(&mut self, now: Now, stanza: Stanza, out: &mut Vec<Out>) -> Option<Stanza> {
        let (room, session) = (self.jid.clone(), self.session.clone());
        let Some(catch_up) = self.catch_up() else { return Some(stanza) };
        match result(&stanza, &room, &catch_up.queryid) {
            Some(message) if catch_up.messages.len() < MOST => {
                // Copies: they outlive the read buffer.
                catch_up.messages.extend(message.map(|message| message.edit().set("to", session.as_str()).finish()));
            }
            Some(_) => {}
            None => catch_up.later.push(stanza.edit().finish()),
        }
        if catch_up.later.len() > MOST_LATER {
            self.caught_up(now, false, out);
        }
        None
    }

    /// An answer to an IQ that no client has asked; true if it ends the query.
    pub(super) fn archive_answered(&mut self, now: Now, stanza: &Stanza, out: &mut Vec<Out>) -> bool {
        let from_room = stanza.from().is_some_and(|from| from == self.jid);
        if !from_room || self.catch_up().is_none_or(|asked| stanza.id().as_deref() != Some(&asked.id)) {
            return false;
        }
        let complete = stanza.is_type("result") && stanza.tree().is_ok_and(|tree| is_complete(&tree));
        self.caught_up(now, complete, out);
        true
    }

    pub(super) fn tick_catch_up(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.catch_up_until().is_some_and(|until| now.at >= until) {
            self.caught_up(now, false, out);
        }
    }

    /// The archive has answered; `complete`: with all there is.
    fn caught_up(&mut self, now: Now, complete: bool, out: &mut Vec<Out>) {
        let Some(CatchUp { messages, later, .. }) = self.repair.as_mut().and_then(|r| r.catch_up.take()) else {
            return;
        };
        let held = match complete {
            true => self.repaired_with(&messages, out),
            false => {
                self.give_up_repair(now, out);
                Vec::new()
            }
        };
        self.settled_in(now, true, held, out);
        for stanza in later {
            self.from_room(now, stanza, out);
        }
    }
}

/// If the stanza is a result of that query: the message in it as the room's history would show it, if it is one of that
/// room.
fn result(stanza: &Stanza, room: &str, queryid: &str) -> Option<Option<Stanza>> {
    if !stanza.is_message() || stanza.from().as_deref() != Some(room) {
        return None;
    }
    let tree = stanza.tree().ok()?;
    let result = tree.root().child("result", ns::MAM).filter(|r| r.attr("queryid").as_deref() == Some(queryid))?;
    Some(archived(result, room))
}

fn archived(result: Node<'_>, room: &str) -> Option<Stanza> {
    let id = result.attr("id")?;
    let forwarded = result.child("forwarded", ns::FORWARD)?;
    let stamp = forwarded.child("delay", ns::DELAY)?.attr("stamp")?;
    let message = complete(forwarded.child("message", ns::CLIENT)?)?;
    if message.from()?.split('/').next() != Some(room) || !message.is_type("groupchat") {
        return None;
    }
    let tree = message.tree().ok()?;
    let mut edit = message.edit();
    if history::stanza_id(&tree, room).is_none() {
        let (by, id) = (escape(room), escape(&id));
        edit = edit.append(&format!("<stanza-id xmlns='{}' by='{by}' id='{id}'/>", ns::STANZA_ID));
    }
    let (from, stamp) = (escape(room), escape(&stamp));
    Some(edit.append(&format!("<delay xmlns='{}' from='{from}' stamp='{stamp}'/>", ns::DELAY)).finish())
}

/// The message by itself, if it leans on no prefix that is declared around it.
fn complete(message: Node<'_>) -> Option<Stanza> {
    let mut framer = Framer::new(Limits::AFTER_LOGIN);
    let mut buf = bytes::BytesMut::from(HEADER);
    buf.extend_from_slice(message.raw().as_bytes());
    framer.next(&mut buf).ok()?;
    match framer.next(&mut buf).ok()? {
        Some(Frame::Element(element)) if !element.inherits => Some(Stanza::new(element)).filter(Stanza::is_message),
        _ => None,
    }
}

fn is_complete(answer: &Tree<'_>) -> bool {
    let fin = answer.root().child("fin", ns::MAM);
    fin.is_some_and(|fin| matches!(fin.attr("complete").as_deref(), Some("true" | "1")))
}
