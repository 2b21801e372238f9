//! A model of a room's service, and random histories: whatever happens in whatever order, each attached client's view
//! is that of a client that had joined the room itself, and it sees every message once, in the room's order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::str::FromStr;

use bytes::BytesMut;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use time::OffsetDateTime;

use super::*;

const ROOM: &str = "room@muc.example";
const SESSION: &str = "user@example/account";
const NICKS: [&str; 3] = ["me", "myself", "other1"];
const OTHERS: [&str; 3] = ["other1", "other2", "other3"];
const ROLES: [&str; 3] = ["moderator", "participant", "visitor"];

/// What a client believes, from what it was shown.
#[derive(Debug, Default)]
struct View {
    inside: bool,
    occupants: BTreeMap<String, String>,
    own: String,
    /// What it says of itself there.
    says: String,
    /// The ids that it has given to presence.
    ids: BTreeSet<String>,
    /// The number of the last live message.
    last: Option<u64>,
    joins_open: usize,
}

struct World {
    account: Account,
    now: Now,
    random: StdRng,
    /// The room: nick and role of each occupant, and which is ours.
    occupants: BTreeMap<String, String>,
    own: Option<String>,
    /// What the room is shown of us, and under which id.
    says: (String, String),
    messages: u64,
    up: VecDeque<Stanza>,
    down: VecDeque<String>,
    connected: bool,
    connecting: bool,
    online: BTreeSet<u64>,
    views: BTreeMap<u64, View>,
    next_client: u64,
    next_id: u64,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        World {
            account: Account::new(
                FullJid::from_str(SESSION).unwrap(),
                Arc::new(Settings::default()),
                Duration::from_secs(10),
            ),
            now: Now { at: Instant::now(), wall: OffsetDateTime::UNIX_EPOCH },
            random: StdRng::seed_from_u64(seed),
            occupants: BTreeMap::new(),
            own: None,
            says: Default::default(),
            messages: 0,
            up: VecDeque::new(),
            down: VecDeque::new(),
            connected: false,
            connecting: false,
            online: BTreeSet::new(),
            views: BTreeMap::new(),
            next_client: 0,
            next_id: 0,
            log: Vec::new(),
        }
    }

    fn give(&mut self, input: Input) {
        let mut outs = Vec::new();
        self.account.handle(self.now, input, &mut outs);
        for out in outs {
            match out {
                Output::Connect => self.connecting = true,
                Output::Disconnect => self.hang_up(),
                Output::Up(stanza) if self.connected => self.up.push_back(stanza),
                Output::Up(_) | Output::Limited(_) => {}
                Output::Client(client, item) => self.show(client, item),
            }
        }
    }

    fn show(&mut self, client: ClientId, item: ToClient) {
        match item {
            ToClient::Batch(all) => all.iter().for_each(|item| self.show(client, item.clone())),
            ToClient::Shared(shared) => {
                let mut out = BytesMut::new();
                shared.write(&format!("user@example/c{}", client.0), &mut out);
                self.log.push(format!("client {} sees {}", client.0, String::from_utf8_lossy(&out)));
                let stanza = Stanza::own(out.to_vec());
                if let Some(view) = self.views.get_mut(&client.0) {
                    view.see(&stanza);
                }
            }
            // Pass-through is another world; the view of such a client is its own stream's.
            ToClient::Relay { passes_through: true, .. } => drop(self.views.remove(&client.0)),
            ToClient::Relay { .. } | ToClient::Detached { .. } | ToClient::Own(_) | ToClient::Limited(_) => {}
        }
    }

    // ---- the service

    fn presence(&self, nick: &str, role: &str, codes: &str) -> String {
        let own = self.own.as_deref() == Some(nick);
        let (says, id) =
            if own { (self.says.0.as_str(), format!(" id='{}'", self.says.1)) } else { ("", String::new()) };
        let (jid, own) = if own { (format!(" jid='{SESSION}'"), "<status code='110'/>") } else { (String::new(), "") };
        format!(
            "<presence from='{ROOM}/{nick}' to='{SESSION}'{id}>{says}<x xmlns='http://jabber.org/protocol/muc#user'>\
             <item affiliation='none' role='{role}'{jid}/>{codes}{own}</x></presence>"
        )
    }

    fn gone(&self, nick: &str, more: &str, codes: &str) -> String {
        let own = if self.own.as_deref() == Some(nick) { "<status code='110'/>" } else { "" };
        format!(
            "<presence from='{ROOM}/{nick}' to='{SESSION}' type='unavailable'><x \
             xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'{more}/>{codes}{own}</x>\
             </presence>"
        )
    }

    /// Sends to our occupant, if it is in the room.
    fn tell(&mut self, stanza: String) {
        if self.own.is_some() {
            self.down.push_back(stanza);
        }
    }

    fn serve(&mut self, stanza: &Stanza) {
        let to = stanza.to().unwrap_or_default().into_owned();
        let nick = to.split_once('/').map(|(_, nick)| nick.to_owned()).unwrap_or_default();
        if stanza.is_presence() && stanza.is_type("unavailable") {
            if let Some(own) = self.own.clone() {
                self.tell(self.gone(&own, "", ""));
                self.occupants.remove(&own);
                self.own = None;
            }
        } else if stanza.is_presence() {
            self.serve_presence(stanza, nick);
        } else if stanza.is_message() && stanza.is_type("groupchat") && self.own.is_some() {
            let own = self.own.clone().unwrap_or_default();
            self.broadcast(&own);
        }
    }

    fn serve_presence(&mut self, stanza: &Stanza, nick: String) {
        let id = stanza.id().unwrap_or_default().into_owned();
        let taken = self.occupants.contains_key(&nick) && self.own.as_deref() != Some(&nick);
        if taken {
            self.down.push_back(format!(
                "<presence from='{ROOM}/{nick}' to='{SESSION}' id='{id}' type='error'><error type='cancel'><conflict \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
            ));
            return;
        }
        if self.own.is_some() || Join::read(stanza).is_some() {
            self.says = (crate::muc::join::payload(stanza).content().to_owned(), id.clone());
        }
        match self.own.clone() {
            // It crossed with our removal.
            None if Join::read(stanza).is_none() => self.down.push_back(format!(
                "<presence from='{ROOM}/{nick}' to='{SESSION}' id='{id}' type='error'><error type='cancel'>\
                 <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
            )),
            None => {
                let others: Vec<String> = self.occupants.iter().map(|(n, r)| self.presence(n, r, "")).collect();
                self.own = Some(nick.clone());
                self.occupants.insert(nick.clone(), "participant".into());
                self.down.extend(others);
                self.tell(self.presence(&nick, "participant", ""));
                self.tell(format!("<message from='{ROOM}' to='{SESSION}' type='groupchat'><subject/></message>"));
            }
            Some(own) if own != nick => {
                let role = self.occupants.remove(&own).unwrap_or_default();
                self.tell(self.gone(&own, &format!(" nick='{nick}'"), "<status code='303'/>"));
                self.own = Some(nick.clone());
                self.occupants.insert(nick.clone(), role.clone());
                self.tell(self.presence(&nick, &role, ""));
            }
            Some(own) => {
                let role = self.occupants.get(&own).cloned().unwrap_or_default();
                self.tell(self.presence(&own, &role, ""));
            }
        }
    }

    fn broadcast(&mut self, nick: &str) {
        self.messages += 1;
        let body = self.messages;
        self.tell(format!(
            "<message from='{ROOM}/{nick}' to='{SESSION}' type='groupchat'><body>{body}</body></message>"
        ));
    }

    /// Another occupant does something.
    fn other(&mut self) {
        let nick = *OTHERS.choose(&mut self.random).unwrap();
        if self.own.as_deref() == Some(nick) {
            return;
        }
        let role = *ROLES.choose(&mut self.random).unwrap();
        match (self.occupants.contains_key(nick), self.random.random_range(0..4)) {
            (false, _) => {
                self.occupants.insert(nick.into(), role.into());
                self.tell(self.presence(nick, role, ""));
            }
            (true, 0) => {
                self.tell(self.gone(nick, "", ""));
                self.occupants.remove(nick);
            }
            (true, 1) => {
                self.occupants.insert(nick.into(), role.into());
                self.tell(self.presence(nick, role, ""));
            }
            (true, _) => self.broadcast(nick),
        }
    }

    fn put_out(&mut self, code: &str) {
        if let Some(own) = self.own.clone() {
            self.tell(self.gone(&own, "", &format!("<status code='{code}'/>")));
            self.occupants.remove(&own);
            self.own = None;
        }
    }

    fn hang_up(&mut self) {
        self.connected = false;
        self.up.clear();
        self.down.clear();
        if let Some(own) = self.own.take() {
            self.occupants.remove(&own);
        }
    }

    // ---- what may happen

    fn step(&mut self) {
        let what = self.random.random_range(0..100);
        match what {
            0..=7 => self.come(),
            8..=24 => self.client_acts(),
            25..=29 => self.go(),
            30..=49 => self.other(),
            50..=68 => self.deliver_up(),
            69..=87 => self.deliver_down(),
            88..=91 => {
                let time = Duration::from_millis(self.random.random_range(0..8000));
                self.pass(time);
            }
            92 => self.put_out("307"),
            93 => self.put_out("333"),
            94 if self.connected => {
                self.hang_up();
                self.give(Input::SessionLost);
            }
            _ => self.connect(),
        }
    }

    fn come(&mut self) {
        if self.online.len() < 4 {
            let client = self.next_client;
            self.next_client += 1;
            self.online.insert(client);
            self.views.insert(client, View::default());
            let jid = FullJid::from_str(&format!("user@example/c{client}")).unwrap();
            self.give(Input::Hello(ClientId(client), jid));
        }
    }

    fn go(&mut self) {
        let online: Vec<u64> = self.online.iter().copied().collect();
        if let Some(client) = online.choose(&mut self.random).copied() {
            self.online.remove(&client);
            self.views.remove(&client);
            self.log.push(format!("client {client} goes"));
            self.give(Input::Gone(ClientId(client)));
        }
    }

    fn client_acts(&mut self) {
        let online: Vec<u64> = self.views.keys().copied().collect();
        let Some(client) = online.choose(&mut self.random).copied() else { return };
        let nick = *NICKS.choose(&mut self.random).unwrap();
        self.next_id += 1;
        let id = self.next_id;
        let view = self.views.get_mut(&client).unwrap();
        let own = if view.own.is_empty() { nick.to_owned() } else { view.own.clone() };
        let stanza = match self.random.random_range(0..10) {
            0..=4 => {
                view.joins_open += 1;
                let says = [String::new(), "<show>away</show>".to_owned(), format!("<status>{id}</status>")];
                let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
                let says = says.choose(&mut self.random).unwrap();
                format!("<presence to='{ROOM}/{nick}' id='{id}'>{says}{x}</presence>")
            }
            5 => format!("<presence to='{ROOM}/{own}' id='{id}' type='unavailable'/>"),
            6 if view.inside => format!("<presence to='{ROOM}/{nick}' id='{id}'/>"),
            7 if view.inside => format!("<presence to='{ROOM}/{own}' id='{id}'><show>away</show></presence>"),
            _ if view.inside => format!("<message to='{ROOM}' type='groupchat' id='{id}'><body>x</body></message>"),
            _ => return,
        };
        view.ids.insert(id.to_string());
        self.log.push(format!("client {client} sends {stanza}"));
        self.give(Input::Stanza(ClientId(client), Stanza::own(stanza), true));
    }

    fn connect(&mut self) {
        if self.connecting {
            self.connecting = false;
            self.connected = true;
            self.give(Input::SessionUp(None));
        }
    }

    fn deliver_up(&mut self) {
        if let Some(stanza) = self.up.pop_front() {
            self.log.push(format!("up {}", String::from_utf8_lossy(stanza.bytes())));
            self.serve(&stanza);
        }
    }

    fn deliver_down(&mut self) {
        if let Some(stanza) = self.down.pop_front() {
            self.log.push(format!("down {stanza}"));
            self.give(Input::FromServer(Stanza::own(stanza)));
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        while let Some(at) = self.account.deadline().filter(|at| *at <= end) {
            self.now.at = self.now.at.max(at);
            self.give(Input::Tick);
        }
        self.now.at = end;
    }

    /// Everything under way arrives.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.connect();
            if self.up.is_empty() && self.down.is_empty() {
                return;
            }
            self.deliver_up();
            self.deliver_down();
        }
        panic!("it does not come to rest");
    }

    fn check(&self, seed: u64) {
        let tail = || self.log[self.log.len().saturating_sub(60)..].join("\n");
        for (client, view) in &self.views {
            if !view.inside {
                continue;
            }
            let who = format!("seed {seed}, client {client}");
            assert_eq!(Some(&view.own), self.own.as_ref(), "{who}: own nick\n{}", tail());
            assert_eq!(view.says, self.says.0, "{who}: what it says\n{}", tail());
            assert_eq!(view.occupants, self.occupants, "{who}: occupants\n{}", tail());
            assert!(view.last.is_none_or(|last| last == self.messages), "{who}: the last message\n{}", tail());
        }
        let attached = self.account.rooms().map(|room| room.audience().len()).sum::<usize>();
        let inside = self.views.values().filter(|v| v.inside).count();
        assert_eq!(attached, inside, "seed {seed}: who is attached\n{}", tail());
    }
}

