//! The main job, in front of each real server: however many clients of an account join, the room sees one occupant,
//! and every client sees the room as if it had joined by itself.

mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use support::driver::{Client, Event, Login, Occupant};
use support::proxy::{Proxy, Setup};
use support::server::{Kind, Options, Server};
use support::slix;

/// Messages in all, and how many each of the five sends.
const MESSAGES: usize = 1000;
const SENDERS: [&str; 5] = ["alice/1", "alice/2", "alice/3", "bob/1", "bob/2"];
const PASSERS_BY: [&str; 3] = ["alice/4", "alice/5", "bob/3"];

fn seed() -> u64 {
    let seed = std::env::var("MINIMIX_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_260_101);
    eprintln!("seed {seed} (set MINIMIX_TEST_SEED for another)");
    seed
}

fn through(proxy: &Proxy, user: &str) -> Login {
    Login::new(proxy.starttls(), user, &proxy.certs.ca)
}

fn account_of(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

fn nicks(view: &[Occupant]) -> Vec<&str> {
    view.iter().map(|o| o.nick.as_str()).collect()
}

/// A groupchat message with a body, live.
fn live(event: &Event) -> bool {
    event.is("message", &["<body>"])
        && event.attr("type").as_deref() == Some("groupchat")
        && !event.xml.contains("<delay ")
}

/// The message as every client is to see it: without its own address, in `to`.
fn without_to(event: &Event) -> String {
    let to = event.attr("to").unwrap_or_default();
    event.xml.replace(&format!("to='{to}'"), "to=''").replace(&format!("to=\"{to}\""), "to=\"\"")
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().filter(|e| live(e)).filter_map(|e| e.attr("id")).collect()
}

/// Goes in and out of the room in every way, until told to stop: leaves and joins, is cut, quits.
async fn pass_by(client: Client, login: Login, room: String, seed: u64, stop: tokio::sync::watch::Receiver<bool>) {
    let mut random = StdRng::seed_from_u64(seed);
    let nick = account_of(&client.name).to_owned();
    while !*stop.borrow() {
        client.connect(&login).await;
        let mark = client.mark();
        let seen = client.join(&room, &nick).await;
        assert!(nicks(&seen).contains(&"alice") && nicks(&seen).contains(&"bob"), "{seen:?}");
        tokio::time::sleep(Duration::from_millis(random.random_range(0..200))).await;
        let shown = client.since(mark);
        let live = ids(&shown);
        let mut once = live.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), live.len(), "{} saw a message twice", client.name);
        match ["leave", "cut", "quit", "disconnect"].choose(&mut random).copied() {
            Some("leave") => {
                let mark = client.mark();
                client.leave(&room, &nick).await;
                client.wait_since(mark, "its own leave", |e| e.is("presence", &["unavailable", "110"])).await;
                client.disconnect().await;
            }
            Some("cut") => client.cut().await,
            Some("quit") => {
                client.leave(&room, &nick).await;
                client.cut().await;
            }
            _ => client.disconnect().await,
        }
    }
}

/// Each sender sends its share as fast as it can.
async fn talk(client: &Client, room: &str) {
    for n in 0..MESSAGES / SENDERS.len() {
        let id = format!("{}-{n}", client.name.replace('/', "-"));
        client.groupchat(room, &id, &format!("message {n} of {} <&> ü€", client.name)).await;
    }
}

