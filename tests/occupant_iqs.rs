//! What other occupants ask an account that is in a room with three clients, in front of each real server: which client
//! is asked, that its answer arrives, and that nobody is put out whoever goes.

mod support;

use support::driver::{Client, Event, Login};
use support::proxy::Proxy;
use support::server::{Kind, Options, Server};
use support::{slix, tokio_client};

const JINGLE: &str = "urn:xmpp:jingle:1";
const IBB: &str = "http://jabber.org/protocol/ibb";
const DISCO: &str = "http://jabber.org/protocol/disco#info";
const VERSION: &str = "<query xmlns='jabber:iq:version'/>";

/// Carol's question to alice; the answer is not waited for.
struct Asker<'a> {
    carol: &'a Client,
    room: &'a str,
    clients: [&'a Client; 3],
}

impl Asker<'_> {
    /// Asks, and waits for the one client that gets the question: its place in the list, and the question.
    async fn ask(&self, type_: &str, id: &str, payload: &str) -> (usize, Event) {
        let marks = self.clients.map(Client::mark);
        let to = format!("{}/alice", self.room);
        self.carol.raw(&format!("<iq to='{to}' type='{type_}' id='{id}'>{payload}</iq>")).await;
        self.wait(marks).await
    }

    async fn wait(&self, marks: [usize; 3]) -> (usize, Event) {
        let [a, b, c] = self.clients;
        let asked =
            |e: &Event| e.is("iq", &[]) && matches!(e.attr("type").as_deref(), Some("get" | "set")) && !by_slixmpp(e);
        tokio::select! {
            event = a.wait_since(marks[0], "a question", asked) => (0, event),
            event = b.wait_since(marks[1], "a question", asked) => (1, event),
            event = c.wait_since(marks[2], "a question", asked) => (2, event),
        }
    }

    /// The client answers, and carol sees that.
    async fn answer(&self, (client, question): (usize, Event), carols_id: &str, payload: &str) -> Event {
        let mark = self.carol.mark();
        let (id, to) = (question.attr("id").expect("an id"), question.attr("from").expect("an address"));
        self.clients[client].raw(&format!("<iq to='{to}' type='result' id='{id}'>{payload}</iq>")).await;
        let is_answer = |e: &Event| e.is("iq", &[]) && e.attr("id").as_deref() == Some(carols_id);
        let answer = self.carol.wait_since(mark, "the answer", is_answer).await;
        assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
        assert_eq!(answer.attr("from"), Some(format!("{}/alice", self.room)));
        answer
    }
}

/// Carol's own library asks about capabilities that it sees announced, by their node.
fn by_slixmpp(e: &Event) -> bool {
    e.xml.contains("#info") && e.xml.contains("node=")
}

/// Sends presence to the room, and waits until carol sees it.
async fn present(client: &Client, carol: &Client, room: &str, show: &str, node: &str) {
    let mark = carol.mark();
    let caps = format!("<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='{node}' ver='v'/>");
    let id = format!("present-{node}");
    client.raw(&format!("<presence to='{room}/alice' id='{id}'><show>{show}</show>{caps}</presence>")).await;
    carol.wait_since(mark, "the presence", |e| e.is("presence", &[node])).await;
}

