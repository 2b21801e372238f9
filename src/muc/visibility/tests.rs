//! A room, what it asks, and what a client that comes late is shown of others.

use bytes::BytesMut;
use time::OffsetDateTime;

use std::sync::Arc;

use super::*;
use crate::muc::Settings;
use crate::xmpp::shared::Shared;

const A: ClientId = ClientId(1);
const B: ClientId = ClientId(2);
const SESSION: &str = "me@s/account";
const X: &str = "http://jabber.org/protocol/muc#user";

struct Stage {
    room: Room,
    now: Now,
    up: Vec<Stanza>,
    seen: HashMap<ClientId, Vec<String>>,
}

impl Stage {
    /// A is in the room, with carol, as `role`; `codes` are those of its join.
    fn joined(role: &str, codes: &str) -> Stage {
        Stage::joined_with(Settings::default(), role, codes)
    }

    fn joined_with(settings: Settings, role: &str, codes: &str) -> Stage {
        let mut stage = Stage {
            room: Room::new("r@s", SESSION, "secret".into(), Arc::new(settings)),
            now: Now { at: Instant::now(), wall: OffsetDateTime::UNIX_EPOCH },
            up: Vec::new(),
            seen: HashMap::new(),
        };
        stage.client(
            A,
            "<presence to='r@s/me' id='j'><show>dnd</show><x xmlns='http://jabber.org/protocol/muc'/></presence>",
        );
        let jid = if role == "moderator" { " jid='carol@s/desk'" } else { "" };
        stage.occupant("carol", &format!("<item affiliation='owner'{jid} role='moderator'/>"));
        stage.own(role, codes, "j");
        stage.room("<message from='r@s' type='groupchat'><subject/></message>");
        stage.forget();
        stage
    }

    fn act(&mut self, act: impl FnOnce(&mut Room, Now, &mut Vec<Out>)) {
        let mut outs = Vec::new();
        act(&mut self.room, self.now, &mut outs);
        for out in outs {
            match out {
                Out::Up(stanza) => self.up.push(stanza),
                Out::All(audience, frame) => audience.iter().for_each(|c| self.show(*c, &frame)),
                Out::One(client, frame) => self.show(client, &frame),
                Out::Many(client, frames) => frames.iter().for_each(|frame| self.show(client, frame)),
                _ => {}
            }
        }
    }

    fn show(&mut self, client: ClientId, frame: &Shared) {
        let mut out = BytesMut::new();
        frame.write("me@s/client", &mut out);
        self.seen.entry(client).or_default().push(String::from_utf8(out.to_vec()).unwrap());
    }

    fn client(&mut self, client: ClientId, stanza: &str) {
        self.act(|room, now, out| room.from_client(now, client, Stanza::own(stanza), out));
    }

    fn room(&mut self, stanza: &str) {
        self.act(|room, now, out| room.from_room(now, Stanza::own(stanza), out));
    }

    fn occupant(&mut self, nick: &str, item: &str) {
        self.room(&format!("<presence from='r@s/{nick}' to='{SESSION}'><x xmlns='{X}'>{item}</x></presence>"));
    }

    fn own(&mut self, role: &str, codes: &str, id: &str) {
        let item = format!("{codes}<item affiliation='none' jid='{SESSION}' role='{role}'/><status code='110'/>");
        self.room(&format!("<presence from='r@s/me' to='{SESSION}' id='{id}'><x xmlns='{X}'>{item}</x></presence>"));
    }

    fn configured(&mut self, code: u16) {
        let status = format!("<x xmlns='{X}'><status code='{code}'/></x>");
        self.room(&format!("<message from='r@s' type='groupchat'>{status}</message>"));
    }

    fn answer(&mut self, to: &Stanza, from: &str, kind: &str, items: &str) {
        let id = to.id().unwrap().into_owned();
        let query = format!("<query xmlns='{}'>{items}</query>", ns::MUC_ADMIN);
        let answer = format!("<iq from='{from}' to='{SESSION}' type='{kind}' id='{id}'>{query}</iq>");
        self.act(|room, now, out| room.answered(now, &Stanza::own(answer), out));
    }

