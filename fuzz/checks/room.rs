//! An account with its rooms, and the sessions of its clients, between hostile clients, rooms and servers; driven as the
//! shells do: queues between sessions and account, time that passes, an account session that comes and goes.
//!
//! - What is said to anybody is XML that stands by itself; a client's bears its own JID, the account's no `from`.
//! - S13, S14: a stanza of one room changes no other; one of a room the account is not in changes none; a room is entered
//!   by its own, unambiguous 110 only. A client gets presence and groupchat of rooms it has to do with, no others.
//! - S15: an IQ's answer reaches who asked, under its own id, from who was asked.
//! - Nothing is kept for clients that are gone, and no deadline comes again and again.

mod reading;
mod stanzas;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jid::{BareJid, FullJid};
use minimix_proxy::account::account::{Account, Input, Output};
use minimix_proxy::account::handle::ToClient;
use minimix_proxy::muc::{ClientId, Now, Settings};
use minimix_proxy::session::session::{self, Session};
use minimix_proxy::stream::negotiation::Bound;
use minimix_proxy::xmpp::header::Header;
use minimix_proxy::xmpp::stanza::Stanza;
use time::OffsetDateTime;

use self::reading::{HEADER, Reader, flatten, number, queryid, same_address, shown, told};
use self::stanzas::{Known, client_stanza, server_stanza};
use super::script::Script;
use super::wire::Wire;

pub const SESSION: &str = "user@example/account";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
const PLAIN: &str =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

pub fn check(data: &[u8]) {
    let mut script = Script::new(data);
    let mut world = World::new();
    let usual = script.byte();
    world.walk(usual);
    for _ in 0..150 {
        if script.is_over() {
            break;
        }
        world.step(&mut script);
    }
    world.all_go();
}

struct Client {
    id: ClientId,
    jid: FullJid,
    session: Session,
    reader: Reader,
    /// From its account, not read yet.
    inbox: VecDeque<ToClient>,
    introduced: bool,
    /// What it reads, and what its server reads.
    down: Wire,
    up: Wire,
}

/// An IQ under way.
struct Asked {
    client: ClientId,
    id: Option<String>,
    peer: String,
}

struct World {
    account: Account,
    now: Now,
    clients: [Option<Client>; 4],
    next_client: u64,
    server: Reader,
    /// The account session, as the server reads it.
    up: Wire,
    connecting: bool,
    connected: bool,
    /// IQs of the clients by the number that each bears, then by the id they bear upstream.
    asked: HashMap<String, Asked>,
    under_way: HashMap<String, Asked>,
    /// A client has sent something of its own, which bears no number.
    invented: bool,
    known: Known,
    inputs: usize,
}

/// Who was attached to which room, or waited for its answer.
type Audiences = Vec<(String, Vec<ClientId>)>;
type RoomStates = BTreeMap<String, (String, bool, Vec<ClientId>, usize)>;

impl World {
    fn new() -> Self {
        let session = FullJid::new(SESSION).expect("it is a JID");
        World {
            account: Account::new(session, Arc::new(Settings::default()), Duration::from_secs(10)),
            now: Now { at: Instant::now(), wall: OffsetDateTime::UNIX_EPOCH },
            clients: [None, None, None, None],
            next_client: 0,
            server: Reader::new(),
            up: Wire::opened("account session", PLAIN),
            connecting: false,
            connected: false,
            asked: HashMap::new(),
            under_way: HashMap::new(),
            invented: false,
            known: Known::default(),
            inputs: 0,
        }
    }

