//! Conversations between clients, their account and its rooms: what goes up, and what each client sees.

use std::str::FromStr;

use bytes::BytesMut;
use time::OffsetDateTime;

use super::*;

const A: ClientId = ClientId(1);
const B: ClientId = ClientId(2);
const ROOM: &str = "room@muc.example";
const SESSION: &str = "user@example/account";

/// An account, and all it has said since one last looked.
struct Stage {
    account: Account,
    now: Now,
    up: Vec<String>,
    seen: HashMap<ClientId, Vec<String>>,
    commands: Vec<&'static str>,
}

impl Stage {
    /// Two clients; the account session is not open yet.
    fn new() -> Self {
        Stage::with(Settings::default())
    }

    fn with(settings: Settings) -> Self {
        let settings = Arc::new(settings);
        let session = FullJid::from_str(SESSION).unwrap();
        let mut stage = Stage {
            account: Account::new(session, settings, Duration::from_secs(10)),
            now: Now { at: Instant::now(), wall: OffsetDateTime::UNIX_EPOCH },
            up: Vec::new(),
            seen: HashMap::new(),
            commands: Vec::new(),
        };
        for client in [A, B] {
            stage.give(Input::Hello(client, jid(client)));
        }
        stage
    }

    /// A is in the room as `nick`, with one other occupant.
    fn joined() -> Self {
        Stage::joined_with(Settings::default())
    }

    fn joined_with(settings: Settings) -> Self {
        let mut stage = Stage::with(settings);
        stage.client(A, &join("nick", "a1"));
        assert_eq!(stage.commands(), ["connect"]);
        stage.give(Input::SessionUp(None));
        stage.let_in("nick", "");
        stage.forget();
        stage
    }

    fn give(&mut self, input: Input) {
        let mut outs = Vec::new();
        self.account.handle(self.now, input, &mut outs);
        for out in outs {
            match out {
                Output::Connect => self.commands.push("connect"),
                Output::Disconnect => self.commands.push("disconnect"),
                Output::Up(stanza) => self.up.push(text(&stanza)),
                Output::Client(client, item) => self.show(client, item),
                Output::Limited(what) => self.up.push(format!("limited {what}")),
            }
        }
    }

    fn show(&mut self, client: ClientId, item: ToClient) {
        let line = match item {
            ToClient::Shared(shared) => {
                let mut out = BytesMut::new();
                shared.write(jid(client).as_str(), &mut out);
                String::from_utf8(out.to_vec()).unwrap()
            }
            ToClient::Own(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            ToClient::Batch(all) => return all.iter().for_each(|item| self.show(client, item.clone())),
            ToClient::Relay { stanza, seen, passes_through } => {
                format!("relay seen={seen} passes={passes_through} {}", text(&stanza))
            }
            ToClient::Detached { room, seen } => format!("detached {room} seen={seen}"),
            ToClient::Limited(what) => format!("limited {what}"),
        };
        self.seen.entry(client).or_default().push(line);
    }

    fn client(&mut self, client: ClientId, stanza: &str) {
        self.give(Input::Stanza(client, Stanza::own(stanza), true));
    }

    fn server(&mut self, stanza: &str) {
        self.give(Input::FromServer(Stanza::own(stanza)));
    }

    /// The room answers the account's join.
    fn let_in(&mut self, nick: &str, codes: &str) {
        let x = |inner: &str| format!("<x xmlns='http://jabber.org/protocol/muc#user'>{inner}</x>");
        let other = x("<item affiliation='none' role='participant'/>");
        self.server(&format!("<presence from='{ROOM}/other' to='{SESSION}'>{other}</presence>"));
        let own =
            x(&format!("{codes}<item affiliation='owner' jid='{SESSION}' role='moderator'/><status code='110'/>"));
        self.server(&format!("<presence from='{ROOM}/{nick}' to='{SESSION}' id='a1'>{own}</presence>"));
        let old = "<delay xmlns='urn:xmpp:delay' from='room@muc.example' stamp='2020-01-01T00:00:00Z'/>";
        self.server(&format!("<message from='{ROOM}/other' type='groupchat'><body>old</body>{old}</message>"));
        self.server(&format!("<message from='{ROOM}' to='{SESSION}' type='groupchat'><subject/></message>"));
    }

    /// The room reflects the presences that it was shown: what they say, under their ids.
    fn reflect(&mut self) {
        for up in self.up() {
            let up = Stanza::own(up);
            if up.is_presence() && up.type_().is_none() && Join::read(&up).is_none() {
                let (from, id) = (up.to().unwrap_or_default(), up.id().unwrap_or_default());
                let x = format!("<item affiliation='owner' jid='{SESSION}' role='moderator'/><status code='110'/>");
                let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{x}</x>");
                self.server(&format!(
                    "<presence from='{from}' to='{SESSION}' id='{id}'>{}{x}</presence>",
                    up.content()
                ));
            }
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

    fn up(&mut self) -> Vec<String> {
        std::mem::take(&mut self.up)
    }

    fn seen(&mut self, client: ClientId) -> Vec<String> {
        self.seen.remove(&client).unwrap_or_default()
    }

    fn commands(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.commands)
    }

    fn forget(&mut self) {
        self.up.clear();
        self.seen.clear();
        self.commands.clear();
    }
}

fn jid(client: ClientId) -> FullJid {
    FullJid::from_str(&format!("user@example/client{}", client.0)).unwrap()
}

fn text(stanza: &Stanza) -> String {
    String::from_utf8(stanza.bytes().to_vec()).unwrap()
}

fn join(nick: &str, id: &str) -> String {
    format!("<presence to='{ROOM}/{nick}' id='{id}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
}

fn leave(nick: &str) -> String {
    format!("<presence to='{ROOM}/{nick}' id='bye' type='unavailable'/>")
}

fn chat(id: &str) -> String {
    format!("<message to='{ROOM}' type='groupchat' id='{id}'><body>{id}</body></message>")
}

fn gone(codes: &str) -> String {
    format!(
        "<presence from='{ROOM}/nick' to='{SESSION}' type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <item affiliation='none' role='none' jid='{SESSION}'/>{codes}<status code='110'/></x></presence>"
    )
}

#[path = "bookmarks_tests.rs"]
mod bookmarks;

#[path = "limits_tests.rs"]
mod limits;

#[path = "private_tests.rs"]
mod private_messages;

#[path = "occupant_iq_tests.rs"]
mod occupant_iqs;

#[path = "dismiss_tests.rs"]
mod dismissed;

#[path = "verify_tests.rs"]
mod verified;

#[path = "resend_tests.rs"]
mod resent;

#[path = "memory_tests.rs"]
mod memory;

#[path = "presence_tests.rs"]
mod presences;

#[path = "invitation_tests.rs"]
mod invitations;

#[path = "repair_tests.rs"]
mod repair;

#[path = "siblings_tests.rs"]
mod siblings;

#[path = "challenge_tests.rs"]
mod challenges;

#[path = "entrance_tests.rs"]
mod entrances;

#[path = "autojoin_tests.rs"]
mod autojoins;

#[path = "muji_tests.rs"]
mod calls;

#[path = "iq_tests.rs"]
mod iqs;

#[path = "join_tests.rs"]
mod joins;

#[path = "leave_tests.rs"]
mod leaves;

#[path = "session_tests.rs"]
mod session;
