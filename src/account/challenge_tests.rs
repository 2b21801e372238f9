//! What a room asks before it lets one in.

use super::*;

const CAPTCHA: &str = "<captcha xmlns='urn:xmpp:captcha'/>";

fn asked() -> Stage {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.client(B, &join("nick", "b1"));
    stage.give(Input::SessionUp(None));
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}'>{CAPTCHA}</message>"));
    assert!(stage.seen(A)[0].contains("captcha") && stage.seen(B).is_empty());
    stage.forget();
    stage
}

fn answer(id: &str) -> String {
    format!("<iq to='{ROOM}' type='set' id='{id}'>{CAPTCHA}</iq>")
}

#[test]
fn a_person_may_take_longer_than_a_room() {
    let mut stage = asked();
    stage.pass(Duration::from_secs(120));
    assert!(stage.up().is_empty() && stage.seen(A).is_empty());
    stage.client(A, &answer("c"));
    assert!(stage.up()[0].contains("captcha"));
    stage.pass(Duration::from_secs(60));
    assert!(stage.seen(A)[0].contains("remote-server-timeout"));
}

#[test]
fn only_who_is_asked_answers_and_only_until_the_room_has_answered() {
    let mut stage = asked();
    stage.client(B, &answer("b"));
    stage.client(A, &format!("<iq to='{ROOM}' type='get' id='l'><query xmlns='urn:x'/></iq>"));
    assert!(stage.up().is_empty(), "all else waits");
    stage.let_in("nick", "");
    stage.forget();
    stage.give(Input::Gone(A));
    assert!(stage.seen(B).is_empty(), "the question has been answered");
}
