//! The account's will to be in a room: what its bookmarks make it do, and what becomes of its clients.

use super::*;
use crate::account::bookmarks::event;

const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";

/// An account that follows its bookmarks; A and B are there, nobody has joined anything.
fn stage() -> Stage {
    Stage::with(Settings { bookmarks: true, ..Settings::default() })
}

/// Its session is up, and it has no bookmarks.
fn up() -> Stage {
    let mut stage = stage();
    stage.give(Input::LoggedIn);
    assert_eq!(stage.commands(), ["connect"]);
    stage.give(Input::SessionUp(None));
    answer_all(&mut stage, "", "");
    stage.forget();
    stage
}

/// Answers what the account session asks of its own server: the items of XEP-0402, and XEP-0048 in private storage.
fn answer_all(stage: &mut Stage, items: &str, storage: &str) -> Vec<String> {
    let (asked, others): (Vec<_>, Vec<_>) = stage.up().into_iter().partition(|up| up.starts_with("<iq type="));
    for iq in &asked {
        let asked = Stanza::own(iq.clone());
        let id = asked.id().unwrap();
        let result = |payload: String| format!("<iq to='{SESSION}' type='result' id='{id}'>{payload}</iq>");
        let pubsub = "xmlns='http://jabber.org/protocol/pubsub'";
        stage.server(&if iq.contains("jabber:iq:private") {
            let storage = format!("<storage xmlns='storage:bookmarks'>{storage}</storage>");
            result(format!("<query xmlns='jabber:iq:private'>{storage}</query>"))
        } else if iq.contains("<items node='urn:xmpp:bookmarks:1'/>") && !items.is_empty() {
            result(format!("<pubsub {pubsub}><items node='urn:xmpp:bookmarks:1'>{items}</items></pubsub>"))
        } else {
            let none = "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
            format!("<iq to='{SESSION}' type='error' id='{id}'><error type='cancel'>{none}</error></iq>")
        });
    }
    others
}

/// With the nick `user`, if `inner` is empty: without any the room is asked for one (`autojoin_tests`).
fn item(room: &str, autojoin: bool, inner: &str) -> String {
    let inner = if inner.is_empty() { "<nick>user</nick>" } else { inner };
    format!(
        "<item id='{room}'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='{autojoin}'>{inner}</conference></item>"
    )
}

fn told(from: &str, items: &str) -> String {
    let items = format!("<items node='urn:xmpp:bookmarks:1'>{items}</items>");
    format!("<message{from} type='headline'><event xmlns='{PUBSUB_EVENT}'>{items}</event></message>")
}

const OWN: &str = " from='user@example'";

fn publish(stage: &mut Stage, autojoin: bool) {
    stage.server(&told(OWN, &item(ROOM, autojoin, "")));
}

fn retract(stage: &mut Stage) {
    stage.server(&told(OWN, &format!("<retract id='{ROOM}'/>")));
}

/// In the room by its bookmark; no client is.
fn in_by_bookmark() -> Stage {
    let mut stage = up();
    publish(&mut stage, true);
    stage.let_in("user", "");
    stage.forget();
    stage
}

fn presences(ups: &[String]) -> Vec<&String> {
    ups.iter().filter(|up| up.starts_with("<presence")).collect()
}

fn leaves(stage: &mut Stage) -> bool {
    stage.up().iter().any(|up| up.starts_with("<presence") && up.contains("type='unavailable'"))
}

fn standing(stage: &Stage) -> Option<bool> {
    stage.account.rooms().find(|room| room.jid() == ROOM).map(Room::is_joined)
}

#[test]
fn a_login_fetches_them_and_the_rooms_are_joined() {
    let mut stage = stage();
    stage.give(Input::LoggedIn);
    assert_eq!(stage.commands(), ["connect"]);
    stage.give(Input::SessionUp(None));
    let secret = "<nick>Nick</nick><password>p&amp;w</password>";
    let items = [item(ROOM, true, secret), item("not@muc.example", false, "")].concat();
    assert!(answer_all(&mut stage, &items, "<conference jid='old@muc.example' autojoin='true'/>").is_empty());
    let up = stage.up();
    let [join] = &presences(&up)[..] else { panic!("one join, not {up:#?}") };
    assert!(join.contains("to='room@muc.example/Nick'") && join.contains("<password>p&amp;w</password>"), "{join}");
    assert!(join.contains("<show>away</show>") && join.contains("maxstanzas='100'"), "{join}");
    // Somebody has made the room just now by this: nobody is there to configure it.
    stage.let_in("Nick", "<status code='201'/>");
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("muc#owner") && up[0].contains("type='submit'"), "{up:?}");
    // No client is there, and none comes: it stays, whatever the time.
    stage.pass(Duration::from_secs(60 * 24 * 3600));
    assert!(presences(&stage.up()).is_empty() && stage.commands().is_empty());
    assert_eq!(standing(&stage), Some(true));
    stage.give(Input::Gone(A));
    stage.give(Input::Gone(B));
    assert!(!stage.account.is_idle());
}

