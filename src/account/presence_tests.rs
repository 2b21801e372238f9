//! The one presence that a room is shown, and the one nick.

use super::*;

/// A and B are in the room; A is free to chat, B is away: A's presence is shown.
fn two() -> Stage {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.client(A, &present("a", "chat"));
    stage.client(B, &present("b", "away"));
    // The bucket is full again.
    stage.pass(Duration::from_secs(60));
    stage.forget();
    stage
}

fn present(id: &str, show: &str) -> String {
    format!("<presence to='{ROOM}/nick' id='{id}'><show>{show}</show></presence>")
}

fn conflict(nick: &str, id: &str) -> String {
    format!(
        "<presence from='{ROOM}/{nick}' to='{SESSION}' id='{id}' type='error'><error type='cancel'><conflict \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    )
}

#[test]
fn a_flood_of_changes_goes_up_slowly_and_the_latest_wins() {
    let mut stage = two();
    for n in 0..100 {
        let status = format!("<presence to='{ROOM}/nick' id='p{n}'><show>chat</show><status>{n}</status></presence>");
        stage.client(A, &status);
    }
    let up = stage.up();
    assert_eq!(up.len(), 5, "{up:?}");
    let seen = stage.seen(A);
    assert_eq!(seen.len(), 95, "what the room does not reflect, the proxy does");
    assert!(seen[94].contains("id='p99'") && seen[94].contains("'110'"), "{}", seen[94]);
    stage.pass(Duration::from_millis(2001));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<status>99</status>"), "{up:?}");
    stage.pass(Duration::from_secs(600));
    assert!(stage.up().is_empty());
}

#[test]
fn the_last_clients_end_is_shown_after_a_flood_too() {
    let mut stage = two();
    for n in 0..6 {
        stage.client(A, &present(&n.to_string(), if n % 2 == 0 { "dnd" } else { "chat" }));
    }
    stage.give(Input::Gone(A));
    stage.give(Input::Gone(B));
    stage.forget();
    stage.pass(Duration::from_secs(30));
    let up = stage.up();
    assert!(up.last().is_some_and(|s| s.contains("<show>away</show>") && s.contains("ver=")), "{up:?}");
}

#[test]
fn presence_waits_for_the_new_nick() {
    let mut stage = two();
    stage.client(B, &format!("<presence to='{ROOM}/new' id='n'/>"));
    assert_eq!(stage.up().len(), 1);
    stage.client(A, &present("a2", "dnd"));
    assert!(stage.up().is_empty(), "under the old nick it would take the change back");
    assert!(stage.seen(A)[0].contains("id='a2'"));
    let x = "<item affiliation='owner' nick='new' role='moderator'/><status code='303'/><status code='110'/>";
    let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{x}</x>");
    stage.server(&format!("<presence from='{ROOM}/nick' to='{SESSION}' type='unavailable'>{x}</presence>"));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("/new'") && !up[0].contains("<show>"), "B's is the best now: {up:?}");
    // A room that does not answer holds it up for a while; and one nick is asked for at a time.
    stage.client(B, &format!("<presence to='{ROOM}/newer' id='n2'><show>xa</show></presence>"));
    stage.client(A, &format!("<presence to='{ROOM}/newest' id='n3'><show>dnd</show></presence>"));
    stage.forget();
    stage.client(B, &format!("<presence to='{ROOM}/new' id='b2'><show>chat</show></presence>"));
    assert!(stage.up().is_empty());
    stage.pass(Duration::from_secs(60));
    let up = stage.up();
    assert!(up.iter().any(|up| up.contains("<show>chat</show>")), "{up:?}");
    assert!(up.iter().any(|up| up.contains("/newest'") && up.contains("id='n3'")), "{up:?}");
}

#[test]
fn a_probe_goes_to_the_room_and_its_answer_to_who_asked() {
    let mut stage = two();
    let other = |role: &str| {
        let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='{role}'/></x>");
        format!("<presence from='{ROOM}/other' to='{SESSION}'>{x}</presence>")
    };
    let probe = |nick: &str| format!("<presence to='{ROOM}/{nick}' type='probe' id='p'/>");
    let own = |codes: &str| {
        let x = format!("<item affiliation='owner' jid='{SESSION}' role='moderator'/>{codes}");
        format!(
            "<presence from='{ROOM}/nick' to='{SESSION}' id='a1'><x xmlns='http://jabber.org/protocol/muc#user'>{x}</x>\
             </presence>"
        )
    };
    stage.client(B, &probe("other"));
    assert_eq!(stage.up(), [probe("other")]);
    stage.server(&other("participant"));
    assert_eq!([A, B].map(|client| stage.seen(client).len()), [0, 1]);
    stage.server(&other("participant"));
    assert_eq!([A, B].map(|client| stage.seen(client).len()), [1, 1], "this one answers nobody");
    // What is news is everybody's, and what comes too late.
    stage.client(B, &probe("other"));
    stage.server(&other("visitor"));
    assert_eq!([A, B].map(|client| stage.seen(client).len()), [1, 1]);
    stage.pass(Duration::from_secs(11));
    stage.server(&other("visitor"));
    assert_eq!([A, B].map(|client| stage.seen(client).len()), [1, 1]);
    // Of the own occupant, without 110 as Prosody has it; of nobody, as gone.
    stage.client(B, &probe("nick"));
    stage.server(&own(""));
    let seen = stage.seen(B);
    assert!(seen.len() == 1 && seen[0].contains("jid='user@example/client2'") && !seen[0].contains("110"), "{seen:?}");
    assert!(seen[0].contains(" id='b'") && stage.seen(A).is_empty());
    stage.client(A, &probe("gone"));
    stage.server(&other("none").replace("/other'", "/gone' type='unavailable'"));
    assert_eq!([A, B].map(|client| stage.seen(client).len()), [1, 0]);
}

