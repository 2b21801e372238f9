//! How an account that is in a room with three clients is put out of it, in front of each real server: every client
//! sees it as somebody does who joined by himself, all are out, and the account goes back only after an accident.

mod support;

use support::driver::Event;
use support::server::{Kind, Server};
use support::stage::{Stage, configure, set, shape};

const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
const OWNER: &str = "http://jabber.org/protocol/muc#owner";

/// Where the transcripts of those who are put out are.
#[derive(Clone, Copy)]
struct Marks {
    clients: [usize; 3],
    bob: usize,
}

impl Marks {
    fn of(stage: &Stage) -> Marks {
        Marks { clients: stage.marks(), bob: stage.bob.mark() }
    }
}

/// Bob and alice are out: what each of her clients saw is what bob saw, and bears these pieces.
async fn all_out(stage: &Stage, room: &str, marks: Marks, pieces: &[&str]) {
    let removed = |nick: &str| {
        let from = format!("{room}/{nick}");
        move |e: &Event| {
            e.is("presence", &[])
                && e.attr("from").as_ref() == Some(&from)
                && e.attr("type").as_deref() == Some("unavailable")
        }
    };
    let bobs = stage.bob.wait_since(marks.bob, "his removal", removed("bob")).await;
    for (client, mark) in stage.since(marks.clients) {
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
async fn stays_out(stage: &Stage, room: &str) {
    for client in &stage.clients {
        let ping = client.self_ping(room, "alice").await;
        assert_eq!(ping.attr("type").as_deref(), Some("error"), "{}: {}", client.name, ping.xml);
    }
    // Longer than the first wait before going back would be.
    let back = |e: &Event| e.is("presence", &[&format!("{room}/alice"), "<item"]) && e.attr("type").is_none();
    let back = stage.carol.wait_within(std::time::Duration::from_secs(4), stage.carol.mark(), back).await;
    assert!(back.is_none(), "{back:?}");
}

/// Nobody removed her: the account is back before any client asks, and the clients can join again.
async fn comes_back(stage: &Stage, room: &str, mark: usize) {
    let back = |e: &Event| e.is("presence", &[&format!("{room}/alice"), "<item"]) && e.attr("type").is_none();
    stage.carol.wait_since(mark, "alice again", back).await;
    for client in &stage.clients {
        let nicks: Vec<String> = client.join(room, "alice").await.into_iter().map(|o| o.nick).collect();
        assert_eq!(nicks, ["alice", "carol"]);
    }
}

async fn put_out(kind: Kind) {
    let stage = Stage::new(kind).await;

    // Kicked, with a reason. Who joins again is in again.
    let room = stage.room("kick").await;
    let marks = Marks::of(&stage);
    for nick in ["bob", "alice"] {
        let item = format!("<item nick='{nick}' role='none'><reason>enough</reason></item>");
        set(&stage.carol, &room, &format!("kick-{nick}"), ADMIN, &item).await;
    }
    all_out(&stage, &room, marks, &["307", "enough", "110"]).await;
    stays_out(&stage, &room).await;
    stage.clients[1].join(&room, "alice").await;

    // Banned. Who joins again is refused, and nobody else hears of it.
    let room = stage.room("ban").await;
    let marks = Marks::of(&stage);
    for user in ["bob", "alice"] {
        let item = format!("<item jid='{user}@localhost' affiliation='outcast'><reason>never again</reason></item>");
        set(&stage.carol, &room, &format!("ban-{user}"), ADMIN, &item).await;
    }
    all_out(&stage, &room, marks, &["301", "never again", "110"]).await;
    stays_out(&stage, &room).await;
    let marks = Marks::of(&stage);
    stage.clients[1]
        .raw(&format!("<presence to='{room}/alice' id='again'><x xmlns='http://jabber.org/protocol/muc'/></presence>"))
        .await;
    let refused = |e: &Event| e.is("presence", &["<forbidden"]);
    stage.clients[1].wait_since(marks.clients[1], "the refusal", refused).await;
    stage.clients[0].sync().await;
    assert!(!stage.clients[0].since(marks.clients[0]).iter().any(refused));

    // No longer a member of a room for members only.
    let room = stage.server.room("member");
    stage.carol.join(&room, "carol").await;
    for user in ["bob", "alice"] {
        let item = format!("<item jid='{user}@localhost' affiliation='member'/>");
        set(&stage.carol, &room, &format!("member-{user}"), ADMIN, &item).await;
    }
    configure(&stage.carol, &room, "only-members", &[("muc#roomconfig_membersonly", "1")]).await;
    let room = stage.room("member").await;
    let marks = Marks::of(&stage);
    for user in ["bob", "alice"] {
        let item = format!("<item jid='{user}@localhost' affiliation='none'/>");
        set(&stage.carol, &room, &format!("none-{user}"), ADMIN, &item).await;
    }
    all_out(&stage, &room, marks, &["321", "110"]).await;
    stays_out(&stage, &room).await;

    // The room becomes one for members only.
    let room = stage.room("closing").await;
    let marks = Marks::of(&stage);
    configure(&stage.carol, &room, "closing", &[("muc#roomconfig_membersonly", "1")]).await;
    all_out(&stage, &room, marks, &["322", "110"]).await;
    stays_out(&stage, &room).await;

    // Destroyed, for another one.
    let room = stage.room("gone").await;
    let marks = Marks::of(&stage);
    let next = stage.server.room("next");
    let destroy = format!("<destroy jid='{next}'><reason>we moved</reason></destroy>");
    set(&stage.carol, &room, "destroy", OWNER, &destroy).await;
    all_out(&stage, &room, marks, &["<destroy", &next, "we moved"]).await;
    stays_out(&stage, &room).await;
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
    let (marks, mark) = (Marks::of(&stage), stage.carol.mark());
    unreachable(&mut stage.server, &room, "bob@localhost/desk");
    unreachable(&mut stage.server, &room, &session);
    let code: &[&str] = if kind == Kind::Prosody { &["333", "110"] } else { &["110"] };
    all_out(&stage, &room, marks, code).await;
    comes_back(&stage, &room, mark).await;

    // The service goes down, and comes back.
    let room = stage.room("shutdown").await;
    let marks = Marks::of(&stage);
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
    all_out(&stage, &room, marks, &["332", "110"]).await;
    let mark = stage.carol.mark();
    stage.carol.join(&room, "carol").await;
    comes_back(&stage, &room, mark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accidents_on_prosody() {
    accidents(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accidents_on_ejabberd() {
    accidents(Kind::Ejabberd).await;
}
