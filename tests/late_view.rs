//! What a client sees that joins late a room its account is in, compared with a direct join of another account at the
//! same moment, on each real server: after messages, subjects, changes of roles and of the room's anonymity.

mod support;

use std::collections::BTreeMap;

use support::driver::{Client, Driver, Event, Login};
use support::proxy::Proxy;
use support::server::{Kind, Options, Server};
use support::slix;
use tokio_xmpp::minidom::{Element, Node};

/// Alice's phone is in the room by the proxy from the start, her laptop comes late; bob joins the server directly, to
/// see what one sees then; carol owns the room, dave is there.
struct Stage {
    room: String,
    _server: Server,
    _proxy: Proxy,
    _slix: Driver,
    phone: Client,
    laptop: Client,
    bob: Client,
    carol: Client,
    dave: Client,
}

const DELAYED: &str = "urn:xmpp:delay";

impl Stage {
    async fn new(kind: Kind) -> Stage {
        let mut options = Options::default();
        options.users.push(("dave".to_owned(), support::server::password("dave")));
        let server = Server::start(kind, options);
        let proxy = Proxy::start(&server);
        let slix = slix::start();
        let client = |name: &str| slix.client(name);
        let (phone, laptop, bob) = (client("phone"), client("laptop"), client("bob"));
        let (carol, dave) = (client("carol"), client("dave"));
        phone.connect(&proxy.login("alice/phone")).await;
        laptop.connect(&proxy.login("alice/laptop")).await;
        for (client, user) in [(&bob, "bob/desk"), (&carol, "carol/desk"), (&dave, "dave/desk")] {
            client.connect(&Login::new(server.starttls(), user, &server.certs.ca)).await;
        }
        let room = server.room("late");
        carol.join(&room, "carol").await;
        dave.join(&room, "dave").await;
        let stage = Stage { room, _server: server, _proxy: proxy, _slix: slix, phone, laptop, bob, carol, dave };
        stage.joins(&stage.phone, "alice", "").await;
        stage
    }

    /// Joins, and returns all that the room sent until the subject, which ends a join.
    async fn joins(&self, client: &Client, nick: &str, history: &str) -> Vec<Event> {
        let mark = client.mark();
        let x = format!("<x xmlns='http://jabber.org/protocol/muc'>{history}</x>");
        client.raw(&format!("<presence to='{}/{nick}' id='join'>{x}</presence>", self.room)).await;
        let ends = |e: &Event| e.is("message", &["<subject"]) && !e.xml.contains("<body");
        let end = client.wait_since(mark, "the subject", ends).await;
        let from_room = |e: &Event| {
            let from = e.attr("from").unwrap_or_default();
            e.kind == "stanza" && e.name() != "iq" && from.split('/').next() == Some(&self.room)
        };
        client.since(mark).into_iter().filter(|e| e.seq <= end.seq && from_room(e)).collect()
    }

    async fn leaves(&self, client: &Client, nick: &str) {
        let mark = client.mark();
        client.raw(&format!("<presence to='{}/{nick}' type='unavailable'/>", self.room)).await;
        client.wait_since(mark, "its leave", |e| e.is("presence", &["unavailable", "110"])).await;
    }

    /// The laptop's late join shows what bob's direct one shows.
    async fn same(&self, when: &str, history: &str) -> Vec<String> {
        let late = self.joins(&self.laptop, "alice", history).await;
        self.leaves(&self.laptop, "alice").await;
        let direct = self.joins(&self.bob, "bob", history).await;
        let mark = self.phone.mark();
        self.leaves(&self.bob, "bob").await;
        self.phone.wait_since(mark, "bob's leave", |e| e.is("presence", &["unavailable", "/bob'"])).await;
        let (late, direct) = (View::of(&late, "alice"), View::of(&direct, "bob"));
        assert_eq!(late.occupants, direct.occupants, "{when} {history}: occupants (late, direct)");
        assert_eq!(late.own, direct.own, "{when} {history}: the own presence (late, direct)");
        assert_eq!(late.messages, direct.messages, "{when} {history}: history and subject (late, direct)");
        assert_eq!(late.room, direct.room, "{when} {history}: the room's presence (late, direct)");
        assert!(late.in_order && direct.in_order, "{when} {history}");
        late.occupants.into_iter().chain(late.own).chain(late.messages).collect()
    }

