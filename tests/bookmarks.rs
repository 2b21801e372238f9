//! The account's will to be in a room, told by its bookmarks (XEP-0402, XEP-0048), in front of each real server: joined with
//! no client there, left when the bookmark goes, kept when clients only quit.

mod support;

use std::time::{Duration, Instant};

use support::PATIENCE;
use support::driver::{Client, Driver, Event, Login};
use support::proxy::{Proxy, Setup};
use support::server::{KINDS, Kind, Options, Server};
use support::slix;

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const GRACE: Duration = Duration::from_secs(2);

/// A server, the proxy, alice's phone behind it, and carol, who talks to the server herself.
struct Stage {
    server: Server,
    proxy: Proxy,
    slix: Driver,
    phone: Client,
    carol: Client,
}

impl Stage {
    /// Nobody of alice's is there yet.
    async fn new(kind: Kind) -> Stage {
        let extra = if kind == Kind::Prosody { "allow_unaffiliated_register = true\n" } else { "" };
        let server = Server::start(kind, Options { extra: extra.to_owned(), ..Options::default() });
        let proxy = Setup::before(&server).config("[rooms]\nleave_grace = \"2s\"\n").start();
        let slix = slix::start();
        let (phone, carol) = (slix.client("phone"), slix.client("carol"));
        carol.connect(&Login::new(server.starttls(), "carol/desk", &server.certs.ca)).await;
        Stage { server, proxy, slix, phone, carol }
    }

    /// Alice's phone is there.
    async fn with_phone(kind: Kind) -> Stage {
        let stage = Stage::new(kind).await;
        stage.phone.connect(&stage.proxy.login("alice/phone")).await;
        stage
    }

    /// Carol's room, and what alice does there from now on is seen by her.
    async fn room(&self, name: &str) -> String {
        let room = self.server.room(name);
        self.carol.join(&room, "carol").await;
        room
    }

    /// A client of alice's that does not go through the proxy.
    async fn past_the_proxy(&self) -> Client {
        let other = self.slix.client("other");
        other.connect(&Login::new(self.server.starttls(), "alice/other", &self.server.certs.ca)).await;
        other
    }

    async fn waits_for(&self, room: &str, nick: &str, there: bool, since: usize) -> Event {
        let from = format!("from='{room}/{nick}'");
        let fits = |e: &Event| e.is("presence", &[&from]) && e.xml.contains("type='unavailable'") != there;
        self.carol.wait_since(since, &format!("{nick} {}", if there { "to come" } else { "to go" }), fits).await
    }

    /// Time goes by, longer than a leave would take.
    async fn is_still_there(&self, room: &str, nick: &str) {
        tokio::time::sleep(GRACE + Duration::from_secs(1)).await;
        self.carol.sync().await;
        let view = self.carol.view(room).await;
        assert!(view.iter().any(|o| o.nick == nick), "{nick} is gone: {view:?}");
    }
}

async fn result(client: &Client, id: &str, payload: &str) {
    let answer = client.iq(&format!("<iq type='set' id='{id}'>{payload}</iq>")).await;
    assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
}

async fn publish(client: &Client, id: &str, room: &str, autojoin: bool, nick: &str) {
    let nick = if nick.is_empty() { String::new() } else { format!("<nick>{nick}</nick>") };
    let conference = format!("<conference xmlns='urn:xmpp:bookmarks:1' autojoin='{autojoin}'>{nick}</conference>");
    let publish = format!("<publish node='urn:xmpp:bookmarks:1'><item id='{room}'>{conference}</item></publish>");
    let field = |name: &str, value: &str| format!("<field var='{name}'><value>{value}</value></field>");
    let fields = [
        field("FORM_TYPE", "http://jabber.org/protocol/pubsub#publish-options"),
        field("pubsub#persist_items", "true"),
        field("pubsub#access_model", "whitelist"),
    ]
    .concat();
    let options = format!("<publish-options><x xmlns='jabber:x:data' type='submit'>{fields}</x></publish-options>");
    result(client, id, &format!("<pubsub xmlns='{PUBSUB}'>{publish}{options}</pubsub>")).await;
}

