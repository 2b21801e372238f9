//! Whether the account is in a room as it thinks (XEP-0410).

use super::*;

const QUIET: Duration = Duration::from_secs(15 * 60);

/// In the room, of which nothing has been heard for long: the ping that asks it.
fn asked() -> (Stage, String) {
    let mut stage = Stage::joined();
    stage.pass(QUIET - Duration::from_secs(1));
    assert_eq!(stage.up(), [""; 0], "not yet");
    stage.pass(Duration::from_secs(1));
    let up = stage.up();
    let [ping] = &up[..] else { panic!("{up:?}") };
    let ping = Stanza::own(ping.clone());
    assert!(text(&ping).contains("<ping xmlns='urn:xmpp:ping'/>"));
    assert_eq!(ping.to().as_deref(), Some("room@muc.example/nick"));
    let id = ping.id().unwrap().into_owned();
    (stage, id)
}

fn error(id: &str, from: &str, condition: &str) -> String {
    let condition = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>");
    format!("<iq from='{from}' to='{SESSION}' id='{id}' type='error'><error type='cancel'>{condition}</error></iq>")
}

fn own_ping(id: &str) -> String {
    format!("<iq to='{ROOM}/nick' type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>")
}

#[test]
fn a_room_that_is_heard_of_is_not_asked() {
    let mut stage = Stage::joined();
    for _ in 0..10 {
        stage.pass(QUIET / 2);
        stage.server(&format!("<message from='{ROOM}/other' type='groupchat'><body>b</body></message>"));
    }
    assert_eq!(stage.up(), [""; 0]);
}

#[test]
fn who_is_in_stays() {
    for answer in
        ["result", "service-unavailable", "feature-not-implemented", "item-not-found", "remote-server-timeout"]
    {
        let (mut stage, id) = asked();
        let own = format!("{ROOM}/nick");
        let result = format!("<iq from='{own}' to='{SESSION}' id='{id}' type='result'/>");
        stage.server(&if answer == "result" { result } else { error(&id, &own, answer) });
        assert_eq!((stage.up(), stage.seen(A)), (vec![], vec![]), "{answer}");
        // The next time is as far away.
        stage.pass(QUIET - Duration::from_secs(1));
        assert_eq!(stage.up(), [""; 0]);
        stage.pass(Duration::from_secs(1));
        assert_eq!(stage.up().len(), 1, "{answer}");
    }
}

#[test]
fn who_is_not_in_goes_back() {
    let (mut stage, id) = asked();
    stage.server(&error(&id, &format!("{ROOM}/nick"), "not-acceptable"));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<x xmlns='http://jabber.org/protocol/muc'>"), "{up:?}");
    // What the clients see of it is tried in its own file.
    assert_eq!(stage.seen(A), [""; 0]);
}

#[test]
fn who_asks_while_the_account_leaves_is_answered_too() {
    let mut stage = Stage::joined();
    stage.pass(Duration::from_secs(15 * 60));
    let ping = stage.up().into_iter().find(|up| up.contains("urn:xmpp:ping")).unwrap();
    stage.client(A, &format!("<iq to='{ROOM}/nick' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"));
    let now = stage.now;
    stage.account.rooms.get_mut(ROOM).unwrap().bookmark_gone(now, &mut Vec::new());
    let id = Stanza::own(ping).id().unwrap().into_owned();
    let condition = "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
    let error = format!("<error type='cancel'>{condition}</error>");
    stage.server(&format!("<iq from='{ROOM}/nick' to='{SESSION}' id='{id}' type='error'>{error}</iq>"));
    assert!(stage.seen(A)[0].contains("id='p'"));
}

#[test]
fn s15_another_answer_says_nothing() {
    let (mut stage, id) = asked();
    for from in [ROOM, "room@muc.example/other", "user@example", "muc.example"] {
        stage.server(&error(&id, from, "not-acceptable"));
    }
    stage.server(&error("1", &format!("{ROOM}/nick"), "not-acceptable"));
    assert_eq!(stage.up(), [""; 0]);
}

#[test]
fn clients_that_ask_meanwhile_wait_for_the_answer() {
    let (mut stage, id) = asked();
    stage.client(A, &own_ping("p1"));
    assert_eq!(stage.seen(A), [""; 0]);
    stage.server(&format!("<iq from='{ROOM}/nick' to='{SESSION}' id='{id}' type='result'/>"));
    let seen = stage.seen(A);
    assert!(seen.len() == 1 && seen[0].contains("id='p1'") && seen[0].contains("type='result'"), "{seen:?}");
    // What is known is told at once.
    stage.client(A, &own_ping("p2"));
    assert!(stage.seen(A)[0].contains("id='p2'"));
    assert_eq!(stage.up(), [""; 0]);

    let (mut stage, _) = asked();
    stage.client(A, &own_ping("p3"));
    stage.pass(Duration::from_secs(30));
    let seen = stage.seen(A);
    assert!(seen.len() == 1 && seen[0].contains("remote-server-timeout") && seen[0].contains("id='p3'"), "{seen:?}");
}

#[test]
fn a_room_that_could_not_be_reached_is_asked_at_once() {
    let mut stage = Stage::joined();
    stage.client(A, &format!("<message to='{ROOM}' type='groupchat' id='m'><body>b</body></message>"));
    stage.forget();
    let condition = "<remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
    let error = format!("<error type='wait'>{condition}</error>");
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}' id='m' type='error'>{error}</message>"));
    assert!(stage.up().iter().any(|up| up.contains("urn:xmpp:ping")));
    assert!(stage.seen(A)[0].contains("remote-server-timeout"), "and the author learns of it");
}
