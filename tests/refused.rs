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

/// The room forgets alice, and tells nobody.
fn forget_alice(server: &mut Server, room: &str) {
    let answer = match server.kind {
        Kind::Prosody => {
            let found = format!("prosody.hosts['conference.localhost'].modules.muc.get_room_from_jid({room:?})");
            let forget = "for jid, nick in pairs(room._jid_nick) do if nick:match('/alice$') then room._jid_nick[jid] = nil end end \
                          for nick in pairs(room._occupants) do if nick:match('/alice$') then room._occupants[nick] = nil end end";
            server.control(&format!("> (function() local room = {found} {forget} return 'forgotten' end)()"))
        }
        Kind::Ejabberd => {
            let (name, service) = room.split_once('@').expect("a room");
            // Every map in the room's state that has her under her address or her nick.
            let others = "fun ({<<\"alice\">>, _, _}, _) -> false; (<<\"alice\">>, _) -> false; (_, _) -> true end";
            let part = format!("fun (M) when is_map(M) -> maps:filter({others}, M); (P) -> P end");
            let room = format!(
                "fun (S) when element(1, S) =:= state -> list_to_tuple(lists:map({part}, tuple_to_list(S))); (E) -> E end"
            );
            let state = format!("fun (Loop) -> lists:map({room}, Loop) end");
            server.control(&format!(
                "{{ok, Pid}} = mod_muc:find_online_room(<<{name:?}>>, <<{service:?}>>), \
                 _ = sys:replace_state(Pid, {state}), forgotten."
            ))
        }
    };
    assert!(answer.contains("forgotten"), "{answer}");
}

/// The account is in the room again.
async fn comes_back(carol: &mut Raw, room: &str) {
    carol.expect(&format!("from='{room}/alice'")).await;
    carol.expect("</presence>").await;
}

/// All that the client has been sent from the room so far.
async fn seen_so_far(client: &mut Raw, id: &str) -> String {
    client.send(format!("<iq to='localhost' type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
    client.expect(&format!("id='{id}'")).await
}

async fn is_found_out(kind: Kind, missed: usize) {
    let mut server = Server::start(kind, Options::default());
    let proxy = Setup::before(&server).config("[rooms]\nverify_after = \"3s\"\n").start();
    let room = server.room("forgetful");
    let (mut carol, mut alice) = both(&server, &proxy, &room).await;
    carol.send(groupchat(&room, "before")).await;
    for client in [&mut carol, &mut alice] {
        client.expect("<body>before</body>").await;
        client.expect("</message>").await;
    }
    // It is asked, and asked again, as long as it knows the account: nothing is seen of that.
    tokio::time::sleep(Duration::from_secs(7)).await;
    let seen = seen_so_far(&mut alice, "so-far").await;
    assert!(!seen.contains(&room), "{seen}");
    forget_alice(&mut server, &room);
    carol.send((1..=missed).map(|n| groupchat(&room, &n.to_string())).collect::<String>()).await;
    carol.expect(&format!("<body>{missed}</body>")).await;
    carol.expect("</message>").await;
    comes_back(&mut carol, &room).await;
    // The client sees what it has missed, each once and in order, and nothing else.
    for n in 1..=missed {
        let said = alice.expect("</message>").await;
        let body = format!("<body>{n}</body>");
        assert!(said.contains(&body) && said.contains("delay") && !said.contains("<presence"), "{n}: {said}");
    }
    carol.send(groupchat(&room, "live")).await;
    let live = alice.expect("</message>").await;
    assert!(live.contains("<body>live</body>") && !live.contains("<presence"), "{live}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_room_that_has_forgotten_the_account_is_found_out_on_prosody() {
    is_found_out(Kind::Prosody, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_room_that_has_forgotten_the_account_is_found_out_on_ejabberd() {
    is_found_out(Kind::Ejabberd, 3).await;
}

/// More than a join shows: the room's archive has it.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_history_does_not_reach_back_to_comes_from_the_archive_on_prosody() {
    is_found_out(Kind::Prosody, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_history_does_not_reach_back_to_comes_from_the_archive_on_ejabberd() {
    is_found_out(Kind::Ejabberd, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_a_room_that_has_forgotten_the_account_is_said_once_it_is_back() {
    for kind in [Kind::Prosody, Kind::Ejabberd] {
        let mut server = Server::start(kind, Options::default());
        let proxy = Proxy::start(&server);
        let room = server.room("forgetful");
        let (mut carol, mut alice) = both(&server, &proxy, &room).await;
        forget_alice(&mut server, &room);
        alice.send((1..=3).map(|n| groupchat(&room, &n.to_string())).collect::<String>()).await;
        comes_back(&mut carol, &room).await;
        for client in [&mut carol, &mut alice] {
            for n in 1..=3 {
                let said = client.expect("</message>").await;
                assert!(said.contains(&format!("<body>{n}</body>")), "{n}: {said}");
            }
        }
    }
}

/// With `min_message_interval` ejabberd keeps one message of an occupant back and refuses what follows.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_too_fast_is_said_in_order() {
    let options = Options { muc: vec!["min_message_interval: 1"], ..Options::default() };
    let server = Server::start(Kind::Ejabberd, options);
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
