//! What a client's session sees of the account's bookmarks: all passes as it came, and the account is told of what is true.

use super::*;
use crate::account::bookmarks::Source;

const OWN: &str = "juliet@example.org";
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";

fn event(from: &str) -> String {
    let item = "<item id='r@s'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'/></item>";
    let items = format!("<items node='urn:xmpp:bookmarks:1'>{item}</items>");
    format!("<message{from}><event xmlns='{PUBSUB}#event'>{items}</event></message>")
}

fn publish(to: &str, id: &str) -> String {
    let item = "<item id='r@s'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'/></item>";
    let publish = format!("<publish node='urn:xmpp:bookmarks:1'>{item}</publish>");
    format!("<iq{to} type='set' id='{id}'><pubsub xmlns='{PUBSUB}'>{publish}</pubsub></iq>")
}

/// What the account was told; all else must have passed as it was.
fn told(seen: &[String], passed: &str) -> bool {
    let others: Vec<_> = seen.iter().filter(|line| !line.starts_with("A<")).collect();
    assert_eq!(others, [passed], "{seen:?}");
    seen.len() > 1
}

#[test]
fn s17_events_count_from_the_own_bare_jid_only() {
    let mut session = session();
    for from in ["".to_owned(), format!(" from='{OWN}'")] {
        let event = event(&from);
        assert!(told(&server(&mut session, &event), &format!("C< {event}")), "{from}");
    }
    for from in ["r@s", "r@s/nick", "romeo@example.org", "juliet@example.org/phone", "example.org"] {
        let event = event(&format!(" from='{from}'"));
        assert!(!told(&server(&mut session, &event), &format!("C< {event}")), "{from}");
    }
}

#[test]
fn s17_a_change_counts_when_the_server_has_done_it() {
    let mut session = session();
    let mut asked = |to: &str, answer: &str| {
        let iq = publish(to, "p1");
        assert!(!told(&client(&mut session, &iq), &format!("S< {iq}")));
        let first = told(&server(&mut session, answer), &format!("C< {answer}"));
        assert!(!told(&server(&mut session, answer), &format!("C< {answer}")), "it counts once");
        first
    };
    let own = format!(" to='{OWN}'");
    for to in ["", &own] {
        assert!(asked(to, "<iq type='result' id='p1'/>"));
        assert!(asked(to, "<iq from='juliet@example.org' type='result' id='p1'/>"));
        assert!(!asked(to, "<iq type='error' id='p1'/>"));
    }
    // Of another's node, and by another's word.
    assert!(!asked(" to='romeo@example.org'", "<iq from='romeo@example.org' type='result' id='p1'/>"));
    let iq = publish("", "p2");
    client(&mut session, &iq);
    for from in ["romeo@example.org", "r@s", "juliet@example.org/phone"] {
        let forged = format!("<iq from='{from}' type='result' id='p2'/>");
        assert!(!told(&server(&mut session, &forged), &format!("C< {forged}")), "{from}");
    }
    let done = "<iq type='result' id='p2'/>";
    assert!(told(&server(&mut session, done), &format!("C< {done}")), "the right one still counts");
}

#[test]
fn private_storage_counts_too() {
    let mut session = session();
    let storage = "<storage xmlns='storage:bookmarks'><conference jid='r@s' autojoin='true'/></storage>";
    client(&mut session, &format!("<iq type='set' id='1'><query xmlns='jabber:iq:private'>{storage}</query></iq>"));
    let seen = server(&mut session, "<iq type='result' id='1'/>");
    assert!(seen[0].contains(&format!("{:?}", Source::Private)), "{seen:?}");
}

#[test]
fn s20_changes_without_an_answer_are_not_kept_for_ever() {
    let mut session = session();
    for n in 0..1000 {
        client(&mut session, &publish("", &format!("p{n}")));
    }
    let answered = |session: &mut Session, n: u32| server(session, &format!("<iq type='result' id='p{n}'/>")).len() > 1;
    assert!(!answered(&mut session, 0) && answered(&mut session, 999));
    let left = (0..1000).filter(|n| answered(&mut session, *n)).count();
    assert_eq!(left, 15);
}

#[test]
fn a_client_without_an_account_is_not_looked_at() {
    let mut session = Session::new(&bound(), None, "mark");
    let event = event("");
    assert!(!told(&server(&mut session, &event), &format!("C< {event}")));
}