#[test]
fn without_any_the_account_session_is_not_kept() {
    let mut stage = up();
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.commands(), ["disconnect"]);
    // They were fetched just now.
    stage.give(Input::LoggedIn);
    assert!(stage.commands().is_empty());
    stage.pass(Duration::from_secs(600));
    stage.give(Input::LoggedIn);
    assert_eq!(stage.commands(), ["connect"]);
    // What a client's session sees pass opens it, too.
    let mut stage = up();
    stage.pass(Duration::from_secs(60));
    stage.forget();
    let seen = event(&Stanza::own(told("", &item(ROOM, true, "")))).unwrap();
    stage.give(Input::Bookmarks(seen));
    assert_eq!(stage.commands(), ["connect"]);
    stage.give(Input::SessionUp(None));
    let joins = answer_all(&mut stage, &item(ROOM, true, ""), "");
    assert!(joins.len() == 1 && joins[0].contains("to='room@muc.example/user'"), "{joins:?}");
}

#[test]
fn switched_off_nothing_is_asked_and_nothing_heeded() {
    let mut stage = Stage::new();
    stage.give(Input::LoggedIn);
    assert!(stage.commands().is_empty());
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    assert_eq!(stage.up().len(), 1);
    stage.server(&told(OWN, &item("other@muc.example", true, "")));
    assert!(stage.up().is_empty() && stage.seen(A).is_empty());
}

#[test]
fn private_storage_of_before_pep_will_do() {
    let mut stage = stage();
    stage.give(Input::LoggedIn);
    stage.give(Input::SessionUp(None));
    let storage = format!("<conference jid='{ROOM}' autojoin='1'><nick>Nick</nick></conference>");
    answer_all(&mut stage, "", &storage);
    assert!(stage.up()[0].contains("to='room@muc.example/Nick'"));
}

#[test]
fn an_event_is_heeded_and_goes_no_further() {
    let mut stage = up();
    publish(&mut stage, true);
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("to='room@muc.example/user'"), "{up:?}");
    stage.server(&told(OWN, "").replace("urn:xmpp:bookmarks:1", "urn:xmpp:avatar:metadata"));
    assert!(stage.seen(A).is_empty() && stage.seen(B).is_empty());
    // A message that is no event is still everybody's.
    stage.server("<message from='user@example'><body>note</body></message>");
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (1, 1));
}

#[test]
fn s17_nobody_else_speaks_of_the_bookmarks() {
    let mut stage = in_by_bookmark();
    stage.client(A, &join("nick", "a1"));
    stage.forget();
    for from in [ROOM, "room@muc.example/evil", "evil@example", "user@example/phone", "example", "user@example.org"] {
        let from = format!(" from='{from}'");
        stage.server(&told(&from, &item("trap@muc.example", true, "")));
        stage.server(&told(&from, &format!("<retract id='{ROOM}'/>")));
        stage.server(&told(&from, "").replace("items", "purge"));
    }
    stage.pass(Duration::from_secs(60));
    assert!(stage.up().is_empty());
    assert_eq!((stage.account.rooms().count(), standing(&stage)), (1, Some(true)));
    // Nor does anybody else answer what the account has asked.
    stage.give(Input::SessionLost);
    stage.pass(Duration::from_secs(9));
    stage.give(Input::SessionUp(None));
    let asked = stage.up().into_iter().find(|up| up.contains("<items node='urn:xmpp:bookmarks:1'/>")).unwrap();
    let id = Stanza::own(asked).id().unwrap().into_owned();
    let all = format!("<items node='urn:xmpp:bookmarks:1'>{}</items>", item("trap@muc.example", true, ""));
    let pubsub = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{all}</pubsub>");
    for from in ["room@muc.example/evil", "evil@example", "user@example/phone"] {
        stage.server(&format!("<iq from='{from}' type='result' id='{id}'>{pubsub}</iq>"));
    }
    assert!(stage.up().is_empty());
    stage.server(&format!("<iq from='user@example' type='result' id='{id}'>{pubsub}</iq>"));
    assert!(stage.up().iter().any(|up| up.contains("trap@muc.example")), "the right one still may");
}

