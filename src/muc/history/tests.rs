//! The log: what is kept, shown, taken back and forgotten.

use super::*;
use time::Duration;
use time::macros::datetime;

const NOON: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

fn live(author: &str) -> Arrival<'_> {
    Arrival { author: Some(author), old: false, sender: None, wall: NOON }
}

fn push(history: &mut History, stanza: &str, arrival: Arrival<'_>) {
    let stanza = Stanza::own(stanza);
    history.push("r@s", &stanza, &stanza.tree().unwrap(), arrival);
}

fn filled() -> History {
    let mut history = History::new(3);
    for minute in 0..5 {
        let stanza = format!("<message from='r@s/n' to='a@b'><body>{minute}</body></message>");
        let wall = NOON + Duration::minutes(minute) + Duration::milliseconds(900);
        push(&mut history, &stanza, Arrival { wall, ..live("n") });
    }
    history
}

fn all(history: &History) -> String {
    let messages = history.select(&Request::default(), NOON);
    messages.iter().map(|m| String::from_utf8(m.bytes().to_vec()).unwrap()).collect()
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
    assert_eq!(bodies(&history, Request { maxstanzas: Some(9), ..Request::default() }), ["2", "3", "4"]);
    assert_eq!(bodies(&history, Request { maxchars: Some(0), ..Request::default() }), [""; 0]);
    assert_eq!(bodies(&history, Request { seconds: Some(90), ..Request::default() }), ["4"]);
    assert_eq!(bodies(&history, Request { seconds: Some(-1), ..Request::default() }), [""; 0]);
    // A message is as old as its stamp says, which is what clients ask by.
    let since = Some(datetime!(2026-01-01 12:03:00.5 UTC));
    assert_eq!(bodies(&history, Request { since, ..Request::default() }), ["3", "4"]);
    let one = history.entries[0].message.len();
    assert_eq!(bodies(&history, Request { maxchars: Some(2 * one), ..Request::default() }), ["3", "4"]);
    assert_eq!(bodies(&history, Request { maxchars: Some(2 * one - 1), ..Request::default() }), ["4"]);
}

#[test]
fn of_several_limits_the_narrowest_counts() {
    let history = filled();
    let since = Some(datetime!(2026-01-01 12:03 UTC));
    let one = history.entries[0].message.len();
    for (request, shown) in [
        (Request { maxstanzas: Some(3), since, ..Request::default() }, &["3", "4"][..]),
        (Request { maxstanzas: Some(1), since, ..Request::default() }, &["4"]),
        (Request { seconds: Some(90), since, ..Request::default() }, &["4"]),
        (Request { seconds: Some(9000), since, ..Request::default() }, &["3", "4"]),
        (Request { maxchars: Some(one), maxstanzas: Some(2), seconds: Some(900), since }, &["4"]),
    ] {
        assert_eq!(bodies(&history, request.clone()), shown, "{request:?}");
    }
}

#[test]
fn a_stamp_given_by_the_room_stays_and_nobody_else_gives_one() {
    let mut history = History::new(9);
    let given = |from: &str| {
        let delay = format!("<delay xmlns='urn:xmpp:delay' from='{from}' stamp='2020-01-01T00:00:00Z'/>");
        format!("<message from='r@s/n'><body>x</body>{delay}</message>")
    };
    push(&mut history, &given("r@s"), Arrival { old: true, ..live("n") });
    push(&mut history, &given("r@s/n"), Arrival { old: true, ..live("n") });
    push(&mut history, &given("r@s"), live("n"));
    let stamps: Vec<_> = history.entries.iter().map(|e| e.stamp).collect();
    assert_eq!(stamps, [datetime!(2020-01-01 0:00 UTC), NOON, NOON]);
    assert!(all(&history).ends_with("from='r@s' stamp='2026-01-01T12:00:00Z'/></message>"), "{}", all(&history));
    assert_eq!(all(&history).matches("<delay").count(), 5);
}

