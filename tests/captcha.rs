//! A room that wants to see a person before it lets one in (CAPTCHA, XEP-0158), on ejabberd: the dialogue is the joining
//! client's, as if it had joined by itself. Prosody has none for rooms.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use support::driver::{Client, Driver, Event, Login};
use support::proxy::Proxy;
use support::server::{Kind, Options, Server};
use support::slix;
use tokio_xmpp::minidom::Element;

const CAPTCHA: &str = "urn:xmpp:captcha";

/// Makes "pictures", and keeps what is to be read in them.
struct Painter {
    dir: tempfile::TempDir,
}

impl Painter {
    fn new() -> Painter {
        let dir = tempfile::Builder::new().prefix("minimix-captcha-").tempdir().expect("a temporary directory");
        let painter = Painter { dir };
        let keys = painter.keys_file().display().to_string();
        let script = format!("#!/bin/sh\necho \"$1\" >> '{keys}'\nprintf '\\211PNG\\r\\n\\032\\n%s' \"$1\"\n");
        let path = painter.script();
        std::fs::write(&path, script).expect("write the script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("make it executable");
        painter
    }

    fn script(&self) -> PathBuf {
        self.dir.path().join("paint")
    }

    fn keys_file(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    /// What was painted so far.
    fn keys(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.keys_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

struct Stage {
    server: Server,
    _proxy: Proxy,
    _slix: Driver,
    painter: Painter,
    phone: Client,
    laptop: Client,
    bob: Client,
    carol: Client,
}

impl Stage {
    async fn new() -> Stage {
        let painter = Painter::new();
        let script = painter.script().display().to_string();
        let extra = format!("captcha_cmd: {script:?}\ncaptcha_url: \"http://localhost/captcha\"\ncaptcha_limit: 100\n");
        let server = Server::start(Kind::Ejabberd, Options { extra, ..Options::default() });
        // It has tried the script.
        let _ = std::fs::remove_file(painter.keys_file());
        let proxy = Proxy::start(&server);
        let slix = slix::start();
        let [phone, laptop, bob, carol] = ["phone", "laptop", "bob", "carol"].map(|name| slix.client(name));
        for client in [&phone, &laptop] {
            client.connect(&proxy.login(&format!("alice/{}", client.name))).await;
        }
        for (client, user) in [(&bob, "bob/desk"), (&carol, "carol/desk")] {
            client.connect(&Login::new(server.starttls(), user, &server.certs.ca)).await;
        }
        Stage { server, _proxy: proxy, _slix: slix, painter, phone, laptop, bob, carol }
    }

    /// Carol's, and from then on nobody else comes in unasked.
    async fn room(&self, name: &str) -> String {
        let room = self.server.room(name);
        self.carol.join(&room, "carol").await;
        let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let fields = field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig") + &field("captcha_protected", "1");
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
        let query = format!("<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>");
        let answer = self.carol.iq(&format!("<iq to='{room}' type='set' id='{name}'>{query}</iq>")).await;
        assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
        room
    }
}

async fn ask_in(client: &Client, room: &str, nick: &str, id: &str) {
    let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
    client.raw(&format!("<presence to='{room}/{nick}' id='{id}'>{x}</presence>")).await;
}

async fn challenged(client: &Client, room: &str, id: &str) -> Event {
    let fits = |e: &Event| {
        let asks = e.is("message", &[CAPTCHA]) && e.attr("from").as_deref() == Some(room);
        asks && e.element().get_child("captcha", CAPTCHA).is_some_and(|captcha| field(captcha, "sid") == id)
    };
    client.wait_for("the challenge", fits).await
}

fn field(captcha: &Element, name: &str) -> String {
    let form = captcha.get_child("x", "jabber:x:data").expect("a form");
    let mut fields = form.children().filter(|f| f.attr("var") == Some(name));
    let value = fields.next().and_then(|f| f.get_child("value", "jabber:x:data"));
    value.map(Element::text).unwrap_or_default()
}

/// The answer to a challenge; the room's answer to that.
async fn answer(client: &Client, room: &str, id: &str, challenge: &Event, key: &str) -> Event {
    let captcha = challenge.element().get_child("captcha", CAPTCHA).expect("a captcha").clone();
    let value = |name: &str| format!("<field var='{name}'><value>{}</value></field>", field(&captcha, name));
    let ocr = format!("<field var='ocr'><value>{key}</value></field>");
    let fields = ["FORM_TYPE", "from", "challenge", "sid"].map(value).concat() + &ocr;
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
    client.iq(&format!("<iq to='{room}' type='set' id='{id}'><captcha xmlns='{CAPTCHA}'>{form}</captcha></iq>")).await
}

fn own(room: &str, nick: &str) -> impl Fn(&Event) -> bool + use<> {
    let from = format!("{room}/{nick}");
    move |e| e.is("presence", &["'110'"]) && e.attr("type").is_none() && e.attr("from").as_ref() == Some(&from)
}

/// What is particular about one challenge, and to whom it is, taken out.
fn shape(event: &Event, key: &str, user: &str, nick: &str, resource: &str) -> String {
    let captcha = event.element().get_child("captcha", CAPTCHA).expect("a captcha").clone();
    let field =
        captcha.get_child("x", "jabber:x:data").expect("a form").children().find(|f| f.attr("var") == Some("ocr"));
    let uri = field.expect("a field").children().flat_map(Element::children).next().map(Element::text);
    let data = event.element().get_child("data", "urn:xmpp:bob").expect("the picture").text();
    assert!(!data.is_empty() && !key.is_empty());
    let text = event.xml.replace(&self::field(&captcha, "challenge"), "CHALLENGE").replace(&data, "PICTURE");
    let text = match uri {
        Some(uri) => text.replace(uri.trim_start_matches("cid:"), "CID"),
        None => text,
    };
    text.replace(&format!("{user}@localhost/{resource}"), "JID").replace(&format!("/{nick}"), "/NICK")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_joining_client_answers_and_the_next_is_let_in_with_it() {
    let stage = Stage::new().await;
    let (phone, laptop, bob) = (&stage.phone, &stage.laptop, &stage.bob);
    let room = stage.room("right").await;
    // Bob talks to the server himself.
    ask_in(bob, &room, "bob", "join").await;
    let bobs = challenged(bob, &room, "join").await;
    let bobs_key = stage.painter.keys().pop().expect("a key");
    let taken = answer(bob, &room, "answer", &bobs, &bobs_key).await;
    assert_eq!(taken.attr("type").as_deref(), Some("result"), "{}", taken.xml);
    bob.wait_for("his entry", own(&room, "bob")).await;

    ask_in(phone, &room, "alice", "join").await;
    let asked = challenged(phone, &room, "join").await;
    let key = stage.painter.keys().pop().expect("a key");
    let shapes = [shape(&asked, &key, "alice", "alice", "phone"), shape(&bobs, &bobs_key, "bob", "bob", "desk")];
    assert_eq!(shapes[0], shapes[1]);
    ask_in(laptop, &room, "alice", "join").await;
    laptop.groupchat(&room, "early", "said early").await;
    laptop.sync().await;
    let of_room = |e: &Event| e.attr("from").is_some_and(|from| from.starts_with(&room));
    assert!(!laptop.transcript().iter().any(of_room), "what the phone is asked is not the laptop's");
    let taken = answer(phone, &room, "answer", &asked, &key).await;
    assert_eq!(taken.attr("type").as_deref(), Some("result"), "{}", taken.xml);
    assert_eq!(taken.attr("from").as_deref(), Some(room.as_str()));
    for client in [phone, laptop] {
        let entry = client.wait_for("its entry", own(&room, "alice")).await;
        assert_eq!(entry.attr("id").as_deref(), Some("join"));
        client.wait_for("what was said early", |e| e.is("message", &["said early"])).await;
    }
    assert_eq!(stage.painter.keys().len(), 2, "nobody else was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_wrong_answer_the_next_is_asked_itself() {
    let stage = Stage::new().await;
    let (phone, laptop) = (&stage.phone, &stage.laptop);
    let room = stage.room("wrong").await;
    ask_in(phone, &room, "alice", "phone-join").await;
    let asked = challenged(phone, &room, "phone-join").await;
    ask_in(laptop, &room, "alice", "laptop-join").await;
    laptop.sync().await;
    let refused = answer(phone, &room, "answer", &asked, "nonsense").await;
    assert!(refused.xml.contains("<not-allowed"), "{}", refused.xml);
    let error = phone.wait_for("the refusal", |e| e.is("presence", &["<not-authorized"])).await;
    assert_eq!((error.attr("id").as_deref(), error.attr("type").as_deref()), (Some("phone-join"), Some("error")));

    let asked = challenged(laptop, &room, "laptop-join").await;
    let key = stage.painter.keys().pop().expect("a key");
    let taken = answer(laptop, &room, "answer", &asked, &key).await;
    assert_eq!(taken.attr("type").as_deref(), Some("result"), "{}", taken.xml);
    laptop.wait_for("its entry", own(&room, "alice")).await;
    assert!(!phone.transcript().iter().any(own(&room, "alice")), "the phone is not in");
    ask_in(phone, &room, "alice", "again").await;
    phone.wait_for("its entry", own(&room, "alice")).await;
    assert_eq!(stage.painter.keys().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn if_it_goes_away_the_next_is_shown_the_question() {
    let stage = Stage::new().await;
    let (phone, laptop) = (&stage.phone, &stage.laptop);
    let room = stage.room("gone").await;
    ask_in(phone, &room, "alice", "join").await;
    challenged(phone, &room, "join").await;
    ask_in(laptop, &room, "alice", "laptop-join").await;
    laptop.sync().await;
    phone.cut().await;
    let asked = challenged(laptop, &room, "join").await;
    let key = stage.painter.keys().pop().expect("a key");
    let taken = answer(laptop, &room, "answer", &asked, &key).await;
    assert_eq!(taken.attr("type").as_deref(), Some("result"), "{}", taken.xml);
    let entry = laptop.wait_for("its entry", own(&room, "alice")).await;
    assert_eq!(entry.attr("id").as_deref(), Some("laptop-join"));
}