    /// The usual beginning, so far.
    fn walk(&mut self, steps: u8) {
        let steps = steps % 8;
        for step in 1..=steps {
            match step {
                1 => self.come(0),
                2 => self.client_says(0, stanzas::JOIN.as_bytes()),
                3 => self.connect(),
                4 => self.server_says(stanzas::LET_IN.as_bytes()),
                5 => self.come(1),
                6 => self.client_says(1, stanzas::JOIN.as_bytes()),
                _ => self.deliver(0, usize::MAX),
            }
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let slot = usize::from(script.byte());
        let (what, slot) = (slot % 32, slot / 32 % 4);
        match what {
            0 | 1 => self.come(slot),
            2 => self.go(slot),
            3..=10 => {
                self.known.number += 1;
                let text = client_stanza(script, &self.known);
                self.client_says(slot, text.as_bytes());
            }
            11 => {
                self.invented = true;
                self.client_says(slot, script.bytes());
            }
            12..=20 => {
                let text = server_stanza(script, &self.known);
                self.server_says(text.as_bytes());
            }
            21 => self.server_says(script.bytes()),
            22 => {
                let text = server_stanza(script, &self.known);
                self.own_server_says(slot, text.as_bytes());
            }
            23 | 24 => self.deliver(slot, usize::MAX),
            25 => self.deliver(slot, 1),
            26 => self.pass(Duration::from_millis(u64::from(script.byte()) * 100)),
            27 => self.pass(Duration::from_secs(u64::from(script.byte()).pow(3))),
            28 => self.connect(),
            29 => self.connect_fails(script.flag()),
            30 => self.lose(),
            _ => match script.flag() {
                true => self.give(Input::KeysChanged),
                false => self.unenrol(),
            },
        }
    }

    // ---- clients

    fn come(&mut self, slot: usize) {
        if self.clients[slot].is_some() {
            return;
        }
        self.next_client += 1;
        let jid = FullJid::new(&format!("user@example/c&{}", self.next_client)).expect("it is a JID");
        let bound = Bound {
            account: Some(jid.to_bare()),
            domain: "example".into(),
            client: Header::parse(Bytes::from_static(HEADER.as_bytes())),
            csi: true,
            close_down: "</stream:stream>".into(),
            close_up: "</stream:stream>".into(),
            jid: jid.clone(),
        };
        self.clients[slot] = Some(Client {
            id: ClientId(self.next_client),
            session: Session::new(&bound, Some(SESSION), &format!("mark{}", self.next_client)),
            jid,
            reader: Reader::new(),
            inbox: VecDeque::new(),
            introduced: false,
            down: Wire::opened("to a client", HEADER),
            up: Wire::opened("a client's own stream", HEADER),
        });
    }

    fn go(&mut self, slot: usize) {
        if let Some(client) = self.clients[slot].take()
            && client.introduced
        {
            self.asked.retain(|_, asked| asked.client != client.id);
            self.under_way.retain(|_, asked| asked.client != client.id);
            self.give(Input::Gone(client.id));
        }
    }

    fn client_says(&mut self, slot: usize, bytes: &[u8]) {
        let Some(client) = &mut self.clients[slot] else { return };
        for stanza in client.reader.read(bytes) {
            let Some(client) = &mut self.clients[slot] else { return };
            let mut out = Vec::new();
            client.session.from_client(stanza, &mut out);
            self.of_session(slot, out);
        }
    }

    /// A stanza on the client's own stream.
    fn own_server_says(&mut self, slot: usize, bytes: &[u8]) {
        for stanza in self.server.read(bytes) {
            let Some(client) = &mut self.clients[slot] else { return };
            let mut out = Vec::new();
            client.session.from_server(stanza, &mut out);
            self.of_session(slot, out);
        }
    }

    fn deliver(&mut self, slot: usize, most: usize) {
        for _ in 0..most {
            let Some(client) = &mut self.clients[slot] else { return };
            let Some(item) = client.inbox.pop_front() else { return };
            let mut out = Vec::new();
            client.session.from_account(item, &mut out);
            self.of_session(slot, out);
        }
    }

    /// Does what a session wants done.
    fn of_session(&mut self, slot: usize, outputs: Vec<session::Output>) {
        for output in outputs {
            let Some(client) = &mut self.clients[slot] else { return };
            match output {
                session::Output::Server(bytes) => drop(client.up.take(&bytes)),
                session::Output::Client(bytes) => drop(client.down.take(&bytes)),
                // It was looked at when the account said it.
                session::Output::Shared(_) | session::Output::Limited(_) => {}
                session::Output::Hello => {
                    client.introduced = true;
                    let hello = Input::Hello(client.id, client.jid.clone());
                    self.give(hello);
                }
                session::Output::Divert { stanza, fresh } => {
                    assert!(client.introduced, "the account does not know this client yet");
                    assert!(!stanza.inherits(), "it cannot stand on another stream");
                    let alone = Wire::opened("diverted", PLAIN).element(stanza.bytes());
                    assert_eq!(alone.from(), None, "a client's stanza bears a from");
                    let id = client.id;
                    self.note_iq(id, &alone);
                    self.give(Input::Stanza(id, stanza, fresh));
                }
                session::Output::Unavailable(presence) => {
                    let input = Input::Unavailable(client.id, presence);
                    self.give(input);
                }
                session::Output::Bookmarks(change) => self.give(Input::Bookmarks(*change)),
                session::Output::Copied(copy) => {
                    let input = Input::Copied(client.id, copy);
                    self.give(input);
                }
                session::Output::End(..) | session::Output::ClientError(..) | session::Output::ServerError(..) => {
                    return self.go(slot);
                }
            }
        }
    }

    fn note_iq(&mut self, client: ClientId, stanza: &Stanza) {
        let request = matches!(stanza.type_().as_deref(), Some("get" | "set"));
        if let (true, Some(number)) = (stanza.is_iq() && request, number(stanza)) {
            let peer = stanza.to().unwrap_or_default().into_owned();
            let id = stanza.id().map(|id| id.into_owned());
            self.asked.insert(number, Asked { client, id, peer });
        }
    }

    // ---- the account session

    fn connect(&mut self) {
        if std::mem::take(&mut self.connecting) {
            self.connected = true;
            self.up = Wire::opened("account session", PLAIN);
            self.give(Input::SessionUp(None));
        }
    }

    fn connect_fails(&mut self, barred: bool) {
        if std::mem::take(&mut self.connecting) {
            self.give(Input::SessionFailed(barred));
        }
    }

    fn lose(&mut self) {
        if std::mem::take(&mut self.connected) {
            self.under_way.clear();
            self.give(Input::SessionLost);
        }
    }

    fn unenrol(&mut self) {
        (self.connecting, self.connected) = (false, false);
        self.under_way.clear();
        self.give(Input::Unenrolled);
    }

    fn server_says(&mut self, bytes: &[u8]) {
        for stanza in self.server.read(bytes) {
            if !self.connected {
                return;
            }
            let stanza = self.server.header.detach(stanza);
            self.from_server(stanza);
        }
    }

    fn from_server(&mut self, stanza: Stanza) {
        let from = stanza.from().unwrap_or_default().into_owned();
        let bare = from.split('/').next().unwrap_or_default();
        let (before, audiences) = (self.states(), self.audiences());
        let answers = stanza.is_iq() && matches!(stanza.type_().as_deref(), Some("result" | "error"));
        let expected = stanza.id().filter(|_| answers).and_then(|id| self.under_way.remove(id.as_ref()));
        let (expected, other) = match expected {
            Some(asked) if same_address(&asked.peer, &from) => (Some(asked), None),
            other => (None, other),
        };
        let mut outputs = Vec::new();
        self.account.handle(self.now, Input::FromServer(stanza.clone()), &mut outputs);
        if answers && !self.invented {
            let given: Vec<_> = outputs.iter().filter_map(|o| told(o).map(|(c, frame)| (c, frame.clone()))).collect();
            match &expected {
                Some(asked) => {
                    let [(client, frame)] = &given[..] else { panic!("one answer, not {given:?}") };
                    let answer = Wire::opened("answer", PLAIN).element(&shown(frame, "user@example/x"));
                    assert_eq!(*client, asked.client, "an answer reaches another client (S15)");
                    assert_eq!(answer.id().as_deref(), asked.id.as_deref(), "an answer with another id (S15)");
                }
                None => assert!(given.is_empty(), "an answer that nobody asked for reaches a client (S15)"),
            }
        }
        // Wrong peers have answered; the right one may still.
        if let (Some(asked), Some(id)) = (other, stanza.id()) {
            self.under_way.insert(id.into_owned(), asked);
        }
        self.take(outputs, &audiences);
        let after = self.states();
        for (room, state) in &after {
            let Some(old) = before.get(room) else { panic!("a room comes into being by a stanza from the server") };
            assert!(room == bare || state == old, "a stanza from {from} changes {room} (S14)");
            if state.1 && !old.1 {
                assert!(stanza.is_presence() && stanza.type_().is_none(), "{room} is entered by no presence (S14)");
                let tree = stanza.tree().expect("the framer has read it");
                let x: Vec<_> = tree.root().children().filter(|c| c.is("x", MUC_USER)).collect();
                assert_eq!(x.len(), 1, "{room} is entered by an ambiguous <x/> (S14)");
                let own = x[0].children().any(|c| c.is("status", MUC_USER) && c.attr("code").as_deref() == Some("110"));
                assert!(own, "{room} is entered without 110 (S14)");
            }
        }
        assert!(before.keys().all(|room| room == bare || after.contains_key(room)), "{from} ends another room (S14)");
    }

    // ---- the account

    fn states(&self) -> RoomStates {
        let rooms = self.account.rooms();
        rooms
            .map(|r| (r.jid().to_owned(), (r.nick().to_owned(), r.is_joined(), r.audience().to_vec(), r.occupants())))
            .collect()
    }

    fn audiences(&self) -> Audiences {
        let clients = || self.clients.iter().flatten().map(|client| client.id);
        let rooms = self.account.rooms();
        rooms.map(|room| (room.jid().to_owned(), clients().filter(|id| room.knows(*id)).collect())).collect()
    }

    fn give(&mut self, input: Input) {
        let before = self.audiences();
        let mut outputs = Vec::new();
        self.account.handle(self.now, input, &mut outputs);
        self.take(outputs, &before);
    }

    fn take(&mut self, outputs: Vec<Output>, before: &Audiences) {
        self.inputs += 1;
        let kept = self.account.kept_for_clients();
        assert!(kept <= 8 * self.inputs, "{kept} things kept after {} inputs", self.inputs);
        for output in outputs {
            match output {
                Output::Connect => {
                    assert!(!self.connecting && !self.connected, "connected twice");
                    self.connecting = true;
                }
                Output::Disconnect => self.connected = false,
                Output::Up(stanza) if self.connected => self.goes_up(&stanza),
                Output::Up(_) | Output::Limited(_) => {}
                Output::Client(client, item) => self.goes_down(client, item, before),
            }
        }
    }

    fn goes_up(&mut self, stanza: &Stanza) {
        assert!(!stanza.inherits(), "it leans on another stream's prefixes");
        let stanza = self.up.element(stanza.bytes());
        assert_eq!(stanza.from(), None, "the account's stanza bears a from");
        let to = stanza.to().unwrap_or_default().into_owned();
        if stanza.is_iq() {
            self.known.asked_up = (to.clone(), stanza.id().unwrap_or_default().into_owned());
            if let Some(query) = queryid(&stanza) {
                self.known.queryid = query;
            }
            let asked = number(&stanza).and_then(|number| self.asked.remove(&number));
            if let (Some(asked), Some(id)) = (asked, stanza.id()) {
                assert!(same_address(&asked.peer, &to), "an IQ is asked of another");
                self.under_way.insert(id.into_owned(), asked);
            }
        } else if stanza.is_presence() {
            self.known.presence_up = (to, stanza.id().unwrap_or_default().into_owned());
        }
        if stanza.type_().as_deref() == Some("error") {
            assert!(stanza.is_iq(), "a presence or message error goes into a room");
        }
    }

    fn goes_down(&mut self, client: ClientId, item: ToClient, before: &Audiences) {
        let known = self.clients.iter_mut().flatten().find(|c| c.id == client);
        let Some(known) = known else { panic!("{client:?} is gone, and gets {item:?}") };
        let mut frames = Vec::new();
        flatten(&item, &mut frames);
        for frame in frames {
            let jid = known.jid.to_string();
            let stanza = known.down.element(&shown(frame, &jid));
            assert_eq!(stanza.to().as_deref(), Some(jid.as_str()), "it is addressed to another");
            let from = stanza.from().unwrap_or_default().into_owned();
            let bare = from.split('/').next().unwrap_or_default();
            if stanza.is_iq() {
                let id = stanza.id().unwrap_or_default().into_owned();
                self.known.asked_client = (from.clone(), id);
            }
            let groupchat = stanza.is_message() && stanza.is_type("groupchat");
            let presence = stanza.is_presence() && !stanza.is_type("error");
            if groupchat || presence {
                let was = before.iter().any(|(room, audience)| room == bare && audience.contains(&client));
                let is = self.account.rooms().any(|room| room.jid() == bare && room.knows(client));
                let text = String::from_utf8_lossy(stanza.bytes());
                assert!(was || is, "a client that is not in {bare} gets its traffic (S13): {text}");
            }
        }
        if let ToClient::Detached { room, .. } = &item {
            assert!(BareJid::new(room.as_str()).is_ok());
        }
        known.inbox.push_back(item);
    }

    // ---- time

    fn pass(&mut self, time: Duration) {
        let end = self.now.at + time;
        let mut ticks = 0;
        let mut same = 0;
        while let Some(at) = self.account.deadline().filter(|at| *at <= end) {
            same = if at > self.now.at { 0 } else { same + 1 };
            assert!(same < 4, "the deadline does not move: a busy loop");
            self.now.at = self.now.at.max(at);
            self.give(Input::Tick);
            ticks += 1;
            if ticks > 40 {
                break;
            }
        }
        self.now.at = end;
    }

    /// Everybody goes, and nothing of them is left.
    fn all_go(&mut self) {
        for slot in 0..self.clients.len() {
            self.deliver(slot, usize::MAX);
            self.go(slot);
        }
        assert_eq!(self.account.clients().count(), 0, "a client stays that is gone");
        assert_eq!(self.account.kept_for_clients(), 0, "something is kept for clients that are gone");
        self.pass(Duration::from_secs(3600));
        self.connect();
        self.pass(Duration::from_secs(30 * 24 * 3600));
        assert!(self.account.rooms().all(|room| room.audience().is_empty()), "a room serves clients that are gone");
    }
}
