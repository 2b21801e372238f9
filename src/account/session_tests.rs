//! The account session: not there, lost, idle; and what comes to it that is of no room.

use super::*;

#[test]
fn a_lost_session_is_told_by_110_and_333_and_the_room_is_joined_again() {
    let mut stage = Stage::joined();
    stage.client(A, &format!("<iq to='{ROOM}' type='get' id='q'><query xmlns='x'/></iq>"));
    stage.forget();
    stage.give(Input::SessionLost);
    let seen = stage.seen(A);
    assert!(seen[0].contains("remote-server-timeout") && seen[0].contains("id='q'"), "{seen:?}");
    assert!(seen[1].contains("333") && seen[1].contains("110") && seen[1].contains("unavailable"), "{seen:?}");
    assert!(seen[2].starts_with("detached"));
    // It joins again at once, and waits.
    stage.client(A, &join("nick", "a2"));
    assert!(stage.seen(A).is_empty());
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.commands(), ["connect"]);
    stage.give(Input::SessionUp(None));
    let up = stage.up();
    assert_eq!(up.len(), 1, "the rejoin serves the waiting client: {up:?}");
    stage.let_in("nick", "");
    stage.reflect();
    assert_eq!(stage.seen(A).len(), 4);
}

#[test]
fn without_an_account_session_joins_pass_through_in_order() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::Stanza(A, Stanza::own(chat("m1")), false));
    stage.give(Input::SessionFailed(false));
    let seen = stage.seen(A);
    assert!(seen[0].starts_with("relay seen=0 passes=true <presence"), "{seen:?}");
    assert!(seen[1].starts_with("relay seen=2 passes=true <message"), "{seen:?}");
    assert_eq!(seen.len(), 2);
    // What was under way follows the same path.
    stage.give(Input::Stanza(A, Stanza::own(chat("m2")), false));
    assert!(stage.seen(A)[0].starts_with("relay seen=3 passes=true"));
    // While the session is known to be down nobody waits.
    stage.client(B, &join("nick", "b1"));
    assert!(stage.seen(B)[0].starts_with("relay seen=1 passes=true"));
    stage.client(B, "<presence to='friend@example/phone'/>");
    assert!(stage.seen(B)[0].starts_with("relay seen=2 passes=false"));
}

#[test]
fn a_slow_account_session_does_not_hold_up_joins_for_ever() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.pass(Duration::from_secs(11));
    assert!(stage.seen(A)[0].starts_with("relay seen=1 passes=true"));
    stage.give(Input::SessionUp(None));
    assert!(stage.up().is_empty());
}

#[test]
fn a_session_that_is_lost_again_and_again_is_opened_more_and_more_rarely() {
    let mut stage = Stage::joined();
    let mut waits = Vec::new();
    for _ in 0..5 {
        stage.give(Input::SessionLost);
        let lost = stage.now.at;
        while !stage.commands().contains(&"connect") {
            stage.pass(Duration::from_millis(100));
        }
        waits.push(stage.now.at - lost);
        stage.give(Input::SessionUp(None));
        stage.let_in("nick", "");
    }
    assert!(waits.windows(2).all(|pair| pair[1] > pair[0]), "{waits:?}");
    stage.pass(Duration::from_secs(120));
    stage.give(Input::SessionLost);
    stage.pass(Duration::from_secs(2));
    assert_eq!(stage.commands(), ["connect"], "one that had lasted is opened at once");
}

#[test]
fn strangers_messages_reach_each_client_once_or_wait() {
    let mut stage = Stage::new();
    let stray = format!("<message from='x@y/z' to='{SESSION}' type='chat'><body>hi</body></message>");
    stage.server(&stray);
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (1, 1));
    stage.give(Input::Gone(A));
    stage.give(Input::Gone(B));
    stage.server(&stray);
    stage.give(Input::Hello(A, jid(A)));
    assert_eq!(stage.seen(A).len(), 1);
    stage.give(Input::Gone(A));
    let large = stray.replace("hi", &"x".repeat(300_000));
    (0..20).for_each(|_| stage.server(&large));
    stage.give(Input::Hello(A, jid(A)));
    assert_eq!(stage.seen(A).len(), 3, "no more than 1 MiB waits");
}

#[test]
fn an_idle_session_is_closed_and_dead_keys_wait_for_a_login() {
    let mut stage = Stage::joined();
    stage.server(&gone("<status code='301'/>"));
    stage.pass(Duration::from_secs(31));
    assert_eq!(stage.commands(), ["disconnect"]);
    stage.client(A, &join("nick", "a2"));
    stage.give(Input::SessionFailed(true));
    stage.forget();
    stage.pass(Duration::from_secs(3600));
    stage.client(A, &join("nick", "a3"));
    assert!(stage.commands().is_empty());
    assert!(stage.seen(A)[0].starts_with("relay"));
    stage.give(Input::KeysChanged);
    stage.client(B, &join("nick", "b1"));
    assert_eq!(stage.commands(), ["connect"]);
}