async fn thousand_messages(kind: Kind) {
    let seed = seed();
    let server = Server::start(kind, Options::default());
    let proxy = Setup::before(&server).start();
    let slix = slix::start();
    let room = server.room("thousand");

    let mut clients = Vec::new();
    for name in SENDERS {
        let client = slix.client(name);
        client.connect(&through(&proxy, name)).await;
        client.join(&room, account_of(name)).await;
        clients.push(client);
    }
    let observer = slix.client("observer");
    observer.connect(&Login::new(server.starttls(), "carol", &server.certs.ca)).await;
    let seen = observer.join(&room, "carol").await;
    assert_eq!(nicks(&seen), ["alice", "bob", "carol"], "two occupants for five clients");

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut passing = Vec::new();
    for (n, name) in PASSERS_BY.into_iter().enumerate() {
        let (client, login) = (slix.client(name), through(&proxy, name));
        passing.push(tokio::spawn(pass_by(client, login, room.clone(), seed + n as u64, stopped.clone())));
    }
    let marks: HashMap<String, usize> = clients.iter().map(|c| (c.name.clone(), c.mark())).collect();
    let observer_mark = observer.mark();
    futures::future::join_all(clients.iter().map(|c| talk(c, &room))).await;
    for client in clients.iter().chain([&observer]) {
        let mark = marks.get(&client.name).copied().unwrap_or(observer_mark);
        let (count, next) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let last = |event: &Event| {
            // Each event is asked about again and again; it counts once.
            if event.seq < next.load(Ordering::Relaxed) {
                return false;
            }
            next.store(event.seq + 1, Ordering::Relaxed);
            live(event) && count.fetch_add(1, Ordering::Relaxed) + 1 == MESSAGES
        };
        client.wait_since(mark, "all the messages", last).await;
    }
    stop.send_replace(true);
    for task in passing {
        task.await.expect("passing by went well");
    }

    // Exactly once, in the room's order, the same bytes for all clients of an account.
    let order = ids(&observer.since(observer_mark));
    assert_eq!(order.len(), MESSAGES);
    let mut by_account: HashMap<&str, Vec<String>> = HashMap::new();
    for client in &clients {
        let events = client.since(marks[&client.name]);
        assert_eq!(ids(&events), order, "{} sees the room's order", client.name);
        let texts: Vec<String> = events.iter().filter(|e| live(e)).map(without_to).collect();
        let first = by_account.entry(account_of(&client.name)).or_insert_with(|| texts.clone());
        assert_eq!(*first, texts, "{}: the same bytes but for `to`", client.name);
    }

    // Nobody came or went, as far as the observer is concerned.
    let presences: Vec<Event> = observer
        .since(observer_mark)
        .into_iter()
        .filter(|e| e.is("presence", &["/alice"]) || e.is("presence", &["/bob"]))
        .collect();
    assert!(presences.is_empty(), "the observer saw {presences:#?}");

    // Every view is the server's.
    let truth = observer.view(&room).await;
    for client in &clients {
        assert_eq!(views(&client.view(&room).await), views(&truth), "{}", client.name);
    }
    let late = slix.client("late");
    late.connect(&through(&proxy, "alice/late")).await;
    assert_eq!(views(&late.join(&room, "alice").await), views(&truth));
}

