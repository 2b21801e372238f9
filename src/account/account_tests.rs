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

#[test]
fn the_first_client_joins_the_account_and_is_served_in_order() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    assert!(stage.up().is_empty());
    stage.give(Input::SessionUp(None));
    let up = stage.up();
    assert_eq!(up.len(), 1);
    assert!(up[0].contains("maxstanzas='100'"), "{up:?}");
    stage.let_in("nick", "<status code='201'/>");
    let seen = stage.seen(A);
    assert_eq!(seen.len(), 4, "{seen:#?}");
    assert!(seen[0].contains("/other'"));
    assert!(seen[1].contains("110") && seen[1].contains("201") && seen[1].contains("jid='user@example/client1'"));
    assert!(seen[1].contains("id='a1'"));
    assert!(seen[2].contains("<body>old</body>") && seen[3].contains("<subject/>"));
    assert!(seen.iter().all(|line| line.contains("to='user@example/client1'")), "{seen:#?}");
}

#[test]
fn a_further_client_is_served_from_state_and_nothing_goes_up() {
    let mut stage = Stage::joined();
    stage.client(B, &join("wanted", "b1"));
    assert!(stage.up().is_empty());
    let seen = stage.seen(B);
    assert_eq!(seen.len(), 4, "{seen:#?}");
    assert!(seen[1].contains("id='b1'") && seen[1].contains("210") && seen[1].contains("110"), "{}", seen[1]);
    assert!(stage.seen(A).is_empty());
    stage.server(&format!("<message from='{ROOM}/other' to='{SESSION}' type='groupchat'><body>live</body></message>"));
    assert_eq!(stage.seen(A).len(), 1);
    assert_eq!(stage.seen(B).len(), 1);
}

#[test]
fn a_failed_join_is_told_to_the_asker_and_the_next_one_asks_itself() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.client(B, &join("other-nick", "b1"));
    stage.give(Input::SessionUp(None));
    assert_eq!(stage.up().len(), 1);
    stage.server(&format!(
        "<presence from='{ROOM}/nick' to='{SESSION}' id='a1' type='error'><error type='auth'><not-authorized \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    ));
    let seen = stage.seen(A);
    assert!(seen[0].contains("not-authorized"), "{seen:?}");
    assert_eq!(seen[1], "detached room@muc.example seen=1");
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("/other-nick'"), "{up:?}");
    assert!(stage.seen(B).is_empty());
}

#[test]
fn what_follows_a_pending_join_waits_for_it() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.client(A, &chat("m1"));
    stage.give(Input::SessionUp(None));
    stage.client(A, &chat("m2"));
    assert_eq!(stage.up().len(), 1);
    stage.let_in("nick", "");
    let up = stage.up();
    assert!(up.len() == 2 && up[0].contains("m1") && up[1].contains("m2"), "{up:?}");
}

#[test]
fn the_account_stays_when_clients_are_cut_and_leaves_when_all_left_and_stay_online() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.give(Input::Gone(A));
    stage.pass(Duration::from_secs(60));
    assert!(stage.up().is_empty(), "the others see nothing of one client's end");
    stage.client(B, &leave("nick").replace("/>", "><status>gone</status></presence>"));
    let seen = stage.seen(B);
    assert!(seen.iter().any(|l| l.contains("unavailable") && l.contains("110") && l.contains("id='bye'")), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "detached room@muc.example seen=2");
    assert!(stage.up().is_empty());
    stage.pass(Duration::from_secs(11));
    let up = stage.up();
    assert!(
        up.last().unwrap().contains("type='unavailable'") && up.last().unwrap().contains("<status>gone</status>"),
        "{up:?}"
    );
    stage.server(&gone(""));
    assert_eq!(stage.account.rooms().count(), 0);
}

#[test]
fn a_leave_that_turns_out_to_be_a_quit_keeps_the_account() {
    let mut stage = Stage::joined();
    stage.client(A, &leave("nick"));
    stage.pass(Duration::from_secs(5));
    stage.give(Input::Gone(A));
    stage.pass(Duration::from_secs(60));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<show>away</show>"), "{up:?}");
    stage.pass(Duration::from_secs(8 * 24 * 3600));
    assert!(stage.up().last().unwrap().contains("unavailable"), "after offline_ttl");
}

