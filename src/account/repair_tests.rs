//! The account was not in the room any more, and nobody had said so.

use super::*;

const X: &str = "http://jabber.org/protocol/muc#user";
const STORED: &str = "xmlns='urn:xmpp:sid:0' by='room@muc.example'";
const DELAY: &str = "<delay xmlns='urn:xmpp:delay' from='room@muc.example' stamp='2020-01-01T00:00:00Z'/>";

/// A and B are in a room that does not know the account any more; their join again has gone up.
fn lost() -> Stage {
    lost_after(|_| {})
}

fn lost_after(before: impl FnOnce(&mut Stage)) -> Stage {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    before(&mut stage);
    stage.forget();
    not_in(&mut stage);
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<x xmlns='http://jabber.org/protocol/muc'>"), "{up:?}");
    assert_eq!((stage.seen(A), stage.seen(B)), (vec![], vec![]), "nothing is told yet");
    stage
}

/// The ping of the own occupant is answered by `not-acceptable`.
fn not_in(stage: &mut Stage) {
    stage.pass(Duration::from_secs(15 * 60));
    let ping = stage.up().into_iter().find(|up| up.contains("urn:xmpp:ping")).unwrap();
    let id = Stanza::own(ping).id().unwrap().into_owned();
    let condition = "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
    let error = format!("<error type='cancel'>{condition}</error>");
    stage.server(&format!("<iq from='{ROOM}/nick' to='{SESSION}' id='{id}' type='error'>{error}</iq>"));
}

fn present(stage: &mut Stage, nick: &str, role: &str, more: &str) {
    let item = format!("<item affiliation='none' role='{role}'/>");
    stage.server(&format!("<presence from='{ROOM}/{nick}' to='{SESSION}'>{more}<x xmlns='{X}'>{item}</x></presence>"));
}

fn own(stage: &mut Stage, affiliation: &str, role: &str, codes: &str) {
    let item = format!("<item affiliation='{affiliation}' jid='{SESSION}' role='{role}'/>");
    let x = format!("<x xmlns='{X}'>{codes}{item}<status code='110'/></x>");
    stage.server(&format!("<presence from='{ROOM}/nick' to='{SESSION}' id='z'>{x}</presence>"));
}

fn history(stage: &mut Stage, from: &str, body: &str, more: &str) {
    stage.server(&format!(
        "<message from='{ROOM}/{from}' to='{SESSION}' type='groupchat'><body>{body}</body>{more}{DELAY}</message>"
    ));
}

fn subject(stage: &mut Stage, text: &str) {
    let subject = format!("<subject>{text}</subject>");
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}' type='groupchat'>{subject}</message>"));
}

/// What both clients see, which is the same but for whom it is to.
fn seen(stage: &mut Stage) -> Vec<String> {
    let a = stage.seen(A);
    let b: Vec<String> = stage.seen(B).iter().map(|line| line.replace("client2", "client1")).collect();
    assert_eq!(a, b);
    a
}

fn is_told(stage: &mut Stage) {
    let seen = seen(stage);
    let all = seen.join("\n");
    assert!(seen[0].contains("type='unavailable'") && seen[0].contains("333") && seen[0].contains("110"), "{all}");
    assert!(seen[1].starts_with("detached"), "{all}");
}

#[test]
fn if_nothing_has_changed_nobody_sees_anything() {
    let mut stage = lost();
    stage.let_in("nick", "");
    assert_eq!(seen(&mut stage), [""; 0]);
    stage.server(&format!("<message from='{ROOM}/other' to='{SESSION}' type='groupchat'><body>live</body></message>"));
    assert_eq!(seen(&mut stage).len(), 1, "they are in");
    stage.client(A, &chat("m"));
    assert_eq!(stage.up().len(), 1);
}

#[test]
fn what_has_changed_is_shown_and_what_was_said() {
    let mut stage = lost();
    present(&mut stage, "new", "visitor", "<show>away</show>");
    own(&mut stage, "member", "participant", "<status code='170'/>");
    history(&mut stage, "other", "old", "");
    history(&mut stage, "new", "missed", "");
    assert_eq!(seen(&mut stage), [""; 0], "all at once");
    subject(&mut stage, "other");
    let seen = seen(&mut stage);
    let expected: [&[&str]; 6] = [
        &["from='room@muc.example/other'", "type='unavailable'", "role='none'"],
        &["from='room@muc.example/new'", "<show>away</show>", "role='visitor'"],
        &["from='room@muc.example/nick'", "affiliation='member'", "jid='user@example/client1'", "110"],
        &["<message from='room@muc.example' ", "code='170'"],
        &["<body>missed</body>", "urn:xmpp:delay"],
        &["<subject>other</subject>"],
    ];
    assert_eq!(seen.len(), expected.len(), "{seen:#?}");
    for (line, parts) in seen.iter().zip(expected) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line}\n{parts:?}");
    }
    // A late client is shown the old and the new.
    stage.give(Input::Gone(B));
    stage.give(Input::Hello(B, jid(B)));
    stage.client(B, &join("nick", "b2"));
    let late = stage.seen(B).join("\n");
    assert!(late.contains("<body>old</body>") && late.contains("<body>missed</body>"), "{late}");
    assert_eq!(late.matches("<body>").count(), 2);
}

