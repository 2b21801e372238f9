//! How an account that is in a room with three clients is put out of it, in front of each real server: every client
//! sees it as somebody does who joined by himself, all are out, and the account goes back only after an accident.

mod support;

use support::driver::{Client, Driver, Event, Login};
use support::proxy::Proxy;
use support::server::{Kind, Options, Server};
use support::slix;
use tokio_xmpp::minidom::Element;

const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
const OWNER: &str = "http://jabber.org/protocol/muc#owner";

struct Stage {
    server: Server,
    _proxy: Proxy,
    _slix: Driver,
    /// Alice's, behind the proxy.
    clients: [Client; 3],
    /// Talks to the server himself; what he sees is what alice's clients are to see.
    bob: Client,
    /// Owns the rooms.
    carol: Client,
}

impl Stage {
    async fn new(kind: Kind) -> Stage {
        let server = Server::start(kind, Options::default());
        let proxy = Proxy::start(&server);
        let slix = slix::start();
        let clients = ["phone", "laptop", "tablet"].map(|name| slix.client(name));
        let (bob, carol) = (slix.client("bob"), slix.client("carol"));
        for client in &clients {
            client.connect(&proxy.login(&format!("alice/{}", client.name))).await;
        }
        for (client, user) in [(&bob, "bob/desk"), (&carol, "carol/desk")] {
            client.connect(&Login::new(server.starttls(), user, &server.certs.ca)).await;
        }
        Stage { server, _proxy: proxy, _slix: slix, clients, bob, carol }
    }

    /// A room of carol's with all in it.
    async fn room(&self, name: &str) -> String {
        let room = self.server.room(name);
        self.carol.join(&room, "carol").await;
        self.bob.join(&room, "bob").await;
        for client in &self.clients {
            client.join(&room, "alice").await;
        }
        room
    }

    async fn configure(&self, room: &str, id: &str, fields: &[(&str, &str)]) {
        let fields: String =
            fields.iter().map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>")).collect();
        let form_type = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>";
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{form_type}{fields}</x>");
        self.carol_sets(room, id, OWNER, &form).await;
    }

    async fn carol_sets(&self, room: &str, id: &str, space: &str, payload: &str) {
        let iq = format!("<iq to='{room}' type='set' id='{id}'><query xmlns='{space}'>{payload}</query></iq>");
        let answer = self.carol.iq(&iq).await;
        assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
    }

    fn marks(&self) -> [usize; 4] {
        let [a, b, c] = &self.clients;
        [a.mark(), b.mark(), c.mark(), self.bob.mark()]
    }

    /// Bob and alice are out: what each of her clients saw is what bob saw, and bears these pieces.
    async fn all_out(&self, room: &str, marks: [usize; 4], pieces: &[&str]) {
        let removed = |nick: &str| {
            let from = format!("{room}/{nick}");
            move |e: &Event| {
                e.is("presence", &[])
                    && e.attr("from").as_ref() == Some(&from)
                    && e.attr("type").as_deref() == Some("unavailable")
            }
        };
        let bobs = self.bob.wait_since(marks[3], "his removal", removed("bob")).await;
        for (client, mark) in self.clients.iter().zip(marks) {
            let seen = client.wait_since(mark, "its removal", removed("alice")).await;
            assert_eq!(
                shape(&seen.element(), "alice", &client.name),
                shape(&bobs.element(), "bob", "desk"),
                "{}\n{}",
                seen.xml,
                bobs.xml
            );
            for piece in pieces {
                assert!(seen.xml.contains(piece), "{piece}: {}", seen.xml);
            }
            client.sync().await;
            let times = client.since(mark).iter().filter(|e| removed("alice")(e)).count();
            assert_eq!(times, 1, "{}", client.name);
        }
    }