#[test]
fn a_leave_counts_no_more_when_another_client_has_joined_since() {
    let mut stage = Stage::joined();
    stage.client(A, &leave("nick"));
    stage.client(B, &join("nick", "b1"));
    stage.reflect();
    stage.give(Input::Gone(B));
    stage.forget();
    stage.pass(Duration::from_secs(60));
    assert!(!stage.up().iter().any(|up| up.contains("unavailable")), "B was cut off, and may be back");
}

#[test]
fn one_rename_for_all_and_errors_for_the_asker_only() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.client(B, &format!("<presence to='{ROOM}/taken' id='n1'/>"));
    assert_eq!(stage.up().len(), 1);
    stage.server(&format!(
        "<presence from='{ROOM}/taken' to='{SESSION}' id='n1' type='error'><error type='cancel'><conflict \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
    ));
    assert!(stage.seen(A).is_empty());
    assert_eq!(stage.seen(B).len(), 1);
    stage.client(B, &format!("<presence to='{ROOM}/new' id='n2'/>"));
    stage.server(&gone("<status code='303'/>").replace("role='none'", "role='none' nick='new'"));
    stage.server(&format!(
        "<presence from='{ROOM}/new' to='{SESSION}' id='n2'><x xmlns='http://jabber.org/protocol/muc#user'>\
         <item affiliation='owner' role='moderator' jid='{SESSION}'/><status code='110'/></x></presence>"
    ));
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (2, 2));
    assert_eq!(stage.account.rooms().next().unwrap().nick(), "new");
}

#[test]
fn presence_goes_up_only_on_change_and_is_always_reflected_to_its_sender() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.client(A, &format!("<presence to='{ROOM}/nick' id='p1'><show>away</show></presence>"));
    assert!(stage.up().is_empty(), "B is available, which is better");
    let seen = stage.seen(A);
    assert!(seen.len() == 1 && seen[0].contains("id='p1'") && seen[0].contains("110"), "{seen:?}");
    assert!(stage.seen(B).is_empty());
    stage.client(B, &format!("<presence to='{ROOM}/nick' id='p2'><show>dnd</show></presence>"));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("away"), "{up:?}");
}

#[test]
fn s14_a_kick_is_seen_by_all_and_ends_the_membership_but_only_from_the_room_itself() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    // Another occupant cannot speak for us.
    stage.server(&gone("<status code='307'/>").replace("/nick'", "/other'"));
    assert_eq!(stage.account.rooms().count(), 1);
    stage.forget();
    stage.server(&gone("<status code='307'/>"));
    for client in [A, B] {
        let seen = stage.seen(client);
        assert!(seen[0].contains("307") && seen[0].contains(&format!("jid='{}'", jid(client))), "{seen:?}");
        assert!(seen[1].starts_with("detached"), "{seen:?}");
    }
    assert_eq!(stage.account.rooms().count(), 0);
    stage.pass(Duration::from_secs(600));
    assert!(stage.up().is_empty());
}

#[test]
fn a_technical_removal_is_undone_with_growing_pauses() {
    let mut stage = Stage::joined();
    stage.server(&gone("<status code='333'/>"));
    assert!(stage.seen(A)[0].contains("333"));
    stage.pass(Duration::from_secs(3));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("<x xmlns='http://jabber.org/protocol/muc'>"), "{up:?}");
    stage.client(A, &join("nick", "a2"));
    stage.let_in("nick", "");
    stage.reflect();
    assert_eq!(stage.seen(A).len(), 4);
}

