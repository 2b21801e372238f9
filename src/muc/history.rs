//! The room's recent messages (XEP-0045 §7.2.13), kept to be shown to clients that attach later as the room would
//! show them: with its stamp (XEP-0203), which never changes once given.

use std::collections::VecDeque;
use std::sync::Arc;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::xml::element::{Node, Tree};
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// How much history a client asked for (XEP-0045 §7.2.13). Absent limits do not limit; the room's own length does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Total characters of the stanzas; they are counted whole.
    pub maxchars: Option<usize>,
    /// Number of messages.
    pub maxstanzas: Option<usize>,
    /// Only messages of the last so many seconds.
    pub seconds: Option<i64>,
    /// Only messages since then.
    pub since: Option<OffsetDateTime>,
}

impl Request {
    /// Reads the `<history/>` of a join's `<x/>`.
    pub fn read(x: Node<'_>) -> Request {
        let Some(history) = x.child("history", ns::MUC) else { return Request::default() };
        let number = |name| history.attr(name).and_then(|v| v.trim().parse().ok());
        Request {
            maxchars: number("maxchars"),
            maxstanzas: number("maxstanzas"),
            seconds: history.attr("seconds").and_then(|v| v.trim().parse().ok()),
            since: history.attr("since").and_then(|v| OffsetDateTime::parse(v.trim(), &Rfc3339).ok()),
        }
    }
}

#[derive(Debug)]
struct Entry {
    stamp: OffsetDateTime,
    chars: usize,
    message: Arc<Shared>,
}

/// The messages kept.
#[derive(Debug)]
pub struct History {
    entries: VecDeque<Entry>,
    most: usize,
}

impl History {
    /// A log of at most `most` messages.
    pub fn new(most: usize) -> Self {
        History { entries: VecDeque::new(), most }
    }

    /// Keeps a groupchat message of `room` that came at `wall`, if it is one that a room's history shows: with a
    /// body. Its stamp is the room's own where it has one.
    pub fn push(&mut self, room: &str, stanza: &Stanza, tree: &Tree<'_>, wall: OffsetDateTime) {
        let root = tree.root();
        if self.most == 0 || root.child("body", ns::CLIENT).is_none() {
            return;
        }
        let own =
            root.children().filter(|c| c.is("delay", ns::DELAY)).find(|d| d.attr("from").as_deref() == Some(room));
        let stamp = own.and_then(|d| OffsetDateTime::parse(&d.attr("stamp")?, &Rfc3339).ok());
        let (stamp, message) = match stamp {
            Some(stamp) => (stamp, own_copy(stanza)),
            None => (wall, stanza.edit().append(&delay(room, wall)).finish()),
        };
        if self.entries.len() == self.most {
            self.entries.pop_front();
        }
        let chars = message.bytes().len();
        self.entries.push_back(Entry { stamp, chars, message: Arc::new(Shared::new(&message, None)) });
    }

    /// What a client is shown that asked so, oldest first.
    pub fn select(&self, request: &Request, wall: OffsetDateTime) -> Vec<Arc<Shared>> {
        let since = request.seconds.map(|s| wall - Duration::seconds(s.clamp(0, 1 << 40)));
        let since = since.into_iter().chain(request.since).max();
        let mut chars = request.maxchars.unwrap_or(usize::MAX);
        let newest_first = self.entries.iter().rev();
        let chosen = newest_first
            .take(request.maxstanzas.unwrap_or(usize::MAX))
            .take_while(|e| since.is_none_or(|since| e.stamp >= since))
            .take_while(|e| {
                let fits = e.chars <= chars;
                chars = chars.saturating_sub(e.chars);
                fits
            });
        let mut messages: Vec<_> = chosen.map(|e| e.message.clone()).collect();
        messages.reverse();
        messages
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries = VecDeque::new();
    }
}

/// A copy that does not pin the read buffer it came in.
fn own_copy(stanza: &Stanza) -> Stanza {
    stanza.edit().finish()
}

