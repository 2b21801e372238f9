//! What a client that enters sees of itself, and under which ids.

use super::*;

fn enter(id: &str, says: &str) -> String {
    join("nick", id).replace("</presence>", &format!("{says}</presence>"))
}

/// B enters with something new to say, which is on its way to the room.
fn entering() -> Stage {
    let mut stage = Stage::joined();
    stage.client(B, &enter("b1", "<status>new</status>"));
    stage
}

/// The room has changed what the own occupant may do: it repeats the presence that it was shown last.
fn demoted(stage: &mut Stage, id: &str) {
    let x = "<item affiliation='none' role='visitor'/><status code='110'/>";
    let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{x}</x>");
    stage.server(&format!("<presence from='{ROOM}/nick' to='{SESSION}' id='{id}'>{x}</presence>"));
}

#[test]
fn who_enters_sees_itself_as_the_room_shows_it_and_all_in_order() {
    let mut stage = entering();
    assert!(stage.seen(B).is_empty());
    let up = stage.up.clone();
    assert!(up.len() == 1 && up[0].contains("<status>new</status>") && !up[0].contains("protocol/muc'"), "{up:?}");
    // What the room says before is history, and who comes before is there.
    let body = |text: &str| format!("<message from='{ROOM}/other' type='groupchat'><body>{text}</body></message>");
    stage.server(&body("before"));
    stage.server(&format!("<presence from='{ROOM}/third' to='{SESSION}'/>"));
    assert!(stage.seen(B).is_empty());
    stage.client(B, &chat("held"));
    assert_eq!(stage.up.len(), 1, "what it says meanwhile waits");
    stage.reflect();
    assert_eq!(stage.up().len(), 1, "now it goes out");
    stage.server(&body("after"));
    let seen = stage.seen(B);
    assert_eq!(seen.len(), 7, "{seen:#?}");
    assert!(seen[0].contains("/other'") && seen[1].contains("/third'"));
    assert!(seen[2].contains("<status>new</status>") && seen[2].contains("id='b1'") && seen[2].contains("'110'"));
    assert!(seen[3].contains("old") && seen[4].contains("before") && seen[4].contains("<delay"), "{seen:#?}");
    assert!(seen[5].contains("<subject/>") && seen[6].contains("after") && !seen[6].contains("<delay"));
    let sibling = stage.seen(A);
    assert!(sibling[2].contains("<status>new</status>") && sibling[2].contains("id='a1'"), "{sibling:#?}");
}

#[test]
fn a_room_that_is_silent_or_refuses_keeps_nobody_out() {
    let mut stage = entering();
    stage.pass(Duration::from_millis(4999));
    assert!(stage.seen(B).is_empty());
    stage.pass(Duration::from_millis(1));
    assert_eq!(stage.seen(B).len(), 4);
    let mut stage = entering();
    let id = Stage::id_of(&stage.up()[0]);
    stage.server(&format!("<presence from='{ROOM}/nick' to='{SESSION}' id='{id}' type='error'/>"));
    assert_eq!(stage.seen(B).len(), 4);
}

#[test]
fn who_is_not_the_best_or_says_nothing_new_waits_for_nothing() {
    let mut stage = Stage::joined();
    stage.client(B, &enter("b1", "<show>xa</show>"));
    assert_eq!(stage.seen(B).len(), 4);
    stage.client(B, &enter("b2", ""));
    assert_eq!(stage.seen(B).len(), 4);
    assert!(stage.up().is_empty());
}

#[test]
fn who_comes_behind_waits_its_turn_and_who_goes_meanwhile_is_in_nobodys_way() {
    const C: ClientId = ClientId(3);
    let mut stage = entering();
    stage.give(Input::Hello(C, jid(C)));
    stage.client(C, &enter("c1", "<show>xa</show>"));
    assert!(stage.seen(C).is_empty());
    stage.give(Input::Gone(B));
    assert_eq!(stage.seen(C).len(), 4);
    let up = stage.up();
    assert!(up.len() == 2 && !up[1].contains("new"), "A is shown again: {up:?}");
    for client in [A, C] {
        stage.give(Input::Gone(client));
    }
    assert_eq!(stage.account.kept_for_clients(), 0);
}

#[test]
fn the_account_does_not_leave_a_room_that_a_client_enters() {
    let soon = Settings { leave_grace: Duration::from_secs(1), ..Settings::default() };
    let mut stage = Stage::joined_with(soon);
    stage.client(B, &enter("b1", "<status>new</status>"));
    stage.client(A, &leave("nick"));
    stage.pass(Duration::from_secs(4));
    assert_eq!(stage.up.len(), 1);
    stage.reflect();
    stage.pass(Duration::from_secs(60));
    assert!(!stage.up().iter().any(|up| up.contains("unavailable") || up.contains("<show>away")));
    // But one that vanishes while it enters is missed like any other.
    let mut stage = Stage::joined();
    stage.give(Input::Gone(A));
    stage.pass(Duration::from_secs(11));
    stage.client(B, &enter("b1", ""));
    stage.forget();
    stage.give(Input::Gone(B));
    stage.pass(Duration::from_secs(11));
    assert!(stage.up()[0].contains("<show>away</show>"));
    stage.pass(Settings::default().offline_ttl);
    assert!(stage.up().iter().any(|up| up.contains("type='unavailable'")));
}

#[test]
fn each_client_sees_its_own_ids() {
    let mut stage = entering();
    let id = Stage::id_of(&stage.up[0]);
    stage.reflect();
    stage.forget();
    demoted(&mut stage, &id);
    assert!(stage.seen(A)[0].contains(" id='a1'") && stage.seen(B)[0].contains(" id='b1'"));
    // An update counts when the room shows it.
    stage.client(B, &format!("<presence to='{ROOM}/nick' id='b2'><status>newer</status></presence>"));
    demoted(&mut stage, &id);
    assert!(stage.seen(B)[0].contains(" id='b1'"));
    stage.reflect();
    assert!(stage.seen(B)[0].contains(" id='b2'"));
    demoted(&mut stage, "b2");
    assert!(stage.seen(B)[0].contains(" id='b2'"));
    // So does one that the room need not be shown, and one without an id.
    stage.client(A, &format!("<presence to='{ROOM}/nick' id='a2'><show>xa</show></presence>"));
    stage.client(B, &format!("<presence to='{ROOM}/nick'><status>newest</status></presence>"));
    stage.reflect();
    stage.forget();
    demoted(&mut stage, "made-up");
    assert!(stage.seen(A)[0].contains(" id='a2'") && !stage.seen(B)[0].contains(" id="));
}

impl Stage {
    fn id_of(stanza: &str) -> String {
        Stanza::own(stanza.to_owned()).id().unwrap().into_owned()
    }
}
