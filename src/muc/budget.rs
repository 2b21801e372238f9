//! How much memory one room may have (S20): its history and its occupants' presences.

use crate::muc::room::Room;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// Bytes kept of one room of one account.
const MOST: usize = 16 << 20;

impl Room {
    /// Bytes kept of the room.
    pub fn bytes(&self) -> usize {
        self.history.bytes() + self.occupants.bytes()
    }

    /// Beyond its budget the oldest history goes first. If the occupants alone are too many, only who the one is that
    /// came or changed now (`newest`) is kept, not what it says of itself; in the end not even that.
    pub(super) fn keep_to_budget(&mut self, newest: Option<&str>) {
        self.keep_within(MOST, newest);
    }

    fn keep_within(&mut self, most: usize, newest: Option<&str>) {
        while self.bytes() > most && self.history.forget_oldest() {}
        let Some(newest) = newest else { return };
        if self.bytes() > most {
            self.occupants.change_one(newest, bare);
        }
        if self.bytes() > most {
            self.occupants.unavailable(newest);
        }
    }
}

/// A presence with nothing but who it is of.
fn bare(stanza: &Stanza) -> Option<Stanza> {
    let tree = stanza.tree().ok()?;
    let rest = tree.root().children().filter(|c| !c.is("x", ns::MUC_USER));
    Some(rest.fold(stanza.edit(), |edit, child| edit.cut(child.range())).finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::OffsetDateTime;

    use super::*;
    use crate::muc::history::Arrival;
    use crate::muc::{Settings, history::Request};

    fn room() -> Room {
        let mut room = Room::new("r@s", "a@b/x", "id".into(), Arc::new(Settings::default()));
        let message = Stanza::own(format!("<message from='r@s/n'><body>{}</body></message>", "m".repeat(1000)));
        let arrival = Arrival { author: Some("n"), old: false, sender: None, wall: OffsetDateTime::UNIX_EPOCH };
        for _ in 0..3 {
            room.history.push("r@s", &message, &message.tree().unwrap(), arrival);
        }
        room
    }

    fn comes(room: &mut Room, nick: &str, most: usize) {
        let item = "<x xmlns='http://jabber.org/protocol/muc#user'><item role='visitor'/></x>";
        let status = "s".repeat(1000);
        let presence = Stanza::own(format!("<presence from='r@s/{nick}'><status>{status}</status>{item}</presence>"));
        room.occupants.available(nick, &presence);
        room.keep_within(most, Some(nick));
    }

    fn messages(room: &Room) -> usize {
        room.history.select(&Request::default(), OffsetDateTime::UNIX_EPOCH).len()
    }

    #[test]
    fn s20_the_oldest_history_goes_first_then_what_occupants_say() {
        let mut room = room();
        comes(&mut room, "a", 10_000);
        assert_eq!((messages(&room), room.occupants.len()), (3, 1));
        comes(&mut room, "b", 3900);
        assert_eq!(messages(&room), 1);
        comes(&mut room, "c", 2600);
        assert_eq!((messages(&room), room.occupants.len()), (0, 3));
        let kept = |nick: &str| room.occupants.get(nick).unwrap().len();
        assert!(kept("a") > 1000 && kept("b") > 1000 && kept("c") < 200);
        let full = room.bytes();
        comes(&mut room, "d", full);
        assert_eq!((room.occupants.len(), room.bytes()), (3, full));
    }
}