#[test]
fn order_of_attributes_and_ids_are_no_change() {
    let mut stage = lost();
    let item = "<item role='participant' affiliation='none'/>";
    stage.server(&format!("<presence to='{SESSION}' id='9' from='{ROOM}/other'><x xmlns='{X}'>{item}</x></presence>"));
    own(&mut stage, "owner", "moderator", "");
    history(&mut stage, "other", "old", "");
    subject(&mut stage, "");
    assert_eq!(seen(&mut stage), [""; 0]);
}

#[test]
fn what_clients_send_meanwhile_comes_behind_what_was_refused() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.client(A, &chat("1"));
    stage.client(B, &chat("2"));
    stage.forget();
    let condition = "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
    let error = format!("<error type='cancel'>{condition}</error>");
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}' id='1' type='error'>{error}</message>"));
    assert_eq!(stage.up().len(), 1, "the join");
    stage.client(A, &chat("3"));
    stage.client(B, &format!("<iq to='{ROOM}/nick' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"));
    stage.client(B, &chat("4"));
    assert_eq!(stage.up(), [""; 0]);
    stage.let_in("nick", "");
    let mut said = Vec::new();
    for _ in 0..4 {
        let up: Vec<Stanza> = stage.up().into_iter().map(Stanza::own).collect();
        for id in up.iter().map(|up| up.id().unwrap().into_owned()) {
            let body = format!("<body>{id}</body>");
            stage.server(&format!(
                "<message from='{ROOM}/nick' to='{SESSION}' type='groupchat' id='{id}'>{body}</message>"
            ));
            said.push(id);
        }
    }
    assert_eq!(said, ["1", "2", "3", "4"]);
    let b = stage.seen(B);
    assert!(b[0].contains("id='p'") && b[0].contains("type='result'"), "{b:?}");
    assert!(b[1..].iter().all(|line| line.contains("<body>")) && b.len() == 5, "{b:?}");
}

#[test]
fn who_asks_whether_it_is_in_is_answered_when_it_is_in_again() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.pass(Duration::from_secs(15 * 60));
    let ping = stage.up().into_iter().find(|up| up.contains("urn:xmpp:ping")).unwrap();
    stage.forget();
    stage.client(A, &format!("<iq to='{ROOM}/nick' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"));
    let id = Stanza::own(ping).id().unwrap().into_owned();
    let condition = "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
    let error = format!("<error type='cancel'>{condition}</error>");
    stage.server(&format!("<iq from='{ROOM}/nick' to='{SESSION}' id='{id}' type='error'>{error}</iq>"));
    assert_eq!(stage.seen(A), [""; 0]);
    stage.let_in("nick", "");
    let seen = stage.seen(A);
    assert!(seen.len() == 1 && seen[0].contains("id='p'") && seen[0].contains("type='result'"), "{seen:?}");
}

