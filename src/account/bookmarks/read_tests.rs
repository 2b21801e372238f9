//! What is read of each form of bookmarks, and of each word about them.

use super::*;

fn bookmark(autojoin: bool, nick: Option<&str>, password: Option<&str>) -> Bookmark {
    Bookmark { autojoin, nick: nick.map(str::to_owned), password: password.map(SecretString::from) }
}

fn told(inner: &str) -> Option<Change> {
    event(&Stanza::own(format!("<message><event xmlns='{}'>{inner}</event></message>", ns::PUBSUB_EVENT)))
}

fn asked(payload: &str) -> Option<Change> {
    request(&Stanza::own(format!("<iq type='set' id='1'>{payload}</iq>")))
}

const FULL: &str = "<conference xmlns='urn:xmpp:bookmarks:1' name='Room' autojoin='1'><nick>Al</nick>\
    <password>p&amp;w</password><extensions><x xmlns='urn:x'/></extensions></conference>";
const STORAGE: &str = "<storage xmlns='storage:bookmarks'><url name='u' url='http://x'/>\
    <conference jid='A@muc.example' autojoin='true'><nick>Al</nick></conference>\
    <conference jid='b@muc.example' autojoin='false'/><conference autojoin='true'/>\
    <conference jid='muc.example' autojoin='true'/></storage>";

fn stored() -> Vec<(String, Bookmark)> {
    vec![
        ("a@muc.example".to_owned(), bookmark(true, Some("Al"), None)),
        ("b@muc.example".to_owned(), bookmark(false, None, None)),
    ]
}

#[test]
fn events_of_both_nodes() {
    let item = format!("<items node='urn:xmpp:bookmarks:1'><item id='Room@MUC.example'>{FULL}</item></items>");
    let one = vec![("room@muc.example".to_owned(), bookmark(true, Some("Al"), Some("p&w")))];
    assert_eq!(told(&item), Some(Change::Published(one)));
    let retract = "<items node='urn:xmpp:bookmarks:1'><retract id='room@muc.example'/></items>";
    assert_eq!(told(retract), Some(Change::Retracted(vec!["room@muc.example".to_owned()])));
    let bare = "<items node='urn:xmpp:bookmarks:1'><item id='room@muc.example'/></items>";
    assert_eq!(told(bare), Some(Change::Unknown));
    for gone in ["purge", "delete"] {
        let gone = format!("<{gone} node='urn:xmpp:bookmarks:1'/>");
        assert_eq!(told(&gone), Some(Change::All(Source::Items, Vec::new())));
    }
    let storage = format!("<items node='storage:bookmarks'><item id='current'>{STORAGE}</item></items>");
    assert_eq!(told(&storage), Some(Change::All(Source::Pep, stored())));
    let retract = "<items node='storage:bookmarks'><retract id='current'/></items>";
    assert_eq!(told(retract), Some(Change::All(Source::Pep, Vec::new())));
    assert_eq!(told(&item.replace("urn:xmpp:bookmarks:1", "urn:xmpp:avatar:metadata")), None);
}

#[test]
fn what_is_no_event() {
    let event = format!(
        "<event xmlns='{}'><items node='urn:xmpp:bookmarks:1'><retract id='r@s'/></items></event>",
        ns::PUBSUB_EVENT
    );
    assert!(super::event(&Stanza::own(format!("<message>{event}</message>"))).is_some());
    for text in [
        format!("<message type='error'>{event}</message>"),
        format!("<presence>{event}</presence>"),
        format!("<message><sent xmlns='urn:xmpp:carbons:2'>{event}</sent></message>"),
    ] {
        assert_eq!(super::event(&Stanza::own(text)), None);
    }
}

