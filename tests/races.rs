//! What meets in a room at the wrong moment, in forced order: a scripted server holds its answers back until it is
//! told. (Random orders: the model in `src/account/model_tests.rs`.)

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use support::proxy::Proxy;
use support::raw::{self, Raw};
use support::scripted::{Stream, attribute};
use support::scripted_room::{ROOM, Rooms, answer, enter, is_account_session};
use tokio_rustls::TlsConnector;

type Held = Arc<Mutex<Vec<(Stream, String)>>>;

/// A server that keeps the account's presences to rooms until it is told, the proxy, and three clients of alice.
struct Stage {
    rooms: Rooms,
    proxy: Proxy,
    tls: TlsConnector,
    holds: Arc<AtomicBool>,
    held: Held,
}

impl Stage {
    async fn new() -> Stage {
        let (holds, held) = (Arc::new(AtomicBool::new(true)), Held::default());
        let (hold, keep) = (holds.clone(), held.clone());
        let rooms = Rooms::scripted(move |stream, stanza| {
            let to_room = attribute(stanza, "to").is_some_and(|to| to.starts_with(ROOM));
            let keeps = to_room && stanza.starts_with("<presence") && is_account_session(&stream.jid, "alice");
            if keeps && hold.load(Ordering::SeqCst) {
                keep.lock().expect("held").push((stream.clone(), stanza.to_owned()));
                return true;
            }
            false
        })
        .await;
        let proxy = rooms.proxy().config("[rooms]\njoin_timeout = \"2s\"\nleave_grace = \"300ms\"\n").start();
        let tls = raw::tls(&proxy.certs.ca);
        Stage { rooms, proxy, tls, holds, held }
    }

    async fn client(&self, resource: &str) -> Raw {
        Raw::bound(self.proxy.direct_tls(), &self.tls, &format!("alice/{resource}")).await
    }

