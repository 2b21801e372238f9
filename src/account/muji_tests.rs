//! Calls that clients are in while the room is shown another one's presence.

use super::*;

const MUJI: &str = "<muji xmlns='http://telepathy.freedesktop.org/muji'><preparing/></muji>";

fn show(id: &str, show: &str, more: &str) -> String {
    format!("<presence to='{ROOM}/nick' id='{id}'><show>{show}</show>{more}</presence>")
}

/// B, away, is in a call; A's presence is the best.
fn in_call() -> Stage {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.client(A, &show("a2", "chat", "<c xmlns='http://jabber.org/protocol/caps' ver='a'/>"));
    stage.pass(Duration::from_secs(60));
    stage.forget();
    stage.client(B, &show("b2", "away", &format!("<c xmlns='http://jabber.org/protocol/caps' ver='b'/>{MUJI}")));
    stage
}

#[test]
fn the_call_of_another_client_goes_along_with_the_best_presence_and_nothing_else_of_it() {
    let mut stage = in_call();
    let up = stage.up();
    let [shown] = &up[..] else { panic!("one presence, not {up:#?}") };
    assert!(shown.contains("<show>chat</show>") && shown.contains("ver='a'") && shown.contains(MUJI), "{shown}");
    assert!(!shown.contains("away") && !shown.contains("ver='b'"), "{shown}");
    // It waits for the room to show that, and knows it by its id.
    assert!(shown.contains("id='b2'") && stage.seen(B).is_empty(), "{shown}");
    // Another presence of the best one takes the call along, and so does a nick.
    stage.client(A, &show("a3", "", "<status>busy</status>"));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("busy") && up[0].contains(MUJI), "{up:?}");
    stage.client(A, &format!("<presence to='{ROOM}/new' id='n'/>"));
    assert!(stage.up()[0].contains(MUJI));
}

#[test]
fn it_ends_when_the_client_takes_it_back_leaves_or_drops() {
    let ends: [&dyn Fn(&mut Stage); 3] =
        [&|stage| stage.client(B, &show("b3", "away", "")), &|stage| stage.client(B, &leave("nick")), &|stage| {
            stage.give(Input::Gone(B))
        }];
    for (at, end) in ends.iter().enumerate() {
        let mut stage = in_call();
        stage.forget();
        end(&mut stage);
        stage.pass(Duration::from_millis(1));
        let up = stage.up();
        assert!(up.len() == 1 && up[0].contains("ver='a'") && !up[0].contains("muji"), "{at}: {up:?}");
        assert!(at > 0 || up[0].contains("id='b3'"), "{up:?}");
    }
}

#[test]
fn the_best_ones_own_call_is_its_own_and_a_client_that_comes_ends_no_call() {
    let mut stage = in_call();
    stage.forget();
    let own = MUJI.replace("<preparing/>", "<content name='a'/>");
    stage.client(A, &show("a3", "chat", &own));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains(&own) && !up[0].contains("<preparing/>"), "{up:?}");
    stage.client(A, &show("a4", "dnd", ""));
    stage.give(Input::Hello(ClientId(3), jid(ClientId(3))));
    stage.pass(Duration::from_secs(60));
    stage.forget();
    stage.client(ClientId(3), &join("nick", "c1").replace("<x ", "<show>chat</show><x "));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("chat") && up[0].contains(MUJI), "{up:?}");
}

#[test]
fn what_leans_on_a_prefix_stays_behind() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.client(A, &show("a2", "chat", ""));
    stage.forget();
    let muji = MUJI.replace("<preparing/>", "<m:preparing/>");
    let prefixed = show("b2", "away", &muji).replace("<presence ", "<presence xmlns:m='urn:x' ");
    stage.client(B, &prefixed);
    assert!(stage.up().is_empty());
}
