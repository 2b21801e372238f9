//! Which client an occupant's question reaches.

use super::*;

const C: ClientId = ClientId(3);
const JINGLE: &str = "urn:xmpp:jingle:1";

/// A, B and C are in the room, with capabilities of their own; C is shown, B was heard last.
fn three() -> Stage {
    let mut stage = Stage::joined();
    stage.give(Input::Hello(C, jid(C)));
    for client in [A, B, C] {
        let show = if client == C { "<show>chat</show>" } else { "" };
        let caps =
            format!("<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='c{0}' ver='v{0}'/>", client.0);
        let presence = join("nick", "j").replace("</presence>", &format!("{show}{caps}</presence>"));
        stage.client(client, &presence);
        stage.reflect();
    }
    stage.client(B, &chat("m"));
    stage.forget();
    stage
}

impl Stage {
    /// An occupant asks; who is given the question, and its id there.
    fn asked(&mut self, from: &str, type_: &str, id: &str, payload: &str) -> Vec<(ClientId, String)> {
        self.seen.clear();
        self.server(&format!("<iq from='{ROOM}/{from}' to='{SESSION}' type='{type_}' id='{id}'>{payload}</iq>"));
        self.questions()
    }

    fn questions(&mut self) -> Vec<(ClientId, String)> {
        let all = [A, B, C].map(|client| (client, self.seen(client)));
        let questions = all.into_iter().flat_map(|(client, lines)| lines.into_iter().map(move |line| (client, line)));
        questions
            .filter(|(_, line)| line.starts_with("<iq"))
            .map(|(client, line)| (client, Stanza::own(line).id().unwrap().into_owned()))
            .collect()
    }

    fn answers(&mut self, client: ClientId, to: &str, id: &str, payload: &str) -> Vec<String> {
        self.up.clear();
        self.client(client, &format!("<iq to='{ROOM}/{to}' type='result' id='{id}'>{payload}</iq>"));
        self.up()
    }
}

fn who(asked: Vec<(ClientId, String)>) -> Vec<ClientId> {
    asked.into_iter().map(|(client, _)| client).collect()
}

fn version() -> &'static str {
    "<query xmlns='jabber:iq:version'/>"
}

fn info(node: &str) -> String {
    format!("<query xmlns='http://jabber.org/protocol/disco#info'{node}/>")
}

#[test]
fn capabilities_are_asked_of_who_is_shown_once() {
    let mut stage = three();
    let asked = stage.asked("other", "get", "q1", &info(""));
    assert_eq!(asked[0].0, C);
    let up = stage.answers(C, "other", &asked[0].1, "<query>of C</query>");
    assert!(up.len() == 1 && up[0].contains("id='q1'") && up[0].contains("of C"), "{up:?}");
    // Anybody else that asks is answered at once, by id and address their own.
    assert!(stage.asked("third", "get", "q2", &info("")).is_empty());
    let up = stage.up();
    assert!(up[0].contains("id='q2'") && up[0].contains("of C") && up[0].contains("/third'"), "{up:?}");
    // By its node it is another question; of a sibling's node the sibling is asked; an unknown one is C's business.
    for (node, client) in [("c3#v3", C), ("c1#v1", A), ("what", C)] {
        let asked = stage.asked("other", "get", "q3", &info(&format!(" node='{node}'")));
        assert_eq!(who(asked), [client], "{node}");
    }
    // Somebody else is shown: another answer.
    stage.client(C, &format!("<presence to='{ROOM}/nick' id='p'><show>dnd</show></presence>"));
    assert_eq!(who(stage.asked("other", "get", "q4", &info(""))), [B]);
}

#[test]
fn a_session_stays_with_its_client_and_the_rest_follows_who_asked_or_spoke_last() {
    let mut stage = three();
    assert_eq!(who(stage.asked("other", "get", "q", version())), [B], "it was heard last");
    stage.client(A, &format!("<iq to='{ROOM}/other' type='get' id='v'>{}</iq>", version()));
    assert_eq!(who(stage.asked("other", "get", "q", version())), [A], "it has asked this one");
    assert_eq!(who(stage.asked("third", "get", "q", version())), [A], "it was heard last");
    let jingle = |action: &str| format!("<jingle xmlns='{JINGLE}' action='{action}' sid='s1'/>");
    stage.client(C, &format!("<iq to='{ROOM}/other' type='set' id='j'>{}</iq>", jingle("session-initiate")));
    stage.client(A, &format!("<iq to='{ROOM}/other' type='get' id='v2'>{}</iq>", version()));
    assert_eq!(who(stage.asked("other", "set", "q", &jingle("session-accept"))), [C]);
    assert_eq!(who(stage.asked("other", "get", "q", version())), [A]);
    stage.client(C, &leave("nick"));
    assert_eq!(who(stage.asked("other", "set", "q", &jingle("session-info"))), [A], "its client is out");
}

#[test]
fn who_leaves_leaves_no_question_behind() {
    let mut stage = three();
    let asked = stage.asked("other", "get", "q", version());
    assert_eq!(asked[0].0, B);
    stage.client(B, &leave("nick"));
    let next = stage.questions();
    assert_eq!(who(next.clone()), [C], "shown, and nobody that is left was heard after joining");
    stage.up.clear();
    let late = stage.answers(B, "other", &asked[0].1, "");
    assert!(late.is_empty(), "B's answer comes too late: {late:?}");
    stage.give(Input::Gone(C));
    assert_eq!(who(stage.questions()), [A]);
    stage.up.clear();
    stage.give(Input::Gone(A));
    let up = stage.up();
    assert!(up.iter().any(|s| s.contains("id='q'") && s.contains("minimix-proxy")), "the account answers: {up:?}");
    // The rest, with nobody there.
    assert!(stage.asked("other", "get", "q5", "<vCard xmlns='vcard-temp'/>").is_empty());
    assert!(stage.up()[0].contains("service-unavailable"));
    assert!(stage.asked("other", "get", "q6", &info("")).is_empty());
    assert!(stage.up()[0].contains("<feature"));
    stage.give(Input::Gone(B));
    assert_eq!(stage.account.kept_for_clients(), 0);
}

#[test]
fn an_empty_place_shows_capabilities_that_can_be_asked_for() {
    let mut stage = three();
    for client in [A, B, C] {
        stage.give(Input::Gone(client));
    }
    stage.pass(Duration::from_secs(11));
    let shown = Stanza::own(stage.up().pop().unwrap());
    let node = crate::xmpp::caps::node(&shown).expect("it announces them");
    stage.asked("other", "get", "q", &info(&format!(" node='{node}'")));
    let up = stage.up();
    assert!(up[0].contains("type='result'") && up[0].contains(&format!("node='{node}'")), "{up:?}");
}