    /// Carol asks the room; the phone has seen the result.
    async fn carol_does(&self, query: &str, inner: &str, until: &[&str]) {
        let mark = self.phone.mark();
        let id = format!("c{}", self.carol.mark());
        let xml = format!(
            "<iq to='{}' type='set' id='{id}'><query xmlns='http://jabber.org/protocol/muc#{query}'>{inner}</query></iq>",
            self.room
        );
        let answer = self.carol.iq(&xml).await;
        assert_eq!(answer.attr("type").as_deref(), Some("result"), "{xml} {}", answer.xml);
        if !until.is_empty() {
            let seen = |e: &Event| e.kind == "stanza" && until.iter().all(|piece| e.xml.contains(piece));
            self.phone.wait_since(mark, &format!("{until:?} after {xml}"), seen).await;
        }
    }

    async fn role(&self, nick: &str, role: &str) {
        let item = format!("<item nick='{nick}' role='{role}'><reason>as it is</reason></item>");
        self.carol_does("admin", &item, &[&format!("/{nick}'"), &format!("role='{role}'")]).await;
    }

    async fn affiliation(&self, user: &str, affiliation: &str, until: &[&str]) {
        let item = format!("<item jid='{user}@localhost' affiliation='{affiliation}'/>");
        self.carol_does("admin", &item, until).await;
    }

    async fn whois(&self, who: &str, code: &str) {
        let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let form_type = field("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig");
        let whois = field("muc#roomconfig_whois", who);
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{form_type}{whois}</x>");
        self.carol_does("owner", &form, &["<message", code]).await;
    }

    /// Somebody sends a message to the room; the phone has seen it.
    async fn says(&self, who: &Client, id: &str, inner: &str, until: &str) {
        let mark = self.phone.mark();
        who.raw(&format!("<message to='{}' type='groupchat' id='{id}'>{inner}</message>", self.room)).await;
        self.phone.wait_since(mark, until, |e| e.is("message", &[until])).await;
    }
}

/// What a join showed, in a form that two joins share.
struct View {
    room: Vec<String>,
    occupants: Vec<String>,
    own: Vec<String>,
    messages: Vec<String>,
    in_order: bool,
}

impl View {
    /// `nick` is that of who joined. Alice, who is not shown to herself, is left out where another one sees her.
    fn of(events: &[Event], nick: &str) -> View {
        let mut view = View { room: vec![], occupants: vec![], own: vec![], messages: vec![], in_order: true };
        for event in events {
            let from = event.attr("from").unwrap_or_default();
            let who = from.split_once('/').map(|(_, nick)| nick.to_owned());
            let text = canonical(&event.element(), nick, true);
            match (event.name(), who.as_deref()) {
                ("message", _) => view.messages.push(text),
                ("presence", None) => view.room.push(text),
                ("presence", Some(who)) if who == nick => view.own.push(text),
                ("presence", Some("alice")) => continue,
                _ => view.occupants.push(text),
            }
            let late = !view.messages.is_empty() && event.name() == "presence";
            let after_own = !view.own.is_empty() && event.name() == "presence" && who.as_deref() != Some(nick);
            view.in_order &= !late && !after_own;
        }
        // Prosody shows them in any order.
        view.occupants.sort();
        view
    }
}