#[test]
fn when_the_bookmark_goes_the_account_leaves_and_who_is_attached_sees_it() {
    for turned_off in [false, true] {
        let mut stage = in_by_bookmark();
        stage.client(A, &join("nick", "a1"));
        stage.reflect();
        stage.forget();
        if turned_off {
            publish(&mut stage, false)
        } else {
            retract(&mut stage)
        }
        stage.pass(Duration::from_secs(9));
        assert!(stage.up().is_empty());
        stage.pass(Duration::from_secs(1));
        assert!(leaves(&mut stage), "turned off: {turned_off}");
        stage.server(&gone("").replace("/nick", "/user"));
        let seen = stage.seen(A);
        assert!(seen[0].contains("type='unavailable'") && seen[0].contains("'110'"), "{seen:?}");
        assert!(seen[0].contains("jid='user@example/client1'"), "{seen:?}");
        assert_eq!(seen[1], "detached room@muc.example seen=1");
        assert_eq!(standing(&stage), None);
        stage.pass(Duration::from_secs(600));
        assert!(presences(&stage.up()).is_empty(), "it does not go back");
    }
}

#[test]
fn gone_and_come_again_is_nothing() {
    let mut stage = in_by_bookmark();
    retract(&mut stage);
    stage.pass(Duration::from_secs(5));
    publish(&mut stage, true);
    stage.pass(Duration::from_secs(600));
    assert!(stage.up().is_empty());
    assert_eq!(standing(&stage), Some(true));
}

#[test]
fn a_client_that_leaves_a_bookmarked_room_is_detached_no_more() {
    let mut stage = in_by_bookmark();
    stage.client(A, &join("nick", "a1"));
    stage.reflect();
    stage.forget();
    stage.client(A, &leave("user"));
    assert!(stage.seen(A)[0].contains("'110'"));
    stage.pass(Duration::from_secs(60 * 24 * 3600));
    assert!(!leaves(&mut stage));
    assert_eq!(standing(&stage), Some(true));
    // As soon as it is no longer bookmarked it is left.
    retract(&mut stage);
    stage.pass(Duration::from_secs(10));
    assert!(leaves(&mut stage));
}

#[test]
fn without_a_bookmark_the_last_leave_counts_as_ever() {
    let mut stage = up();
    stage.client(A, &join("nick", "a1"));
    stage.let_in("nick", "");
    publish(&mut stage, false);
    stage.client(A, &leave("nick"));
    stage.forget();
    stage.pass(Duration::from_secs(10));
    assert!(leaves(&mut stage));
}

#[test]
fn a_bookmark_that_comes_while_the_leave_is_pending_ends_that() {
    let mut stage = up();
    stage.client(A, &join("nick", "a1"));
    stage.let_in("nick", "");
    stage.client(A, &leave("nick"));
    publish(&mut stage, true);
    stage.forget();
    stage.pass(Duration::from_secs(60 * 24 * 3600));
    assert!(!leaves(&mut stage));
    assert_eq!(standing(&stage), Some(true));
}

#[test]
fn who_creates_a_bookmarked_room_and_goes_leaves_it_open() {
    let mut stage = up();
    stage.client(A, &join("nick", "a1"));
    stage.let_in("nick", "<status code='201'/>");
    publish(&mut stage, true);
    stage.forget();
    stage.give(Input::Gone(A));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("muc#owner"), "{up:?}");
    assert_eq!(standing(&stage), Some(true));
}

