//! Groupchat messages that the room would not take yet.

use super::*;

fn message(id: &str) -> String {
    format!("<message to='{ROOM}' type='groupchat' id='{id}'><body>{id}</body></message>")
}

fn refuse(stage: &mut Stage, id: &str, kind: &str, condition: &str) {
    let condition = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>");
    let error = format!("<error type='{kind}'>{condition}</error>");
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}' id='{id}' type='error'>{error}</message>"));
}

fn too_fast(stage: &mut Stage, id: &str) {
    refuse(stage, id, "wait", "resource-constraint");
}

fn reflect(stage: &mut Stage, id: &str) {
    stage.server(&format!(
        "<message from='{ROOM}/nick' to='{SESSION}' type='groupchat' id='{id}'><body>{id}</body></message>"
    ));
}

/// The ids of the messages that went up.
fn sent(stage: &mut Stage) -> Vec<String> {
    let up: Vec<Stanza> = stage.up().into_iter().map(Stanza::own).collect();
    up.iter().filter(|s| s.is_message()).map(|s| s.id().unwrap().into_owned()).collect()
}

fn errors(stage: &mut Stage, client: ClientId) -> Vec<String> {
    stage.seen(client).into_iter().filter(|seen| seen.contains("type='error'")).collect()
}

/// A and B are in the room.
fn both() -> Stage {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage
}

#[test]
fn what_was_too_fast_is_sent_again_one_by_one_and_in_order() {
    let mut stage = both();
    for id in ["1", "2", "3", "4"] {
        stage.client(A, &message(id));
    }
    assert_eq!(sent(&mut stage), ["1", "2", "3", "4"]);
    reflect(&mut stage, "1");
    too_fast(&mut stage, "2");
    // What is said meanwhile, by whomever, comes behind.
    stage.client(B, &message("5"));
    too_fast(&mut stage, "3");
    too_fast(&mut stage, "4");
    assert_eq!(sent(&mut stage), [""; 0]);
    stage.pass(Duration::from_millis(500));
    assert_eq!(sent(&mut stage), ["2"]);
    // Still too fast: a longer wait, and the order is the same.
    too_fast(&mut stage, "2");
    stage.pass(Duration::from_millis(999));
    assert_eq!(sent(&mut stage), [""; 0]);
    stage.pass(Duration::from_millis(1));
    assert_eq!(sent(&mut stage), ["2"]);
    for (taken, next) in [("2", "3"), ("3", "4"), ("4", "5")] {
        reflect(&mut stage, taken);
        assert_eq!(sent(&mut stage), [next]);
    }
    reflect(&mut stage, "5");
    stage.client(A, &message("6"));
    assert_eq!(sent(&mut stage), ["6"], "as always again");
    assert_eq!((errors(&mut stage, A), errors(&mut stage, B)), (vec![], vec![]));
}

#[test]
fn after_a_minute_the_author_learns_that_it_was_refused() {
    let mut stage = both();
    stage.client(A, &message("1"));
    for _ in 0..100 {
        too_fast(&mut stage, "1");
        stage.pass(Duration::from_secs(8));
    }
    let errors = errors(&mut stage, A);
    assert!(
        errors.len() == 1 && errors[0].contains("resource-constraint") && errors[0].contains("id='1'"),
        "{errors:?}"
    );
    let times = sent(&mut stage).len();
    assert!((5..20).contains(&times), "{times} times");
}

#[test]
fn another_refusal_shortens_nobodys_wait() {
    let mut stage = both();
    stage.client(A, &message("1"));
    stage.client(B, &message("2"));
    stage.up();
    too_fast(&mut stage, "1");
    refuse(&mut stage, "2", "auth", "forbidden");
    assert!(errors(&mut stage, B)[0].contains("forbidden"));
    assert_eq!(sent(&mut stage), [""; 0], "not yet");
    stage.pass(Duration::from_millis(500));
    assert_eq!(sent(&mut stage), ["1"]);
}

#[test]
fn another_refusal_is_told_at_once() {
    let mut stage = both();
    stage.client(A, &message("1"));
    refuse(&mut stage, "1", "auth", "forbidden");
    assert!(errors(&mut stage, A)[0].contains("forbidden"));
    assert_eq!(errors(&mut stage, B), [""; 0]);
    stage.pass(Duration::from_secs(30));
    assert_eq!(sent(&mut stage), ["1"]);
}

#[test]
fn who_is_not_in_goes_back_and_says_it_once_more() {
    let mut stage = both();
    stage.client(A, &message("1"));
    stage.client(A, &message("2"));
    stage.up();
    refuse(&mut stage, "1", "modify", "not-acceptable");
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<x xmlns='http://jabber.org/protocol/muc'>"), "{up:?}");
    assert_eq!(stage.seen(A), [""; 0]);
    stage.let_in("nick", "");
    assert_eq!(sent(&mut stage), ["1"]);
    // What was under way behind it is not lost, whether the room refuses it, too, or not.
    reflect(&mut stage, "1");
    assert_eq!(sent(&mut stage), ["2"]);
    // Refused again: that was all.
    stage.forget();
    refuse(&mut stage, "2", "modify", "not-acceptable");
    let errors = errors(&mut stage, A);
    assert!(errors.len() == 1 && errors[0].contains("not-acceptable"), "{errors:?}");
}

#[test]
fn a_room_that_says_nothing_holds_nobody_up() {
    let mut stage = both();
    stage.client(A, &message("1"));
    stage.client(A, &message("2"));
    too_fast(&mut stage, "1");
    stage.client(A, &message("3"));
    stage.up();
    stage.pass(Duration::from_millis(500));
    assert_eq!(sent(&mut stage), ["1"]);
    stage.pass(Duration::from_secs(10));
    assert_eq!(sent(&mut stage), ["3"]);
}

#[test]
fn what_waits_is_bounded() {
    let mut stage = both();
    stage.client(A, &message("0"));
    too_fast(&mut stage, "0");
    for n in 1..1000 {
        stage.client(A, &message(&n.to_string()));
    }
    let errors = errors(&mut stage, A);
    assert!(errors.len() > 700 && errors[0].contains("resource-constraint"), "{}", errors.len());
}