    fn joins(&mut self, client: ClientId) {
        let join =
            "<presence to='r@s/me' id='b'><show>dnd</show><x xmlns='http://jabber.org/protocol/muc'/></presence>";
        self.client(client, join);
    }

    fn up(&mut self) -> Vec<Stanza> {
        std::mem::take(&mut self.up)
    }

    fn seen(&mut self, client: ClientId) -> Vec<String> {
        self.seen.remove(&client).unwrap_or_default()
    }

    fn forget(&mut self) {
        self.up.clear();
        self.seen.clear();
    }
}

const CAROL: &str = "<item nick='carol' affiliation='owner' role='moderator' jid='carol@s/desk'/>";

#[test]
fn s18_after_a_demotion_a_late_client_sees_no_jids() {
    for (way, hides) in [("visitor", true), ("participant", true), ("moderator", false)] {
        let mut stage = Stage::joined("moderator", "");
        stage.own(way, "", "x");
        stage.joins(B);
        let shown = stage.seen(B).concat();
        assert_eq!(shown.contains("carol@s"), !hides, "{way}: {shown}");
        assert!(shown.contains("from='r@s/carol'") && shown.contains("jid='me@s/client'"), "{shown}");
        assert!(stage.up().is_empty());
    }
}

#[test]
fn s18_when_a_room_becomes_anonymous_a_late_client_sees_no_jids() {
    for (role, code, hides) in
        [("participant", 173, true), ("moderator", 173, false), ("moderator", 174, true), ("participant", 104, false)]
    {
        let mut stage = Stage::joined(role, "<status code='100'/>");
        stage.occupant("carol", "<item affiliation='owner' jid='carol@s/desk' role='moderator'/>");
        stage.configured(code);
        stage.joins(B);
        let shown = stage.seen(B).concat();
        assert_eq!(shown.contains("carol@s"), !hides, "{role} {code}: {shown}");
        assert_eq!(shown.contains("code='100'"), code == 104, "{role} {code}: {shown}");
    }
}

#[test]
fn a_new_moderators_late_client_is_shown_jids_from_the_lists() {
    let mut stage = Stage::joined("participant", "");
    stage.own("moderator", "", "x");
    assert!(stage.up().is_empty(), "nobody has asked yet");
    stage.forget();
    stage.joins(B);
    stage.client(B, "<message to='r@s' type='groupchat' id='behind'><body>x</body></message>");
    let asked = stage.up();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.iter().all(|iq| iq.is_iq() && iq.to().as_deref() == Some("r@s")));
    assert!(stage.seen(B).is_empty());
    // Live traffic meanwhile is in what the client is shown in the end, not before.
    stage.room("<message from='r@s/carol' type='groupchat'><body>live</body></message>");
    assert!(stage.seen(B).is_empty() && stage.seen(A).len() == 1);
    let two = format!("{CAROL}<item nick='carol' jid='carol@s/phone'/><item nick='gone' jid='gone@s/1'/>");
    stage.answer(&asked[0], "r@s", "result", &two);
    stage.answer(&asked[1], "r@s", "error", "");
    assert!(stage.seen(B).is_empty());
    stage.answer(&asked[2], "r@s", "result", "");
    let shown = stage.seen(B);
    assert!(shown[0].contains("jid='carol@s/desk'") && shown[0].contains("jid='carol@s/phone'"), "{shown:?}");
    assert!(shown.iter().any(|s| s.contains("live")) && !shown.concat().contains("gone@s"));
    assert!(stage.seen(A).is_empty(), "who is inside already is shown nothing");
    let up = stage.up();
    assert_eq!(up.len(), 1, "what it sent behind its join: {up:?}");
    // Once is enough.
    stage.joins(ClientId(3));
    assert!(stage.seen(ClientId(3)).concat().contains("carol@s/desk") && stage.up().is_empty());
}

