//! What the room does not take: an account that is not in it any more though nobody said so, and one that speaks too
//! fast. In front of each real server that can be made to do it.

mod support;

use std::time::Duration;

use support::proxy::{Proxy, Setup};
use support::raw::{self, Raw};
use support::server::{Kind, Options, Server};

const MUC: &str = "http://jabber.org/protocol/muc";

async fn join(client: &mut Raw, room: &str, nick: &str) {
    client.send(format!("<presence to='{room}/{nick}'><x xmlns='{MUC}'/></presence>")).await;
    client.expect("<subject").await;
    client.expect("</message>").await;
}

fn groupchat(room: &str, body: &str) -> String {
    format!("<message to='{room}' type='groupchat' id='id-{body}'><body>{body}</body></message>")
}

/// Carol, who talks to the server herself, and alice's client behind the proxy; both are in the room.
async fn both(server: &Server, proxy: &Proxy, room: &str) -> (Raw, Raw) {
    let mut carol = Raw::bound(server.direct_tls(), &raw::tls(&server.certs.ca), "carol/desk").await;
    join(&mut carol, room, "carol").await;
    let mut alice = Raw::bound(proxy.direct_tls(), &raw::tls(&proxy.certs.ca), "alice/phone").await;
    join(&mut alice, room, "alice").await;
    carol.expect(&format!("from='{room}/alice'")).await;
    carol.expect("</presence>").await;
    (carol, alice)
}

/// Prosody's room forgets alice, and tells nobody.
fn forget_alice(server: &mut Server, room: &str) {
    let found = format!("prosody.hosts['conference.localhost'].modules.muc.get_room_from_jid({room:?})");
    let forget = "for jid, nick in pairs(room._jid_nick) do if nick:match('/alice$') then room._jid_nick[jid] = nil end end \
                  for nick in pairs(room._occupants) do if nick:match('/alice$') then room._occupants[nick] = nil end end";
    let answer = server.control(&format!("> (function() local room = {found} {forget} return 'forgotten' end)()"));
    assert!(answer.contains("forgotten"), "{answer}");
}

/// The client is told as after an outage; the account is in the room again.
async fn is_told_and_comes_back(alice: &mut Raw, carol: &mut Raw, room: &str) {
    let out = alice.expect("</presence>").await;
    assert!(out.contains("unavailable") && out.contains("'333'") && out.contains("'110'"), "{out}");
    carol.expect(&format!("from='{room}/alice'")).await;
    carol.expect("</presence>").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_room_that_has_forgotten_the_account_is_found_out() {
    let mut server = Server::start(Kind::Prosody, Options::default());
    let proxy = Setup::before(&server).config("[rooms]\nverify_after = \"2s\"\n").start();
    let room = server.room("forgetful");
    let (mut carol, mut alice) = both(&server, &proxy, &room).await;
    // It is asked, and asked again, as long as it knows the account: nothing is seen of that.
    tokio::time::sleep(Duration::from_secs(5)).await;
    alice.send("<iq to='localhost' type='get' id='so-far'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    let seen = alice.expect("id='so-far'").await;
    assert!(!seen.contains(&room), "{seen}");
    forget_alice(&mut server, &room);
    is_told_and_comes_back(&mut alice, &mut carol, &room).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_a_room_that_has_forgotten_the_account_is_said_once_it_is_back() {
    let mut server = Server::start(Kind::Prosody, Options::default());
    let proxy = Proxy::start(&server);
    let room = server.room("forgetful");
    let (mut carol, mut alice) = both(&server, &proxy, &room).await;
    forget_alice(&mut server, &room);
    alice.send((1..=3).map(|n| groupchat(&room, &n.to_string())).collect::<String>()).await;
    is_told_and_comes_back(&mut alice, &mut carol, &room).await;
    for n in 1..=3 {
        let said = carol.expect("</message>").await;
        assert!(said.contains(&format!("<body>{n}</body>")), "{n}: {said}");
    }
}

/// With `min_message_interval` ejabberd keeps one message of an occupant back and refuses what follows.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_too_fast_is_said_in_order() {
    let mut server = Server::start(Kind::Ejabberd, Options::default());
    server.control("gen_mod:set_module_opt(<<\"localhost\">>, mod_muc, min_message_interval, 1).");
    let proxy = Proxy::start(&server);
    let room = server.room("slow");
    let (mut carol, mut alice) = both(&server, &proxy, &room).await;
    alice.send((1..=5).map(|n| groupchat(&room, &n.to_string())).collect::<String>()).await;
    for n in 1..=5 {
        for client in [&mut carol, &mut alice] {
            let said = client.expect("</message>").await;
            assert!(said.contains(&format!("<body>{n}</body>")) && !said.contains("type='error'"), "{n}: {said}");
        }
    }
}
