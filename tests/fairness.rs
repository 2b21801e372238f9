//! The clients of an account share one session, and its rate limit at the server.

mod support;

use support::proxy::Proxy;
use support::raw::{self, Raw};
use support::server::{Kind, Options, Server};

const FLOOD: usize = 300;

async fn join(client: &mut Raw, room: &str, nick: &str) {
    let muc = "http://jabber.org/protocol/muc";
    client.send(format!("<presence to='{room}/{nick}'><x xmlns='{muc}'/></presence>")).await;
    client.expect("</message>").await;
}

fn groupchat(room: &str, body: &str) -> String {
    format!("<message to='{room}' type='groupchat' id='{body}'><body>{body} </body></message>")
}

/// Prosody reads 20 kB a second of each session: what one client sends takes it ten seconds. A sibling's message is
/// not behind all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_floods_waits_behind_itself() {
    let limited = Options {
        modules: vec!["limits"],
        extra: "limits = { c2s = { rate = \"20kb/s\", burst = \"2s\" } }".to_owned(),
        ..Options::default()
    };
    let server = Server::start(Kind::Prosody, limited);
    let proxy = Proxy::start(&server);
    let tls = raw::tls(&proxy.certs.ca);
    let room = server.room("flood");
    let mut carol = Raw::bound(server.direct_tls(), &raw::tls(&server.certs.ca), "carol/desk").await;
    join(&mut carol, &room, "carol").await;
    let mut phone = Raw::bound(proxy.direct_tls(), &tls, "alice/phone").await;
    let mut laptop = Raw::bound(proxy.direct_tls(), &tls, "alice/laptop").await;
    join(&mut phone, &room, "alice").await;
    join(&mut laptop, &room, "alice").await;

    let padding = "x".repeat(500);
    let flood: String = (0..FLOOD).map(|n| groupchat(&room, &format!("flood-{n}-{padding}"))).collect();
    let flooding = tokio::spawn(async move {
        phone.send(flood).await;
        phone
    });
    // The first of it is through: the sibling speaks now, with nearly all of it still to come.
    carol.expect("<body>flood-0-").await;
    carol.expect("</message>").await;
    laptop.send(groupchat(&room, "sibling")).await;
    let mut seen = Vec::new();
    while seen.len() < FLOOD {
        let message = carol.expect("</message>").await;
        let body = message.split("<body>").nth(1).and_then(|rest| rest.split([' ', '<']).next()).unwrap_or_default();
        seen.push(body.rsplit_once("-x").map_or(body, |(number, _)| number.trim_end_matches(['x', '-'])).to_owned());
    }
    let sibling = seen.iter().position(|body| body == "sibling").expect("the sibling's message");
    // 32 KiB may be on their way to the server when it speaks.
    println!("{sibling} messages came before the sibling's");
    assert!(sibling <= 150, "{sibling} messages of {FLOOD} came before the sibling's");
    seen.remove(sibling);
    let expected: Vec<String> = (1..FLOOD).map(|n| format!("flood-{n}")).collect();
    assert_eq!(seen, expected);
    drop(flooding.await);
}