    /// Whoever removed her meant it: none of her clients is in the room, nor is the account, and it does not go back.
    async fn stays_out(&self, room: &str) {
        for client in &self.clients {
            let ping = client.self_ping(room, "alice").await;
            assert_eq!(ping.attr("type").as_deref(), Some("error"), "{}: {}", client.name, ping.xml);
        }
        // Longer than the first wait before going back would be.
        let back = |e: &Event| e.is("presence", &[&format!("{room}/alice"), "<item"]) && e.attr("type").is_none();
        let back = self.carol.wait_within(std::time::Duration::from_secs(4), self.carol.mark(), back).await;
        assert!(back.is_none(), "{back:?}");
    }

    /// Nobody removed her: the account is back before any client asks, and the clients can join again.
    async fn comes_back(&self, room: &str, mark: usize) {
        let back = |e: &Event| e.is("presence", &[&format!("{room}/alice"), "<item"]) && e.attr("type").is_none();
        self.carol.wait_since(mark, "alice again", back).await;
        for client in &self.clients {
            let nicks: Vec<String> = client.join(room, "alice").await.into_iter().map(|o| o.nick).collect();
            assert_eq!(nicks, ["alice", "carol"]);
        }
    }
}

/// The tree as text: names with their namespaces, attributes sorted but for the id; without the names that differ.
fn shape(element: &Element, user: &str, resource: &str) -> String {
    let attributes = element.attrs().into_iter().filter(|((_, name), _)| name.as_str() != "id");
    let mut attributes: Vec<String> = attributes.map(|((_, name), value)| format!(" {name}={value:?}")).collect();
    attributes.sort();
    if element.name() == "occupant-id" {
        attributes.clear();
    }
    let children: String = element.children().map(|child| shape(child, user, resource)).collect();
    let text =
        format!("<{{{}}}{}{}>{}{children}</>", element.ns(), element.name(), attributes.concat(), element.text());
    text.replace(user, "USER").replace(&format!("/{resource}"), "/RESOURCE")
}

