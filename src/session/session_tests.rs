//! What is relayed, what is diverted, and that nothing overtakes anything.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::xml::framer::Element;

const SESSION: &str = "juliet@example.org/qWxopaque";

fn bound() -> Bound {
    let header = "<stream:stream to='example.org' version='1.0' xml:lang='de' xmlns='jabber:client' \
                  xmlns:stream='http://etherx.jabber.org/streams' xmlns:c='urn:c'>";
    Bound {
        jid: FullJid::new("juliet@example.org/phone").unwrap(),
        account: Some(BareJid::new("juliet@example.org").unwrap()),
        domain: "example.org".into(),
        client: Header::parse(Bytes::from_static(header.as_bytes())),
        csi: true,
        close_down: "</stream:stream>".into(),
        close_up: "</stream:stream>".into(),
    }
}

fn session() -> Session {
    Session::new(&bound(), Some(SESSION), "mark")
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn show(output: &Output) -> String {
    match output {
        Output::Server(bytes) => format!("S< {}", text(bytes)),
        Output::Client(bytes) => format!("C< {}", text(bytes)),
        Output::Shared(shared) => format!("C< shared {}", text(shared.bytes())),
        Output::Hello => "A< hello".into(),
        Output::Divert { stanza, fresh } => {
            format!("A< {}{}", if *fresh { "fresh " } else { "" }, text(stanza.bytes()))
        }
        Output::Unavailable(stanza) => format!("A< offline {}", text(stanza.bytes())),
        Output::Copied(copy) => format!("A< copy {}", text(copy.bytes())),
        Output::Bookmarks(change) => format!("A< {change:?}"),
        Output::Limited(what) => format!("limited {what}"),
        Output::End(condition, _) => format!("end {condition}"),
        Output::ClientError(..) | Output::ServerError(..) => "error relayed".into(),
    }
}

fn element(xml: &str) -> Stanza {
    if xml.starts_with("<message") || xml.starts_with("<presence") || xml.starts_with("<iq") {
        return Stanza::own(xml);
    }
    let end = xml[1..].find([' ', '>', '/']).unwrap() + 1;
    Stanza::new(Element { bytes: Bytes::from(xml.to_owned()), space: Space::Other, name: 1..end, inherits: false })
}

fn client(session: &mut Session, xml: &str) -> Vec<String> {
    let mut out = Vec::new();
    session.from_client(element(xml), &mut out);
    out.iter().map(show).collect()
}

fn server(session: &mut Session, xml: &str) -> Vec<String> {
    let mut out = Vec::new();
    session.from_server(element(xml), &mut out);
    out.iter().map(show).collect()
}

fn account(session: &mut Session, item: ToClient) -> Vec<String> {
    let mut out = Vec::new();
    session.from_account(item, &mut out);
    out.iter().map(show).collect()
}

fn relay(xml: &str, seen: u64, passes_through: bool) -> ToClient {
    ToClient::Relay { stanza: Stanza::own(xml), seen, passes_through }
}

const JOIN: &str = "<presence to='room@muc.example.org/Julia' id='j' xml:lang='en'/>";

#[test]
fn a_client_may_only_be_itself() {
    for own in ["juliet@example.org/phone", "juliet@example.org", "JULIET@Example.org/phone"] {
        let sent = format!("<message from='{own}' to='romeo@example.org'/>");
        assert_eq!(client(&mut session(), &sent), [format!("S< {sent}")]);
        let mut untrusted = Session::new(&bound(), None, "mark");
        assert_eq!(client(&mut untrusted, &sent), [format!("S< {sent}")]);
    }
    for other in ["juliet@example.org/Phone", "romeo@example.org", "example.org", "", "a@b@c", "juliet@example.org/"] {
        let sent = format!("<iq from='{other}' to='romeo@example.org'/>");
        assert_eq!(client(&mut session(), &sent), ["end invalid-from"], "{other}");
        assert_eq!(client(&mut Session::new(&bound(), None, "mark"), &sent), ["end invalid-from"], "{other}");
    }
}

#[test]
fn without_an_account_all_is_relayed() {
    let mut session = Session::new(&bound(), None, "mark");
    for sent in [JOIN, "<presence type='unavailable'/>", "<iq type='get' to='room@muc.example.org'/>"] {
        assert_eq!(client(&mut session, sent), [format!("S< {sent}")]);
    }
    let carbon = format!("<presence from='{SESSION}'/>");
    assert_eq!(server(&mut session, &carbon), [format!("C< {carbon}")]);
}

#[test]
fn a_join_and_all_after_it_go_to_the_account() {
    let mut session = session();
    let early = "<message to='room@muc.example.org'/>";
    assert_eq!(client(&mut session, early), [format!("S< {early}")]);
    assert_eq!(client(&mut session, JOIN), ["A< hello".to_owned(), format!("A< fresh {JOIN}")]);
    let sent = "<message to='ROOM@muc.example.org' id='1' xml:lang='en' type='groupchat'/>";
    assert_eq!(client(&mut session, sent), [format!("A< {sent}")]);
    let leave = "<presence to='room@muc.example.org' id='2' xml:lang='en' type='unavailable'/>";
    assert_eq!(client(&mut session, leave), [format!("A< {leave}")]);
    let other = "<message to='romeo@example.org'/>";
    assert_eq!(client(&mut session, other), [format!("S< {other}")]);
    let room = BareJid::new("room@muc.example.org").unwrap();
    assert!(account(&mut session, ToClient::Detached { room: room.clone(), seen: 2 }).is_empty());
    assert_eq!(client(&mut session, sent), [format!("A< {sent}")]);
    assert!(account(&mut session, ToClient::Detached { room, seen: 4 }).is_empty());
    assert_eq!(client(&mut session, sent), [format!("S< {sent}")]);
}

#[test]
fn what_is_diverted_stands_by_itself() {
    let mut session = session();
    client(&mut session, JOIN);
    let sent = Stanza::new(Element {
        bytes: Bytes::from_static(
            b"<message from='juliet@example.org/phone' to='room@muc.example.org'><c:x/></message>",
        ),
        space: Space::Client,
        name: 1..8,
        inherits: true,
    });
    let mut out = Vec::new();
    session.from_client(sent, &mut out);
    let expected = "A< <message xmlns:c='urn:c' to='room@muc.example.org' xml:lang='de' id='mark-2'><c:x/></message>";
    assert_eq!(out.iter().map(show).collect::<Vec<_>>(), [expected]);
    // What comes back has lost the id that it did not have.
    let Some(Output::Divert { stanza, .. }) = out.pop() else { panic!() };
    let back = account(&mut session, ToClient::Relay { stanza, seen: 2, passes_through: false });
    assert_eq!(back, ["S< <message xmlns:c='urn:c' to='room@muc.example.org' xml:lang='de'><c:x/></message>"]);
}

#[test]
fn s19_a_room_that_passes_through_is_the_clients_own_until_it_leaves() {
    let join = |session: &mut Session, seen| {
        assert!(client(session, JOIN).last().unwrap().starts_with("A< fresh"));
        assert_eq!(account(session, relay(JOIN, seen, true)), [format!("S< {JOIN}")]);
        assert_eq!(client(session, JOIN), [format!("S< {JOIN}")]);
    };
    let codes = |codes: &[&str], kind: &str| {
        let codes: String = codes.iter().map(|c| format!("<status code='{c}'/>")).collect();
        format!(
            "<presence from='room@muc.example.org/Julia'{kind}><x xmlns='http://jabber.org/protocol/muc#user'>{codes}</x></presence>"
        )
    };
    let mut session = session();
    join(&mut session, 1);
    // Leaving by itself.
    client(&mut session, "<presence to='room@muc.example.org/Julia' type='unavailable'/>");
    join(&mut session, 2);
    // The join fails.
    server(&mut session, "<presence from='room@muc.example.org/Julia' type='error'/>");
    join(&mut session, 3);
    // Inside, an error is about something else; a new nick is no leave; others come and go.
    server(&mut session, &codes(&["110"], ""));
    server(&mut session, "<presence from='room@muc.example.org/Taken' type='error'/>");
    server(&mut session, &codes(&["303", "110"], " type='unavailable'"));
    server(&mut session, &codes(&[], " type='unavailable'"));
    assert_eq!(client(&mut session, JOIN), [format!("S< {JOIN}")]);
    // Kicked.
    server(&mut session, &codes(&["307", "110"], " type='unavailable'"));
    join(&mut session, 4);
    // The server leaves all rooms for who goes offline.
    client(&mut session, "<presence type='unavailable'/>");
    join(&mut session, 5);
}

#[test]
fn broadcast_presence_is_told_to_an_account_that_knows_the_client() {
    let mut session = session();
    assert_eq!(client(&mut session, "<presence/>"), ["S< <presence/>"]);
    let offline = "<presence type='unavailable'/>";
    assert_eq!(client(&mut session, offline), [format!("S< {offline}")]);
    client(&mut session, JOIN);
    assert_eq!(client(&mut session, "<presence/>"), ["S< <presence/>"]);
    let told = "A< offline <presence type='unavailable' xml:lang='de'/>";
    assert_eq!(client(&mut session, offline), [told.to_owned(), format!("S< {offline}")]);
    assert_eq!(client(&mut session, "<presence/>"), ["S< <presence/>"]);
}

#[test]
fn the_account_session_is_not_seen() {
    let mut session = session();
    for kind in ["", " type='unavailable'"] {
        assert!(server(&mut session, &format!("<presence from='{SESSION}'{kind}/>")).is_empty());
    }
    let others = "<presence from='juliet@example.org/laptop'><status>qWxopaque</status></presence>";
    assert_eq!(server(&mut session, others), [format!("C< {others}")]);
    let carbon = |from: &str, kind: &str, inner: &str| {
        format!(
            "<message{from}><{kind} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' {inner}/></forwarded></{kind}></message>"
        )
    };
    let own = " from='juliet@example.org'";
    let sent = carbon(own, "sent", &format!("from='{SESSION}' to='room@muc.example.org/x'"));
    let received = carbon(own, "received", &format!("to='{SESSION}' from='room@muc.example.org/x'"));
    let seen = server(&mut session, &received);
    assert_eq!(seen, [format!("C< {received}")], "the account does not serve this client yet");
    // Whose it is the account knows, also for who is in no room.
    assert_eq!(server(&mut session, &sent), ["A< hello".to_owned(), format!("A< copy {sent}")]);
    assert!(server(&mut session, &received).is_empty());
    let sent = carbon("", "sent", &format!("from='{SESSION}'"));
    assert_eq!(server(&mut session, &sent), [format!("A< copy {sent}")]);
    // Not the account's own word, not a carbon, or not about it.
    for seen in [
        carbon(" from='romeo@example.org'", "sent", &format!("from='{SESSION}'")),
        carbon(own, "private", &format!("from='{SESSION}'")),
        carbon(own, "sent", "from='juliet@example.org/qWxopaque2'"),
        format!("<message from='romeo@example.org'><body>{SESSION}</body></message>"),
    ] {
        assert_eq!(server(&mut session, &seen), [format!("C< {seen}")]);
    }
}

#[test]
fn s09_only_what_was_offered_passes_beside_stanzas() {
    let active = "<active xmlns='urn:xmpp:csi:0'/>";
    assert_eq!(client(&mut session(), active), [format!("S< {active}")]);
    let mut plain = Session::new(&Bound { csi: false, ..bound() }, None, "mark");
    assert_eq!(client(&mut plain, active), ["end unsupported-stanza-type"]);
    assert!(client(&mut plain, "<enable xmlns='urn:xmpp:sm:3'/>")[0].starts_with("C< <failed"));
    assert_eq!(client(&mut plain, "<r xmlns='urn:xmpp:sm:3'/>"), ["end unsupported-stanza-type"]);
    assert_eq!(client(&mut plain, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), ["end policy-violation"]);
}

/// An account that deals with stanzas in any way the protocol allows.
#[derive(Default)]
struct AnyAccount {
    queue: VecDeque<Stanza>,
    seen: u64,
    held: [VecDeque<Stanza>; 2],
    inbox: VecDeque<ToClient>,
    consumed: Vec<Vec<u32>>,
}

fn room_of(stanza: &Stanza) -> usize {
    usize::from(stanza.to().unwrap().starts_with('b'))
}

fn number(stanza: &Stanza) -> u32 {
    stanza.id().unwrap().parse().unwrap()
}

impl AnyAccount {
    /// One stanza: consumed, given back, or held until later.
    fn step(&mut self, choice: u8) {
        let Some(stanza) = self.queue.pop_front() else { return };
        self.seen += 1;
        let room = room_of(&stanza);
        if !self.held[room].is_empty() || choice == 0 {
            self.held[room].push_back(stanza);
        } else if choice == 1 {
            self.consumed[room].push(number(&stanza));
        } else {
            self.inbox.push_back(ToClient::Relay { stanza, seen: self.seen, passes_through: choice == 2 });
        }
    }

    /// Gives back what was held, the last with the full count.
    fn release(&mut self, room: usize, passes_through: bool) {
        while let Some(stanza) = self.held[room].pop_front() {
            let seen = if self.held[room].is_empty() { self.seen } else { 0 };
            self.inbox.push_back(ToClient::Relay { stanza, seen, passes_through });
        }
    }

    fn detach(&mut self, room: usize) {
        if self.held[room].is_empty() {
            let room = BareJid::new(["a@muc", "b@muc"][room]).unwrap();
            self.inbox.push_back(ToClient::Detached { room, seen: self.seen });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_doubled_or_overtaken(steps in prop::collection::vec((0u8..12, 0usize..2, 0u8..4), 1..120)) {
        let mut session = session();
        let mut account = AnyAccount { consumed: vec![vec![], vec![]], ..AnyAccount::default() };
        let mut relayed: Vec<Vec<u32>> = vec![vec![], vec![]];
        let mut sent: Vec<u32> = vec![0, 0];
        let drained = (0..200).flat_map(|_| [(11, 0, 2), (9, 0, 0), (9, 1, 0), (8, 0, 0)]);
        for (what, room, choice) in steps.into_iter().chain(drained) {
            let mut out = Vec::new();
            match what {
                0..=6 => {
                    sent[room] += 1;
                    let (id, to) = (sent[room], ["a@muc", "b@muc"][room]);
                    let xml = match choice {
                        0 => format!("<presence to='{to}/n' id='{id}'/>"),
                        1 => format!("<presence to='{to}/n' id='{id}' type='unavailable'/>"),
                        _ => format!("<message to='{to}' id='{id}'/>"),
                    };
                    session.from_client(Stanza::own(xml), &mut out);
                }
                7 | 8 => if let Some(item) = account.inbox.pop_front() {
                    session.from_account(item, &mut out);
                },
                9 => account.release(room, choice == 0),
                10 => account.detach(room),
                _ => account.step(choice),
            }
            for output in out {
                match output {
                    Output::Server(bytes) => {
                        let stanza = Stanza::own(bytes.to_vec());
                        relayed[room_of(&stanza)].push(number(&stanza));
                    }
                    Output::Divert { stanza, .. } => account.queue.push_back(stanza),
                    Output::Hello => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
        for room in 0..2 {
            prop_assert!(relayed[room].is_sorted_by(|a, b| a < b), "overtaken: {:?}", relayed[room]);
            prop_assert!(account.consumed[room].is_sorted_by(|a, b| a < b));
            let mut all = [&relayed[room][..], &account.consumed[room][..]].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (1..=sent[room]).collect::<Vec<_>>());
        }
    }
}

#[path = "bookmarks_tests.rs"]
mod bookmarks;
