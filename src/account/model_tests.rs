//! A model of a room's service, and random histories: whatever happens in whatever order, each attached client's view
//! is that of a client that had joined the room itself, and it sees every message once, in the room's order. Nobody is
//! shown a real JID that is not to be seen then, and who joins is shown all that are; a bookmark brings the account into the
//! room, and its removal out of it.

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
    /// Real JIDs of others, as far as shown.
    jids: BTreeMap<String, String>,
    own: String,
    /// What it says of itself there.
    says: String,
    /// The ids that it has given to presence.
    ids: BTreeSet<String>,
    /// The number of the last live message.
    last: Option<u64>,
    joins_open: usize,
    wrong: Option<String>,
}

/// What the room has told the account session so far of what it may see.
#[derive(Debug, Default)]
struct Told {
    inside: bool,
    moderator: bool,
    non_anonymous: bool,
}

impl Told {
    fn sees_jids(&self) -> bool {
        self.inside && (self.moderator || self.non_anonymous)
    }

    fn read(&mut self, stanza: &Stanza) {
        let tree = stanza.tree().unwrap();
        let user = crate::muc::codes::MucUser::read(&tree);
        self.non_anonymous = (self.non_anonymous || user.has(172)) && !user.has(173);
        if !stanza.is_presence() || !user.has(110) || user.has(303) || stanza.is_type("error") {
            return;
        }
        if stanza.is_type("unavailable") {
            *self = Told::default();
            return;
        }
        // A join again need not repeat what is known of the room.
        self.non_anonymous = if self.inside { self.non_anonymous } else { user.has(100) };
        self.inside = true;
        self.moderator = user.items[0].role.as_deref() == Some("moderator");
    }
}

