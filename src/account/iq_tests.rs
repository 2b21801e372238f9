//! What clients ask and are asked: IQs, and the archive.

use super::*;

#[test]
fn iqs_go_over_the_account_session_and_come_back_to_their_asker() {
    let mut stage = Stage::joined();
    stage.client(A, &format!("<iq to='{ROOM}/other' type='get' id='q1'><query xmlns='jabber:iq:version'/></iq>"));
    let up = Stanza::own(stage.up().remove(0));
    assert_ne!(up.id().as_deref(), Some("q1"));
    let id = up.id().unwrap().into_owned();
    stage.server(&format!("<iq from='{ROOM}/third' to='{SESSION}' type='result' id='{id}'/>"));
    assert!(stage.seen(A).is_empty());
    stage.server(&format!("<iq from='{ROOM}/other' to='{SESSION}' type='result' id='{id}'/>"));
    assert!(stage.seen(A)[0].contains("id='q1'"));
    stage.client(A, &format!("<iq to='{ROOM}/nick' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"));
    assert!(stage.up().is_empty());
    assert!(stage.seen(A)[0].contains("type='result'"));
}

#[test]
fn an_occupants_question_is_answered_by_a_client_or_by_the_account() {
    let mut stage = Stage::joined();
    let ping = format!("<iq from='{ROOM}/other' to='{SESSION}' type='get' id='t1'><ping xmlns='urn:xmpp:ping'/></iq>");
    stage.server(&ping);
    let asked = Stanza::own(stage.seen(A).remove(0));
    assert!(stage.up().is_empty());
    let id = asked.id().unwrap().into_owned();
    stage.client(A, &format!("<iq to='{ROOM}/other' type='result' id='{id}'/>"));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("id='t1'"), "{up:?}");
    // It goes while it is asked: the account answers instead.
    stage.server(&ping.replace("t1", "t2"));
    stage.give(Input::Gone(A));
    assert!(stage.up().iter().any(|l| l.contains("id='t2'") && l.contains("result")));
    stage.server(&ping.replace("t1", "t3"));
    assert!(stage.up().iter().any(|l| l.contains("id='t3'") && l.contains("result")));
}

#[test]
fn archive_results_come_to_their_asker_only() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.client(A, &format!("<iq to='{ROOM}' type='set' id='m'><query xmlns='urn:xmpp:mam:2'/></iq>"));
    let up = stage.up().remove(0);
    let queryid = up.split("queryid='").nth(1).unwrap().split('\'').next().unwrap();
    stage.server(&format!(
        "<message from='{ROOM}' to='{SESSION}'><result xmlns='urn:xmpp:mam:2' queryid='{queryid}' id='1'/></message>"
    ));
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (1, 0));
}