#[test]
fn what_the_room_shows_as_history_is_kept_whatever_it_is() {
    let mut history = History::new(3);
    let bare = "<message from='r@s/n'><x xmlns='urn:x'/></message>";
    push(&mut history, bare, live("n"));
    assert!(history.entries.is_empty());
    push(&mut history, bare, Arrival { old: true, ..live("n") });
    assert_eq!(history.entries.len(), 1);
    let mut none = History::new(0);
    push(&mut none, "<message from='r@s/n'><body>x</body></message>", live("n"));
    assert!(none.entries.is_empty());
}

const STORED: &str = "<message from='r@s/n' id='m1'><body>secret</body><origin-id xmlns='urn:xmpp:sid:0' id='o1'/>\
    <stanza-id xmlns='urn:xmpp:sid:0' by='r@s' id='s1'/></message>";
const ROOM: Arrival<'_> = Arrival { author: None, old: false, sender: None, wall: NOON };

fn moderation(id: &str) -> String {
    format!(
        "<message from='r@s'><apply-to xmlns='urn:xmpp:fasten:0' id='{id}'><moderated \
         xmlns='urn:xmpp:message-moderate:0' by='r@s/m'><retract xmlns='urn:xmpp:message-retract:0'/></moderated>\
         </apply-to></message>"
    )
}

#[test]
fn s18_what_a_moderator_takes_back_is_no_longer_shown() {
    for (queue, id) in [(true, "s1"), (false, "s1")] {
        let mut history = History::new(9);
        push(&mut history, STORED, live("n"));
        if queue {
            *history.keeping() = Keeping::Queue;
        }
        push(&mut history, &moderation("other"), ROOM);
        assert!(all(&history).contains("secret"));
        push(&mut history, &moderation(id), live("n"));
        assert!(all(&history).contains("secret"), "an occupant cannot moderate");
        let bytes = history.bytes();
        push(&mut history, &moderation(id), ROOM);
        let shown = all(&history);
        assert!(!shown.contains("secret") && shown.contains("id='s1'><moderated"), "{shown}");
        // Prosody's archive has a tombstone instead, ejabberd nothing.
        assert_eq!(shown.contains("<retracted"), !queue, "{shown}");
        assert!(Tree::parse(format!("<all>{shown}</all>").as_bytes()).is_ok());
        assert_eq!(history.bytes(), history.entries.iter().map(|e| e.message.len()).sum::<usize>());
        assert!(bytes > 0);
    }
}

#[test]
fn s18_what_its_author_takes_back_is_no_longer_shown() {
    let retraction = |id: &str| {
        let retract = format!("<retract xmlns='urn:xmpp:message-retract:1' id='{id}'/>");
        format!("<message from='r@s/n'><body>I took something back</body>{retract}</message>")
    };
    for id in ["s1", "o1"] {
        let mut history = History::new(9);
        push(&mut history, STORED, live("n"));
        push(&mut history, &retraction(id), live("other"));
        assert!(all(&history).contains("secret"), "by somebody else");
        push(&mut history, &retraction(id), live("n"));
        assert!(!all(&history).contains("secret"), "{}", all(&history));
    }
    let mut history = History::new(9);
    push(&mut history, STORED, live("n"));
    history.author_left("n");
    push(&mut history, &retraction("s1"), live("n"));
    assert!(all(&history).contains("secret"), "by who took the nick after the author had left");
}

#[test]
fn bytes_are_counted_and_all_is_forgotten() {
    let mut history = filled();
    assert_eq!(history.bytes(), history.entries.iter().map(|e| e.message.len()).sum::<usize>());
    assert!(history.forget_oldest());
    assert_eq!(bodies(&history, Request::default()), ["3", "4"]);
    history.clear();
    assert_eq!((history.bytes(), history.forget_oldest()), (0, false));
}