#[test]
fn who_was_put_out_goes_back_with_a_client_or_another_bookmark_only() {
    for codes in ["<status code='307'/>", "<status code='301'/>", "<destroy/>"] {
        let mut stage = in_by_bookmark();
        stage.server(&gone(codes).replace("/nick", "/user"));
        assert_eq!(standing(&stage), None);
        // Nor when the account session comes up again.
        stage.give(Input::SessionLost);
        stage.pass(Duration::from_secs(9));
        assert_eq!(stage.commands(), ["connect"]);
        stage.give(Input::SessionUp(None));
        answer_all(&mut stage, &item(ROOM, true, ""), "");
        publish(&mut stage, true);
        stage.pass(Duration::from_secs(600));
        assert!(presences(&stage.up()).is_empty(), "{codes}");
        // A client's join that fails changes nothing; one that does not, all.
        stage.client(A, &join("nick", "a1"));
        let error = "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        stage.server(&format!("<presence from='{ROOM}/nick' id='a1' type='error'>{error}</presence>"));
        stage.forget();
        stage.pass(Duration::from_secs(600));
        assert!(presences(&stage.up()).is_empty(), "{codes}");
        stage.client(A, &join("nick", "a1"));
        stage.let_in("nick", "");
        stage.client(A, &leave("nick"));
        stage.forget();
        stage.pass(Duration::from_secs(600));
        assert!(!leaves(&mut stage), "{codes}");

        let mut stage = in_by_bookmark();
        stage.server(&gone(codes).replace("/nick", "/user"));
        stage.server(&told(OWN, &item(ROOM, true, "<nick>other</nick>")));
        assert!(stage.up().iter().any(|up| up.contains("to='room@muc.example/other'")), "{codes}");
    }
}

#[test]
fn who_is_not_let_in_asks_again_where_that_may_help() {
    let refusal = |condition: &str, id: &str| {
        let error = format!("<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
        format!("<presence from='{ROOM}/user' id='{id}' type='error'>{error}</presence>")
    };
    for (condition, again) in [("conflict", true), ("item-not-found", true), ("forbidden", false)] {
        let mut stage = up();
        publish(&mut stage, true);
        let id = Stanza::own(stage.up().remove(0)).id().unwrap().into_owned();
        stage.server(&refusal(condition, &id));
        stage.pass(Duration::from_secs(600));
        let joins = presences(&stage.up()).len();
        assert_eq!(joins > 0, again, "{condition}: {joins}");
        assert!(joins < 10, "{condition}: {joins}");
    }
}

#[test]
fn a_lost_account_session_is_opened_again_and_the_rooms_joined() {
    let mut stage = in_by_bookmark();
    stage.give(Input::Gone(A));
    stage.give(Input::Gone(B));
    stage.give(Input::SessionLost);
    stage.pass(Duration::from_secs(9));
    assert_eq!(stage.commands(), ["connect"]);
    stage.give(Input::SessionUp(None));
    let joins = answer_all(&mut stage, &item(ROOM, true, ""), "");
    assert!(joins.len() == 1 && joins[0].contains("<show>away</show>"), "{joins:?}");
    stage.let_in("user", "");
    // What was unbookmarked meanwhile is left.
    stage.give(Input::SessionLost);
    stage.pass(Duration::from_secs(30));
    stage.give(Input::SessionUp(None));
    answer_all(&mut stage, &item("other@muc.example", true, ""), "");
    stage.let_in("user", "");
    stage.forget();
    stage.pass(Duration::from_secs(10));
    assert!(leaves(&mut stage));
}

#[test]
fn an_error_of_the_servers_takes_no_bookmark_away() {
    let mut stage = in_by_bookmark();
    stage.give(Input::SessionLost);
    stage.pass(Duration::from_secs(9));
    stage.give(Input::SessionUp(None));
    for iq in stage.up().into_iter().filter(|up| up.starts_with("<iq")) {
        let id = Stanza::own(iq).id().unwrap().into_owned();
        let error = "<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        stage.server(&format!("<iq type='error' id='{id}'>{error}</iq>"));
    }
    stage.let_in("user", "");
    stage.forget();
    stage.pass(Duration::from_secs(600));
    assert!(!leaves(&mut stage));
}

#[test]
fn a_client_of_a_bookmarked_room_is_shown_to_the_room() {
    let mut stage = in_by_bookmark();
    stage.client(A, &join("user", "a1"));
    let up = stage.up();
    assert!(up.len() == 1 && !up[0].contains("<show>"), "no longer away: {up:?}");
    // Also one that comes while the account is on its way in.
    let mut stage = super::bookmarks::up();
    publish(&mut stage, true);
    stage.client(A, &join("user", "a1"));
    stage.forget();
    stage.let_in("user", "");
    let up = stage.up();
    assert!(up.len() == 1 && !up[0].contains("<show>"), "{up:?}");
}

#[test]
fn s17_bookmarks_fill_no_more_than_the_most_rooms() {
    let mut stage = Stage::with(Settings { bookmarks: true, max_rooms: 2, ..Settings::default() });
    stage.give(Input::LoggedIn);
    stage.give(Input::SessionUp(None));
    let items: String = (0..4).map(|n| item(&format!("r{n}@muc.example"), true, "")).collect();
    answer_all(&mut stage, &items, "");
    let up = stage.up();
    assert_eq!(presences(&up).len(), 2);
    assert!(up.iter().any(|line| line == "limited rooms.max_rooms: a bookmarked room is not joined"), "{up:?}");
}

#[test]
fn a_bookmark_that_comes_while_the_account_session_is_away_waits_for_it() {
    let mut stage = up();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionLost);
    // Its join was not answered, and it does not want it any more.
    stage.give(Input::Unavailable(A, Stanza::own("<presence type='unavailable'/>")));
    stage.forget();
    let seen = event(&Stanza::own(told("", &item(ROOM, true, "")))).unwrap();
    stage.give(Input::Bookmarks(seen));
    assert!(stage.up().is_empty());
    stage.pass(Duration::from_secs(9));
    assert_eq!(stage.commands(), ["connect"]);
    stage.give(Input::SessionUp(None));
    assert_eq!(answer_all(&mut stage, &item(ROOM, true, ""), "").len(), 1);
}