/// An element written the same way whatever the order of attributes and children, without what must differ: who
/// joined, what the server makes up anew each time, and stamps.
fn canonical(element: &Element, nick: &str, outermost: bool) -> String {
    let own = format!("{nick}@localhost/");
    let own_nick = format!("/{nick}");
    let attrs: BTreeMap<String, String> = element
        .attrs()
        .into_iter()
        .map(|((_, name), value)| {
            let made_up = outermost && element.name() == "presence" && *name == "id";
            let value = match name.to_string().as_str() {
                "stamp" => if value.contains('.') { "STAMP.FRACTION" } else { "STAMP" }.to_owned(),
                "id" if made_up || element.name() == "occupant-id" => "ID".to_owned(),
                // A role is what one may see by, and bob has his by his affiliation.
                "affiliation" if element.attr("jid").is_some_and(|jid| jid.starts_with(&own)) => "ANY".to_owned(),
                "ver" => "VER".to_owned(),
                // The account session's resource is its own.
                "jid" if element.name() == "address" => value.split('/').next().unwrap_or_default().to_owned(),
                _ if value.starts_with(&own) => "SELF".to_owned(),
                "from" if element.name() == "presence" => {
                    value.strip_suffix(&own_nick).map_or(value.to_owned(), |room| format!("{room}/SELF"))
                }
                _ => value.to_owned(),
            };
            (name.to_string(), value)
        })
        .collect();
    let mut children: Vec<String> = element
        .nodes()
        .map(|node| match node {
            Node::Element(child) => canonical(child, nick, false),
            Node::Text(text) => format!("{text:?}"),
        })
        .collect();
    children.sort();
    format!("<{{{}}}{} {attrs:?}>{}</>", element.ns(), element.name(), children.concat())
}

fn shows(view: &[String], piece: &str) -> bool {
    view.iter().any(|line| line.contains(piece))
}

