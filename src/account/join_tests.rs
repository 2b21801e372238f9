//! Joining: the account's join, further clients, and what becomes of joins that nobody waits for.

use super::*;

#[test]
fn the_first_client_joins_the_account_and_is_served_in_order() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    assert!(stage.up().is_empty());
    stage.give(Input::SessionUp(None));
    let up = stage.up();
    assert_eq!(up.len(), 1);
    assert!(up[0].contains("maxstanzas='100'"), "{up:?}");
    stage.let_in("nick", "<status code='201'/>");
    let seen = stage.seen(A);
    assert_eq!(seen.len(), 4, "{seen:#?}");
    assert!(seen[0].contains("/other'"));
    assert!(seen[1].contains("110") && seen[1].contains("201") && seen[1].contains("jid='user@example/client1'"));
    assert!(seen[1].contains("id='a1'"));
    assert!(seen[2].contains("<body>old</body>") && seen[3].contains("<subject/>"));
    assert!(seen.iter().all(|line| line.contains("to='user@example/client1'")), "{seen:#?}");
}

#[test]
fn a_further_client_is_served_from_state_and_nothing_goes_up() {
    let mut stage = Stage::joined();
    stage.client(B, &join("wanted", "b1"));
    assert!(stage.up().is_empty());
    let seen = stage.seen(B);
    assert_eq!(seen.len(), 4, "{seen:#?}");
    assert!(seen[1].contains("id='b1'") && seen[1].contains("210") && seen[1].contains("110"), "{}", seen[1]);
    assert!(stage.seen(A).is_empty());
    stage.server(&format!("<message from='{ROOM}/other' to='{SESSION}' type='groupchat'><body>live</body></message>"));
    assert_eq!(stage.seen(A).len(), 1);
    assert_eq!(stage.seen(B).len(), 1);
}

#[test]
fn a_failed_join_is_told_to_the_asker_and_the_next_one_asks_itself() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.client(B, &join("other-nick", "b1"));
    stage.give(Input::SessionUp(None));
    assert_eq!(stage.up().len(), 1);
    stage.server(&format!(
        "<presence from='{ROOM}/nick' to='{SESSION}' id='a1' type='error'><error type='auth'><not-authorized \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    ));
    let seen = stage.seen(A);
    assert!(seen[0].contains("not-authorized"), "{seen:?}");
    assert_eq!(seen[1], "detached room@muc.example seen=1");
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("/other-nick'"), "{up:?}");
    assert!(stage.seen(B).is_empty());
}

#[test]
fn what_follows_a_pending_join_waits_for_it() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.client(A, &chat("m1"));
    stage.give(Input::SessionUp(None));
    stage.client(A, &chat("m2"));
    assert_eq!(stage.up().len(), 1);
    stage.let_in("nick", "");
    let up = stage.up();
    assert!(up.len() == 2 && up[0].contains("m1") && up[1].contains("m2"), "{up:?}");
}

#[test]
fn s19_a_room_that_answers_too_late_is_left_at_once() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.pass(Duration::from_secs(61));
    assert!(stage.seen(A)[0].contains("remote-server-timeout"));
    assert!(stage.up().last().unwrap().contains("unavailable"));
    stage.pass(Duration::from_secs(61));
    assert_eq!(stage.account.rooms().count(), 0);
    stage.let_in("nick", "");
    assert!(stage.up().last().unwrap().contains("unavailable"));
    assert!(stage.seen(A).is_empty());
    // A stranger that says the same is not answered.
    let x = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x>";
    stage.server(&format!("<presence from='trap@evil.example/nick' to='{SESSION}'>{x}</presence>"));
    assert!(stage.up().is_empty());
}

#[test]
fn a_join_that_nobody_waits_for_any_more_is_undone() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.give(Input::Gone(A));
    stage.forget();
    stage.let_in("nick", "");
    assert!(stage.up().last().unwrap().contains("unavailable"));
}

#[test]
fn a_join_during_the_account_leave_waits_for_it() {
    let mut stage = Stage::joined();
    stage.client(A, &leave("nick"));
    stage.pass(Duration::from_secs(11));
    stage.forget();
    stage.client(B, &join("again", "b1"));
    assert!(stage.up().is_empty());
    stage.server(&gone(""));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("/again'"), "{up:?}");
}

#[test]
fn a_client_that_joins_again_gets_the_same_replay_and_nothing_goes_up() {
    let mut stage = Stage::joined();
    stage.client(A, &join("nick", "a2"));
    assert!(stage.up().is_empty());
    assert_eq!(stage.seen(A).len(), 4);
    stage.client(A, &chat("x"));
    assert_eq!(stage.up().len(), 1);
}

#[test]
fn a_new_room_is_configured_by_its_creator_or_left() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.let_in("nick", "<status code='201'/>");
    stage.forget();
    stage.client(B, &join("nick", "b1"));
    assert!(!stage.seen(B)[1].contains("201"));
    stage.give(Input::Gone(B));
    stage.give(Input::Gone(A));
    assert!(stage.up().last().unwrap().contains("unavailable"));
}
