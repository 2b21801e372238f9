//! Private messages: who gets the copies, and the errors.

use super::*;

const C: ClientId = ClientId(3);

/// A, B and C are in the room; B and C have their server copy messages to them.
fn three() -> Stage {
    let mut stage = Stage::joined();
    stage.give(Input::Hello(C, jid(C)));
    for client in [B, C] {
        stage.give(Input::Carbons(client, true));
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

#[test]
fn siblings_that_want_carbons_get_what_was_sent() {
    let mut stage = three();
    stage.client(A, &whisper("w1", "other", ""));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<private ") && up[0].contains("<no-copy "), "{up:?}");
    assert!(stage.seen(A).is_empty());
    for client in [B, C] {
        let sent = whisper("w1", "other", "").replace("<message ", "<message from='A' xmlns='jabber:client' ");
        let seen = stage.seen(client);
        let expected = Stanza::own(sent);
        let carbon = Stanza::own(seen[0].clone());
        assert_eq!((seen.len(), carbon.from().as_deref()), (1, Some("user@example")), "{seen:?}");
        assert_eq!(carbon.to().as_deref(), Some(jid(client).as_str()));
        let tree = carbon.tree().unwrap();
        let forwarded = tree.root().child("sent", "urn:xmpp:carbons:2").unwrap();
        let message = forwarded.child("forwarded", "urn:xmpp:forward:0").unwrap().child("message", "jabber:client");
        let message = message.expect("it is in its own namespace");
        assert_eq!(message.attr("from").as_deref(), Some(jid(A).as_str()));
        assert_eq!(message.attr("to"), expected.to());
        assert!(message.child("private", "urn:xmpp:carbons:2").is_none(), "as the client sent it: {seen:?}");
    }

    // Not to those that do not want any, or are not in the room; nor what is not to be copied.
    stage.give(Input::Carbons(B, false));
    stage.client(C, &leave("nick"));
    stage.forget();
    stage.client(A, &whisper("w2", "other", ""));
    assert!(stage.seen(B).is_empty() && stage.seen(C).is_empty());
    stage.client(C, &join("nick", "j2"));
    stage.forget();
    stage.client(A, &whisper("w3", "other", "<private xmlns='urn:xmpp:carbons:2'/>"));
    stage.client(A, &chat("w4"));
    assert_eq!(stage.up().len(), 2);
    assert!(stage.seen(C).is_empty());
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
fn private_messages_are_marked_on_the_way_out_and_come_in_to_everybody() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.client(A, &format!("<message to='{ROOM}/other' type='chat' id='pm'><body>x</body></message>"));
    let up = stage.up();
    assert!(up[0].contains("<private xmlns='urn:xmpp:carbons:2'/>") && up[0].contains("<no-copy"), "{up:?}");
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