fn views(view: &[Occupant]) -> Vec<(&str, &str, &str)> {
    view.iter().map(|o| (o.nick.as_str(), o.role.as_str(), o.affiliation.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_on_prosody() {
    thousand_messages(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_messages_on_ejabberd() {
    thousand_messages(Kind::Ejabberd).await;
}

/// Presences of `nick` that the observer was shown since the mark.
fn shown(observer: &Client, mark: usize, nick: &str) -> Vec<String> {
    let of = format!("/{nick}");
    let about = |e: &&Event| e.is("presence", &[]) && e.attr("from").is_some_and(|f| f.ends_with(&of));
    observer.since(mark).iter().filter(about).map(|e| e.xml.clone()).collect()
}

async fn settle(observer: &Client) {
    // What others did has reached the server by now; a ping fetches what it sent the observer.
    tokio::time::sleep(Duration::from_millis(500)).await;
    observer.sync().await;
}

async fn observed(kind: Kind) {
    let server = Server::start(kind, Options::default());
    let proxy = Setup::before(&server).start();
    let slix = slix::start();
    let room = server.room("observed");
    let names = ["alice/1", "alice/2", "alice/3"];
    let observer = slix.client("observer");
    observer.connect(&Login::new(server.starttls(), "carol", &server.certs.ca)).await;
    observer.join(&room, "carol").await;
    let clients: Vec<Client> = names.iter().map(|name| slix.client(name)).collect();
    for client in &clients {
        client.connect(&through(&proxy, &client.name)).await;
        client.join(&room, "alice").await;
    }
    settle(&observer).await;
    assert_eq!(shown(&observer, 0, "alice").len(), 1, "one join for three clients");

    // One of three is cut and comes back, five times.
    let mark = observer.mark();
    for _ in 0..5 {
        clients[1].cut().await;
        clients[1].connect(&through(&proxy, &clients[1].name)).await;
        clients[1].join(&room, "alice").await;
    }
    settle(&observer).await;
    assert_eq!(shown(&observer, mark, "alice"), [""; 0], "the observer sees nothing of it");

    // One changes the nick: one rename.
    clients[0].nick(&room, "alicia").await.expect("the room lets her");
    for client in &clients {
        client.wait_for("the rename", |e| e.is("presence", &["303", "110"])).await;
    }
    settle(&observer).await;
    let renamed = shown(&observer, mark, "alice");
    assert!(renamed.len() == 1 && renamed[0].contains("303"), "{renamed:?}");
    assert_eq!(shown(&observer, mark, "alicia").len(), 1);

    // All three are gone: the account stays.
    let mark = observer.mark();
    for client in &clients {
        client.cut().await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    settle(&observer).await;
    assert!(!shown(&observer, mark, "alicia").iter().any(|p| p.contains("unavailable")));
    assert_eq!(nicks(&observer.view(&room).await), ["alicia", "carol"]);

    // All come back, all leave, and stay online: the account leaves.
    for client in &clients {
        client.connect(&through(&proxy, &client.name)).await;
        let seen = client.join(&room, "alicia").await;
        assert_eq!(nicks(&seen), ["alicia", "carol"]);
    }
    for client in &clients {
        client.leave(&room, "alicia").await;
    }
    let left = |e: &Event| e.is("presence", &["unavailable", "/alicia"]);
    observer.wait_since(mark, "the account's leave", left).await;
    assert_eq!(nicks(&observer.view(&room).await), ["carol"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_observer_sees_on_prosody() {
    observed(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_observer_sees_on_ejabberd() {
    observed(Kind::Ejabberd).await;
}

/// Kicked, banned, destroyed: every attached client sees it, with all codes, and nobody goes back.
async fn put_out(kind: Kind) {
    let server = Server::start(kind, Options::default());
    let proxy = Setup::before(&server).start();
    let slix = slix::start();
    let owner = slix.client("owner");
    owner.connect(&Login::new(server.starttls(), "carol", &server.certs.ca)).await;
    let clients = [slix.client("alice/1"), slix.client("alice/2")];
    for client in &clients {
        client.connect(&through(&proxy, &client.name)).await;
    }
    let admin = |room: &str, id: &str, item: &str| {
        format!(
            "<iq to='{room}' type='set' id='{id}'><query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query></iq>"
        )
    };
    for (name, code) in [("kick", "307"), ("ban", "301"), ("destroy", "<destroy")] {
        let room = server.room(name);
        owner.join(&room, "carol").await;
        for client in &clients {
            client.join(&room, "alice").await;
        }
        let marks = clients.each_ref().map(Client::mark);
        let query = match name {
            "kick" => admin(&room, "k", "<item nick='alice' role='none'/>"),
            "ban" => admin(&room, "b", "<item jid='alice@localhost' affiliation='outcast'/>"),
            _ => format!(
                "<iq to='{room}' type='set' id='d'><query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query></iq>"
            ),
        };
        let answer = owner.iq(&query).await;
        assert_eq!(answer.attr("type").as_deref(), Some("result"), "{}", answer.xml);
        for (client, mark) in clients.iter().zip(marks) {
            // ejabberd destroys without 110: nobody who joined himself sees one either (tests/removals.rs).
            let own = if (name, kind) == ("destroy", Kind::Ejabberd) { "<item" } else { "110" };
            let out = |e: &Event| e.is("presence", &["unavailable", code, own, &format!("from='{room}/alice'")]);
            let seen = client.wait_since(mark, name, out).await;
            let own = client.name.replace('/', "@localhost/");
            assert_eq!(seen.attr("to").as_ref(), Some(&own), "{}", seen.xml);
            // Where the room names the JID in its item, it is the client's own too.
            assert_eq!(seen.xml.matches("jid='").count() + 1, seen.xml.matches(&own).count(), "{}", seen.xml);
        }
        if name != "destroy" {
            assert_eq!(nicks(&owner.view(&room).await), ["carol"]);
        }
    }
    let (mark, room) = (clients[0].mark(), server.room("ban"));
    let join = format!("<presence to='{room}/alice' id='again'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    clients[0].raw(&join).await;
    let refused = |e: &Event| e.is("presence", &["<forbidden", "again"]) && e.attr("type").as_deref() == Some("error");
    clients[0].wait_since(mark, "the refusal", refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_out_of_rooms_on_prosody() {
    put_out(Kind::Prosody).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_out_of_rooms_on_ejabberd() {
    put_out(Kind::Ejabberd).await;
}
