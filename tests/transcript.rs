//! The same script of a slixmpp client, run directly and through the proxy, gives the same transcript: every stanza
//! the client receives, in order, normalised for what servers make up (ids, stamps, resources) and without what
//! docs/transparency.md names.

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use support::driver::{Client, Event, Login};
use support::proxy::Setup;
use support::server::{Kind, Options, Server};
use support::slix;
use tokio_xmpp::minidom::{Element, Node};

/// An element written the same way whatever the order of its attributes and the place of its namespaces.
fn canonical(element: &Element, normal: &dyn Fn(&str, &str) -> String) -> String {
    let attrs: BTreeMap<String, String> = element
        .attrs()
        .into_iter()
        .map(|((_, name), value)| (name.to_string(), normal(name.as_ref(), value)))
        .collect();
    let attrs: String = attrs.iter().map(|(name, value)| format!(" {name}={value:?}")).collect();
    let inner: String = element
        .nodes()
        .map(|node| match node {
            Node::Element(child) => canonical(child, normal),
            Node::Text(text) => normal("", text),
        })
        .collect();
    format!("<{{{}}}{}{attrs}>{inner}</>", element.ns(), element.name())
}

/// What differs from run to run, by whoever made it up.
fn normalised(event: &Event, own_ids: &[&str]) -> String {
    let element = event.element();
    canonical(&element, &|name, value| match name {
        "id" if !own_ids.contains(&value) => "ID".to_owned(),
        "stamp" => "STAMP".to_owned(),
        // Prosody hashes what a client has; the account session's resource is its own.
        "ver" => "VER".to_owned(),
        _ if value.starts_with("alice@localhost/") => "alice@localhost/RESOURCE".to_owned(),
        _ if value.starts_with("bob@localhost/") => "bob@localhost/RESOURCE".to_owned(),
        _ => value.to_owned(),
    })
}

const OWN_IDS: [&str; 14] = ["j1", "a1", "a2", "b1", "b2", "pm1", "pm2", "s1", "p1", "n1", "q1", "q2", "q3", "l1"];

struct Script<'a> {
    alice: Client,
    bob: Client,
    room: &'a str,
    mark: usize,
}

impl Script<'_> {
    async fn alice_does(&self, xml: &str, until: &str, pieces: &[&str]) {
        self.alice_waits(xml, &self.alice, until, pieces).await;
    }

    async fn bob_does(&self, xml: &str, until: &str, pieces: &[&str]) {
        self.alice_waits(xml, &self.bob, until, pieces).await;
    }

    /// `who` sends; the script goes on when alice has seen what belongs to it.
    async fn alice_waits(&self, xml: &str, who: &Client, until: &str, pieces: &[&str]) {
        let mark = self.alice.mark();
        who.raw(&xml.replace("ROOM", self.room)).await;
        let pieces: Vec<String> = pieces.iter().map(|p| p.replace("ROOM", self.room)).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        self.alice.wait_since(mark, &format!("{until} {pieces:?} after {xml}"), |e| e.is(until, &pieces)).await;
        // Whatever belongs to it has come as well.
        self.alice.sync().await;
    }

    async fn run(&self) {
        let muc = "<x xmlns='http://jabber.org/protocol/muc'>";
        self.alice_does(&format!("<presence to='ROOM/Alice' id='j1'>{muc}</x></presence>"), "message", &["<subject"])
            .await;
        let mark = self.alice.mark();
        self.bob.join(self.room, "Bob").await;
        self.alice.wait_since(mark, "Bob", |e| e.is("presence", &["/Bob"])).await;
        self.alice_does(
            "<message to='ROOM' type='groupchat' id='a1'><body>hello &amp; welcome</body></message>",
            "message",
            &["a1"],
        )
        .await;
        self.bob_does(
            "<message to='ROOM' type='groupchat' id='b1' xml:lang='de'><body>hallo</body><x xmlns='urn:x'/></message>",
            "message",
            &["hallo"],
        )
        .await;
        self.bob_does(
            "<message to='ROOM/Alice' type='chat' id='pm1'><body>psst</body></message>",
            "message",
            &["psst"],
        )
        .await;
        let echo = "<message to='ROOM/Bob' type='chat' id='pm2'><body>what?</body></message>";
        self.alice.raw(&echo.replace("ROOM", self.room)).await;
        self.bob.wait_for("the private message", |e| e.is("message", &["what?"])).await;
        self.alice_does(
            "<message to='ROOM' type='groupchat' id='s1'><subject>Tea</subject></message>",
            "message",
            &["Tea"],
        )
        .await;
        self.alice_does(
            "<presence to='ROOM/Alice' id='p1'><show>away</show><status>tea</status></presence>",
            "presence",
            &["away"],
        )
        .await;
        self.alice_does("<presence to='ROOM/Alicia' id='n1'/>", "presence", &["from='ROOM/Alicia'"]).await;
        self.alice_does(
            "<iq to='ROOM' type='get' id='q1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
            "iq",
            &["q1"],
        )
        .await;
        self.alice_does("<iq to='ROOM/Alicia' type='get' id='q2'><ping xmlns='urn:xmpp:ping'/></iq>", "iq", &["q2"])
            .await;
        self.alice_does("<iq to='ROOM/Bob' type='get' id='q3'><query xmlns='jabber:iq:version'/></iq>", "iq", &["q3"])
            .await;
        self.bob_does("<presence to='ROOM/Bob' type='unavailable' id='b2'/>", "presence", &["unavailable", "/Bob"])
            .await;
        self.alice_does(
            "<presence to='ROOM/Alicia' type='unavailable' id='l1'/>",
            "presence",
            &["unavailable", "/Alicia"],
        )
        .await;
    }

    fn transcript(&self) -> Vec<String> {
        let stanzas = self.alice.since(self.mark).into_iter().filter(|e| e.kind == "stanza");
        // Of the answers those to the script: slixmpp asks servers and rooms by itself, when it likes.
        let of_script = |e: &Event| e.name() != "iq" || e.attr("id").is_some_and(|id| OWN_IDS.contains(&id.as_str()));
        stanzas.filter(of_script).map(|e| normalised(&e, &OWN_IDS)).collect()
    }
}

