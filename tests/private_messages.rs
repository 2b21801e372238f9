//! Private messages between occupants (XEP-0045 §7.5, XEP-0280), in front of each real server: who gets what, how often,
//! and that a sibling's copy is the one that the server itself would have made.

mod support;

use support::driver::{Client, Event, Login};
use support::proxy::Proxy;
use support::server::{Kind, Options, Server};
use support::slix;
use tokio_xmpp::minidom::Element;

const CARBONS: &str = "urn:xmpp:carbons:2";

async fn enable_carbons(client: &Client) {
    let answer = client.iq(&format!("<iq type='set' id='carbons-on'><enable xmlns='{CARBONS}'/></iq>")).await;
    assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
}

fn whisper(to: &str, id: &str, text: &str) -> String {
    format!(
        "<message to='{to}' type='chat' id='{id}' xml:lang='de'><body>{text}</body>\
         <active xmlns='http://jabber.org/protocol/chatstates'/><origin-id xmlns='urn:xmpp:sid:0' id='{id}'/></message>"
    )
}

/// How often a text came, in whatever wrapping.
fn times(client: &Client, mark: usize, text: &str) -> usize {
    client.since(mark).iter().filter(|e| e.is("message", &[text])).count()
}

fn sent_carbon(e: &Event) -> bool {
    e.is("message", &["<sent", CARBONS])
}

/// The tree as text: names with their namespaces, attributes and children sorted; without people's names and the ids
/// that an archive gives.
fn shape(element: &Element, user: &str) -> String {
    let archived = matches!(element.name(), "stanza-id" | "archived");
    let attributes = element.attrs().into_iter().filter(|((_, name), _)| !(archived && *name == "id"));
    let attributes = attributes.map(|((_, name), value)| format!(" {name}={value:?}"));
    let mut attributes: Vec<String> = attributes.collect();
    attributes.sort();
    let mut children: Vec<String> = element.children().map(|child| shape(child, user)).collect();
    children.sort();
    let (space, name, text) = (element.ns(), element.name(), element.text());
    format!("<{{{space}}}{name}{}>{text}{}</>", attributes.concat(), children.concat()).replace(user, "USER")
}

async fn private_messages(kind: Kind) {
    let server = Server::start(kind, Options::default());
    let proxy = Proxy::start(&server);
    let slix = slix::start();
    let [phone, laptop, tablet, watch, desk, pad, carol] =
        ["phone", "laptop", "tablet", "watch", "desk", "pad", "carol"].map(|name| slix.client(name));
    let room = server.room("private");
    let at_server = |user: &str| Login::new(server.starttls(), user, &server.certs.ca);
    carol.connect(&at_server("carol/home")).await;
    carol.join(&room, "carol").await;
    // Three clients behind the proxy, two that talk to the server themselves. All but one want copies.
    for (client, login) in [
        (&phone, proxy.login("alice/one")),
        (&laptop, proxy.login("alice/two")),
        (&tablet, proxy.login("alice/three")),
        (&desk, at_server("bob/one")),
        (&pad, at_server("bob/two")),
    ] {
        let nick = login.jid.split('@').next().unwrap_or_default().to_owned();
        client.connect(&login).await;
        // One before its join, the others after it.
        if client.name == "laptop" {
            enable_carbons(client).await;
        }
        client.join(&room, &nick).await;
        if !["laptop", "tablet"].contains(&client.name.as_str()) {
            enable_carbons(client).await;
        }
    }

    // One more, in no room.
    watch.connect(&proxy.login("alice/four")).await;
    enable_carbons(&watch).await;
    let watch_mark = watch.mark();

    // In: once for each client.
    let all = [&phone, &laptop, &tablet];
    let marks = all.map(Client::mark);
    carol.raw(&whisper(&format!("{room}/alice"), "in", "psst")).await;
    for (client, mark) in all.into_iter().zip(marks) {
        client.wait_since(mark, "the private message", |e| e.is("message", &["psst"])).await;
        client.sync().await;
        assert_eq!(times(client, mark, "psst"), 1, "{}", client.name);
    }

    // Out: a sibling that wants copies gets the one that the server makes where there is no proxy.
    let marks = all.map(Client::mark);
    let pad_mark = pad.mark();
    desk.raw(&whisper(&format!("{room}/carol"), "out", "what?")).await;
    let direct = pad.wait_since(pad_mark, "the server's copy", sent_carbon).await;
    phone.raw(&whisper(&format!("{room}/carol"), "out", "what?")).await;
    let copy = laptop.wait_since(marks[1], "the copy through the proxy", sent_carbon).await;
    assert_eq!(shape(&copy.element(), "alice"), shape(&direct.element(), "bob"), "{}\n{}", copy.xml, direct.xml);
    let alices = |e: &Event| e.is("message", &["what?"]) && e.attr("from") == Some(format!("{room}/alice"));
    carol.wait_for("what alice said", alices).await;
    for (client, (mark, expected)) in all.into_iter().zip(marks.into_iter().zip([0, 1, 0])) {
        client.sync().await;
        assert_eq!(times(client, mark, "what?"), expected, "{}: {:#?}", client.name, client.since(mark));
    }

    // So does who is not in the room; what comes in is nothing to it.
    let copy = watch.wait_since(watch_mark, "the copy for a client in no room", sent_carbon).await;
    assert_eq!(
        shape(&copy.element(), "alice").replace("/four", "/two"),
        shape(&direct.element(), "bob"),
        "{}",
        copy.xml
    );
    assert_eq!((times(&watch, watch_mark, "what?"), times(&watch, watch_mark, "psst")), (1, 0));

    // No longer wanted.
    let mark = laptop.mark();
    let off = laptop.iq(&format!("<iq type='set' id='carbons-off'><disable xmlns='{CARBONS}'/></iq>")).await;
    assert_eq!(off.attr("type").as_deref(), Some("result"));
    phone.raw(&whisper(&format!("{room}/carol"), "again", "still there?")).await;
    carol.wait_for("the next one", |e| e.is("message", &["still there?"])).await;
    laptop.sync().await;
    assert_eq!(times(&laptop, mark, "still there?"), 0);

    // To nobody: the error is the author's alone.
    let marks = all.map(Client::mark);
    laptop.raw(&whisper(&format!("{room}/nobody"), "lost", "hello?")).await;
    let error = |e: &Event| e.is("message", &["type='error'"]) || e.is("message", &["type=\"error\""]);
    let refused = laptop.wait_since(marks[1], "the refusal", error).await;
    assert_eq!(refused.attr("id").as_deref(), Some("lost"), "{}", refused.xml);
    for (client, mark) in [(&phone, marks[0]), (&tablet, marks[2])] {
        client.sync().await;
        assert!(!client.since(mark).iter().any(error), "{}", client.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_messages_on_prosody() {
    private_messages(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_messages_on_ejabberd() {
    private_messages(Kind::Ejabberd).await;
}