#[test]
fn s15_a_list_counts_from_the_room_itself_with_the_id_that_was_asked() {
    let mut stage = Stage::joined("participant", "");
    stage.own("moderator", "", "x");
    stage.joins(B);
    let asked = stage.up();
    for from in ["r@s/carol", "r@evil", "me@s"] {
        stage.answer(&asked[0], from, "result", "<item nick='carol' jid='forged@s/1'/>");
    }
    stage.answer(&Stanza::own("<iq id='other'/>"), "r@s", "result", "<item nick='carol' jid='forged@s/1'/>");
    for iq in &asked {
        stage.answer(iq, "r@s", "result", CAROL);
    }
    stage.answer(&asked[0], "r@s", "result", "<item nick='carol' jid='forged@s/1'/>");
    stage.joins(ClientId(3));
    for client in [B, ClientId(3)] {
        let shown = stage.seen(client).concat();
        assert!(shown.contains("carol@s/desk") && !shown.contains("forged"), "{shown}");
    }
}

#[test]
fn s18_lists_that_come_after_a_demotion_show_nothing() {
    let mut stage = Stage::joined("participant", "");
    stage.own("moderator", "", "x");
    stage.joins(B);
    let asked = stage.up();
    stage.own("participant", "", "y");
    for iq in &asked {
        stage.answer(iq, "r@s", "result", CAROL);
    }
    let shown = stage.seen(B).concat();
    assert!(shown.contains("from='r@s/carol'") && !shown.contains("carol@s"), "{shown}");
}

#[test]
fn without_an_answer_a_client_is_shown_what_is_known() {
    let mut stage = Stage::joined("participant", "");
    stage.own("moderator", "", "x");
    stage.forget();
    stage.joins(B);
    stage.joins(A);
    assert!(stage.seen(A).is_empty() && stage.seen(B).is_empty());
    assert_eq!(stage.room.kept_for_clients(), 3);
    stage.now.at = stage.room.deadline().unwrap();
    stage.act(|room, now, out| room.tick(now, out));
    for client in [A, B] {
        assert!(stage.seen(client).concat().contains("from='r@s/carol'"));
    }
    // Nothing more is waited for, but that the room is asked whether the account is in it.
    assert!(stage.room.deadline().is_some_and(|at| at > stage.now.at + Duration::from_secs(600)));
    // Who is gone meanwhile is forgotten, and the room is not kept for its sake.
    let mut stage = Stage::joined("participant", "");
    stage.own("moderator", "", "x");
    stage.joins(A);
    stage.joins(B);
    stage.act(|room, now, out| room.client_gone(now, A, out));
    stage.act(|room, now, out| room.client_gone(now, B, out));
    stage.now.at += PATIENCE;
    stage.act(|room, now, out| room.tick(now, out));
    assert_eq!(stage.room.kept_for_clients(), 0);
    assert!(stage.room.deadline().is_some_and(|at| at > stage.now.at));
}

#[test]
fn nothing_is_asked_that_the_room_has_shown_by_itself() {
    // Prosody shows all occupants again to whom an affiliation makes a moderator.
    let mut stage = Stage::joined("participant", "");
    stage.own("moderator", "", "x");
    stage.occupant("carol", "<item affiliation='owner' jid='carol@s/desk' role='moderator'/>");
    stage.joins(B);
    assert!(stage.seen(B).concat().contains("carol@s/desk") && stage.up().is_empty());
}