/// What must be, in the end, because of the bookmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Must {
    BeIn,
    BeOut,
    Either,
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
    non_anonymous: bool,
    told: Told,
    /// There is an autojoin bookmark.
    bookmark: bool,
    must: Must,
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
    /// In every other world there are bookmarks.
    fn new(seed: u64) -> Self {
        let settings = Settings { bookmarks: seed.is_multiple_of(2), ..Settings::default() };
        World {
            account: Account::new(FullJid::from_str(SESSION).unwrap(), Arc::new(settings), Duration::from_secs(10)),
            now: Now { at: Instant::now(), wall: OffsetDateTime::UNIX_EPOCH },
            random: StdRng::seed_from_u64(seed),
            occupants: BTreeMap::new(),
            own: None,
            says: Default::default(),
            messages: 0,
            non_anonymous: false,
            told: Told::default(),
            bookmark: false,
            must: Must::Either,
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
                    view.see(&stanza, self.told.sees_jids());
                    let wrong = view.wrong.take();
                    assert!(wrong.is_none(), "{wrong:?}\n{}", self.tail());
                }
            }
            // Pass-through is another world; the view of such a client is its own stream's.
            ToClient::Relay { passes_through: true, .. } => drop(self.views.remove(&client.0)),
            ToClient::Relay { .. } | ToClient::Detached { .. } | ToClient::Own(_) | ToClient::Limited(_) => {}
        }
    }

    // ---- the service

    fn sees_jids(&self) -> bool {
        let role = self.own.as_ref().and_then(|own| self.occupants.get(own));
        self.non_anonymous || role.is_some_and(|role| role == "moderator")
    }

    fn presence(&self, nick: &str, role: &str, codes: &str) -> String {
        let own = self.own.as_deref() == Some(nick);
        let (says, id) =
            if own { (self.says.0.as_str(), format!(" id='{}'", self.says.1)) } else { ("", String::new()) };
        let (jid, own) = match own {
            true => (format!(" jid='{SESSION}'"), "<status code='110'/>"),
            false if self.sees_jids() => (format!(" jid='{nick}@real/x'"), ""),
            false => (String::new(), ""),
        };
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
        } else if stanza.is_iq() {
            self.serve_iq(stanza, &to);
        }
    }

    fn serve_iq(&mut self, stanza: &Stanza, to: &str) {
        let id = stanza.id().unwrap_or_default().into_owned();
        let text = String::from_utf8(stanza.bytes().to_vec()).unwrap();
        let from = if to.is_empty() { String::new() } else { format!(" from='{to}'") };
        let role = ROLES.iter().find(|role| text.contains(&format!("<item role='{role}'/>")));
        let moderator = self.own.as_ref().is_some_and(|own| self.occupants[own] == "moderator");
        let result = if let Some(role) = role.filter(|_| moderator) {
            let listed = self.occupants.iter().filter(|(_, r)| r == role);
            let items: String =
                listed.map(|(nick, role)| format!("<item nick='{nick}' jid='{nick}@real/x' role='{role}'/>")).collect();
            format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{items}</query>")
        } else if text.contains("<items node='urn:xmpp:bookmarks:1'/>") {
            let items = if self.bookmark { items(true) } else { "<items node='urn:xmpp:bookmarks:1'/>".to_owned() };
            format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{items}</pubsub>")
        } else if text.contains("urn:xmpp:ping")
            && self.own.as_ref().is_some_and(|own| to.ends_with(&format!("/{own}")))
        {
            String::new()
        } else {
            let error = "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
            self.down.push_back(format!("<iq{from} to='{SESSION}' id='{id}' type='error'>{error}</iq>"));
            return;
        };
        self.down.push_back(format!("<iq{from} to='{SESSION}' id='{id}' type='result'>{result}</iq>"));
    }

    fn somebody_waits(&self) -> bool {
        !self.account.pending.is_empty() || self.account.rooms().any(Room::has_waiting)
    }

    /// The person sets a bookmark, or takes it away.
    fn bookmarks(&mut self) {
        if !self.account.settings.bookmarks {
            return;
        }
        self.bookmark = !self.bookmark;
        self.must = match self.bookmark {
            true => Must::BeIn,
            // What the account has not heard of cannot go, and who waits to be let in is, afterwards.
            false if self.account.bookmarks.any() && !self.somebody_waits() => Must::BeOut,
            false => Must::Either,
        };
        let event = format!(
            "<message from='user@example'><event xmlns='http://jabber.org/protocol/pubsub#event'>{}</event></message>",
            items(self.bookmark)
        );
        self.log.push(format!("bookmark: {}", self.bookmark));
        if self.connected {
            return self.down.push_back(event);
        }
        // Without an account session it is a client's stream that tells.
        let stanza = Stanza::own(event);
        let change = crate::account::bookmarks::event(&stanza).unwrap();
        self.give(Input::Bookmarks(change));
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
                let code = if self.non_anonymous { "<status code='100'/>" } else { "" };
                self.tell(self.presence(&nick, "participant", code));
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
                let joins = Join::read(stanza).is_some();
                let others = self.occupants.iter().filter(|(nick, _)| joins && **nick != own);
                let others: Vec<String> = others.map(|(n, r)| self.presence(n, r, "")).collect();
                self.down.extend(others);
                let role = self.occupants.get(&own).cloned().unwrap_or_default();
                self.tell(self.presence(&own, &role, ""));
                if joins {
                    self.tell(format!("<message from='{ROOM}' to='{SESSION}' type='groupchat'><subject/></message>"));
                }
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

    /// Somebody changes the account's role, or who may see JIDs.
    fn administrate(&mut self) {
        if let (Some(own), true) = (self.own.clone(), self.random.random_range(0..3) > 0) {
            let role = *ROLES.choose(&mut self.random).unwrap();
            self.occupants.insert(own.clone(), role.into());
            self.tell(self.presence(&own, role, ""));
        } else {
            self.non_anonymous = !self.non_anonymous;
            let code = if self.non_anonymous { 172 } else { 173 };
            let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'><status code='{code}'/></x>");
            self.tell(format!("<message from='{ROOM}' to='{SESSION}' type='groupchat'>{x}</message>"));
        }
    }

    fn put_out(&mut self, code: &str) {
        if code == "307" && self.must == Must::BeIn {
            self.must = Must::Either;
        }
        if let Some(own) = self.own.clone() {
            self.tell(self.gone(&own, "", &format!("<status code='{code}'/>")));
            self.occupants.remove(&own);
            self.own = None;
        }
    }

    fn hang_up(&mut self) {
        self.log.push("hang up".into());
        self.connected = false;
        self.told = Told::default();
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
            30..=44 => self.other(),
            45..=48 => self.administrate(),
            49 => self.bookmarks(),
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
            self.give(Input::LoggedIn);
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
                // Who wants to be there is there, whatever the bookmark says.
                self.must = if self.must == Must::BeOut { Must::Either } else { self.must };
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
            self.log.push("connected".into());
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
            let stanza = Stanza::own(stanza);
            self.told.read(&stanza);
            self.give(Input::FromServer(stanza));
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

    /// What happened last.
    fn tail(&self) -> String {
        self.log[self.log.len().saturating_sub(60)..].join("\n")
    }

    fn check(&self, seed: u64) {
        for (client, view) in &self.views {
            if !view.inside {
                continue;
            }
            let who = format!("seed {seed}, client {client}");
            assert_eq!(Some(&view.own), self.own.as_ref(), "{who}: own nick\n{}", self.tail());
            assert_eq!(view.says, self.says.0, "{who}: what it says\n{}", self.tail());
            assert_eq!(view.occupants, self.occupants, "{who}: occupants\n{}", self.tail());
            assert!(view.last.is_none_or(|last| last == self.messages), "{who}: the last message\n{}", self.tail());
        }
        let attached = self.account.rooms().map(|room| room.audience().len()).sum::<usize>();
        let inside = self.views.values().filter(|v| v.inside).count();
        assert_eq!(attached, inside, "seed {seed}: who is attached\n{}", self.tail());
    }

    /// Whoever joins now is shown whom it may see.
    fn check_newcomer(&mut self, seed: u64) {
        let client = self.next_client;
        self.online.clear();
        self.come();
        self.views.get_mut(&client).unwrap().ids.insert("new".into());
        let join = format!("<presence to='{ROOM}/me' id='new'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
        self.give(Input::Stanza(ClientId(client), Stanza::own(join), true));
        self.settle();
        let Some(view) = self.views.get(&client).filter(|view| view.inside) else { return };
        let others = self.occupants.keys().filter(|nick| Some(*nick) != self.own.as_ref() && self.sees_jids());
        let expected: BTreeMap<String, String> = others.map(|nick| (nick.clone(), format!("{nick}@real/x"))).collect();
        assert_eq!(view.jids, expected, "seed {seed}: real JIDs\n{}", self.tail());
    }

    /// What the bookmark wants has come about.
    fn check_bookmark(&mut self, seed: u64) {
        for _ in 0..4 {
            self.pass(Duration::from_secs(15));
            self.settle();
        }
        match self.must {
            // The event may have been lost with the session: then it is not known, or known as it was when the room put
            // the account out.
            Must::BeIn if self.account.bookmarks.wanted().is_empty() => {}
            Must::BeIn => assert!(self.own.is_some(), "seed {seed}: bookmarked, and not in the room\n{}", self.tail()),
            Must::BeOut => {
                assert!(self.own.is_none(), "seed {seed}: the bookmark is gone, the account is not\n{}", self.tail())
            }
            Must::Either => {}
        }
    }
}

/// What PEP tells of the bookmark.
fn items(bookmark: bool) -> String {
    let item = match bookmark {
        true => format!(
            "<item id='{ROOM}'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'><nick>me</nick></conference></item>"
        ),
        false => format!("<retract id='{ROOM}'/>"),
    };
    format!("<items node='urn:xmpp:bookmarks:1'>{item}</items>")
}

impl View {
    fn see(&mut self, stanza: &Stanza, sees_jids: bool) {
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
                self.jids.remove(nick);
                if let Some((jid, _)) = user.items.first().and_then(|i| i.jid.clone()).filter(|_| !user.has(110)) {
                    assert!(sees_jids, "{jid} is shown where nobody may see it");
                    self.jids.insert(nick.to_owned(), jid);
                }
                if user.has(110) {
                    self.inside = true;
                    self.own = nick.to_owned();
                    let said = tree.root().children().filter(|c| !c.is("x", "http://jabber.org/protocol/muc#user"));
                    self.says = said.map(|c| c.raw()).collect();
                    let id = stanza.id().unwrap_or_default();
                    if !self.ids.contains(&*id) {
                        self.wrong = Some(format!("the id of something else: {id}"));
                    }
                }
            }
            Some("unavailable") if user.has(110) && !user.has(303) => {
                *self = View { ids: std::mem::take(&mut self.ids), ..View::default() };
            }
            Some("unavailable") => {
                self.jids.remove(nick);
                self.occupants.remove(nick);
            }
            _ => {}
        }
    }
}

/// How many, and from which seed on: `MINIMIX_TEST_COUNT`, `MINIMIX_TEST_SEED`. With `--profile lab` 100,000 take half a
/// minute.
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
        world.check_bookmark(seed);
        world.check_newcomer(seed);
        views += world.views.values().filter(|v| v.inside).count();
        messages += world.messages;
    }
    println!("{count} histories from seed {first}: {views} views compared at their ends, {messages} messages");
    assert!(views as u64 > count / 2, "the histories lead into the room often enough: {views}");
}
