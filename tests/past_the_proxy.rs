//! A client of the account that has joined a room by itself, past the proxy, with the account's nick, in front of each real
//! server: the account's clients see one occupant of theirs, and nothing that makes them believe that they are out.

mod support;

use std::time::Duration;

use support::driver::{Client, Driver, Event, Login};
use support::proxy::{Proxy, Setup};
use support::server::{Kind, Options, Server};
use support::slix;

const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
const OWNER: &str = "http://jabber.org/protocol/muc#owner";

struct Stage {
    server: Server,
    proxy: Proxy,
    _slix: Driver,
    /// Alice's, behind the proxy.
    clients: [Client; 3],
    /// Alice's, past it.
    sibling: Client,
    bob: Client,
    /// Owns the rooms.
    carol: Client,
}

impl Stage {
    async fn new(kind: Kind) -> Stage {
        let server = Server::start(kind, Options::default());
        let proxy = Setup::before(&server).start();
        let slix = slix::start();
        let clients = ["phone", "laptop", "tablet"].map(|name| slix.client(name));
        let (sibling, bob, carol) = (slix.client("sibling"), slix.client("bob"), slix.client("carol"));
        for client in &clients {
            client.connect(&proxy.login(&format!("alice/{}", client.name))).await;
        }
        for (client, user) in [(&sibling, "alice/sibling"), (&bob, "bob/desk"), (&carol, "carol/desk")] {
            client.connect(&Login::new(server.starttls(), user, &server.certs.ca)).await;
        }
        Stage { server, proxy, _slix: slix, clients, sibling, bob, carol }
    }