    /// The account's next presence to the room, which the room has not seen.
    async fn next(&self) -> (Stream, String) {
        let deadline = tokio::time::Instant::now() + support::PATIENCE;
        loop {
            {
                let mut held = self.held.lock().expect("held");
                if !held.is_empty() {
                    return held.remove(0);
                }
            }
            assert!(tokio::time::Instant::now() < deadline, "the account sends nothing to the room");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn no_more_is_held(&self) {
        assert!(self.held.lock().expect("held").is_empty(), "{:?}", self.held.lock().expect("held")[0].1);
    }

    /// All that follows is answered at once.
    fn let_go(&self) {
        self.holds.store(false, Ordering::SeqCst);
    }
}

fn join(nick: &str, id: &str, inner: &str) -> String {
    format!("<presence to='{ROOM}/{nick}' id='{id}'><x xmlns='http://jabber.org/protocol/muc'>{inner}</x></presence>")
}

fn leave(nick: &str, id: &str) -> String {
    format!("<presence to='{ROOM}/{nick}' id='{id}' type='unavailable'/>")
}

/// Refuses a held join.
fn refuse(held: &(Stream, String), condition: &str) {
    let (stream, stanza) = held;
    let (to, id) = (attribute(stanza, "to").unwrap_or_default(), attribute(stanza, "id").unwrap_or_default());
    stream.send(format!(
        "<presence from='{to}' to='{}' id='{id}' type='error'><error type='auth'><{condition} \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
        stream.jid
    ));
}

/// The own occupant's unavailable presence, with codes.
fn gone(nick: &str, to: &str, inner: &str) -> String {
    format!(
        "<presence from='{ROOM}/{nick}' to='{to}' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <item affiliation='none' role='none'/>{inner}<status code='110'/></x></presence>"
    )
}

/// All that the client is shown up to the empty subject, which ends an entry.
async fn entered(client: &mut Raw) -> String {
    client.expect("<subject/></message>").await
}

/// What a client has been sent until the answer to a ping of its own.
async fn so_far(client: &mut Raw) -> String {
    client.send("<iq to='localhost' type='get' id='so-far'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    client.expect("id='so-far'").await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_meanwhile_is_let_in_with_the_first() {
    let stage = Stage::new().await;
    let (mut phone, mut laptop) = (stage.client("phone").await, stage.client("laptop").await);
    phone.send(join("me", "p", "")).await;
    let first = stage.next().await;
    laptop.send(join("me", "l", "")).await;
    laptop.send(format!("<message to='{ROOM}' type='groupchat' id='m'><body>early</body></message>")).await;
    assert!(!so_far(&mut laptop).await.contains(ROOM), "nothing is shown before the room has answered");
    stage.no_more_is_held();
    answer(&first.0, &first.1);
    for (client, id) in [(&mut phone, "p"), (&mut laptop, "l")] {
        let shown = entered(client).await;
        assert!(shown.contains("room@conference.localhost/evil") && shown.contains(&format!("id='{id}'")), "{shown}");
        // Sent before it was let in, said after.
        client.expect("<body>early</body>").await;
    }
    stage.no_more_is_held();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_askers_and_the_next_ones_own_join_goes_up() {
    let stage = Stage::new().await;
    let (mut phone, mut laptop) = (stage.client("phone").await, stage.client("laptop").await);
    phone.send(join("me", "p", "<password>wrong</password>")).await;
    let first = stage.next().await;
    laptop.send(join("other", "l", "<password>right</password>")).await;
    so_far(&mut laptop).await;
    refuse(&first, "not-authorized");
    let refused = phone.expect("</presence>").await;
    assert!(refused.contains("id='p'") && refused.contains("not-authorized"), "{refused}");
    let second = stage.next().await;
    assert!(second.1.contains("<password>right</password>") && second.1.contains("/other'"), "{}", second.1);
    answer(&second.0, &second.1);
    let shown = entered(&mut laptop).await;
    assert!(!shown.contains("error"), "{shown}");
    assert!(!so_far(&mut phone).await.contains(ROOM));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_does_not_answer_in_time_is_left_when_it_does() {
    let stage = Stage::new().await;
    let mut phone = stage.client("phone").await;
    phone.send(join("me", "p", "")).await;
    let first = stage.next().await;
    let error = phone.expect("</presence>").await;
    assert!(error.contains("remote-server-timeout") && error.contains("id='p'"), "{error}");
    let second = stage.next().await;
    assert!(second.1.contains("unavailable"), "{}", second.1);
    // It lets the account in after all, and then sees it leave.
    answer(&first.0, &first.1);
    answer(&second.0, &second.1);
    assert!(!so_far(&mut phone).await.contains(ROOM), "nobody asks for it any more");
    stage.let_go();
    phone.send(join("me", "again", "")).await;
    entered(&mut phone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_nobody_waits_for_is_given_up() {
    let stage = Stage::new().await;
    let mut phone = stage.client("phone").await;
    phone.send(join("me", "p", "")).await;
    let first = stage.next().await;
    drop(phone);
    stage.proxy.wait_log("session ended").await;
    answer(&first.0, &first.1);
    let second = stage.next().await;
    assert!(second.1.contains("unavailable"), "{}", second.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_while_the_account_leaves_waits_for_the_end_of_that() {
    let stage = Stage::new().await;
    let (mut phone, mut laptop) = (stage.client("phone").await, stage.client("laptop").await);
    phone.send(join("me", "p", "")).await;
    let first = stage.next().await;
    answer(&first.0, &first.1);
    entered(&mut phone).await;
    phone.send(leave("me", "bye")).await;
    let left = phone.expect("</presence>").await;
    assert!(left.contains("unavailable") && left.contains("110"), "{left}");
    // Presences of the account's (away) may come before it leaves.
    let leaving = loop {
        let held = stage.next().await;
        if held.1.contains("unavailable") {
            break held;
        }
    };
    laptop.send(join("me2", "l", "")).await;
    assert!(!so_far(&mut laptop).await.contains(ROOM));
    stage.no_more_is_held();
    answer(&leaving.0, &leaving.1);
    let again = stage.next().await;
    assert!(again.1.contains("/me2'"), "a join of its own: {}", again.1);
    answer(&again.0, &again.1);
    entered(&mut laptop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_and_a_join_in_one_packet_stay_in_the_room() {
    let stage = Stage::new().await;
    stage.let_go();
    let mut phone = stage.client("phone").await;
    phone.send(join("me", "p", "")).await;
    entered(&mut phone).await;
    phone.send(leave("me", "out") + &join("me", "in", "")).await;
    let shown = entered(&mut phone).await;
    let (out, into) = (shown.find("unavailable"), shown.rfind("id='in'"));
    assert!(out.is_some() && out < into, "{shown}");
    phone.send(format!("<message to='{ROOM}' type='groupchat' id='m'><body>still</body></message>")).await;
    phone.expect("<body>still</body>").await;
    // Longer than `leave_grace`: the leave was none.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(!stage.rooms.account_presences("alice").iter().any(|p| p.contains("unavailable")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_attaches_while_the_account_is_kicked_learns_of_it() {
    let stage = Stage::new().await;
    stage.let_go();
    let (mut phone, mut laptop) = (stage.client("phone").await, stage.client("laptop").await);
    phone.send(join("me", "p", "")).await;
    entered(&mut phone).await;
    let account = stage.rooms.account("alice").await;
    // The kick is on its way while the laptop joins: it is either let in and put out, or joins anew.
    account.send(gone("me", &account.jid, "<status code='307'/>"));
    laptop.send(join("me", "l", "")).await;
    let kicked = phone.expect("</presence>").await;
    assert!(kicked.contains("307") && kicked.contains("110"), "{kicked}");
    let shown = entered(&mut laptop).await;
    let more = so_far(&mut laptop).await;
    let is_in = stage.rooms.account_presences("alice").iter().filter(|p| p.contains("/muc'")).count() == 2;
    assert_eq!(more.contains("307"), !is_in, "let in: {shown}\nthen: {more}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_attaches_during_a_change_of_nick_gets_the_new_one() {
    let stage = Stage::new().await;
    stage.let_go();
    let (mut phone, mut laptop) = (stage.client("phone").await, stage.client("laptop").await);
    phone.send(join("me", "p", "")).await;
    entered(&mut phone).await;
    let account = stage.rooms.account("alice").await;
    // The first half of a change only: 303, and the presence under the new nick still to come.
    let item = "<item affiliation='none' role='participant' nick='new'/><status code='303'/>";
    account.send(gone("me", &account.jid, "").replace("<item affiliation='none' role='none'/>", item));
    phone.expect("</presence>").await;
    laptop.send(join("new", "l", "")).await;
    let shown = entered(&mut laptop).await;
    assert!(shown.contains(&format!("{ROOM}/new")) && !shown.contains(&format!("{ROOM}/me'")), "{shown}");
    account.send(format!(
        "<presence from='{ROOM}/new' to='{}'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' \
         role='participant'/><status code='110'/></x></presence>",
        account.jid
    ));
    for client in [&mut phone, &mut laptop] {
        let presence = client.expect("</presence>").await;
        assert!(presence.contains(&format!("{ROOM}/new")) && presence.contains("110"), "{presence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_the_same_read_as_the_entry_is_seen_once_by_all() {
    let stage = Stage::new().await;
    let (mut phone, mut laptop) = (stage.client("phone").await, stage.client("laptop").await);
    phone.send(join("me", "p", "")).await;
    laptop.send(join("me", "l", "")).await;
    let (stream, stanza) = stage.next().await;
    so_far(&mut laptop).await;
    let id = attribute(&stanza, "id").unwrap_or_default();
    let to = stream.jid.clone();
    let says = |n: u32| format!("<message from='{ROOM}/evil' to='{to}' type='groupchat'><body>{n}</body></message>");
    // One write: the entry, two messages, a third client's worth of nothing in between.
    let item = "<item affiliation='none' role='participant'";
    let user = "xmlns='http://jabber.org/protocol/muc#user'";
    stream.send(format!(
        "<presence from='{ROOM}/evil' to='{to}'><x {user}>{item}/></x></presence><presence from='{ROOM}/me' to='{to}' \
         id='{id}'><x {user}>{item} jid='{to}'/><status code='110'/></x></presence>{}{}<message from='{ROOM}' to='{to}' \
         type='groupchat'><subject/></message>{}",
        says(1).replace("</body>", "</body><delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>"),
        says(2).replace("</body>", "</body><delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:01Z'/>"),
        says(3),
    ));
    for client in [&mut phone, &mut laptop] {
        let shown = entered(client).await + &client.expect("<body>3</body>").await;
        for n in 1..=3 {
            assert_eq!(shown.matches(&format!("<body>{n}</body>")).count(), 1, "{n}: {shown}");
        }
        assert!(!so_far(client).await.contains("<body>"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_is_destroyed_during_the_join_is_not_joined() {
    let stage = Stage::new().await;
    let (mut phone, mut laptop) = (stage.client("phone").await, stage.client("laptop").await);
    phone.send(join("me", "p", "")).await;
    let first = stage.next().await;
    laptop.send(join("me", "l", "")).await;
    so_far(&mut laptop).await;
    enter(&first.0, &format!("{ROOM}/me"), "p");
    first.0.send(gone(
        "me",
        &first.0.jid,
        "<destroy jid='elsewhere@conference.localhost'><reason>over</reason></destroy>",
    ));
    for client in [&mut phone, &mut laptop] {
        entered(client).await;
        let out = client.expect("</presence>").await;
        assert!(out.contains("<destroy") && out.contains("elsewhere@") && out.contains("110"), "{out}");
    }
    // Longer than the first wait before going back would be.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    stage.no_more_is_held();
}