/// The mark of a delayed message of a room.
pub fn delay(room: &str, wall: OffsetDateTime) -> String {
    // XEP-0082 §3.2, in UTC, to the second.
    let utc = wall.to_offset(time::UtcOffset::UTC).replace_nanosecond(0).unwrap_or(wall);
    let stamp = utc.format(&Rfc3339).unwrap_or_default();
    format!("<delay xmlns='{}' from='{}' stamp='{stamp}'/>", ns::DELAY, escape(room))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn filled() -> History {
        let mut history = History::new(3);
        for minute in 0..5 {
            let stanza = Stanza::own(format!("<message from='r@s/n' to='a@b'><body>{minute}</body></message>"));
            let wall = datetime!(2026-01-01 12:00 UTC) + Duration::minutes(minute);
            history.push("r@s", &stanza, &stanza.tree().unwrap(), wall);
        }
        history
    }

    fn bodies(history: &History, request: Request) -> Vec<String> {
        let wall = datetime!(2026-01-01 12:05 UTC);
        let text = |m: &Arc<Shared>| Tree::parse(m.bytes()).unwrap().root().child_text("body", ns::CLIENT).unwrap();
        history.select(&request, wall).iter().map(text).collect()
    }

    #[test]
    fn keeps_the_newest_and_serves_what_was_asked() {
        let history = filled();
        assert_eq!(bodies(&history, Request::default()), ["2", "3", "4"]);
        assert_eq!(bodies(&history, Request { maxstanzas: Some(2), ..Request::default() }), ["3", "4"]);
        assert_eq!(bodies(&history, Request { maxstanzas: Some(0), ..Request::default() }), [""; 0]);
        assert_eq!(bodies(&history, Request { maxchars: Some(0), ..Request::default() }), [""; 0]);
        assert_eq!(bodies(&history, Request { seconds: Some(90), ..Request::default() }), ["4"]);
        let since = Some(datetime!(2026-01-01 12:03 UTC));
        assert_eq!(bodies(&history, Request { since, ..Request::default() }), ["3", "4"]);
        let one = history.entries[0].chars;
        assert_eq!(bodies(&history, Request { maxchars: Some(2 * one), ..Request::default() }), ["3", "4"]);
    }

    #[test]
    fn a_stamp_given_by_the_room_stays_and_another_is_no_stamp() {
        let mut history = History::new(3);
        let wall = datetime!(2026-01-01 12:00 UTC);
        for from in ["r@s", "r@s/n"] {
            let delay = format!("<delay xmlns='urn:xmpp:delay' from='{from}' stamp='2020-01-01T00:00:00Z'/>");
            let stanza = Stanza::own(format!("<message from='r@s/n'><body>x</body>{delay}</message>"));
            history.push("r@s", &stanza, &stanza.tree().unwrap(), wall);
        }
        assert_eq!(history.entries[0].stamp, datetime!(2020-01-01 0:00 UTC));
        assert_eq!(history.entries[1].stamp, wall);
        let written = String::from_utf8(history.entries[1].message.bytes().to_vec()).unwrap();
        assert!(written.ends_with("from='r@s' stamp='2026-01-01T12:00:00Z'/></message>"), "{written}");
    }

    #[test]
    fn what_has_no_body_is_no_history() {
        let mut history = History::new(3);
        let stanza = Stanza::own("<message from='r@s/n'><subject>x</subject></message>");
        history.push("r@s", &stanza, &stanza.tree().unwrap(), OffsetDateTime::UNIX_EPOCH);
        assert!(history.entries.is_empty());
    }

    #[test]
    fn reads_requests() {
        let tree = Tree::parse(
            b"<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='5' since='2026-01-01T12:00:00Z'/></x>",
        )
        .unwrap();
        let request = Request::read(tree.root());
        assert_eq!((request.maxstanzas, request.maxchars), (Some(5), None));
        assert_eq!(request.since, Some(datetime!(2026-01-01 12:00 UTC)));
    }
}