async fn history(kind: Kind) {
    let stage = Stage::new(kind).await;
    stage.same("before anything was said", "").await;
    for n in 1..=3 {
        stage.says(&stage.dave, &format!("d{n}"), &format!("<body>dave {n}</body>"), &format!("dave {n}")).await;
    }
    stage.says(&stage.phone, "p1", "<body>hello &amp; welcome</body><x xmlns='urn:x'/>", "p1").await;
    let hidden = "<body>not kept</body><no-store xmlns='urn:xmpp:hints'/>";
    stage.says(&stage.dave, "h1", hidden, "h1").await;
    stage.says(&stage.dave, "k1", "<displayed xmlns='urn:xmpp:chat-markers:0' id='d1'/>", "k1").await;
    stage.says(&stage.dave, "k2", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", "k2").await;
    let secret = "<body>?</body><encryption xmlns='urn:xmpp:eme:0' namespace='urn:e'/>";
    stage.says(&stage.carol, "e1", secret, "e1").await;
    stage.says(&stage.carol, "t1", "<subject>no subject</subject><body>with a body</body>", "t1").await;
    let mark = stage.phone.mark();
    stage.dave.chat(&format!("{}/alice", stage.room), "pm", "psst").await;
    stage.phone.wait_since(mark, "the private message", |e| e.is("message", &["psst"])).await;
    for asked in [
        "",
        "maxstanzas='2'",
        "maxstanzas='0'",
        "maxstanzas='100'",
        "maxchars='0'",
        "maxchars='100000'",
        "seconds='3600'",
        "since='2020-01-01T00:00:00Z'",
        "since='2100-01-01T00:00:00Z'",
        "maxstanzas='3' seconds='3600'",
        "maxstanzas='1' maxchars='100000' seconds='3600' since='2020-01-01T00:00:00Z'",
        "maxstanzas='many'",
        "since='yesterday'",
        "seconds='99999999999'",
    ] {
        let asked = if asked.is_empty() { String::new() } else { format!("<history {asked}/>") };
        let seen = stage.same("history", &asked).await;
        assert!(!shows(&seen, "psst") && seen.iter().filter(|line| line.contains(DELAYED)).count() <= 8);
    }
}

/// More than the room keeps.
async fn long_history(kind: Kind) {
    let stage = Stage::new(kind).await;
    for n in 1..=25 {
        stage.says(&stage.dave, &format!("d{n}"), &format!("<body>number {n}.</body>"), &format!("number {n}.")).await;
    }
    for (asked, number) in [("", 20), ("maxstanzas='7'", 7), ("maxstanzas='50'", 20), ("seconds='3600'", 20)] {
        let asked = if asked.is_empty() { String::new() } else { format!("<history {asked}/>") };
        let seen = stage.same("a long history", &asked).await;
        assert_eq!(seen.iter().filter(|line| line.contains("number")).count(), number, "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_on_prosody() {
    long_history(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_on_ejabberd() {
    long_history(Kind::Ejabberd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_as_asked_on_prosody() {
    history(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_as_asked_on_ejabberd() {
    history(Kind::Ejabberd).await;
}

async fn subjects(kind: Kind) {
    let stage = Stage::new(kind).await;
    stage.same("never set", "").await;
    stage.says(&stage.carol, "s1", "<subject>Tea</subject>", "Tea").await;
    assert!(shows(&stage.same("set", "").await, "Tea"));
    let two = "<subject xml:lang='de'>Kaffee</subject><nick xmlns='http://jabber.org/protocol/nick'>c</nick>";
    stage.says(&stage.carol, "s2", two, "Kaffee").await;
    assert!(shows(&stage.same("in a language", "").await, "Kaffee"));
    stage.says(&stage.carol, "s3", "<subject/>", "<subject").await;
    assert!(!shows(&stage.same("cleared", "").await, "Kaffee"));
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_on_prosody() {
    subjects(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_on_ejabberd() {
    subjects(Kind::Ejabberd).await;
}

async fn roles(kind: Kind) {
    let stage = Stage::new(kind).await;
    assert!(!shows(&stage.same("as a participant", "").await, "dave@localhost"));
    // By role alone: the room does not show alice the others again.
    stage.role("alice", "moderator").await;
    stage.affiliation("bob", "admin", &[]).await;
    let seen = stage.same("as a moderator", "").await;
    assert!(shows(&seen, "dave@localhost/desk") && shows(&seen, "carol@localhost/desk"), "{seen:#?}");
    stage.role("dave", "visitor").await;
    assert!(shows(&stage.same("another's role", "").await, "visitor"));
    stage.role("alice", "participant").await;
    stage.affiliation("bob", "member", &[]).await;
    assert!(!shows(&stage.same("as a participant again", "").await, "@localhost/desk"));
    // By affiliation.
    stage.affiliation("alice", "admin", &["/alice'", "affiliation='admin'"]).await;
    stage.affiliation("bob", "admin", &[]).await;
    assert!(shows(&stage.same("as an admin", "").await, "dave@localhost/desk"));
    stage.affiliation("alice", "member", &["/alice'", "affiliation='member'"]).await;
    stage.affiliation("bob", "member", &[]).await;
    assert!(!shows(&stage.same("an admin no more", "").await, "@localhost/desk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_real_jids_on_prosody() {
    roles(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_real_jids_on_ejabberd() {
    roles(Kind::Ejabberd).await;
}

async fn anonymity(kind: Kind) {
    let stage = Stage::new(kind).await;
    stage.whois("anyone", "172").await;
    stage.says(&stage.dave, "d1", "<body>who I am</body>", "d1").await;
    stage.says(&stage.phone, "p1", "<body>and I</body>", "p1").await;
    let mark = stage.phone.mark();
    let seen = stage.same("non-anonymous", "").await;
    assert!(shows(&seen, "dave@localhost/desk") && shows(&seen, "\"100\""), "{seen:#?}");
    // What the account asked for that is not for who is inside.
    stage.phone.sync().await;
    let others = |e: &Event| e.is("presence", &["/dave'"]) || e.is("presence", &["/carol'"]) || e.is("message", &[]);
    assert!(!stage.phone.since(mark).iter().any(others), "{:#?}", stage.phone.since(mark));
    stage.whois("moderators", "173").await;
    let seen = stage.same("anonymous again", "").await;
    assert!(!shows(&seen, "@localhost/desk") && !shows(&seen, "\"100\""), "{seen:#?}");
    stage.role("alice", "moderator").await;
    stage.whois("anyone", "172").await;
    stage.affiliation("bob", "admin", &[]).await;
    assert!(shows(&stage.same("a moderator in a non-anonymous room", "").await, "dave@localhost/desk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymity_on_prosody() {
    anonymity(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymity_on_ejabberd() {
    anonymity(Kind::Ejabberd).await;
}
