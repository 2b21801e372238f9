//! Twenty real clients, two of each of ten accounts, four in each of five rooms, that go on talking until they are told
//! to stop.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::support::driver::{Client, Driver, Event};
use super::support::proxy::Proxy;
use super::support::server::Server;

const ACCOUNTS: usize = 10;
const ROOMS: usize = 5;
/// How long a room is silent between two messages.
const PAUSE: Duration = Duration::from_millis(200);

/// The accounts' names.
pub fn users() -> impl Iterator<Item = String> {
    (0..ACCOUNTS).map(|n| format!("user{n}"))
}

/// Those who share a room, and how far each one's transcript was when they began.
struct Room {
    jid: String,
    clients: Vec<Client>,
    marks: Vec<usize>,
}

/// The clients, in their rooms.
pub struct Chat {
    rooms: Vec<Room>,
}

/// The same, talking.
pub struct Talk {
    rooms: Vec<(Room, JoinHandle<usize>)>,
    stop: watch::Sender<bool>,
}

impl Chat {
    /// They log in and join.
    pub async fn meet(slix: &Driver, proxy: &Proxy, server: &Server) -> Chat {
        let room = |n: usize| Room { jid: server.room(&format!("quiet-{n}")), clients: Vec::new(), marks: Vec::new() };
        let mut rooms: Vec<Room> = (0..ROOMS).map(room).collect();
        for resource in ["a", "b"] {
            for (n, user) in users().enumerate() {
                let client = slix.client(&format!("{user}/{resource}"));
                client.connect(&proxy.login(&client.name)).await;
                let room = &mut rooms[n % ROOMS];
                client.join(&room.jid, &user).await;
                room.clients.push(client);
            }
        }
        for client in rooms.iter().flat_map(|room| &room.clients) {
            client.sync().await;
        }
        Chat { rooms }
    }

    /// They talk, each in turn.
    pub fn begin(self) -> Talk {
        let (stop, stopped) = watch::channel(false);
        let talking = self.rooms.into_iter().map(|mut room| {
            room.marks = room.clients.iter().map(Client::mark).collect();
            let (clients, jid, stopped) = (room.clients.clone(), room.jid.clone(), stopped.clone());
            let talk = tokio::spawn(async move {
                let mut said = 0;
                while !*stopped.borrow() {
                    let speaker = &clients[said % clients.len()];
                    speaker.groupchat(&jid, &format!("good-{said}"), &format!("message {said} <&>")).await;
                    said += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                said
            });
            (room, talk)
        });
        Talk { rooms: talking.collect(), stop }
    }
}

impl Talk {
    /// They stop. Every message arrived at everybody in its room, once, in the room's order and each sender's own; and
    /// nothing else happened. How many there were.
    pub async fn end(self) -> usize {
        self.stop.send_replace(true);
        let mut all = 0;
        for (room, talk) in self.rooms {
            let said = talk.await.expect("they could talk");
            room.check(said).await;
            all += said;
        }
        all
    }
}

impl Room {
    async fn check(&self, said: usize) {
        let number = |e: &Event| e.attr("id").and_then(|id| id.strip_prefix("good-")?.parse::<usize>().ok());
        let talkers = self.clients.len();
        let mut orders: Vec<Vec<usize>> = Vec::new();
        for (client, mark) in self.clients.iter().zip(&self.marks) {
            // The room decides which of two messages that are sent at a time is first.
            for last in said.saturating_sub(talkers)..said {
                client.wait_since(*mark, "the last messages", |e| number(e) == Some(last)).await;
            }
            client.sync().await;
            let events = client.since(*mark);
            let (messages, other): (Vec<&Event>, Vec<&Event>) =
                events.iter().filter(|e| !e.is("iq", &[])).partition(|e| e.is("message", &["<body>", &self.jid]));
            assert!(other.is_empty(), "{} was disturbed: {other:#?}", client.name);
            let order: Vec<usize> = messages.into_iter().filter_map(number).collect();
            let mut once = order.clone();
            once.sort_unstable();
            assert!(once.into_iter().eq(0..said), "{} has every message once: {order:?}", client.name);
            for sender in 0..talkers {
                assert!(order.iter().filter(|n| *n % talkers == sender).is_sorted(), "{}: {order:?}", client.name);
            }
            let nick = client.name.split('/').next().unwrap_or_default();
            assert_eq!(client.self_ping(&self.jid, nick).await.attr("type").as_deref(), Some("result"));
            orders.push(order);
        }
        assert!(orders.windows(2).all(|pair| pair[0] == pair[1]), "all see the room's order: {orders:?}");
    }
}