#[test]
fn a_lost_session_is_told_by_110_and_333_and_the_room_is_joined_again() {
    let mut stage = Stage::joined();
    stage.client(A, &format!("<iq to='{ROOM}' type='get' id='q'><query xmlns='x'/></iq>"));
    stage.forget();
    stage.give(Input::SessionLost);
    let seen = stage.seen(A);
    assert!(seen[0].contains("remote-server-timeout") && seen[0].contains("id='q'"), "{seen:?}");
    assert!(seen[1].contains("333") && seen[1].contains("110") && seen[1].contains("unavailable"), "{seen:?}");
    assert!(seen[2].starts_with("detached"));
    // It joins again at once, and waits.
    stage.client(A, &join("nick", "a2"));
    assert!(stage.seen(A).is_empty());
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.commands(), ["connect"]);
    stage.give(Input::SessionUp(None));
    let up = stage.up();
    assert_eq!(up.len(), 1, "the rejoin serves the waiting client: {up:?}");
    stage.let_in("nick", "");
    stage.reflect();
    assert_eq!(stage.seen(A).len(), 4);
}

#[test]
fn without_an_account_session_joins_pass_through_in_order() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::Stanza(A, Stanza::own(chat("m1")), false));
    stage.give(Input::SessionFailed(false));
    let seen = stage.seen(A);
    assert!(seen[0].starts_with("relay seen=0 passes=true <presence"), "{seen:?}");
    assert!(seen[1].starts_with("relay seen=2 passes=true <message"), "{seen:?}");
    assert_eq!(seen.len(), 2);
    // What was under way follows the same path.
    stage.give(Input::Stanza(A, Stanza::own(chat("m2")), false));
    assert!(stage.seen(A)[0].starts_with("relay seen=3 passes=true"));
    // While the session is known to be down nobody waits.
    stage.client(B, &join("nick", "b1"));
    assert!(stage.seen(B)[0].starts_with("relay seen=1 passes=true"));
    stage.client(B, "<presence to='friend@example/phone'/>");
    assert!(stage.seen(B)[0].starts_with("relay seen=2 passes=false"));
}

#[test]
fn a_slow_account_session_does_not_hold_up_joins_for_ever() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.pass(Duration::from_secs(11));
    assert!(stage.seen(A)[0].starts_with("relay seen=1 passes=true"));
    stage.give(Input::SessionUp(None));
    assert!(stage.up().is_empty());
}

#[test]
fn a_session_that_is_lost_again_and_again_is_opened_more_and_more_rarely() {
    let mut stage = Stage::joined();
    let mut waits = Vec::new();
    for _ in 0..5 {
        stage.give(Input::SessionLost);
        let lost = stage.now.at;
        while !stage.commands().contains(&"connect") {
            stage.pass(Duration::from_millis(100));
        }
        waits.push(stage.now.at - lost);
        stage.give(Input::SessionUp(None));
        stage.let_in("nick", "");
    }
    assert!(waits.windows(2).all(|pair| pair[1] > pair[0]), "{waits:?}");
    stage.pass(Duration::from_secs(120));
    stage.give(Input::SessionLost);
    stage.pass(Duration::from_secs(2));
    assert_eq!(stage.commands(), ["connect"], "one that had lasted is opened at once");
}

#[test]
fn s19_a_room_that_answers_too_late_is_left_at_once() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.pass(Duration::from_secs(61));
    assert!(stage.seen(A)[0].contains("remote-server-timeout"));
    assert!(stage.up().last().unwrap().contains("unavailable"));
    stage.pass(Duration::from_secs(61));
    assert_eq!(stage.account.rooms().count(), 0);
    stage.let_in("nick", "");
    assert!(stage.up().last().unwrap().contains("unavailable"));
    assert!(stage.seen(A).is_empty());
    // A stranger that says the same is not answered.
    let x = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x>";
    stage.server(&format!("<presence from='trap@evil.example/nick' to='{SESSION}'>{x}</presence>"));
    assert!(stage.up().is_empty());
}

#[test]
fn a_join_that_nobody_waits_for_any_more_is_undone() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.give(Input::Gone(A));
    stage.forget();
    stage.let_in("nick", "");
    assert!(stage.up().last().unwrap().contains("unavailable"));
}

