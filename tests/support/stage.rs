//! What tests about rooms begin with: a server, the proxy before it, three clients of alice behind that, and bob and
//! carol, who talk to the server themselves: what they see is what alice's clients are to see.

use super::driver::{Client, Driver, Login};
use super::proxy::Proxy;
use super::server::{Kind, Options, Server};
use super::{muc, slix, tokio_client};
use tokio_xmpp::minidom::Element;

const OWNER: &str = "http://jabber.org/protocol/muc#owner";
const ROOM_CONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";

/// What alice's clients are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    Slixmpp,
    TokioXmpp,
}

pub struct Stage {
    pub server: Server,
    pub proxy: Proxy,
    /// Alice's, behind the proxy: phone, laptop, tablet.
    pub clients: [Client; 3],
    pub bob: Client,
    pub carol: Client,
    _drivers: Vec<Driver>,
}

impl Stage {
    /// With clients on slixmpp.
    pub async fn new(kind: Kind) -> Stage {
        Stage::with(Library::Slixmpp, kind, Options::default()).await
    }

    pub async fn with(library: Library, kind: Kind, options: Options) -> Stage {
        let server = Server::start(kind, options);
        let proxy = Proxy::start(&server);
        let mut drivers = vec![slix::start()];
        if library == Library::TokioXmpp {
            drivers.push(tokio_client::start(&proxy.certs.ca));
        }
        let alices = drivers.last().expect("at least one");
        let clients = ["phone", "laptop", "tablet"].map(|name| alices.client(name));
        let (bob, carol) = (drivers[0].client("bob"), drivers[0].client("carol"));
        for client in &clients {
            client.connect(&muc::parsed(proxy.login(&format!("alice/{}", client.name)))).await;
        }
        for (client, user) in [(&bob, "bob/desk"), (&carol, "carol/desk")] {
            client.connect(&muc::parsed(Login::new(server.starttls(), user, &server.certs.ca))).await;
        }
        Stage { server, proxy, clients, bob, carol, _drivers: drivers }
    }

    /// A room of carol's with all in it.
    pub async fn room(&self, name: &str) -> String {
        let room = self.server.room(name);
        self.carol.join(&room, "carol").await;
        self.bob.join(&room, "bob").await;
        for client in &self.clients {
            client.join(&room, "alice").await;
        }
        room
    }

    /// Where the transcripts of alice's clients are.
    pub fn marks(&self) -> [usize; 3] {
        self.clients.each_ref().map(Client::mark)
    }

    /// Each of alice's clients, with its mark.
    pub fn since(&self, marks: [usize; 3]) -> impl Iterator<Item = (&Client, usize)> {
        self.clients.iter().zip(marks)
    }
}

/// The owner of a room sends a form that configures it.
pub async fn configure(owner: &Client, room: &str, id: &str, fields: &[(&str, &str)]) {
    let field = |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = [("FORM_TYPE", ROOM_CONFIG)].iter().chain(fields).map(field).collect();
    set(owner, room, id, OWNER, &format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>")).await;
}

/// Sends a query of type `set`; the answer is a result.
pub async fn set(who: &Client, room: &str, id: &str, space: &str, payload: &str) {
    let iq = format!("<iq to='{room}' type='set' id='{id}'><query xmlns='{space}'>{payload}</query></iq>");
    let answer = who.iq(&iq).await;
    assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
}

/// A stanza of one person's as text, to be compared with another's: names with their namespaces, attributes sorted;
/// without ids and the names that differ.
pub fn shape(element: &Element, user: &str, resource: &str) -> String {
    let unlike = |name: &str| name == "id" || (name == "ver" && element.name() == "c");
    let attributes = element.attrs().into_iter().filter(|((_, name), _)| !unlike(name.as_str()));
    let mut attributes: Vec<String> = attributes.map(|((_, name), value)| format!(" {name}={value:?}")).collect();
    attributes.sort();
    let children: String = element.children().map(|child| shape(child, user, resource)).collect();
    let (space, name, text) = (element.ns(), element.name(), element.text());
    let text = format!("<{{{space}}}{name}{}>{text}{children}</>", attributes.concat());
    text.replace(user, "USER").replace(&format!("/{resource}"), "/RESOURCE")
}
