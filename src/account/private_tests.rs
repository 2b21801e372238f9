//! Private messages: who gets the copies, and the errors.

use super::*;

const C: ClientId = ClientId(3);

/// A, B and C are in the room.
fn three() -> Stage {
    let mut stage = Stage::joined();
    stage.give(Input::Hello(C, jid(C)));
    for client in [B, C] {
        stage.client(client, &join("nick", "j"));
    }
    stage.forget();
    stage
}

fn whisper(id: &str, to: &str, more: &str) -> String {
    format!("<message to='{ROOM}/{to}' type='chat' id='{id}'><body>{id}</body>{more}</message>")
}

fn refusal(id: &str, from: &str) -> String {
    format!(
        "<message from='{ROOM}/{from}' to='{SESSION}' id='{id}' type='error'><error type='cancel'><item-not-found \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    )
}

/// The server's copy, for `client`, of what the account session has sent.
fn copy(client: ClientId, id: &str, to: &str) -> String {
    let message =
        whisper(id, to, "").replace("<message ", &format!("<message xmlns='jabber:client' from='{SESSION}' "));
    let (to, forward) = (jid(client), "urn:xmpp:forward:0");
    let sent = format!("<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='{forward}'>{message}</forwarded></sent>");
    format!("<message from='user@example' to='{to}' type='chat'>{sent}</message>")
}

#[test]
fn siblings_are_shown_the_servers_copies_as_the_authors_who_sees_none() {
    let mut stage = three();
    stage.client(A, &whisper("w1", "other", ""));
    stage.client(B, &whisper("w1", "third", ""));
    assert_eq!(stage.up(), [whisper("w1", "other", ""), whisper("w1", "third", "")]);
    for (to, author) in [("other", A), ("third", B)] {
        for client in [A, B, C] {
            stage.give(Input::Copied(client, Stanza::own(copy(client, "w1", to))));
            let seen = stage.seen(client);
            if client == author {
                assert!(seen.is_empty(), "{seen:?}");
            } else {
                assert_eq!(seen, [copy(client, "w1", to).replace(SESSION, jid(author).as_str())]);
            }
        }
    }
    // Its author is gone meanwhile, or it was refused: it is its message all the same.
    stage.server(&refusal("w1", "other"));
    stage.give(Input::Gone(A));
    stage.forget();
    stage.give(Input::Copied(C, Stanza::own(copy(C, "w1", "other"))));
    assert!(stage.seen(C)[0].contains(jid(A).as_str()));
    // What no client has said is no copy of anything.
    for (id, to) in [("w2", "other"), ("w1", "nobody")] {
        stage.give(Input::Copied(C, Stanza::own(copy(C, id, to))));
        assert!(stage.seen(C).is_empty());
    }
}

#[test]
fn the_mark_of_a_private_message_goes_up_by_the_room_and_into_the_copies() {
    let mut stage = three();
    let mark = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
    stage.client(A, &whisper("w1", "other", mark));
    assert_eq!(stage.up(), [whisper("w1", "other", "")]);
    stage.give(Input::Copied(B, Stanza::own(copy(B, "w1", "other"))));
    let seen = Stanza::own(stage.seen(B).remove(0));
    let tree = seen.tree().unwrap();
    let sent = tree.root().children().next().unwrap().children().next().unwrap();
    let message = sent.children().find(|c| c.name() == "message").unwrap();
    assert!(message.child("x", "http://jabber.org/protocol/muc#user").is_some(), "{}", text(&seen));
}

#[test]
fn what_is_received_is_everybodys_and_an_error_its_authors() {
    let mut stage = three();
    stage.server(&format!("<message from='{ROOM}/other' to='{SESSION}' type='chat'><body>psst</body></message>"));
    assert_eq!([A, B, C].map(|client| stage.seen(client).len()), [1, 1, 1]);

    // Two with the same id: each gets the answer to its own.
    stage.client(A, &whisper("w", "one", ""));
    stage.client(B, &whisper("w", "two", ""));
    stage.forget();
    stage.server(&refusal("w", "two"));
    assert_eq!([A, B, C].map(|client| stage.seen(client).len()), [0, 1, 0]);
    stage.server(&refusal("w", "one"));
    assert_eq!([A, B, C].map(|client| stage.seen(client).len()), [1, 0, 0]);

    // Its author is gone: it is nobody's.
    stage.client(A, &whisper("x", "one", ""));
    stage.give(Input::Gone(A));
    stage.forget();
    stage.server(&refusal("x", "one"));
    assert_eq!([B, C].map(|client| stage.seen(client).len()), [0, 0]);
}

#[test]
fn private_messages_go_out_as_they_are_and_come_in_to_everybody() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    let sent = format!("<message to='{ROOM}/other' type='chat' id='pm'><body>x</body></message>");
    stage.client(A, &sent);
    assert_eq!(stage.up(), [sent]);
    stage.server(&format!("<message from='{ROOM}/other' to='{SESSION}' type='chat' id='r'><body>y</body></message>"));
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (1, 1));
    stage.client(A, &format!("<message to='{ROOM}/other' type='error' id='r'/>"));
    assert!(stage.up().is_empty(), "servers kick for it");
}

#[test]
fn an_error_goes_to_the_author_alone() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.client(B, &chat("m1"));
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}' type='error' id='m1'><error/></message>"));
    assert!(stage.seen(A).is_empty());
    assert_eq!(stage.seen(B).len(), 1);
}
