//! An account's limits, as conversations.

use super::*;

fn large(id: &str, bytes: usize) -> String {
    let body = "x".repeat(bytes);
    format!("<message to='{ROOM}' type='groupchat' id='{id}'><body>{body}</body></message>")
}

#[test]
fn s12_what_the_server_would_not_take_is_bounced_and_the_session_lives() {
    let mut stage = Stage::joined();
    stage.client(A, &large("m1", 256 * 1024));
    let seen = stage.seen(A);
    assert!(
        seen[0].contains("<policy-violation") && seen[0].contains("id='m1'"),
        "{}",
        &seen[0][seen[0].len() - 300..]
    );
    assert!(seen[1].starts_with("limited "), "{seen:?}");
    assert!(stage.up().is_empty());
    stage.client(A, &large("m2", 250 * 1024));
    assert_eq!(stage.up().len(), 1);
    // A join is not let up either: it would end the session as well.
    let join =
        join("nick", "b1").replace("</presence>", &format!("<status>{}</status></presence>", "x".repeat(1 << 18)));
    stage.client(B, &join);
    let seen = stage.seen(B);
    assert!(seen[0].contains("<policy-violation") && seen[0].contains("id='b1'"), "{}", seen[0].len());
    assert_eq!(seen.last().unwrap(), "detached room@muc.example seen=1");
    assert!(stage.up().is_empty());
}

#[test]
fn s12_the_announced_limit_counts_where_there_is_one() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(Some(12_000)));
    stage.let_in("nick", "");
    stage.forget();
    stage.client(A, &large("m1", 12_000));
    assert!(stage.up().is_empty() && stage.seen(A)[0].contains("<policy-violation"));
    stage.client(A, &large("m2", 10_000));
    assert_eq!(stage.up().len(), 1);
}

#[test]
fn s08_a_second_conflict_keeps_the_session_down_until_a_client_ends() {
    let mut stage = Stage::joined();
    stage.give(Input::SessionConflict);
    assert!(stage.seen(A).iter().any(|l| l.contains("110") && l.contains("333")));
    stage.client(A, &join("nick", "a2"));
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.commands(), ["connect"], "one conflict is an accident");
    stage.give(Input::SessionUp(None));
    stage.let_in("nick", "");
    stage.forget();
    stage.pass(Duration::from_secs(500));
    stage.give(Input::SessionConflict);
    stage.forget();
    stage.client(A, &join("nick", "a3"));
    let seen = stage.seen(A);
    assert!(seen[0].starts_with("relay seen=3 passes=true <presence"), "{seen:?}");
    stage.give(Input::KeysChanged);
    stage.pass(Duration::from_secs(24 * 3600));
    assert!(stage.commands().is_empty(), "a login makes no room");
    stage.give(Input::Gone(B));
    assert_eq!(stage.commands(), ["connect"]);
}

#[test]
fn s08_conflicts_that_are_rare_are_accidents() {
    let mut stage = Stage::joined();
    for _ in 0..3 {
        stage.give(Input::SessionConflict);
        stage.client(A, &join("nick", "a2"));
        stage.pass(Duration::from_secs(9));
        assert_eq!(stage.commands(), ["connect"]);
        stage.give(Input::SessionUp(None));
        stage.let_in("nick", "");
        stage.pass(Duration::from_secs(700));
        stage.forget();
    }
}

#[test]
fn s17_rooms_beyond_the_most_pass_through() {
    let mut stage = Stage::with(Settings { max_rooms: 1, ..Settings::default() });
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.let_in("nick", "");
    stage.forget();
    stage.client(A, &join("nick", "a2").replace(ROOM, "second@muc.example"));
    let seen = stage.seen(A);
    assert_eq!(seen[0], "limited rooms.max_rooms: a join passes through");
    assert!(seen[1].starts_with("relay seen=2 passes=true <presence") && seen.len() == 2, "{seen:?}");
    stage.client(B, &join("nick", "b1"));
    assert!(stage.seen(B).len() == 4, "the room that the account is in takes more clients");
}

#[test]
fn clients_beyond_the_most_are_refused() {
    let mut stage = Stage::with(Settings { max_attached: 1, ..Settings::default() });
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.let_in("nick", "");
    stage.forget();
    stage.client(B, &join("nick", "b1"));
    let seen = stage.seen(B);
    assert!(seen[0].contains("<resource-constraint") && seen[0].contains("type='wait'"), "{seen:?}");
    assert!(seen[0].contains("id='b1'") && seen[1].starts_with("limited rooms.max_attached"));
    assert_eq!(seen[2], "detached room@muc.example seen=1");
    stage.give(Input::Gone(A));
    stage.client(B, &join("nick", "b2"));
    assert_eq!(stage.seen(B).len(), 4);
}