#[test]
fn a_join_during_the_account_leave_waits_for_it() {
    let mut stage = Stage::joined();
    stage.client(A, &leave("nick"));
    stage.pass(Duration::from_secs(11));
    stage.forget();
    stage.client(B, &join("again", "b1"));
    assert!(stage.up().is_empty());
    stage.server(&gone(""));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("/again'"), "{up:?}");
}

#[test]
fn iqs_go_over_the_account_session_and_come_back_to_their_asker() {
    let mut stage = Stage::joined();
    stage.client(A, &format!("<iq to='{ROOM}/other' type='get' id='q1'><query xmlns='jabber:iq:version'/></iq>"));
    let up = Stanza::own(stage.up().remove(0));
    assert_ne!(up.id().as_deref(), Some("q1"));
    let id = up.id().unwrap().into_owned();
    stage.server(&format!("<iq from='{ROOM}/third' to='{SESSION}' type='result' id='{id}'/>"));
    assert!(stage.seen(A).is_empty());
    stage.server(&format!("<iq from='{ROOM}/other' to='{SESSION}' type='result' id='{id}'/>"));
    assert!(stage.seen(A)[0].contains("id='q1'"));
    stage.client(A, &format!("<iq to='{ROOM}/nick' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>"));
    assert!(stage.up().is_empty());
    assert!(stage.seen(A)[0].contains("type='result'"));
}

#[test]
fn an_occupants_question_is_answered_by_a_client_or_by_the_account() {
    let mut stage = Stage::joined();
    let ping = format!("<iq from='{ROOM}/other' to='{SESSION}' type='get' id='t1'><ping xmlns='urn:xmpp:ping'/></iq>");
    stage.server(&ping);
    let asked = Stanza::own(stage.seen(A).remove(0));
    assert!(stage.up().is_empty());
    let id = asked.id().unwrap().into_owned();
    stage.client(A, &format!("<iq to='{ROOM}/other' type='result' id='{id}'/>"));
    let up = stage.up();
    assert!(up.len() == 1 && up[0].contains("id='t1'"), "{up:?}");
    // It goes while it is asked: the account answers instead.
    stage.server(&ping.replace("t1", "t2"));
    stage.give(Input::Gone(A));
    assert!(stage.up().iter().any(|l| l.contains("id='t2'") && l.contains("result")));
    stage.server(&ping.replace("t1", "t3"));
    assert!(stage.up().iter().any(|l| l.contains("id='t3'") && l.contains("result")));
}

#[test]
fn private_messages_go_out_as_they_are_and_come_in_to_everybody() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    let sent = format!("<message to='{ROOM}/other' type='chat' id='pm'><body>x</body></message>");
    stage.client(A, &sent);
    assert_eq!(stage.up(), [sent]);
    stage.server(&format!("<message from='{ROOM}/other' to='{SESSION}' type='chat' id='r'><body>y</body></message>"));
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (1, 1));
    stage.client(A, &format!("<message to='{ROOM}/other' type='error' id='r'/>"));
    assert!(stage.up().is_empty(), "servers kick for it");
}

#[test]
fn an_error_goes_to_the_author_alone() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.client(B, &chat("m1"));
    stage.server(&format!("<message from='{ROOM}' to='{SESSION}' type='error' id='m1'><error/></message>"));
    assert!(stage.seen(A).is_empty());
    assert_eq!(stage.seen(B).len(), 1);
}

#[test]
fn presence_of_a_client_that_is_not_attached() {
    let mut stage = Stage::joined();
    stage.client(B, &format!("<presence to='{ROOM}/nick' id='x'/>"));
    let seen = stage.seen(B);
    assert!(seen[0].contains("item-not-found"), "{seen:?}");
    assert_eq!(seen[1], "detached room@muc.example seen=1");
    stage.client(B, &leave("nick"));
    assert_eq!(stage.seen(B), ["detached room@muc.example seen=2"]);
    stage.client(B, "<presence to='friend@example/phone'/>");
    assert!(stage.seen(B)[0].starts_with("relay seen=3 passes=false"));
    assert!(stage.up().is_empty());
}

