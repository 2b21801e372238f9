//! Leaving, and being put out.

use super::*;

#[test]
fn the_account_stays_when_clients_are_cut_and_leaves_when_all_left_and_stay_online() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.give(Input::Gone(A));
    stage.pass(Duration::from_secs(60));
    assert!(stage.up().is_empty(), "the others see nothing of one client's end");
    stage.client(B, &leave("nick").replace("/>", "><status>gone</status></presence>"));
    let seen = stage.seen(B);
    assert!(seen.iter().any(|l| l.contains("unavailable") && l.contains("110") && l.contains("id='bye'")), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "detached room@muc.example seen=2");
    assert!(stage.up().is_empty());
    stage.pass(Duration::from_secs(11));
    let up = stage.up();
    assert!(
        up.last().unwrap().contains("type='unavailable'") && up.last().unwrap().contains("<status>gone</status>"),
        "{up:?}"
    );
    stage.server(&gone(""));
    assert_eq!(stage.account.rooms().count(), 0);
}

#[test]
fn a_leave_that_turns_out_to_be_a_quit_keeps_the_account() {
    let mut stage = Stage::joined();
    stage.client(A, &leave("nick"));
    stage.pass(Duration::from_secs(5));
    stage.give(Input::Gone(A));
    stage.pass(Duration::from_secs(60));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<show>away</show>"), "{up:?}");
    stage.pass(Duration::from_secs(8 * 24 * 3600));
    assert!(stage.up().last().unwrap().contains("unavailable"), "after offline_ttl");
}

#[test]
fn s14_a_kick_is_seen_by_all_and_ends_the_membership_but_only_from_the_room_itself() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    // Another occupant cannot speak for us.
    stage.server(&gone("<status code='307'/>").replace("/nick'", "/other'"));
    assert_eq!(stage.account.rooms().count(), 1);
    stage.forget();
    stage.server(&gone("<status code='307'/>"));
    for client in [A, B] {
        let seen = stage.seen(client);
        assert!(seen[0].contains("307") && seen[0].contains(&format!("jid='{}'", jid(client))), "{seen:?}");
        assert!(seen[1].starts_with("detached"), "{seen:?}");
    }
    assert_eq!(stage.account.rooms().count(), 0);
    stage.pass(Duration::from_secs(600));
    assert!(stage.up().is_empty());
}

#[test]
fn a_technical_removal_is_undone_with_growing_pauses() {
    let mut stage = Stage::joined();
    stage.server(&gone("<status code='333'/>"));
    assert!(stage.seen(A)[0].contains("333"));
    stage.pass(Duration::from_secs(3));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<x xmlns='http://jabber.org/protocol/muc'>"), "{up:?}");
    stage.client(A, &join("nick", "a2"));
    stage.let_in("nick", "");
    stage.reflect();
    assert_eq!(stage.seen(A).len(), 4);
}

#[test]
fn broadcast_unavailable_detaches_from_all_rooms_and_leaves_none() {
    let mut stage = Stage::joined();
    let words = "<presence type='unavailable' id='off'><status>bye</status></presence>";
    stage.give(Input::Unavailable(A, Stanza::own(words)));
    let seen = stage.seen(A);
    assert!(seen[0].contains("unavailable") && seen[0].contains("110"), "{seen:?}");
    assert!(seen[0].contains("id='off'") && seen[0].contains("<status>bye</status>"), "{seen:?}");
    assert!(seen[1].starts_with("detached"));
    stage.pass(Duration::from_secs(60));
    assert!(!stage.up().iter().any(|l| l.contains("unavailable")));
}

#[test]
fn nothing_is_said_to_a_client_that_is_gone() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.give(Input::Gone(A));
    assert!(stage.seen(A).is_empty());
    assert_eq!(stage.account.clients().count(), 1);
}

#[test]
fn a_leave_counts_no_more_when_another_client_has_joined_since() {
    let mut stage = Stage::joined();
    stage.client(A, &leave("nick"));
    stage.client(B, &join("nick", "b1"));
    stage.reflect();
    stage.give(Input::Gone(B));
    stage.forget();
    stage.pass(Duration::from_secs(60));
    assert!(!stage.up().iter().any(|up| up.contains("unavailable")), "B was cut off, and may be back");
}