#[test]
fn s18_senders_are_named_in_a_room_that_is_not_anonymous_and_hidden_when_it_becomes_so() {
    let item = Item {
        range: 0..0,
        jid: Some(("dave@s/desk".into(), 0..0)),
        nick: None,
        affiliation: Some("member".into()),
        role: Some("participant".into()),
    };
    for (keeping, named, hides) in [
        (Keeping::Archive, "<item affiliation='member' role='participant' jid='dave@s'/></x><delay", true),
        (Keeping::Queue, "<address type='ofrom' jid='dave@s/desk'/></addresses><delay", false),
    ] {
        let mut history = History::new(9);
        push(&mut history, STORED, Arrival { sender: Some(&item), ..live("n") });
        history.clear();
        *history.keeping() = keeping;
        push(&mut history, STORED, Arrival { sender: Some(&item), ..live("n") });
        assert!(all(&history).contains(named), "{}", all(&history));
        history.hide_senders();
        assert_eq!(!all(&history).contains("dave@s"), hides, "{keeping:?}");
        assert!(all(&history).contains("secret") && all(&history).contains("<delay"));
        assert_eq!(history.bytes(), history.entries[0].message.len());
        history.name_senders(|_| Some(item.clone()));
        assert_eq!(all(&history).matches("jid='dave@s").count(), 1, "{keeping:?}");
        assert_eq!(history.bytes(), history.entries[0].message.len());
    }
}

#[test]
fn a_queues_stamps_have_fractions() {
    let mut history = History::new(9);
    *history.keeping() = Keeping::Queue;
    push(&mut history, STORED, Arrival { wall: NOON + Duration::microseconds(1500), ..live("n") });
    assert!(all(&history).contains("stamp='2026-01-01T12:00:00.001500Z'"), "{}", all(&history));
    let since = Some(NOON + Duration::microseconds(1501));
    assert!(history.select(&Request { since, ..Request::default() }, NOON).is_empty());
}

#[test]
fn senders_are_named_as_soon_as_they_are_known() {
    let known =
        Item { range: 0..0, jid: Some(("dave@s/desk".into(), 0..0)), nick: None, affiliation: None, role: None };
    let unknown = Item { jid: None, ..known.clone() };
    let mut history = History::new(9);
    *history.keeping() = Keeping::Queue;
    for author in ["n", "gone"] {
        push(&mut history, STORED, Arrival { sender: Some(&unknown), ..live(author) });
    }
    push(&mut history, STORED, live("n"));
    history.author_left("gone");
    history.name_senders(|_| Some(unknown.clone()));
    assert!(!all(&history).contains("<address "));
    for _ in 0..2 {
        history.name_senders(|_| Some(known.clone()));
        assert_eq!(all(&history).matches("jid='dave@s/desk'").count(), 1);
    }
    assert_eq!(history.bytes(), history.entries.iter().map(|e| e.message.len()).sum::<usize>());
}

#[test]
fn as_many_are_kept_as_the_room_shows() {
    let kept = |most: usize, old: usize, new: usize| {
        let mut history = History::new(most);
        let delay = "<delay xmlns='urn:xmpp:delay' from='r@s' stamp='2026-01-01T12:00:00Z'/>";
        for _ in 0..old {
            push(&mut history, &format!("<message><body/>{delay}</message>"), Arrival { old: true, ..live("n") });
        }
        for _ in 0..new {
            push(&mut history, "<message><body/></message>", live("n"));
        }
        history.entries.len()
    };
    // More than servers usually show; no more than that, nor than the limit.
    assert_eq!((kept(100, 25, 0), kept(100, 25, 9), kept(22, 25, 0), kept(22, 25, 9)), (25, 25, 22, 22));
    // If it has shown fewer, it may have had no more.
    assert_eq!((kept(100, 5, 5), kept(100, 5, 30), kept(10, 5, 30), kept(0, 5, 30)), (10, 20, 10, 0));
}