#[test]
fn broadcast_unavailable_detaches_from_all_rooms_and_leaves_none() {
    let mut stage = Stage::joined();
    let words = "<presence type='unavailable' id='off'><status>bye</status></presence>";
    stage.give(Input::Unavailable(A, Stanza::own(words)));
    let seen = stage.seen(A);
    assert!(seen[0].contains("unavailable") && seen[0].contains("110"), "{seen:?}");
    assert!(seen[0].contains("id='off'") && seen[0].contains("<status>bye</status>"), "{seen:?}");
    assert!(seen[1].starts_with("detached"));
    stage.pass(Duration::from_secs(60));
    assert!(!stage.up().iter().any(|l| l.contains("unavailable")));
}

#[test]
fn a_client_that_joins_again_gets_the_same_replay_and_nothing_goes_up() {
    let mut stage = Stage::joined();
    stage.client(A, &join("nick", "a2"));
    assert!(stage.up().is_empty());
    assert_eq!(stage.seen(A).len(), 4);
    stage.client(A, &chat("x"));
    assert_eq!(stage.up().len(), 1);
}

#[test]
fn archive_results_come_to_their_asker_only() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.client(A, &format!("<iq to='{ROOM}' type='set' id='m'><query xmlns='urn:xmpp:mam:2'/></iq>"));
    let up = stage.up().remove(0);
    let queryid = up.split("queryid='").nth(1).unwrap().split('\'').next().unwrap();
    stage.server(&format!(
        "<message from='{ROOM}' to='{SESSION}'><result xmlns='urn:xmpp:mam:2' queryid='{queryid}' id='1'/></message>"
    ));
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (1, 0));
}

#[test]
fn a_new_room_is_configured_by_its_creator_or_left() {
    let mut stage = Stage::new();
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.let_in("nick", "<status code='201'/>");
    stage.forget();
    stage.client(B, &join("nick", "b1"));
    assert!(!stage.seen(B)[1].contains("201"));
    stage.give(Input::Gone(B));
    stage.give(Input::Gone(A));
    assert!(stage.up().last().unwrap().contains("unavailable"));
}

#[test]
fn strangers_messages_reach_each_client_once_or_wait() {
    let mut stage = Stage::new();
    let stray = format!("<message from='x@y/z' to='{SESSION}' type='chat'><body>hi</body></message>");
    stage.server(&stray);
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (1, 1));
    stage.give(Input::Gone(A));
    stage.give(Input::Gone(B));
    stage.server(&stray);
    stage.give(Input::Hello(A, jid(A)));
    assert_eq!(stage.seen(A).len(), 1);
    stage.give(Input::Gone(A));
    let large = stray.replace("hi", &"x".repeat(300_000));
    (0..20).for_each(|_| stage.server(&large));
    stage.give(Input::Hello(A, jid(A)));
    assert_eq!(stage.seen(A).len(), 3, "no more than 1 MiB waits");
}

#[test]
fn an_idle_session_is_closed_and_dead_keys_wait_for_a_login() {
    let mut stage = Stage::joined();
    stage.server(&gone("<status code='301'/>"));
    stage.pass(Duration::from_secs(31));
    assert_eq!(stage.commands(), ["disconnect"]);
    stage.client(A, &join("nick", "a2"));
    stage.give(Input::SessionFailed(true));
    stage.forget();
    stage.pass(Duration::from_secs(3600));
    stage.client(A, &join("nick", "a3"));
    assert!(stage.commands().is_empty());
    assert!(stage.seen(A)[0].starts_with("relay"));
    stage.give(Input::KeysChanged);
    stage.client(B, &join("nick", "b1"));
    assert_eq!(stage.commands(), ["connect"]);
}

#[test]
fn nothing_is_said_to_a_client_that_is_gone() {
    let mut stage = Stage::joined();
    stage.client(B, &join("nick", "b1"));
    stage.forget();
    stage.give(Input::Gone(A));
    assert!(stage.seen(A).is_empty());
    assert_eq!(stage.account.clients().count(), 1);
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