/// The account joins again; what it is shown by that is not shown to who is inside already.
fn shown_again(ejabberd: bool) {
    let mut stage = Stage::joined("participant", "");
    stage.occupant("dave", "<item affiliation='none' role='participant'/>");
    stage.configured(172);
    stage.forget();
    stage.joins(B);
    let up = stage.up();
    assert_eq!(up.len(), 1, "{up:?}");
    let text = String::from_utf8(up[0].bytes().to_vec()).unwrap();
    assert!(
        text.contains("to='r@s/me'") && text.contains("<show>dnd</show>") && text.contains("maxstanzas='0'"),
        "{text}"
    );
    let id = up[0].id().unwrap().into_owned();
    if ejabberd {
        stage.room("<presence from='r@s'><c xmlns='http://jabber.org/protocol/caps' node='n' ver='v'/></presence>");
    }
    stage.occupant("carol", "<item affiliation='owner' jid='carol@s/desk' role='moderator'/>");
    // Somebody comes just now: that is news for everybody.
    stage.occupant("erin", "<item affiliation='none' jid='erin@s/1' role='participant'/>");
    stage.occupant("dave", "<item affiliation='none' jid='dave@s/1' role='participant'/>");
    stage.own("participant", if ejabberd { "<status code='100'/>" } else { "" }, &id);
    assert!(stage.seen(B).is_empty());
    stage.room("<message from='r@s/carol' type='groupchat'><subject>Tea</subject></message>");
    let news = stage.seen(A);
    assert!(news.len() == 1 && news[0].contains("erin@s"), "{news:?}");
    let shown = stage.seen(B);
    let all = shown.concat();
    assert!(["carol@s/desk", "dave@s/1", "erin@s/1", "code='100'"].iter().all(|piece| all.contains(piece)), "{all}");
    assert!(shown.last().unwrap().contains("<subject>Tea</subject>"));
    assert_eq!(shown.len(), if ejabberd { 6 } else { 5 });
    // What follows is live again.
    stage.forget();
    stage.room("<message from='r@s/carol' type='groupchat' id='s'><subject>Milk</subject></message>");
    stage.own("participant", "", &id);
    assert_eq!((stage.seen(A).len(), stage.seen(B).len()), (2, 2));
    assert!(stage.up().is_empty());
}

#[test]
fn in_a_room_that_became_non_anonymous_a_join_again_shows_jids() {
    shown_again(false);
    shown_again(true);
}

#[test]
fn a_join_again_that_is_refused_or_overtaken_ends_the_waiting() {
    let mut stage = Stage::joined("participant", "");
    stage.configured(172);
    stage.joins(B);
    let id = stage.up()[0].id().unwrap().into_owned();
    stage.forget();
    stage.room(&format!("<presence from='r@s/me' type='error' id='{id}'><error type='cancel'/></presence>"));
    assert!(stage.seen(A).is_empty() && stage.seen(B).len() == 3);
    // Put out of the room meanwhile: the join again lets the account in once more, which ends before the waiting
    // client's own join goes up.
    let mut stage = Stage::joined("participant", "");
    stage.configured(172);
    stage.joins(B);
    let id = stage.up()[0].id().unwrap().into_owned();
    stage.forget();
    let gone = "<item affiliation='none' role='none'/><status code='307'/><status code='110'/>";
    stage.room(&format!("<presence from='r@s/me' type='unavailable'><x xmlns='{X}'>{gone}</x></presence>"));
    assert!(stage.seen(B).is_empty() && stage.seen(A).len() == 1);
    let up = stage.up();
    assert!(up.len() == 1 && up[0].is_type("unavailable"), "{up:?}");
    stage.forget();
    stage.own("participant", "", &id);
    let gone = "<item affiliation='none' role='none'/><status code='110'/>";
    stage.room(&format!("<presence from='r@s/me' type='unavailable'><x xmlns='{X}'>{gone}</x></presence>"));
    let up = stage.up();
    assert_eq!((up.len(), up[0].id().as_deref()), (1, Some("b")), "{up:?}");
    assert!(stage.seen(B).is_empty() && stage.seen(A).is_empty());
}

#[test]
fn a_late_client_is_not_told_who_changed_a_role_and_why() {
    let mut stage = Stage::joined("moderator", "");
    let why = "<actor nick='carol'/><reason>noise</reason>";
    let item = format!("<item affiliation='none' jid='dave@s/1' role='visitor'>{why}</item><status code='42'/>");
    stage.occupant("dave", &item);
    let own = format!("<item affiliation='none' jid='{SESSION}' role='moderator'>{why}</item><status code='110'/>");
    stage.room(&format!("<presence from='r@s/me'><x xmlns='{X}'>{own}</x></presence>"));
    assert_eq!(stage.seen(A).concat().matches("noise").count(), 2);
    stage.joins(B);
    let shown = stage.seen(B).concat();
    assert!(!shown.contains("noise") && !shown.contains("actor") && !shown.contains("'42'"), "{shown}");
    assert!(shown.contains("dave@s/1"));
}