async fn retract(client: &Client, id: &str, room: &str) {
    let retract = format!("<retract node='urn:xmpp:bookmarks:1' notify='true'><item id='{room}'/></retract>");
    result(client, id, &format!("<pubsub xmlns='{PUBSUB}'>{retract}</pubsub>")).await;
}

/// XEP-0048 in private XML storage: all bookmarks at once.
async fn store(client: &Client, id: &str, rooms: &[(&str, bool)]) {
    let conferences: String =
        rooms.iter().map(|(room, autojoin)| format!("<conference jid='{room}' autojoin='{autojoin}'/>")).collect();
    let storage = format!("<storage xmlns='storage:bookmarks'>{conferences}</storage>");
    result(client, id, &format!("<query xmlns='jabber:iq:private'>{storage}</query>")).await;
}

fn own_leave(room: &str, nick: &str) -> impl Fn(&Event) -> bool {
    let from = format!("from='{room}/{nick}'");
    move |e| e.is("presence", &["unavailable", "'110'", &from])
}

/// A client publishes: the account joins though no client does. It is not published any more, or without autojoin: the
/// account leaves, and who is attached sees it.
async fn published_and_gone(kind: Kind) {
    let stage = Stage::with_phone(kind).await;
    let (phone, carol) = (&stage.phone, &stage.carol);
    let room = stage.room("published").await;
    let mark = carol.mark();
    publish(phone, "p1", &room, true, "alice").await;
    let came = stage.waits_for(&room, "alice", true, mark).await;
    assert!(came.xml.contains("<show>away</show>"), "{}", came.xml);
    let jid = carol.view(&room).await.into_iter().find(|o| o.nick == "alice").expect("she is there").jid;
    assert!(jid.starts_with("alice@localhost/") && !jid.ends_with("/phone"), "{jid}");
    assert!(!phone.transcript().iter().any(|e| e.is("presence", &[&room])), "the phone has joined nothing");

    phone.join(&room, "alice").await;
    let (mark, own) = (carol.mark(), phone.mark());
    retract(phone, "r1", &room).await;
    stage.waits_for(&room, "alice", false, mark).await;
    let left = phone.wait_since(own, "its own leave", own_leave(&room, "alice")).await;
    assert_eq!(left.attr("to").as_deref(), Some("alice@localhost/phone"));
    assert!(!left.xml.contains("'333'") && !left.xml.contains("'307'"), "{}", left.xml);
    let ping = phone.self_ping(&room, "alice").await;
    assert!(ping.xml.contains("not-acceptable"), "it is out: {}", ping.xml);

    let mark = carol.mark();
    publish(phone, "p2", &room, true, "alice").await;
    stage.waits_for(&room, "alice", true, mark).await;
    phone.join(&room, "alice").await;
    let (mark, own) = (carol.mark(), phone.mark());
    publish(phone, "p3", &room, false, "alice").await;
    stage.waits_for(&room, "alice", false, mark).await;
    phone.wait_since(own, "its own leave", own_leave(&room, "alice")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_and_gone_on_prosody() {
    published_and_gone(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn published_and_gone_on_ejabberd() {
    published_and_gone(Kind::Ejabberd).await;
}

/// Conversations, Psi and Poezio leave every room when they quit. That is no leave where there is a bookmark, and neither is
/// one that the client stays online after.
async fn a_quit_is_no_leave(kind: Kind) {
    let stage = Stage::with_phone(kind).await;
    let (phone, carol) = (&stage.phone, &stage.carol);
    let room = stage.room("quit").await;
    let other = stage.room("not-bookmarked").await;
    publish(phone, "p1", &room, true, "alice").await;
    phone.join(&room, "alice").await;
    phone.join(&other, "alice").await;
    let own = phone.mark();
    phone.leave(&room, "alice").await;
    phone.wait_since(own, "its own leave", own_leave(&room, "alice")).await;
    stage.is_still_there(&room, "alice").await;
    phone.join(&room, "alice").await;
    let mark = carol.mark();
    phone.leave(&room, "alice").await;
    phone.disconnect().await;
    stage.is_still_there(&room, "alice").await;
    assert!(!carol.since(mark).iter().any(|e| e.is("presence", &["unavailable", &format!("{room}/alice")])));

    // Put out, the account does not come back by the bookmark; with a client it does.
    phone.connect(&stage.proxy.login("alice/phone")).await;
    let mark = carol.mark();
    let item = "<item nick='alice' role='none'/>";
    let kick = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>");
    let answer = carol.iq(&format!("<iq to='{room}' type='set' id='kick'>{kick}</iq>")).await;
    assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
    let gone = stage.waits_for(&room, "alice", false, mark).await;
    assert!(gone.xml.contains("'307'"), "{}", gone.xml);
    let mark = carol.mark();
    publish(phone, "p2", &room, true, "alice").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    carol.sync().await;
    assert!(!carol.since(mark).iter().any(|e| e.is("presence", &[&format!("{room}/alice")])));
    phone.join(&room, "alice").await;
    stage.waits_for(&room, "alice", true, mark).await;

    // The room without a bookmark is left, as ever.
    let mark = carol.mark();
    phone.join(&other, "alice").await;
    phone.leave(&other, "alice").await;
    stage.waits_for(&other, "alice", false, mark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quit_is_no_leave_on_prosody() {
    a_quit_is_no_leave(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quit_is_no_leave_on_ejabberd() {
    a_quit_is_no_leave(Kind::Ejabberd).await;
}

/// Older clients keep all bookmarks in one element of private XML storage.
async fn in_private_storage(kind: Kind) {
    let stage = Stage::with_phone(kind).await;
    let (phone, carol) = (&stage.phone, &stage.carol);
    let (one, two) = (stage.room("one").await, stage.room("two").await);
    let mark = carol.mark();
    store(phone, "s1", &[(&one, true), (&two, true)]).await;
    stage.waits_for(&one, "alice", true, mark).await;
    stage.waits_for(&two, "alice", true, mark).await;
    phone.join(&two, "alice").await;
    let (mark, own) = (carol.mark(), phone.mark());
    store(phone, "s2", &[(&one, true)]).await;
    stage.waits_for(&two, "alice", false, mark).await;
    phone.wait_since(own, "its own leave", own_leave(&two, "alice")).await;
    store(phone, "s3", &[(&one, false)]).await;
    stage.waits_for(&one, "alice", false, mark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_private_storage_on_prosody() {
    in_private_storage(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_private_storage_on_ejabberd() {
    in_private_storage(Kind::Ejabberd).await;
}

/// A bookmark without a nick: the room is asked for the one that is registered with it (XEP-0045 §7.12), which Prosody
/// tells; ejabberd keeps nicks for the whole service, and tells of none.
#[tokio::test(flavor = "multi_thread")]
async fn a_bookmark_without_a_nick_takes_the_reserved_one() {
    for (kind, nick) in [(Kind::Prosody, "queen"), (Kind::Ejabberd, "alice")] {
        let stage = Stage::with_phone(kind).await;
        let room = stage.room("reserved").await;
        if kind == Kind::Prosody {
            let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
            let fields = field("FORM_TYPE", "http://jabber.org/protocol/muc#register")
                + &field("muc#register_roomnick", "queen");
            let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
            let set =
                format!("<iq to='{room}' type='set' id='r'><query xmlns='jabber:iq:register'>{form}</query></iq>");
            let answer = stage.phone.iq(&set).await;
            assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
        }
        let mark = stage.carol.mark();
        publish(&stage.phone, "p1", &room, true, "").await;
        stage.waits_for(&room, nick, true, mark).await;
        let others = |e: &Event| e.is("presence", &[&format!("from='{room}/alice'")]);
        assert!(nick == "alice" || !stage.carol.since(mark).iter().any(others));
    }
}

/// What was bookmarked before, past the proxy, is found at the first login; the client that logs in joins nothing, and goes.
#[tokio::test(flavor = "multi_thread")]
async fn fetched_at_the_first_login() {
    for kind in KINDS {
        let stage = Stage::new(kind).await;
        let (room, old) = (stage.room("fetched").await, stage.room("old").await);
        let other = stage.past_the_proxy().await;
        // Prosody keeps both places alike.
        if kind == Kind::Ejabberd {
            store(&other, "s1", &[(&old, true)]).await;
        }
        publish(&other, "p1", &room, true, "Nick").await;
        other.disconnect().await;
        let mark = stage.carol.mark();
        stage.phone.connect(&stage.proxy.login("alice/phone")).await;
        stage.phone.disconnect().await;
        stage.waits_for(&room, "Nick", true, mark).await;
        stage.is_still_there(&room, "Nick").await;
        let from_old = |e: &Event| e.is("presence", &[&format!("from='{old}/alice'")]);
        assert!(!stage.carol.since(mark).iter().any(from_old), "{kind:?}: the older place counts no more");
    }
}

/// Nobody of alice's is connected to the proxy, and another client of hers bookmarks a room past it. Prosody tells the account
/// session; ejabberd does not, and the next login's fetch finds it.
#[tokio::test(flavor = "multi_thread")]
async fn followed_with_no_client_there() {
    let stage = Stage::with_phone(Kind::Prosody).await;
    let (first, second) = (stage.room("first").await, stage.room("second").await);
    let mark = stage.carol.mark();
    publish(&stage.phone, "p1", &first, true, "alice").await;
    stage.waits_for(&first, "alice", true, mark).await;
    stage.phone.disconnect().await;
    let other = stage.past_the_proxy().await;
    publish(&other, "p2", &second, true, "alice").await;
    stage.waits_for(&second, "alice", true, mark).await;
    let mark = stage.carol.mark();
    retract(&other, "r1", &second).await;
    stage.waits_for(&second, "alice", false, mark).await;
}

/// ejabberd tells the account session nothing; what it tells a client on its own stream does.
#[tokio::test(flavor = "multi_thread")]
async fn told_on_a_clients_own_stream() {
    let stage = Stage::with_phone(Kind::Ejabberd).await;
    let (first, second) = (stage.room("first").await, stage.room("second").await);
    let mark = stage.carol.mark();
    publish(&stage.phone, "p1", &first, true, "alice").await;
    stage.waits_for(&first, "alice", true, mark).await;
    let subscribe = "<subscribe node='urn:xmpp:bookmarks:1' jid='alice@localhost'/>";
    result(&stage.phone, "subscribe", &format!("<pubsub xmlns='{PUBSUB}'>{subscribe}</pubsub>")).await;
    let other = stage.past_the_proxy().await;
    publish(&other, "p2", &second, true, "alice").await;
    let told = stage.phone.wait_for("the event", |e| e.is("message", &["<event", &second])).await;
    assert!(told.xml.contains("urn:xmpp:bookmarks:1"), "{}", told.xml);
    stage.waits_for(&second, "alice", true, mark).await;
    let mark = stage.carol.mark();
    retract(&other, "r1", &second).await;
    stage.waits_for(&second, "alice", false, mark).await;
}

/// CVE-2023-28686: a room, an occupant and a stranger tell the account's clients, and its session, of bookmarks.
async fn s17_forged(kind: Kind) {
    let stage = Stage::with_phone(kind).await;
    let (phone, carol) = (&stage.phone, &stage.carol);
    let (room, trap) = (stage.room("forged").await, stage.room("trap").await);
    let mark = carol.mark();
    publish(phone, "p1", &room, true, "alice").await;
    stage.waits_for(&room, "alice", true, mark).await;
    phone.join(&room, "alice").await;
    let session = carol.view(&room).await.into_iter().find(|o| o.nick == "alice").expect("she is there").jid;
    let trapped = "<conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'/>";
    let mark = carol.mark();
    for (n, to) in ["alice@localhost", "alice@localhost/phone", &session, &format!("{room}/alice")].iter().enumerate() {
        for items in [format!("<item id='{trap}'>{trapped}</item>"), format!("<retract id='{room}'/>")] {
            let event =
                format!("<event xmlns='{PUBSUB}#event'><items node='urn:xmpp:bookmarks:1'>{items}</items></event>");
            carol.raw(&format!("<message to='{to}' id='forged-{n}' type='chat'>{event}</message>")).await;
        }
        let answer = format!("<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:bookmarks:1'/></pubsub>");
        carol.raw(&format!("<iq to='{to}' type='result' id='p1'>{answer}</iq>")).await;
    }
    phone.wait_for("what was forged", |e| e.is("message", &["forged-1", "retract"])).await;
    stage.is_still_there(&room, "alice").await;
    let changed = |e: &Event| {
        e.is("presence", &["unavailable", &format!("{room}/alice")]) || e.is("presence", &[&format!("{trap}/alice")])
    };
    assert!(!carol.since(mark).iter().any(changed));
}

#[tokio::test(flavor = "multi_thread")]
async fn s17_forged_on_prosody() {
    s17_forged(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s17_forged_on_ejabberd() {
    s17_forged(Kind::Ejabberd).await;
}

/// A room that is bookmarked and does not exist yet is made, and open to others at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_room_is_open_at_once() {
    let server = Server::start(Kind::Prosody, Options { locked_rooms: true, ..Options::default() });
    let proxy = Proxy::start(&server);
    let slix = slix::start();
    let (phone, carol) = (slix.client("phone"), slix.client("carol"));
    phone.connect(&proxy.login("alice/phone")).await;
    carol.connect(&Login::new(server.starttls(), "carol/desk", &server.certs.ca)).await;
    let room = server.room("instant");
    publish(&phone, "p1", &room, true, "alice").await;
    // Whoever came first would own it.
    proxy_has_rooms(&proxy, 1).await;
    let seen = carol.join(&room, "carol").await;
    assert!(seen.iter().any(|o| o.nick == "alice" && o.affiliation == "owner"), "{seen:?}");
}

async fn proxy_has_rooms(proxy: &Proxy, rooms: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = proxy.admin(["session", "list", "--json"], "");
        let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
        if list["account_sessions"][0]["rooms"] == rooms {
            return;
        }
        assert!(Instant::now() < deadline, "{list}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `bookmarks = false`: as without any.
#[tokio::test(flavor = "multi_thread")]
async fn switched_off() {
    let server = Server::start(Kind::Prosody, Options::default());
    let proxy = Setup::before(&server).config("[rooms]\nbookmarks = false\n").start();
    let slix = slix::start();
    let (phone, carol) = (slix.client("phone"), slix.client("carol"));
    carol.connect(&Login::new(server.starttls(), "carol/desk", &server.certs.ca)).await;
    phone.connect(&proxy.login("alice/phone")).await;
    let (room, other) = (server.room("off"), server.room("joined"));
    carol.join(&room, "carol").await;
    publish(&phone, "p1", &room, true, "alice").await;
    // A room that is joined shows that all before it has been dealt with.
    phone.join(&other, "alice").await;
    carol.sync().await;
    assert_eq!(carol.view(&room).await.len(), 1);
    assert_eq!(proxy.log().matches("account session is up").count(), 1);
}
