//! Two accounts in one room whose stored messages are shared (S13): who wrote them is told to the one for which the room
//! is not anonymous, and not to the other; what was taken back for the one only is gone for that one only; and the stamps
//! are each account's own.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use time::Duration as Span;

use super::*;

const NICKS: [&str; 3] = ["carol", "dave", "erin"];

/// A message as a late client is to be shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    what: String,
    minute: i64,
    /// Whose real JID it tells.
    tells: Option<&'static str>,
}

struct Side {
    stage: Stage,
    /// It has been told that everybody may see real JIDs.
    open: bool,
    clients: u64,
    minute: i64,
    log: VecDeque<Line>,
}

impl Side {
    fn new(settings: Settings, minute: i64) -> Side {
        let stage = Stage::joined_with(settings, "participant", "");
        let mut side = Side { stage, open: false, clients: 0, minute, log: VecDeque::new() };
        side.is_open(false);
        side
    }

    fn is_open(&mut self, open: bool) {
        self.open = open;
        self.stage.configured(if open { 172 } else { 173 });
        for nick in NICKS {
            let jid = if open { format!(" jid='{nick}@real/x'") } else { String::new() };
            self.stage.occupant(nick, &format!("<item affiliation='none'{jid} role='participant'/>"));
        }
        if !open {
            self.log.iter_mut().for_each(|line| line.tells = None);
        }
    }

    fn hears(&mut self, stanza: &str, what: String, tells: Option<&'static str>) {
        self.stage.now.wall = OffsetDateTime::UNIX_EPOCH + Span::minutes(self.minute);
        self.stage.room(stanza);
        self.log.push_back(Line { what, minute: self.minute, tells: tells.filter(|_| self.open) });
        if self.log.len() > 20 {
            self.log.pop_front();
        }
    }

    fn message(&mut self, number: usize, nick: &'static str) {
        let stanza = format!(
            "<message from='r@s/{nick}' to='{SESSION}' type='groupchat' id='m{number}'><body>said {number}.</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='r@s' id='s{number}'/></message>"
        );
        self.hears(&stanza, format!("said {number}."), Some(nick));
    }

    /// A moderator takes a message back; the announcement is history, too.
    fn taken_back(&mut self, number: usize) {
        let stanza = format!(
            "<message from='r@s' to='{SESSION}' type='groupchat'><retract xmlns='urn:xmpp:message-retract:1' \
             id='s{number}'><moderated xmlns='urn:xmpp:message-moderate:1' by='r@s/m'/></retract></message>"
        );
        let said = format!("said {number}.");
        if let Some(line) = self.log.iter_mut().find(|line| line.what == said) {
            (line.what, line.tells) = ("<retracted".to_owned(), None);
        }
        self.hears(&stanza, format!("<retract xmlns='urn:xmpp:message-retract:1' id='s{number}'"), None);
    }

    /// A client comes late: it is shown what it is to be shown, and nothing else.
    fn late(&mut self, seed: u64) -> usize {
        self.clients += 1;
        let late = ClientId(100 + self.clients);
        self.stage.forget();
        self.stage.joins(late);
        assert!(self.stage.up().is_empty(), "all is known");
        let mut shown = self.stage.seen(late);
        shown.retain(|shown| shown.starts_with("<message") && !shown.contains("<subject"));
        assert_eq!(shown.len(), self.log.len(), "seed {seed}");
        for (shown, line) in shown.iter().zip(&self.log) {
            assert!(shown.contains(&line.what), "seed {seed}: {line:?} as {shown}");
            assert_eq!(line.what == "<retracted", shown.contains("<retracted"), "seed {seed}: {line:?} as {shown}");
            assert_eq!(shown.contains("<body"), line.what.starts_with("said"), "seed {seed}: {line:?} as {shown}");
            let stamp = format!("stamp='1970-01-01T{:02}:{:02}:00Z'/></message>", line.minute / 60, line.minute % 60);
            assert!(shown.ends_with(&stamp) && shown.matches("<delay").count() == 1, "seed {seed}: {stamp} in {shown}");
            assert!(shown.contains(" to='me@s/client'") && !shown.contains(SESSION), "seed {seed}: {shown}");
            for nick in NICKS {
                let told = shown.contains(&format!("{nick}@real"));
                assert_eq!(told, line.tells == Some(nick), "seed {seed}: {line:?} as {shown}");
            }
        }
        self.stage.client(late, "<presence to='r@s/me' type='unavailable'/>");
        self.log.iter().filter(|line| line.tells.is_some()).count()
    }
}

#[test]
fn s13_messages_stored_together_tell_who_wrote_them_to_whom_the_room_does() {
    let (mut telling, mut shared) = (0, 0);
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let settings = Settings::default();
        let mut sides = [0, 600].map(|minute| Side::new(settings.clone(), minute));
        for number in 0..80 {
            let side = random.random_range(0..2);
            sides.iter_mut().for_each(|side| side.minute += 1);
            match random.random_range(0..10) {
                0..=5 => {
                    let nick = NICKS.choose(&mut random).unwrap();
                    sides.iter_mut().for_each(|side| side.message(number, nick));
                }
                6 => sides[side].is_open(random.random()),
                7 => sides[side].taken_back(number - random.random_range(0..=number.min(9))),
                _ => telling += sides[side].late(seed),
            }
        }
        let all: usize = sides.iter().map(|side| side.log.len()).sum();
        // Beside the messages there are the occupants.
        shared += (all + 2 * NICKS.len()).saturating_sub(settings.kept.in_use());
    }
    assert!(telling > 1000, "{telling} messages told who wrote them");
    assert!(shared > 1000, "{shared} were stored once for both");
}