#[test]
fn requests_of_clients() {
    let publish = format!(
        "<pubsub xmlns='{}'><publish node='urn:xmpp:bookmarks:1'><item id='r@s'>{FULL}</item></publish>\
         <publish-options/></pubsub>",
        ns::PUBSUB
    );
    let one = vec![("r@s".to_owned(), bookmark(true, Some("Al"), Some("p&w")))];
    assert_eq!(asked(&publish), Some(Change::Published(one)));
    let retract = format!(
        "<pubsub xmlns='{}'><retract node='urn:xmpp:bookmarks:1' notify='true'><item id='r@s'/></retract></pubsub>",
        ns::PUBSUB
    );
    assert_eq!(asked(&retract), Some(Change::Retracted(vec!["r@s".to_owned()])));
    let delete = |space| format!("<pubsub xmlns='{space}'><delete node='urn:xmpp:bookmarks:1'/></pubsub>");
    assert_eq!(asked(&delete(ns::PUBSUB_OWNER)), Some(Change::All(Source::Items, Vec::new())));
    assert_eq!(asked(&delete(ns::PUBSUB)), None);
    let private = format!("<query xmlns='jabber:iq:private'>{STORAGE}</query>");
    assert_eq!(asked(&private), Some(Change::All(Source::Private, stored())));
    let pep = format!(
        "<pubsub xmlns='{}'><publish node='storage:bookmarks'><item id='current'>{STORAGE}</item></publish></pubsub>",
        ns::PUBSUB
    );
    assert_eq!(asked(&pep), Some(Change::All(Source::Pep, stored())));
    let get = Stanza::own(format!("<iq type='get' id='1'>{private}</iq>"));
    assert_eq!(request(&get), None);
}

#[test]
fn answers_to_what_was_fetched() {
    let result = |payload: &str| Stanza::own(format!("<iq type='result' id='1'>{payload}</iq>"));
    let items = format!(
        "<pubsub xmlns='{}'><items node='urn:xmpp:bookmarks:1'><item id='r@s'>{FULL}</item>\
         <item id='no room'>{FULL}</item><item id='t@s'/></items></pubsub>",
        ns::PUBSUB
    );
    let found = vec![("r@s".to_owned(), bookmark(true, Some("Al"), Some("p&w")))];
    assert_eq!(answer(Source::Items, &result(&items)), Some(Change::All(Source::Items, found.clone())));
    let page = items.replace("</items>", "</items><set xmlns='http://jabber.org/protocol/rsm'/>");
    assert_eq!(answer(Source::Items, &result(&page)), Some(Change::Published(found)));
    let pep = format!(
        "<pubsub xmlns='{}'><items node='storage:bookmarks'><item id='current'>{STORAGE}</item></items></pubsub>",
        ns::PUBSUB
    );
    assert_eq!(answer(Source::Pep, &result(&pep)), Some(Change::All(Source::Pep, stored())));
    let private = format!("<query xmlns='jabber:iq:private'>{STORAGE}</query>");
    assert_eq!(answer(Source::Private, &result(&private)), Some(Change::All(Source::Private, stored())));
    let error = |condition: &str| {
        let condition = format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>");
        Stanza::own(format!("<iq type='error' id='1'>{private}<error type='cancel'>{condition}</error></iq>"))
    };
    for source in Source::ALL {
        assert_eq!(answer(source, &error("item-not-found")), Some(Change::All(source, Vec::new())));
        assert_eq!(answer(source, &error("resource-constraint")), None);
        assert_eq!(answer(source, &result("")), None);
    }
}

#[test]
fn s17_only_the_own_bare_jid_speaks() {
    let own = BareJid::new("user@example").unwrap();
    assert!(is_ours(&own, None) && is_ours(&own, Some("user@example")) && is_ours(&own, Some("User@EXAMPLE")));
    for other in ["user@example/phone", "example", "other@example", "room@muc.example", "user@example.org", "", "@"] {
        assert!(!is_ours(&own, Some(other)), "{other}");
    }
}

#[test]
fn s23_a_password_is_not_shown() {
    assert!(!format!("{:?}", bookmark(true, None, Some("secret-word"))).contains("secret-word"));
}