async fn put_out(kind: Kind) {
    let stage = Stage::new(kind).await;

    // Kicked, with a reason. Who joins again is in again.
    let room = stage.room("kick").await;
    let marks = stage.marks();
    for nick in ["bob", "alice"] {
        let item = format!("<item nick='{nick}' role='none'><reason>enough</reason></item>");
        stage.carol_sets(&room, &format!("kick-{nick}"), ADMIN, &item).await;
    }
    stage.all_out(&room, marks, &["307", "enough", "110"]).await;
    stage.stays_out(&room).await;
    stage.clients[1].join(&room, "alice").await;

    // Banned. Who joins again is refused, and nobody else hears of it.
    let room = stage.room("ban").await;
    let marks = stage.marks();
    for user in ["bob", "alice"] {
        let item = format!("<item jid='{user}@localhost' affiliation='outcast'><reason>never again</reason></item>");
        stage.carol_sets(&room, &format!("ban-{user}"), ADMIN, &item).await;
    }
    stage.all_out(&room, marks, &["301", "never again", "110"]).await;
    stage.stays_out(&room).await;
    let marks = stage.marks();
    stage.clients[1]
        .raw(&format!("<presence to='{room}/alice' id='again'><x xmlns='http://jabber.org/protocol/muc'/></presence>"))
        .await;
    let refused = |e: &Event| e.is("presence", &["<forbidden"]);
    stage.clients[1].wait_since(marks[1], "the refusal", refused).await;
    stage.clients[0].sync().await;
    assert!(!stage.clients[0].since(marks[0]).iter().any(refused));

    // No longer a member of a room for members only.
    let room = stage.server.room("member");
    stage.carol.join(&room, "carol").await;
    for user in ["bob", "alice"] {
        let item = format!("<item jid='{user}@localhost' affiliation='member'/>");
        stage.carol_sets(&room, &format!("member-{user}"), ADMIN, &item).await;
    }
    stage.configure(&room, "only-members", &[("muc#roomconfig_membersonly", "1")]).await;
    let room = stage.room("member").await;
    let marks = stage.marks();
    for user in ["bob", "alice"] {
        let item = format!("<item jid='{user}@localhost' affiliation='none'/>");
        stage.carol_sets(&room, &format!("none-{user}"), ADMIN, &item).await;
    }
    stage.all_out(&room, marks, &["321", "110"]).await;
    stage.stays_out(&room).await;

    // The room becomes one for members only.
    let room = stage.room("closing").await;
    let marks = stage.marks();
    stage.configure(&room, "closing", &[("muc#roomconfig_membersonly", "1")]).await;
    stage.all_out(&room, marks, &["322", "110"]).await;
    stage.stays_out(&room).await;

    // Destroyed, for another one.
    let room = stage.room("gone").await;
    let marks = stage.marks();
    let next = stage.server.room("next");
    let destroy = format!("<destroy jid='{next}'><reason>we moved</reason></destroy>");
    stage.carol_sets(&room, "destroy", OWNER, &destroy).await;
    stage.all_out(&room, marks, &["<destroy", &next, "we moved"]).await;
    stage.stays_out(&room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_out_on_prosody() {
    put_out(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_out_on_ejabberd() {
    put_out(Kind::Ejabberd).await;
}

/// The account session's full JID, as carol sees it.
async fn session_of_alice(stage: &Stage, room: &str) -> String {
    let present = format!("from='{room}/alice'");
    stage.carol.wait_for("alice", |e: &Event| e.is("presence", &[&present])).await;
    let all = stage.carol.view(room).await;
    all.into_iter().find(|o| o.nick == "alice").expect("alice is there").jid
}

/// Has the server believe that an occupant cannot be reached.
fn unreachable(server: &mut Server, room: &str, jid: &str) {
    let command = match server.kind {
        Kind::Prosody => {
            let from = format!("{{ from = {jid:?}, to = {room:?}, type = 'error' }}");
            let error = format!("require'util.stanza'.message({from}):tag('error', {{ type = 'cancel' }})");
            format!("> {}:handle_kickable(nil, {error})", room_of_prosody(room))
        }
        Kind::Ejabberd => {
            let condition = "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
            let error = format!("<error type='cancel'>{condition}</error>");
            let to = format!("{room}/carol");
            let xml = format!("<message type='error' from='{jid}' to='{to}' xmlns='jabber:client'>{error}</message>");
            format!("ejabberd_router:route(xmpp:decode(fxml_stream:parse_element(<<{xml:?}>>))).")
        }
    };
    let answer = server.control(&command);
    assert!(!answer.to_lowercase().contains("error:"), "{command}: {answer}");
}

fn room_of_prosody(room: &str) -> String {
    format!("prosody.hosts['conference.localhost'].modules.muc.get_room_from_jid({room:?})")
}

async fn accidents(kind: Kind) {
    let mut stage = Stage::new(kind).await;

    // The room believes that the occupant is unreachable: Prosody says 333, ejabberd nothing at all.
    let room = stage.room("error").await;
    let session = session_of_alice(&stage, &room).await;
    let (marks, mark) = (stage.marks(), stage.carol.mark());
    unreachable(&mut stage.server, &room, "bob@localhost/desk");
    unreachable(&mut stage.server, &room, &session);
    let code: &[&str] = if kind == Kind::Prosody { &["333", "110"] } else { &["110"] };
    stage.all_out(&room, marks, code).await;
    stage.comes_back(&room, mark).await;

    // The service goes down, and comes back.
    let room = stage.room("shutdown").await;
    let marks = stage.marks();
    match kind {
        // It says nothing by itself.
        Kind::Prosody => {
            let x = "require'util.stanza'.stanza('x', { xmlns = 'http://jabber.org/protocol/muc#user' })";
            let x = format!("{x}:tag('status', {{ code = '332' }}):up()");
            stage.server.control(&format!("> {}:clear({x})", room_of_prosody(&room)));
        }
        Kind::Ejabberd => {
            stage.server.control("mod_muc:shutdown_rooms(<<\"localhost\">>).");
        }
    }
    stage.all_out(&room, marks, &["332", "110"]).await;
    let mark = stage.carol.mark();
    stage.carol.join(&room, "carol").await;
    stage.comes_back(&room, mark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accidents_on_prosody() {
    accidents(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accidents_on_ejabberd() {
    accidents(Kind::Ejabberd).await;
}