#[test]
fn who_is_not_let_in_is_told() {
    for condition in ["forbidden", "conflict", "remote-server-timeout"] {
        let mut stage = Stage::joined();
        stage.client(B, &join("nick", "b1"));
        stage.forget();
        not_in(&mut stage);
        let id = Stanza::own(stage.up().remove(0)).id().unwrap().into_owned();
        stage.client(A, &chat("m"));
        let error = format!("<error type='auth'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
        stage.server(&format!("<presence from='{ROOM}/nick' to='{SESSION}' id='{id}' type='error'>{error}</presence>"));
        let a = stage.seen(A);
        // What it said goes out on its own stream, and the room answers that.
        assert!(a[0].contains("333") && a[1].starts_with("relay") && a[1].contains("id='m'"), "{a:?}");
        assert!(stage.seen(B)[0].contains("333"));
    }
}

#[test]
fn a_room_that_does_not_answer_is_an_outage() {
    let mut stage = lost();
    stage.pass(Duration::from_secs(60));
    is_told(&mut stage);
    // So is the end of the account session.
    let mut stage = lost();
    stage.give(Input::SessionLost);
    is_told(&mut stage);
    assert_eq!(stage.account.kept_for_clients(), 0);
}

#[test]
fn who_is_put_out_at_once_is_told_why() {
    let mut stage = lost();
    own(&mut stage, "none", "participant", "");
    stage.client(A, &chat("m"));
    stage.server(&gone("<status code='307'/>"));
    let a = stage.seen(A);
    assert!(a[0].contains("307") && a[1].starts_with("relay") && a[1].contains("id='m'"), "{a:?}");
    assert!(stage.seen(B)[0].contains("307"));
}

#[test]
fn who_leaves_is_cut_off_or_joins_meanwhile_is_served_all_the_same() {
    let mut stage = lost();
    stage.client(A, &chat("gone"));
    assert_eq!(stage.account.kept_for_clients(), 3);
    stage.give(Input::Gone(A));
    assert_eq!(stage.account.kept_for_clients(), 1, "B alone");
    stage.give(Input::Unavailable(B, Stanza::own("<presence type='unavailable'/>")));
    let b = stage.seen(B);
    assert!(b[0].contains("type='unavailable'") && b[0].contains("110") && b[1].starts_with("detached"), "{b:?}");
    stage.client(B, &join("nick", "b2"));
    stage.let_in("nick", "");
    assert_eq!(stage.seen(B).len(), 4, "a whole join");
    assert_eq!(stage.up(), [""; 0], "what a client said that is gone is nobody's");
    assert_eq!(stage.account.kept_for_clients(), 1);
}

#[test]
fn a_room_that_is_another_one_has_another_past() {
    let mut stage = lost();
    own(&mut stage, "owner", "moderator", "<status code='201'/>");
    subject(&mut stage, "");
    let seen = seen(&mut stage);
    assert!(seen.len() == 1 && seen[0].contains("/other'") && seen[0].contains("unavailable"), "{seen:?}");
    assert!(stage.up()[0].contains("muc#owner"), "it is configured, or nobody gets in");
    stage.give(Input::Gone(B));
    stage.give(Input::Hello(B, jid(B)));
    stage.client(B, &join("nick", "b2"));
    assert!(!stage.seen(B).join("").contains("<body>"));
}

// ---- the archive

fn stored(id: u32) -> String {
    format!("<stanza-id {STORED} id='{id}'/>")
}

/// The room has said 20 messages before the account was away and shows 20 that were said later, behind a gap; the query
/// that asks for it.
fn gap() -> (Stage, Stanza) {
    let mut stage = lost_after(|stage| {
        for id in 1..=20 {
            let stored = stored(id);
            stage.server(&format!(
                "<message from='{ROOM}/other' to='{SESSION}' type='groupchat'><body>{id}</body>{stored}</message>"
            ));
        }
    });
    present(&mut stage, "other", "participant", "");
    own(&mut stage, "owner", "moderator", "");
    for id in 23..=42 {
        history(&mut stage, "other", &id.to_string(), &stored(id));
    }
    subject(&mut stage, "");
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<after>20</after>"), "{up:?}");
    assert_eq!(seen(&mut stage), [""; 0]);
    (stage, Stanza::own(up[0].clone()))
}

fn queryid(query: &Stanza) -> String {
    query.tree().unwrap().root().children().next().unwrap().attr("queryid").unwrap().into_owned()
}

fn result(stage: &mut Stage, from: &str, queryid: &str, inner_from: &str, id: u32) {
    let message =
        format!("<message xmlns='jabber:client' from='{inner_from}' type='groupchat'><body>{id}</body></message>");
    let delay = "<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>";
    let forwarded = format!("<forwarded xmlns='urn:xmpp:forward:0'>{delay}{message}</forwarded>");
    let result = format!("<result xmlns='urn:xmpp:mam:2' queryid='{queryid}' id='{id}'>{forwarded}</result>");
    stage.server(&format!("<message from='{from}' to='{SESSION}'>{result}</message>"));
}

fn fin(stage: &mut Stage, query: &Stanza, complete: bool) {
    let id = query.id().unwrap().into_owned();
    let fin = format!("<fin xmlns='urn:xmpp:mam:2' complete='{complete}'/>");
    stage.server(&format!("<iq from='{ROOM}' to='{SESSION}' id='{id}' type='result'>{fin}</iq>"));
}

#[test]
fn s15_what_the_history_does_not_reach_back_to_is_asked_of_the_archive() {
    let (mut stage, query) = gap();
    let queryid = queryid(&query);
    let other = format!("{ROOM}/other");
    for id in 21..=25 {
        result(&mut stage, ROOM, &queryid, &other, id);
    }
    // Said meanwhile; and what is no result of that query, or of no occupant of that room.
    stage.server(&format!("<message from='{other}' to='{SESSION}' type='groupchat'><body>live</body></message>"));
    result(&mut stage, ROOM, &queryid, "room2@muc.example/other", 90);
    result(&mut stage, "room2@muc.example", &queryid, &other, 91);
    result(&mut stage, &other, &queryid, &other, 92);
    result(&mut stage, ROOM, "another", &other, 93);
    stage.client(A, &chat("m"));
    assert_eq!(stage.up(), [""; 0]);
    stage.forget();
    let mut forged = query.edit().set("id", "1").finish();
    fin(&mut stage, &forged, true);
    forged = query.clone();
    let id = forged.id().unwrap().into_owned();
    stage.server(&format!("<iq from='{other}' to='{SESSION}' id='{id}' type='error'/>"));
    assert_eq!(seen(&mut stage), [""; 0]);
    fin(&mut stage, &query, true);
    // What is none is a message like others, seen as it came.
    let (forged, seen): (Vec<_>, Vec<_>) = seen(&mut stage).into_iter().partition(|line| line.contains("<result"));
    assert_eq!(forged.len(), 2);
    let bodies: Vec<String> = seen
        .iter()
        .map(|line| Stanza::own(line.clone()).tree().unwrap().root().child_text("body", "jabber:client").unwrap())
        .collect();
    let expected: Vec<String> = (21..=42).map(|id| id.to_string()).chain(["live".to_owned()]).collect();
    assert_eq!(bodies, expected);
    assert_eq!(stage.up().len(), 1, "and what was held goes up");
}

#[test]
fn what_the_archive_does_not_tell_is_an_outage() {
    let (mut stage, query) = gap();
    fin(&mut stage, &query, false);
    is_told(&mut stage);

    let (mut stage, query) = gap();
    let id = query.id().unwrap().into_owned();
    stage.server(&format!("<iq from='{ROOM}' to='{SESSION}' id='{id}' type='error'/>"));
    is_told(&mut stage);

    let (mut stage, _) = gap();
    stage.pass(Duration::from_secs(10));
    is_told(&mut stage);
    // The room itself is as it was, for who comes now.
    stage.client(A, &join("nick", "a2"));
    // For the room to show its presence, a join waits no longer than so.
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.seen(A).len(), 2 + 20 + 1);
}