impl View {
    fn see(&mut self, stanza: &Stanza) {
        let from = stanza.from().unwrap_or_default().into_owned();
        let Some((_, nick)) = from.split_once('/') else { return };
        let tree = stanza.tree().unwrap();
        if stanza.is_message() {
            let live = tree.root().child("delay", "urn:xmpp:delay").is_none();
            if let Some(body) = tree.root().child_text("body", "jabber:client").filter(|_| live) {
                let number: u64 = body.parse().unwrap();
                assert!(self.inside, "a message to a client that is not in the room");
                assert!(self.last.is_none_or(|last| number == last + 1), "message {number} after {:?}", self.last);
                self.last = Some(number);
            }
            return;
        }
        let user = crate::muc::codes::MucUser::read(&tree);
        let role = user.items.first().and_then(|i| i.role.clone()).unwrap_or_default();
        match stanza.type_().as_deref() {
            None => {
                self.occupants.insert(nick.to_owned(), role);
                if user.has(110) {
                    self.inside = true;
                    self.own = nick.to_owned();
                    let said = tree.root().children().filter(|c| !c.is("x", "http://jabber.org/protocol/muc#user"));
                    self.says = said.map(|c| c.raw()).collect();
                    let id = stanza.id().unwrap_or_default();
                    assert!(self.ids.contains(&*id), "the id of something else: {id}");
                }
            }
            Some("unavailable") if user.has(110) && !user.has(303) => {
                *self = View { ids: std::mem::take(&mut self.ids), ..View::default() };
            }
            Some("unavailable") => drop(self.occupants.remove(nick)),
            _ => {}
        }
    }
}

#[test]
fn every_view_is_that_of_a_client_that_joined_by_itself() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let first: u64 = number("MINIMIX_TEST_SEED", 1);
    let count: u64 = number("MINIMIX_TEST_COUNT", 3_000);
    let (mut views, mut messages) = (0, 0);
    for seed in first..first + count {
        let mut world = World::new(seed);
        for _ in 0..80 {
            world.step();
        }
        world.settle();
        world.check(seed);
        views += world.views.values().filter(|v| v.inside).count();
        messages += world.messages;
    }
    println!("{count} histories from seed {first}: {views} views compared at their ends, {messages} messages");
    assert!(views as u64 > count / 2, "the histories lead into the room often enough: {views}");
}
