//! Joining with no client asking: under what nick, and how many at once.

use super::*;

/// An account that follows its bookmarks; its session is up, and nobody has joined anything.
fn up() -> Stage {
    let mut stage = Stage::with(Settings { bookmarks: true, ..Settings::default() });
    stage.give(Input::LoggedIn);
    stage.give(Input::SessionUp(None));
    stage.forget();
    stage
}

fn bookmark(stage: &mut Stage, rooms: &[String], inner: &str) {
    let item = |room: &String| {
        format!("<item id='{room}'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='1'>{inner}</conference></item>")
    };
    let items = format!("<items node='urn:xmpp:bookmarks:1'>{}</items>", rooms.iter().map(item).collect::<String>());
    let event = format!("<event xmlns='http://jabber.org/protocol/pubsub#event'>{items}</event>");
    stage.server(&format!("<message from='user@example' type='headline'>{event}</message>"));
}

fn retract(stage: &mut Stage, room: &str) {
    let items = format!("<items node='urn:xmpp:bookmarks:1'><retract id='{room}'/></items>");
    let event = format!("<event xmlns='http://jabber.org/protocol/pubsub#event'>{items}</event>");
    stage.server(&format!("<message from='user@example' type='headline'>{event}</message>"));
}

fn many() -> Vec<String> {
    (0..150).map(|n| format!("r{n:03}@muc.example")).collect()
}

/// The rooms that were joined since last asked, in order, and where each is answered.
fn joins(stage: &mut Stage) -> Vec<String> {
    let joins = stage.up().into_iter().filter(|up| up.contains("<x xmlns='http://jabber.org/protocol/muc'>"));
    joins.map(|join| Stanza::own(join).to().unwrap().into_owned()).collect()
}

fn enter(stage: &mut Stage, own: &str) {
    let item = format!("<item affiliation='none' role='participant' jid='{SESSION}'/><status code='110'/>");
    let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{item}</x>");
    stage.server(&format!("<presence from='{own}' to='{SESSION}'>{x}</presence>"));
}

/// The question for the reserved nick: its id.
fn question(stage: &mut Stage) -> String {
    let up = stage.up();
    let [question] = &up[..] else { panic!("one question, not {up:#?}") };
    assert!(question.contains("node='x-roomuser-item'") && question.contains(&format!("to='{ROOM}'")), "{question}");
    Stanza::own(question.clone()).id().unwrap().into_owned()
}

fn answer(from: &str, id: &str, identity: &str) -> String {
    let query =
        format!("<query xmlns='http://jabber.org/protocol/disco#info' node='x-roomuser-item'>{identity}</query>");
    format!("<iq from='{from}' to='{SESSION}' type='result' id='{id}'>{query}</iq>")
}

fn reserved(nick: &str) -> String {
    format!("<identity category='conference' type='text' name='{nick}'/>")
}

#[test]
fn a_room_is_asked_once_for_the_nick_that_it_reserves() {
    let room = |nick: &str| format!("{ROOM}/{nick}");
    for (identity, nick) in [
        (reserved("Queen &amp; King"), "Queen & King"),
        (String::new(), "user"),
        (reserved(""), "user"),
        ("<identity category='conference' type='irc' name='x'/>".to_owned(), "user"),
    ] {
        let mut stage = up();
        bookmark(&mut stage, &[ROOM.to_owned()], "");
        let id = question(&mut stage);
        stage.server(&answer(ROOM, &id, &identity));
        assert_eq!(joins(&mut stage), [room(nick)], "{identity}");
        stage.server(&answer(ROOM, &id, &reserved("late")));
        assert!(stage.up().is_empty());
    }
    // The bookmark knows better.
    let mut stage = up();
    bookmark(&mut stage, &[ROOM.to_owned()], "<nick>Nick</nick>");
    assert_eq!(joins(&mut stage), [room("Nick")]);
}