#[test]
fn s18_destroy_a_ban_and_a_new_room_empty_the_log() {
    for end in ["<status code='301'/>", "<destroy/>", "<status code='307'/>"] {
        let mut stage = Stage::joined("moderator", "");
        stage.room("<message from='r@s/carol' type='groupchat'><body>secret</body></message>");
        stage.joins(B);
        assert!(stage.seen(B).concat().contains("secret"));
        let item = "<item affiliation='none' role='none'/>";
        stage.room(&format!("<presence from='r@s/me' type='unavailable'><x xmlns='{X}'>{item}{end}</x></presence>"));
        stage.forget();
        stage.joins(B);
        stage.own("owner", "<status code='201'/>", "b");
        stage.room("<message from='r@s' type='groupchat'><subject/></message>");
        let shown = stage.seen(B).concat();
        assert!(!shown.contains("secret") && !shown.contains("carol") && shown.contains("'201'"), "{end}: {shown}");
    }
}

#[test]
fn s18_who_takes_a_nick_takes_nothing_back_that_another_wrote_under_it() {
    let retract = "<retract xmlns='urn:xmpp:message-retract:1' id='m'/>";
    for (nick, honoured) in [("carol", false), ("me", false), ("erin", true)] {
        let mut stage = Stage::joined("participant", "");
        stage.occupant("erin", "<item role='participant'/>");
        stage.room(&format!("<message from='r@s/{nick}' id='m' type='groupchat'><body>mine</body></message>"));
        if nick != "erin" {
            let renamed = "<item nick='other' role='participant'/><status code='303'/>";
            stage.room(&format!(
                "<presence from='r@s/{nick}' type='unavailable'><x xmlns='{X}'>{renamed}</x></presence>"
            ));
        }
        stage.room(&format!("<message from='r@s/{nick}' type='groupchat'><body>gone</body>{retract}</message>"));
        stage.joins(B);
        let shown = stage.seen(B).concat();
        assert_eq!(!shown.contains("mine"), honoured, "{nick}: {shown}");
        assert!(shown.contains("gone"));
    }
}

#[test]
fn history_is_what_the_room_keeps_though_it_may_stop_to_archive() {
    let mut stage = Stage::joined("participant", "");
    let archived = |id: &str| format!("<stanza-id xmlns='urn:xmpp:sid:0' by='r@s' id='{id}'/>");
    let says = |stage: &mut Stage, text: &str, more: &str| {
        stage.room(&format!("<message from='r@s/carol' type='groupchat'><body>{text}</body>{more}</message>"));
    };
    says(&mut stage, "first", &archived("1"));
    says(&mut stage, "not archived", "<no-store xmlns='urn:xmpp:hints'/>");
    stage.configured(171);
    says(&mut stage, "second", "");
    stage.room(&format!("<message from='r@s/carol' type='chat'><body>psst</body>{}</message>", archived("2")));
    stage.joins(B);
    let shown = stage.seen(B).concat();
    assert!(shown.contains("first") && shown.contains("second"), "{shown}");
    assert!(!shown.contains("not archived") && !shown.contains("psst") && !shown.contains("171"), "{shown}");
}

#[test]
fn s18_history_names_its_authors_only_while_the_room_is_not_anonymous() {
    for role in ["participant", "moderator"] {
        let mut stage = Stage::joined(role, "<status code='100'/>");
        stage.occupant("carol", "<item affiliation='owner' jid='carol@s/desk' role='moderator'/>");
        let archived = "<stanza-id xmlns='urn:xmpp:sid:0' by='r@s' id='1'/>";
        stage.room(&format!("<message from='r@s/carol' type='groupchat'><body>x</body>{archived}</message>"));
        let mut client = 10;
        let mut named = |stage: &mut Stage| {
            client += 1;
            stage.joins(ClientId(client));
            stage.seen(ClientId(client)).iter().any(|s| s.contains("<body>x") && s.contains("jid='carol@s'"))
        };
        assert!(named(&mut stage), "{role}");
        stage.configured(173);
        assert!(!named(&mut stage), "{role}");
        stage.occupant("carol", "<item affiliation='owner' jid='carol@s/desk' role='moderator'/>");
        stage.configured(172);
        assert!(named(&mut stage), "{role}");
    }
}

#[path = "together_tests.rs"]
mod together;

#[path = "history_together_tests.rs"]
mod history_together;