#[test]
fn priority_decides_between_equals_then_the_latest() {
    let mut stage = two();
    let with = |id: &str, priority: i8| {
        format!("<presence to='{ROOM}/nick' id='{id}'><status>{id}</status><priority>{priority}</priority></presence>")
    };
    stage.client(A, &with("a5", 5));
    stage.client(B, &with("b7", 7));
    stage.client(A, &with("a6", 6));
    stage.client(A, &with("a7", 7));
    let up = stage.up();
    assert!(up.len() == 3 && up[1].contains("b7") && up[2].contains("a7"), "{up:?}");
}

#[test]
fn another_nick_takes_the_best_presence_along_and_a_refusal_changes_nothing() {
    let mut stage = two();
    let ask = |nick: &str, id: &str| format!("<presence to='{ROOM}/{nick}' id='{id}'><show>xa</show></presence>");
    stage.client(B, &ask("taken", "n1"));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("/taken'") && up[0].contains("id='n1'"), "{up:?}");
    assert!(up[0].contains("<show>chat</show>"), "A's is still the best: {up:?}");
    stage.server(&conflict("taken", "n1"));
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (0, 1));
    assert!(stage.up().is_empty());

    // The best itself asks, with something new to say, and is refused: nothing has been said.
    stage.client(A, &format!("<presence to='{ROOM}/taken' id='n2'><status>new</status></presence>"));
    stage.forget();
    stage.server(&conflict("taken", "n2"));
    assert!(stage.seen(B).is_empty());
    assert!(stage.up().is_empty());
    // What it says after that is news.
    stage.client(A, &format!("<presence to='{ROOM}/nick' id='p'><show>chat</show><status>new</status></presence>"));
    assert!(stage.up()[0].contains("<status>new</status>"));
    stage.client(A, &present("q", "dnd"));
    assert!(stage.up()[0].contains("<show>away</show>"), "B's, as it was before it asked");
}

#[test]
fn one_rename_for_all_and_errors_for_the_asker_only() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.client(B, &format!("<presence to='{ROOM}/taken' id='n1'/>"));
    assert_eq!(stage.up().len(), 1);
    stage.server(&format!(
        "<presence from='{ROOM}/taken' to='{SESSION}' id='n1' type='error'><error type='cancel'><conflict \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    ));
    assert!(stage.seen(A).is_empty());
    assert_eq!(stage.seen(B).len(), 1);
    stage.client(B, &format!("<presence to='{ROOM}/new' id='n2'/>"));
    stage.server(&gone("<status code='303'/>").replace("role='none'", "role='none' nick='new'"));
    stage.server(&format!(
        "<presence from='{ROOM}/new' to='{SESSION}' id='n2'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <item affiliation='owner' role='moderator' jid='{SESSION}'/><status code='110'/></x></presence>"
    ));
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (2, 2));
    assert_eq!(stage.account.rooms().next().unwrap().nick(), "new");
}

#[test]
fn presence_goes_up_only_on_change_and_is_always_reflected_to_its_sender() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.client(A, &format!("<presence to='{ROOM}/nick' id='p1'><show>away</show></presence>"));
    assert!(stage.up().is_empty(), "B is available, which is better");
    let seen = stage.seen(A);
    assert!(seen.len() == 1 && seen[0].contains("id='p1'") && seen[0].contains("110"), "{seen:?}");
    assert!(stage.seen(B).is_empty());
    stage.client(B, &format!("<presence to='{ROOM}/nick' id='p2'><show>dnd</show></presence>"));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("away"), "{up:?}");
}

#[test]
fn presence_of_a_client_that_is_not_attached() {
    let mut stage = Stage::joined();
    stage.client(B, &format!("<presence to='{ROOM}/nick' id='x'/>"));
    let seen = stage.seen(B);
    assert!(seen[0].contains("item-not-found"), "{seen:?}");
    assert_eq!(seen[1], "detached room@muc.example seen=1");
    stage.client(B, &leave("nick"));
    assert_eq!(stage.seen(B), ["detached room@muc.example seen=2"]);
    stage.client(B, "<presence to='friend@example/phone'/>");
    assert!(stage.seen(B)[0].starts_with("relay seen=3 passes=false"));
    assert!(stage.up().is_empty());
}