#[test]
fn a_message_that_leans_on_its_surroundings_is_none() {
    let (mut stage, query) = gap();
    let queryid = queryid(&query);
    let message = format!("<message xmlns='jabber:client' from='{ROOM}/other' type='groupchat'><e:e/></message>");
    let delay = "<delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/>";
    let forwarded = format!("<forwarded xmlns='urn:xmpp:forward:0'>{delay}{message}</forwarded>");
    let result = format!("<result xmlns='urn:xmpp:mam:2' queryid='{queryid}' id='21'>{forwarded}</result>");
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}' xmlns:e='e'>{result}</message>"));
    fin(&mut stage, &query, true);
    assert!(!seen(&mut stage).iter().any(|line| line.contains("e:e")));
}

#[test]
fn s20_a_room_that_has_become_too_large_meanwhile_is_given_up() {
    let mut stage = lost();
    let settings = (*stage.account.settings).clone();
    stage.account.settings = Arc::new(Settings { memory_per_account: 64 << 10, ..settings });
    stage.client(A, &chat("held"));
    for n in 0..8 {
        present(&mut stage, &n.to_string(), "visitor", &format!("<status>{}</status>", "s".repeat(10_000)));
    }
    let (a, b) = (stage.seen(A), stage.seen(B));
    assert!(a[1].starts_with("relay") && a[1].contains("held"), "{a:?}");
    for seen in [&a, &b] {
        assert!(seen[0].contains("333") && seen[0].contains("110"), "{seen:?}");
        assert!(seen.last().unwrap().starts_with("detached") || seen.len() == 2, "{seen:?}");
    }
    assert!(stage.up().iter().any(|up| up.contains("type='unavailable'")));
    assert!(stage.account.bytes() < 16 << 10);
    stage.client(B, &join("nick", "b2"));
    assert!(stage.seen(B)[1].contains("passes=true"));
    stage.server(&gone(""));
    assert_eq!((stage.account.rooms().count(), stage.account.settings.kept.memory().used()), (0, 0));
}
