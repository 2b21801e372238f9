//! Invitations: who is told that they are declined.

use super::*;

fn of_kind(kind: &str, address: &str) -> String {
    format!("<x xmlns='http://jabber.org/protocol/muc#user'><{kind} {address}/></x>")
}

#[test]
fn a_decline_is_for_the_client_that_invited_and_comes_from_the_room_itself() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.client(B, &format!("<message to='{ROOM}' id='i'>{}</message>", of_kind("invite", "to='guest@example'")));
    stage.forget();
    let decline = of_kind("decline", "from='guest@example/desk'");
    // An occupant may say so in private, but not for the room.
    stage.server(&format!("<message from='{ROOM}/other' to='{SESSION}'>{decline}</message>"));
    assert_eq!([A, B].map(|client| stage.seen(client).len()), [1, 1]);
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}'>{decline}</message>"));
    assert_eq!([A, B].map(|client| stage.seen(client).len()), [0, 1]);

    // Nobody knows who invited: all are told.
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}'>{decline}</message>"));
    assert_eq!([A, B].map(|client| stage.seen(client).len()), [1, 1]);
}
