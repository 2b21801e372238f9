use super::*;
use crate::muc::history::Request;
use time::OffsetDateTime;

const ROOM: &str = "r@s";

/// What a room shows as history: `n:id` (archived under it), `n:` (not archived), each by the nick before the colon.
fn shown(messages: &[&str]) -> History {
    let mut history = History::new(5);
    for message in messages {
        push(&mut history, message, true);
    }
    history
}

fn push(history: &mut History, message: &str, old: bool) {
    let (nick, id) = message.split_once(':').unwrap();
    let stored = match id {
        "" => String::new(),
        id => format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='{id}'/>"),
    };
    let delay = format!("<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2020-01-01T00:00:00Z'/>");
    let stanza = Stanza::own(format!("<message from='{ROOM}/{nick}'><body>{message}</body>{stored}{delay}</message>"));
    let arrival = Arrival { author: Some(nick), old, sender: None, wall: OffsetDateTime::UNIX_EPOCH };
    history.push(ROOM, &stanza, &stanza.tree().unwrap(), arrival);
}

fn bodies(messages: &[Arc<Shared>]) -> Vec<String> {
    let body = |m: &Arc<Shared>| Tree::parse(m.bytes()).unwrap().root().child_text("body", ns::CLIENT).unwrap();
    messages.iter().map(body).collect()
}

/// What was missed, or the last id before the gap, and what is kept then.
fn go_on(before: &[&str], now: &[&str]) -> (Result<Vec<String>, Option<String>>, Vec<String>) {
    let (mut before, mut history) = (shown(before), shown(now));
    let missed = match history.go_on_from(&mut before, ROOM) {
        Missed::Messages(missed) => Ok(bodies(&missed)),
        Missed::Gap(last) => Err(last),
    };
    (missed, bodies(&history.select(&Request::default(), OffsetDateTime::UNIX_EPOCH)))
}

fn list(text: &[&str]) -> Vec<String> {
    text.iter().map(|t| (*t).to_owned()).collect()
}

#[test]
fn what_is_behind_the_last_known_one_was_missed() {
    for (before, now, missed, kept) in [
        (&["a:1", "a:2"][..], &["a:1", "a:2", "b:3"][..], &["b:3"][..], &["a:1", "a:2", "b:3"][..]),
        (&["a:1", "a:2"], &["a:2"], &[], &["a:1", "a:2"]),
        (&["a:1", "a:2"], &[], &[], &["a:1", "a:2"]),
        (&[], &["a:1"], &["a:1"], &["a:1"]),
        // By the ids, whatever one of the two has left out.
        (&["a:1", "a:3"], &["a:1", "a:2", "a:3", "b:4"], &["b:4"], &["a:1", "a:3", "b:4"]),
        // No more than are kept.
        (&["a:1", "a:2", "a:3", "a:4"], &["a:4", "a:5", "a:6"], &["a:5", "a:6"], &["a:2", "a:3", "a:4", "a:5", "a:6"]),
        // The room knows nothing of what was before: its history reaches back to its start.
        (&["a:1", "a:2", "a:3"], &["a:8", "a:9"], &["a:8", "a:9"], &["a:1", "a:2", "a:3", "a:8", "a:9"]),
    ] {
        assert_eq!(go_on(before, now), (Ok(list(missed)), list(kept)), "{before:?} {now:?}");
    }
}

#[test]
fn without_ids_the_whole_sequence_tells() {
    for (before, now, missed) in [
        (&["a:", "a:", "b:"][..], &["a:", "b:", "c:"][..], &["c:"][..]),
        (&["a:", "b:"], &["a:", "b:", "a:", "b:"], &["a:", "b:"]),
        (&["a:", "a:"], &["a:", "a:"], &[]),
    ] {
        assert_eq!(go_on(before, now).0, Ok(list(missed)), "{before:?} {now:?}");
    }
}

#[test]
fn s16_an_occupants_own_id_does_not_hide_what_was_said() {
    // Of a room that gives none: the one message that bears an id was sent once more, behind another.
    let (missed, _) = go_on(&["a:", "mallory:7"], &["a:", "mallory:7", "b:", "mallory:7"]);
    assert_eq!(missed, Ok(list(&["b:", "mallory:7"])));
}

#[test]
fn a_full_history_that_does_not_overlap_is_a_gap() {
    assert_eq!(go_on(&["a:1", "a:2", "b:"], &["a:7", "a:8", "a:9"]).0, Err(Some("2".into())));
    assert_eq!(go_on(&["a:", "b:"], &["c:", "d:"]).0, Err(None));
    assert_eq!(go_on(&[], &["c:1", "c:2", "c:3", "c:4", "c:5"]).0, Err(None));
    let (_, kept) = go_on(&["a:1"], &["a:9"]);
    assert_eq!(kept, ["a:9"], "nothing has changed");
}

#[test]
fn the_archive_fills_the_gap_once() {
    let (mut before, mut history) = (shown(&["a:1"]), shown(&["a:4", "a:5"]));
    let archived: Vec<Stanza> = shown(&["a:2", "a:3", "a:4"])
        .select(&Request::default(), OffsetDateTime::UNIX_EPOCH)
        .iter()
        .map(|m| Stanza::own(m.bytes().to_vec()))
        .collect();
    let missed = history.go_on_with(&mut before, &archived, ROOM);
    assert_eq!(bodies(&missed), ["a:2", "a:3", "a:4", "a:5"]);
    let kept = history.select(&Request::default(), OffsetDateTime::UNIX_EPOCH);
    assert_eq!(bodies(&kept), ["a:1", "a:2", "a:3", "a:4", "a:5"]);
    assert_eq!(history.bytes(), kept.iter().map(|m| m.len()).sum::<usize>());
}

#[test]
fn what_was_taken_back_meanwhile_is_gone() {
    let (mut before, mut history) = (shown(&["a:1", "b:2"]), shown(&["a:1", "b:2"]));
    let retract = "<retract xmlns='urn:xmpp:message-retract:1' id='1'/><body>r</body>";
    let stored = format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='3'/>");
    let delay = format!("<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2020-01-01T00:00:00Z'/>");
    let stanza = Stanza::own(format!("<message from='{ROOM}/a'>{retract}{stored}{delay}</message>"));
    let arrival = Arrival { author: Some("a"), old: true, sender: None, wall: OffsetDateTime::UNIX_EPOCH };
    history.push(ROOM, &stanza, &stanza.tree().unwrap(), arrival);
    history.go_on_from(&mut before, ROOM);
    assert_eq!(bodies(&history.select(&Request::default(), OffsetDateTime::UNIX_EPOCH)), ["b:2", "r"]);
}