    async fn room(&self, name: &str, whois: &str) -> String {
        let room = self.server.room(name);
        self.carol.join(&room, "carol").await;
        let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let fields =
            field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig") + &field("muc#roomconfig_whois", whois);
        self.carol_sets(&room, "config", OWNER, &format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>")).await;
        self.bob.join(&room, "bob").await;
        room
    }

    async fn carol_sets(&self, room: &str, id: &str, space: &str, payload: &str) {
        let iq = format!("<iq to='{room}' type='set' id='{id}-{room}'><query xmlns='{space}'>{payload}</query></iq>");
        let answer = self.carol.iq(&iq).await;
        assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
    }

    fn marks(&self) -> [usize; 3] {
        self.clients.each_ref().map(Client::mark)
    }

    /// Whatever the room had to say before has come: bob's word is seen by all of alice's that are in it.
    async fn settled(&self, room: &str, clients: &[Client]) {
        let id = format!("settled-{}", self.bob.mark());
        self.bob.groupchat(room, &id, "settled").await;
        for client in clients {
            client.wait_for("bob's word", |e| e.is("message", &[&format!("id='{id}'"), "groupchat"])).await;
        }
    }

    /// What the clients have seen of their own occupant since: nothing but presence of their own.
    fn all_own(&self, room: &str, nick: &str, marks: [usize; 3], count: usize) -> Vec<Event> {
        let mut all = Vec::new();
        for (client, mark) in self.clients.iter().zip(marks).take(count) {
            for event in client.since(mark).into_iter().filter(|e| is_of(e, room, nick)) {
                is_own(&event, &client.name, None);
                all.push(event);
            }
        }
        all
    }

    async fn are_in(&self, room: &str, nick: &str, count: usize) {
        for client in &self.clients[..count] {
            let ping = client.self_ping(room, nick).await;
            assert_eq!(ping.attr("type").as_deref(), Some("result"), "{}: {}", client.name, ping.xml);
        }
    }
}

fn is_of(event: &Event, room: &str, nick: &str) -> bool {
    event.is("presence", &[]) && event.attr("from").as_deref() == Some(&format!("{room}/{nick}"))
}

/// Own presence, with 110, one item, and the client's own JID in it.
fn is_own(event: &Event, resource: &str, type_: Option<&str>) {
    let xml = &event.xml;
    assert_eq!(event.attr("type").as_deref(), type_, "{xml}");
    assert_eq!((xml.matches("<item").count(), xml.matches("jid=").count()), (1, 1), "{xml}");
    assert!(xml.contains(&format!("jid='alice@localhost/{resource}'")), "{xml}");
    assert_eq!(xml.matches("code='110'").count(), 1, "{xml}");
}

async fn nicks(client: &Client, room: &str, nick: &str) -> Vec<String> {
    client.join(room, nick).await.into_iter().map(|o| o.nick).collect()
}

/// A sibling comes and goes; nothing of that is a change of the clients' own membership.
async fn comes_and_goes(kind: Kind) {
    let stage = Stage::new(kind).await;
    let room = stage.room("comes", "moderators").await;
    let [phone, laptop, tablet] = &stage.clients;
    phone.join(&room, "alice").await;
    laptop.join(&room, "alice").await;

    let marks = stage.marks();
    assert_eq!(nicks(&stage.sibling, &room, "alice").await, ["alice", "bob", "carol"]);
    stage.settled(&room, &stage.clients[..2]).await;
    assert!(stage.all_own(&room, "alice", marks, 2).len() >= 2, "the server tells of the sibling");
    let mark = tablet.mark();
    assert_eq!(nicks(tablet, &room, "alice").await, ["alice", "bob", "carol"]);
    tablet.since(mark).iter().filter(|e| is_of(e, &room, "alice")).for_each(|e| is_own(e, "tablet", None));

    // What either says is seen by all, once; so is what is said to them.
    let marks = stage.marks();
    stage.sibling.groupchat(&room, "by-sibling", "by the sibling").await;
    phone.groupchat(&room, "by-phone", "by the phone").await;
    stage.bob.chat(&format!("{room}/alice"), "private", "to alice").await;
    stage.settled(&room, &stage.clients).await;
    for (client, mark) in stage.clients.iter().zip(marks) {
        client.wait_since(mark, "the private message", |e| e.is("message", &["to alice"])).await;
        for text in ["by the sibling", "by the phone", "to alice"] {
            let times = client.since(mark).iter().filter(|e| e.is("message", &[text])).count();
            assert_eq!(times, 1, "{}: {text}", client.name);
        }
    }
    laptop.chat(&format!("{room}/bob"), "answer", "to bob").await;
    stage.bob.wait_for("alice's word", |e| e.is("message", &["to bob"])).await;

    // It changes its presence, leaves, comes again and is cut off.
    let marks = stage.marks();
    stage.sibling.raw(&format!("<presence to='{room}/alice'><status>sibling</status></presence>")).await;
    stage.sibling.sync().await;
    phone.raw(&format!("<presence to='{room}/alice' id='p'><status>phone</status></presence>")).await;
    stage.sibling.leave(&room, "alice").await;
    stage.sibling.sync().await;
    stage.sibling.join(&room, "alice").await;
    stage.sibling.cut().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stage.settled(&room, &stage.clients).await;
    stage.all_own(&room, "alice", marks, 3);
    stage.are_in(&room, "alice", 3).await;
    let seen: Vec<String> = stage.bob.view(&room).await.into_iter().map(|o| o.nick).collect();
    assert_eq!(seen, ["alice", "bob", "carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn comes_and_goes_on_prosody() {
    comes_and_goes(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn comes_and_goes_on_ejabberd() {
    comes_and_goes(Kind::Ejabberd).await;
}

/// The sibling was there first. The account leaves, which the room sees nothing of: the clients are out, the sibling is not.
async fn was_there_first(kind: Kind) {
    let stage = Stage::new(kind).await;
    let room = stage.room("first", "anyone").await;
    stage.sibling.join(&room, "alice").await;
    let phone = &stage.clients[0];
    let marks = stage.marks();
    assert_eq!(nicks(phone, &room, "alice").await, ["alice", "bob", "carol"]);
    assert!(!stage.all_own(&room, "alice", marks, 1).is_empty());
    // The JID that the room shows in this one is the sibling's (ejabberd).
    let marks = stage.marks();
    stage.sibling.raw(&format!("<presence to='{room}/alice'><status>still here</status></presence>")).await;
    stage.settled(&room, &stage.clients[..1]).await;
    stage.all_own(&room, "alice", marks, 1);

    let mark = phone.mark();
    let dismissed = stage.proxy.admin(["rooms", "leave", "alice@localhost", &room], "");
    assert!(dismissed.status.success(), "{dismissed:?}");
    let gone = |e: &Event| is_of(e, &room, "alice") && e.attr("type").as_deref() == Some("unavailable");
    let out = phone.wait_since(mark, "its end", gone).await;
    is_own(&out, "phone", Some("unavailable"));
    let ping = phone.self_ping(&room, "alice").await;
    assert_eq!(ping.attr("type").as_deref(), Some("error"), "{}", ping.xml);
    let ping = stage.sibling.self_ping(&room, "alice").await;
    assert_eq!(ping.attr("type").as_deref(), Some("result"), "{}", ping.xml);
    assert_eq!(phone.since(mark).iter().filter(|e| gone(e)).count(), 1);

    // And in again.
    assert_eq!(nicks(phone, &room, "alice").await, ["alice", "bob", "carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn was_there_first_on_prosody() {
    was_there_first(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn was_there_first_on_ejabberd() {
    was_there_first(Kind::Ejabberd).await;
}

/// The nick that they share is kicked: all are out, told once.
async fn kicked(kind: Kind) {
    let stage = Stage::new(kind).await;
    let room = stage.room("kicked", "moderators").await;
    for client in &stage.clients[..2] {
        client.join(&room, "alice").await;
    }
    stage.sibling.join(&room, "alice").await;
    stage.settled(&room, &stage.clients[..2]).await;
    let (marks, sibling) = (stage.marks(), stage.sibling.mark());
    stage.carol_sets(&room, "kick", ADMIN, "<item nick='alice' role='none'><reason>enough</reason></item>").await;
    let gone = |e: &Event| is_of(e, &room, "alice") && e.attr("type").as_deref() == Some("unavailable");
    stage.sibling.wait_since(sibling, "the sibling's end", gone).await;
    for (client, mark) in stage.clients.iter().zip(marks).take(2) {
        let out = client.wait_since(mark, "its end", gone).await;
        is_own(&out, &client.name, Some("unavailable"));
        assert!(out.xml.contains("'307'") && out.xml.contains("enough"), "{}", out.xml);
        let ping = client.self_ping(&room, "alice").await;
        assert_eq!(ping.attr("type").as_deref(), Some("error"), "{}", ping.xml);
        client.sync().await;
        assert_eq!(client.since(mark).iter().filter(|e| gone(e)).count(), 1, "{}", client.name);
    }
    let back = |e: &Event| e.is("presence", &[&format!("{room}/alice"), "<item"]) && e.attr("type").is_none();
    assert!(stage.carol.wait_within(Duration::from_secs(4), stage.carol.mark(), back).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn kicked_on_prosody() {
    kicked(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kicked_on_ejabberd() {
    kicked(Kind::Ejabberd).await;
}

/// One of them takes another nick, and comes back to the first: the account follows its own.
async fn nicks_part(kind: Kind) {
    let stage = Stage::new(kind).await;
    let room = stage.room("part", "moderators").await;
    let [phone, laptop, tablet] = &stage.clients;
    phone.join(&room, "alice").await;
    laptop.join(&room, "alice").await;
    stage.sibling.join(&room, "alice").await;
    stage.settled(&room, &stage.clients[..2]).await;

    let marks = stage.marks();
    phone.raw(&format!("<presence to='{room}/alice2' id='rename'/>")).await;
    for (client, mark) in [(phone, marks[0]), (laptop, marks[1])] {
        let own = client.wait_since(mark, "the new nick", |e| is_of(e, &room, "alice2")).await;
        is_own(&own, &client.name, None);
    }
    stage.settled(&room, &stage.clients[..2]).await;
    stage.are_in(&room, "alice2", 2).await;
    assert_eq!(nicks(tablet, &room, "alice2").await, ["alice", "alice2", "bob", "carol"]);
    phone.groupchat(&room, "named", "by another name").await;
    let said = stage.bob.wait_for("the message", |e| e.is("message", &["by another name"])).await;
    assert_eq!(said.attr("from"), Some(format!("{room}/alice2")));

    // The sibling follows, and then parts.
    let marks = stage.marks();
    stage.sibling.raw(&format!("<presence to='{room}/alice2' id='follow'/>")).await;
    stage.sibling.sync().await;
    stage.settled(&room, &stage.clients).await;
    stage.all_own(&room, "alice2", marks, 3);
    stage.sibling.raw(&format!("<presence to='{room}/alice3' id='part'/>")).await;
    phone.wait_since(marks[0], "the sibling's nick", |e| is_of(e, &room, "alice3")).await;
    stage.settled(&room, &stage.clients).await;
    stage.all_own(&room, "alice2", marks, 3);
    stage.are_in(&room, "alice2", 3).await;
    let mut view: Vec<String> = phone.view(&room).await.into_iter().map(|o| o.nick).collect();
    view.retain(|nick| nick != "alice");
    assert_eq!(view, ["alice2", "alice3", "bob", "carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nicks_part_on_prosody() {
    nicks_part(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nicks_part_on_ejabberd() {
    nicks_part(Kind::Ejabberd).await;
}

/// The sibling alone is put out, for an error that it sent, whoever was there first.
async fn in_error(kind: Kind) {
    let stage = Stage::new(kind).await;
    let phone = &stage.clients[0];
    let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    for first in ["account", "sibling"] {
        let room = stage.room(first, "moderators").await;
        let mut order = [phone, &stage.sibling];
        if first == "sibling" {
            order.reverse();
        }
        for client in order {
            client.join(&room, "alice").await;
        }
        stage.settled(&room, &stage.clients[..1]).await;
        let marks = stage.marks();
        stage.sibling.raw(&format!("<message to='{room}/bob' type='error'>{error}</message>")).await;
        stage.sibling.sync().await;
        stage.settled(&room, &stage.clients[..1]).await;
        stage.all_own(&room, "alice", marks, 1);
        stage.are_in(&room, "alice", 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_error_on_prosody() {
    in_error(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_error_on_ejabberd() {
    in_error(Kind::Ejabberd).await;
}
