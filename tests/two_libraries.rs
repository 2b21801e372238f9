//! Clients on two different foundations (slixmpp and tokio-xmpp), of one account and of two, through the proxy at
//! once, over STARTTLS and direct TLS.

mod support;

use support::driver::{Event, Login};
use support::proxy::Setup;
use support::server::{KINDS, Kind, Options, Server};
use support::{slix, tokio_client};

async fn meet(kind: Kind) {
    let server = Server::start(kind, Options::default());
    let proxy = Setup::direct(&server).start();
    let (slix, tokio) = (slix::start(), tokio_client::start(&proxy.certs.ca));
    let room = server.room("meeting");
    let login = |user: &str| Login::new(proxy.starttls(), user, &proxy.certs.ca);
    let direct = |user: &str| Login::new(proxy.direct_tls(), user, &proxy.certs.ca).direct();

    let (phone, laptop) = (slix.client("alice/phone"), tokio.client("alice/laptop"));
    let (bob, web) = (tokio.client("bob/desk"), slix.client("bob/web"));
    phone.connect(&login("alice/phone")).await;
    assert_eq!(laptop.connect(&direct("alice/laptop")).await, "alice@localhost/laptop");
    bob.connect(&login("bob/desk")).await;
    web.connect(&direct("bob/web")).await;

    phone.join(&room, "Alice").await;
    for client in [&laptop, &bob, &web] {
        let nick = if client.name.starts_with("alice") { "Alice" } else { "Bob" };
        let seen = client.join(&room, nick).await;
        let expected: &[&str] = if client.name == "alice/laptop" { &["Alice"] } else { &["Alice", "Bob"] };
        assert_eq!(seen.iter().map(|o| o.nick.as_str()).collect::<Vec<_>>(), expected, "{}", client.name);
    }
    for (n, sender) in [&phone, &laptop, &bob, &web].into_iter().enumerate() {
        let id = format!("m{n}");
        sender.groupchat(&room, &id, "hello <all> & everyone").await;
        for client in [&phone, &laptop, &bob, &web] {
            let said = |e: &Event| e.is("message", &["hello &lt;all"]) && e.attr("id").as_ref() == Some(&id);
            let said = client.wait_for("the message", said).await;
            assert_eq!(said.attr("to").map(|to| to.replace("@localhost", "")), Some(client.name.clone()));
        }
    }

    // One of each account goes; nobody notices; the other goes on.
    let mark = web.mark();
    phone.cut().await;
    bob.cut().await;
    laptop.groupchat(&room, "after", "still here").await;
    web.wait_since(mark, "the message", |e| e.is("message", &["still here"])).await;
    assert!(!web.since(mark).iter().any(|e| e.is("presence", &["unavailable", &room])));
    assert_eq!(web.view(&room).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_libraries_meet_through_the_proxy() {
    for kind in KINDS {
        meet(kind).await;
    }
}