#[test]
fn without_a_good_answer_the_last_nick_counts_then_the_localpart() {
    let mut stage = up();
    bookmark(&mut stage, &[ROOM.to_owned()], "");
    let id = question(&mut stage);
    // S15: nobody else answers.
    for from in ["evil@example", "room@muc.example/evil", "other@muc.example"] {
        stage.server(&answer(from, &id, &reserved("evil")));
    }
    stage.pass(Duration::from_secs(4));
    assert!(stage.up().is_empty());
    stage.pass(Duration::from_secs(1));
    assert_eq!(joins(&mut stage), [format!("{ROOM}/user")]);
    enter(&mut stage, &format!("{ROOM}/user"));
    stage.server(
        &gone("<status code='303'/>").replace("/nick'", "/user'").replace("role='none'", "role='none' nick='last'"),
    );
    stage.server(&gone("<status code='307'/>").replace("/nick'", "/last'"));
    assert_eq!(stage.account.rooms().count(), 0);
    stage.forget();
    retract(&mut stage, ROOM);
    bookmark(&mut stage, &[ROOM.to_owned()], "");
    let id = question(&mut stage);
    stage.server(&format!("<iq from='{ROOM}' type='error' id='{id}'><error type='cancel'/></iq>"));
    let join = stage.up().remove(0);
    assert!(join.contains(&format!("{ROOM}/last")), "{join}");
    // The reserved one goes before the last one.
    let (id, refused) = (Stanza::own(join).id().unwrap().into_owned(), "<error type='auth'/>");
    stage.server(&format!("<presence from='{ROOM}/last' to='{SESSION}' type='error' id='{id}'>{refused}</presence>"));
    retract(&mut stage, ROOM);
    bookmark(&mut stage, &[ROOM.to_owned()], "");
    let id = question(&mut stage);
    stage.server(&answer(ROOM, &id, &reserved("Queen")));
    assert_eq!(joins(&mut stage), [format!("{ROOM}/Queen")]);
}

#[test]
fn few_are_joined_at_once_the_next_when_one_is_answered() {
    let mut stage = up();
    bookmark(&mut stage, &many(), "<nick>n</nick>");
    let first = joins(&mut stage);
    assert_eq!(first.len(), 8, "{first:?}");
    // A client's join does not wait behind them.
    stage.client(A, &join("nick", "a1"));
    assert_eq!(joins(&mut stage), [format!("{ROOM}/nick")]);
    enter(&mut stage, &first[0]);
    let next = joins(&mut stage);
    assert_eq!(next, ["r008@muc.example/n"]);
    let refusal = "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    stage.server(&format!("<presence from='{}' to='{SESSION}' type='error'>{refusal}</presence>", first[1]));
    assert_eq!(joins(&mut stage), ["r009@muc.example/n"]);
    // A bookmark that went meanwhile is not heeded when it would be its turn.
    retract(&mut stage, "r010@muc.example");
    enter(&mut stage, &next[0]);
    assert_eq!(joins(&mut stage), ["r011@muc.example/n"]);
    // Rooms that do not answer hold nobody up for long.
    let mut all = std::collections::BTreeSet::from_iter(first);
    for _ in 0..30 {
        stage.pass(Duration::from_secs(10));
        let more = joins(&mut stage);
        assert!(more.len() <= 8, "{more:?}");
        all.extend(more);
    }
    assert_eq!(all.len(), 150 - 2, "all but the one that was let in, and the one that went");
}

#[test]
fn a_client_that_joins_a_room_before_its_turn_is_served() {
    let mut stage = up();
    bookmark(&mut stage, &many(), "<nick>n</nick>");
    let first = joins(&mut stage);
    let to = "r100@muc.example/mine";
    stage.client(A, &format!("<presence to='{to}' id='a1'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
    assert!(stage.up()[0].contains(to));
    enter(&mut stage, to);
    for own in &first {
        enter(&mut stage, own);
    }
    assert_eq!(joins(&mut stage).len(), 8);
    stage.pass(Duration::from_secs(600));
    assert!(!joins(&mut stage).iter().any(|join| join.starts_with("r100@")));
}

#[test]
fn after_an_outage_rooms_are_taken_up_in_turn_those_that_clients_wait_for_first() {
    let mut stage = up();
    bookmark(&mut stage, &many()[..40], "<nick>n</nick>");
    let mut entered = 0;
    while entered < 40 {
        for own in joins(&mut stage) {
            enter(&mut stage, &own);
            entered += 1;
        }
    }
    stage.give(Input::SessionLost);
    stage.client(
        A,
        &format!("<presence to='r039@muc.example/n' id='a1'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
    );
    stage.pass(Duration::from_secs(9));
    stage.forget();
    stage.give(Input::SessionUp(None));
    let back = joins(&mut stage);
    assert_eq!((back.len(), back[0].as_str()), (9, "r039@muc.example/n"));
    let mut all = back.len();
    let mut last = back;
    while !last.is_empty() {
        for own in &last {
            enter(&mut stage, own);
        }
        last = joins(&mut stage);
        assert!(last.len() <= 8, "{last:?}");
        all += last.len();
    }
    assert_eq!(all, 40);
}