async fn occupants_ask(kind: Kind) {
    let server = Server::start(kind, Options::default());
    let proxy = Proxy::start(&server);
    // Clients that answer nothing by themselves; carol's does.
    let (silent, slix) = (tokio_client::start(&proxy.certs.ca), slix::start());
    let [phone, laptop, tablet] = ["phone", "laptop", "tablet"].map(|name| silent.client(name));
    let carol = slix.client("carol");
    carol.connect(&Login::new(server.starttls(), "carol/home", &server.certs.ca)).await;
    let room = &server.room("questions");
    carol.join(room, "carol").await;
    for client in [&phone, &laptop, &tablet] {
        client.connect(&proxy.login(&format!("alice/{}", client.name))).await;
        client.join(room, "alice").await;
    }
    let asker = Asker { carol: &carol, room, clients: [&phone, &laptop, &tablet] };

    // Capabilities: of the client that is shown, asked for once.
    present(&phone, &carol, room, "chat", "urn:phone").await;
    let info = format!("<query xmlns='{DISCO}'/>");
    let asked = asker.ask("get", "i1", &info).await;
    assert_eq!(asked.0, 0, "{}", asked.1.xml);
    let features = format!("<query xmlns='{DISCO}'><feature var='urn:of-the-phone'/></query>");
    assert!(asker.answer(asked, "i1", &features).await.xml.contains("urn:of-the-phone"));
    let mark = phone.mark();
    let again = carol.iq(&format!("<iq to='{room}/alice' type='get' id='i2'>{info}</iq>")).await;
    assert!(again.xml.contains("urn:of-the-phone"), "{}", again.xml);
    let seen: Vec<_> = phone.since(mark).into_iter().filter(|e| e.is("iq", &["#info"]) && !by_slixmpp(e)).collect();
    assert!(seen.is_empty(), "{seen:#?}");

    // Else who asked carol last, else who was heard last; a session stays where it is.
    tablet.groupchat(room, "hey", "hey").await;
    carol.wait_for("the message", |e| e.is("message", &["hey"])).await;
    let asked = asker.ask("get", "v1", VERSION).await;
    assert_eq!(asked.0, 2, "{}", asked.1.xml);
    asker.answer(asked, "v1", VERSION).await;
    let jingle = |action: &str| format!("<jingle xmlns='{JINGLE}' action='{action}' sid='s1'/>");
    phone.iq(&format!("<iq to='{room}/carol' type='set' id='j1'>{}</iq>", jingle("session-initiate"))).await;
    laptop.iq(&format!("<iq to='{room}/carol' type='get' id='lv'>{VERSION}</iq>")).await;
    for (id, payload, expected) in [
        ("v2", VERSION.to_owned(), 1),
        ("j2", jingle("session-info"), 0),
        ("b1", format!("<open xmlns='{IBB}' sid='s2' block-size='4096'/>"), 1),
        ("vc", "<query xmlns='jabber:iq:avatar'/>".to_owned(), 1),
    ] {
        let type_ = if id.starts_with('v') { "get" } else { "set" };
        let asked = asker.ask(type_, id, &payload).await;
        assert_eq!(asked.0, expected, "{id}: {}", asked.1.xml);
        asker.answer(asked, id, "").await;
    }
    tablet.iq(&format!("<iq to='{room}/carol' type='get' id='tv'>{VERSION}</iq>")).await;
    let asked = asker.ask("set", "b2", &format!("<data xmlns='{IBB}' sid='s2' seq='0'/>")).await;
    assert_eq!(asked.0, 1, "it took the bytestream: {}", asked.1.xml);
    asker.answer(asked, "b2", "").await;

    // Who goes with a question unanswered is not waited for: the next one is asked, at last the account.
    let marks = asker.clients.map(Client::mark);
    let (first, _) = asker.ask("get", "g1", VERSION).await;
    assert_eq!(first, 2);
    tablet.leave(room, "alice").await;
    let (second, _) = asker.wait([marks[0], marks[1], tablet.mark()]).await;
    let rest = [&phone, &laptop];
    let carol_mark = carol.mark();
    rest[second].cut().await;
    let marks = [phone.mark(), laptop.mark()];
    let asked = |e: &Event| e.is("iq", &["jabber:iq:version"]);
    rest[1 - second]
        .wait_within(support::PATIENCE, 0, |e| asked(e) && e.seq >= marks[1 - second].saturating_sub(1))
        .await;
    rest[1 - second].cut().await;
    let answer = carol.wait_since(carol_mark, "the account's answer", |e| e.is("iq", &["g1"])).await;
    assert!(answer.xml.contains("minimix-proxy"), "{}", answer.xml);
    for (id, payload, expected) in [
        ("n1", "<ping xmlns='urn:xmpp:ping'/>".to_owned(), "result"),
        ("n2", info, "<feature"),
        ("n3", format!("<open xmlns='{IBB}' sid='s3' block-size='1'/>"), "service-unavailable"),
    ] {
        let type_ = if id == "n3" { "set" } else { "get" };
        let answer = carol.iq(&format!("<iq to='{room}/alice' type='{type_}' id='{id}'>{payload}</iq>")).await;
        assert!(answer.xml.contains(expected), "{}", answer.xml);
    }
    let nicks: Vec<String> = carol.view(room).await.into_iter().map(|o| o.nick).collect();
    assert_eq!(nicks, ["alice", "carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn occupants_ask_on_prosody() {
    occupants_ask(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn occupants_ask_on_ejabberd() {
    occupants_ask(Kind::Ejabberd).await;
}