async fn transcript_of(server: &Server, address: SocketAddr, ca: &Path, room: &str) -> Vec<String> {
    let slix = slix::start();
    let (alice, bob) = (slix.client("alice"), slix.client("bob"));
    alice.connect(&Login::new(address, "alice/x", ca).with("mechanism", "PLAIN")).await;
    bob.connect(&Login::new(server.starttls(), "bob/x", &server.certs.ca)).await;
    alice.sync().await;
    let script = Script { mark: alice.mark(), alice, bob, room };
    script.run().await;
    let transcript = script.transcript();
    script.alice.disconnect().await;
    script.bob.disconnect().await;
    transcript
}

async fn same_transcript(kind: Kind) {
    let server = Server::start(kind, Options::default());
    let proxy = Setup::before(&server).start();
    let room = server.room("script");
    let direct = transcript_of(&server, server.starttls(), &server.certs.ca, &room).await;
    // The same room again, made anew: the first run's occupants left it, so it is gone.
    let proxied = transcript_of(&server, proxy.starttls(), &proxy.certs.ca, &room).await;
    // docs/transparency.md: ejabberd's presence of the bare room at a leave.
    let bare_room = format!("from=\"{room}\"");
    let named = |line: &&String| !(line.contains("\"unavailable\"") && line.contains(&bare_room));
    // The same: ejabberd repeats the language of a ping in its answer.
    let plain =
        |line: &String| if line.contains("id=\"q2\"") { line.replace(" lang=\"en\"", "") } else { line.clone() };
    let direct: Vec<String> = direct.iter().filter(named).map(plain).collect();
    let proxied: Vec<String> = proxied.iter().filter(named).map(plain).collect();
    for (at, (direct, proxied)) in direct.iter().zip(&proxied).enumerate() {
        assert_eq!(direct, proxied, "stanza {at} differs (direct, proxied)");
    }
    assert_eq!(direct.len(), proxied.len(), "direct {direct:#?}\nproxied {proxied:#?}");
    assert!(direct.len() >= 14, "the script has run: {direct:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transcript_on_prosody() {
    same_transcript(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_transcript_on_ejabberd() {
    same_transcript(Kind::Ejabberd).await;
}