#[test]
fn who_is_no_longer_enrolled_has_no_bookmarks_here() {
    let mut stage = in_by_bookmark();
    stage.give(Input::Unenrolled);
    stage.give(Input::Gone(A));
    stage.give(Input::Gone(B));
    assert!(stage.account.is_idle());
    let seen = event(&Stanza::own(told("", &item(ROOM, true, "")))).unwrap();
    stage.give(Input::Bookmarks(seen));
    assert!(stage.account.is_idle() && stage.commands().is_empty());
}

#[test]
fn what_the_operator_has_it_leave_it_does_not_go_back_to_until_a_client_joins() {
    let mut stage = in_by_bookmark();
    stage.give(Input::LeaveRoom(ROOM.to_owned()));
    assert!(leaves(&mut stage));
    stage.server(&gone(""));
    stage.pass(Duration::from_secs(600));
    assert_eq!((presences(&stage.up()), standing(&stage)), (vec![], None));
    stage.client(A, &join("user", "a1"));
    assert_eq!(presences(&stage.up()).len(), 1);
    stage.let_in("user", "");
    stage.give(Input::Gone(A));
    stage.pass(Duration::from_secs(60 * 24 * 3600));
    assert_eq!(standing(&stage), Some(true), "bookmarked as before");
}

#[test]
fn s20_a_bookmarked_room_that_takes_too_much_is_given_up_and_not_joined_again() {
    let mut stage = Stage::with(Settings { bookmarks: true, memory_per_account: 64 << 10, ..Settings::default() });
    stage.give(Input::LoggedIn);
    stage.give(Input::SessionUp(None));
    answer_all(&mut stage, &item(ROOM, true, ""), "");
    stage.let_in("user", "");
    stage.forget();
    let x = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/></x>";
    for n in 0..8 {
        let status = "s".repeat(10_000);
        stage.server(&format!("<presence from='{ROOM}/{n}' to='{SESSION}'><status>{status}</status>{x}</presence>"));
    }
    let up = stage.up();
    assert!(up[1].contains("type='unavailable'") && presences(&up).len() == 1, "{up:?}");
    stage.server(&gone("").replace("/nick'", "/user'"));
    assert_eq!(stage.account.rooms().count(), 0);
    stage.pass(Duration::from_secs(100));
    assert!(presences(&stage.up()).is_empty());
    // A new bookmark is not enough, while there is no memory for it.
    publish(&mut stage, false);
    stage.pass(Duration::from_secs(20));
    publish(&mut stage, true);
    let up = stage.up();
    assert!(
        up.iter().any(|line| line == "limited rooms.memory_per_account: a bookmarked room is not joined"),
        "{up:?}"
    );
    assert!(presences(&up).is_empty());
}
