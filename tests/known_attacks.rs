//! The table "Known attacks" of the threat model, row by row, against the running proxy. What has a test elsewhere:
//!
//! | attack | test |
//! |---|---|
//! | stanza smuggling | `bad_input`: `ten_thousand_malformed_streams` (every kind in every position), `bad_input_from_the_server`; `isolation`: `s10_…` |
//! | quick-xml quadratic | here; bytes looked at are counted in `xml::framer` (`work_is_linear`), the view in `xml::element` |
//! | half-logins by the thousand | `floods`: `half_logins` |
//! | NO STARTTLS | `threats`: `s09_what_is_glued_behind_starttls_has_no_effect`; `relay`: `s09_plaintext_behind_starttls_ends_the_stream`; `net`: `s09_plaintext_behind_proceed_ends_it` |
//! | certificate for the SRV target only | `net`: `s06_a_certificate_for_the_target_only_is_refused` |
//! | carbons, archive, roster push forged | here, on a real server; `isolation`: `forged_carbons_archive_results_and_pushes_change_nothing` |
//! | IQ answer from the wrong JID | here, on a client's own stream; `isolation`: `s15_…`, on the account session |
//! | XEP-0198 hijack | here; `threats`: `s09_what_was_not_offered_is_refused` |
//! | SCRAM downgrade | `threats`: `s05_a_downgrade_gets_no_password_and_no_success` |

mod support;

use support::driver::{Event, Login};
use support::proxy::{Proxy, Setup};
use support::raw::{self, Raw};
use support::scripted::Stream;
use support::scripted_room::{ROOM, Rooms};
use support::server::{Kind, Options, Server};
use support::slix;
use support::tap::Tap;
use tokio_rustls::TlsConnector;

/// In all that is hostile.
const MARK: &str = "evil-";
const MIB: usize = 1 << 20;

async fn joined(proxy: &Proxy, tls: &TlsConnector, name: &str) -> Raw {
    let mut client = Raw::bound(proxy.direct_tls(), tls, name).await;
    client.send(format!("<presence to='{ROOM}/me'><x xmlns='http://jabber.org/protocol/muc'/></presence>")).await;
    client.expect("<subject/></message>").await;
    client
}

/// Processor time a process has used, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the proxy lives");
    let fields = stat.rsplit(')').next().expect("a name").split_whitespace();
    fields.skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum()
}

/// Resident memory at most so far, in KiB.
fn most_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the proxy lives");
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).expect("a size");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_megabyte_of_attributes_or_namespaces_is_refused_at_once() {
    let rooms = Rooms::start().await;
    let proxy = rooms.proxy().start();
    let tls = raw::tls(&proxy.certs.ca);
    joined(&proxy, &tls, "alice/1").await;
    let start = most_memory(proxy.pid());
    let fill = |part: &dyn Fn(usize) -> String| {
        let mut text = String::with_capacity(MIB);
        (0..)
            .map(part)
            .take_while(|more| {
                text.len() + more.len() < MIB - 100 && {
                    text += more;
                    true
                }
            })
            .for_each(drop);
        text
    };
    let tag = |attributes: &str| format!("<message to='{ROOM}'{attributes}/>");
    let floods = [
        ("attributes", tag(&fill(&|n| format!(" a{n}=''")))),
        ("one attribute again and again", tag(&fill(&|_| " a=''".to_owned()))),
        ("namespaces", tag(&fill(&|n| format!(" xmlns:p{n}='u'")))),
        (
            "attributes of namespaces",
            tag(&format!(" xmlns:p='u' xmlns:q='u'{}", fill(&|n| format!(" p:a{n}='' q:a{n}=''")))),
        ),
        ("namespaces, nested", format!("<message to='{ROOM}'>{}", fill(&|n| format!("<a xmlns:p{n}='u'>")))),
        ("depth", format!("<message to='{ROOM}'>{}", fill(&|_| "<a>".to_owned()))),
    ];
    for (what, flood) in floods {
        let before = ticks(proxy.pid());
        let mut client = Raw::bound(proxy.direct_tls(), &tls, "alice/2").await;
        client.send(&flood).await;
        let rest = client.rest().await.0;
        let refused = rest.contains("<policy-violation ") || rest.contains("<not-well-formed ");
        assert!(refused && rest.ends_with("</stream:stream>"), "{what}: {rest:.300}");
        eprintln!("{what}: refused after {} ms of processor time, login included", 10 * (ticks(proxy.pid()) - before));
    }
    assert!(!rooms.server.received().contains("xmlns:p1="), "nothing of it went up");
    let most = most_memory(proxy.pid());
    eprintln!("memory at most {start} KiB before, {most} KiB after");
    // None of them is taken in whole, or only once.
    assert!(most < start + 16 * 1024, "memory at most {start} KiB before, {most} KiB after");
}

/// Stanzas within all limits that would be costly if a reader's time were quadratic in something.
fn costly(size: usize) -> Vec<(&'static str, String)> {
    let declarations: String = (0..60).map(|n| format!(" xmlns:p{n}='u:{n}'")).collect();
    let attributes: String = (0..62).map(|n| format!(" a{n}=''")).collect();
    let many = |part: &str, size: usize| part.repeat(size / part.len());
    let numbered =
        |size: usize, part: &dyn Fn(usize) -> String| (0..size / part(0).len()).map(part).collect::<String>();
    let user = |content: String| format!("<x xmlns='http://jabber.org/protocol/muc#user'>{content}</x>");
    vec![
        ("attributes", many(&format!("<b{attributes}/>"), size)),
        ("declarations", many(&format!("<b{declarations}/>"), size)),
        ("prefixes", format!("<m{declarations}><m{declarations}>{}</m></m>", many("<p0:b/>", size))),
        ("depth", format!("{}{}{}", "<m xmlns='u'>".repeat(60), many("<b/>", size), "</m>".repeat(60))),
        ("namespaces", numbered(size, &|n| format!("<a xmlns='u:{n:06}'/>"))),
        ("a long namespace", format!("<m xmlns='{}'>{}</m>", "u".repeat(size / 2), many("<b/>", size / 2))),
        ("references", format!("<body>{}</body>", many("&amp;", size))),
        ("status codes", user(numbered(size, &|n| format!("<status code='{:03}'/>", 400 + n % 500)))),
        ("items", user(numbered(size, &|n| format!("<item nick='n{n:06}'/>")))),
        ("several of them", many("<x xmlns='http://jabber.org/protocol/muc#user'/>", size)),
    ]
}

/// Sends stanzas with this content and waits for what is behind them; the processor time that the proxy took.
async fn cost(proxy: &Proxy, account: &Stream, client: &mut Raw, content: &str, number: &mut usize) -> u64 {
    let before = ticks(proxy.pid());
    let to = &account.jid;
    for (name, more) in [("message", "type='groupchat'"), ("message", "type='chat'"), ("presence", "")] {
        account.send(format!("<{name} from='{ROOM}/evil' to='{to}' {more}>{content}</{name}>"));
    }
    *number += 1;
    let behind = format!("behind-{number}");
    account.send(format!("<message from='{ROOM}/evil' to='{to}' type='groupchat' id='{behind}'><body/></message>"));
    client.expect(&format!("id='{behind}'")).await;
    ticks(proxy.pid()) - before
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_limits_allow_takes_time_linear_in_its_size() {
    let rooms = Rooms::start().await;
    let proxy = rooms.proxy().start();
    let tls = raw::tls(&proxy.certs.ca);
    let mut client = joined(&proxy, &tls, "alice/1").await;
    let account = rooms.account("alice").await;
    let mut number = 0;
    let quarter = MIB / 4 - 2000;
    for ((what, content), (_, large)) in costly(quarter).into_iter().zip(costly(4 * quarter)) {
        let [mut least, mut least_large] = [u64::MAX; 2];
        for _ in 0..3 {
            least = least.min(cost(&proxy, &account, &mut client, &content, &mut number).await);
            least_large = least_large.min(cost(&proxy, &account, &mut client, &large, &mut number).await);
        }
        eprintln!(
            "{what}: {} ms for three quarters of a megabyte in three, {} ms for three megabytes",
            10 * least,
            10 * least_large
        );
        // Linear is 4, quadratic 16; a few ticks more or less count nothing.
        assert!(least_large as f64 <= 9.0 * least as f64 + 5.0, "{what}: {least} and {least_large} ticks");
    }
}

/// Carbons and archive results that only the own account may send, and a push of bookmarks.
fn forged() -> Vec<(&'static str, String)> {
    let message = format!(
        "<message xmlns='jabber:client' from='carol@localhost/x' to='alice@localhost' type='chat'><body>{MARK}inner</body></message>"
    );
    let inner = format!("<forwarded xmlns='urn:xmpp:forward:0'>{message}</forwarded>");
    vec![
        ("received carbon", format!("<received xmlns='urn:xmpp:carbons:2'>{inner}</received>")),
        ("sent carbon", format!("<sent xmlns='urn:xmpp:carbons:2'>{inner}</sent>")),
        ("archive result", format!("<result xmlns='urn:xmpp:mam:2' queryid='q' id='1'>{inner}</result>")),
        ("bookmarks", "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:xmpp:bookmarks:1'><item id='evil@conference.localhost'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'/></item></items></event>".into()),
    ]
}

/// CVE-2017-5589, CVE-2019-16235, CVE-2015-8688, by somebody who is really in the room, or writes from outside.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_occupant_forges_is_seen_as_the_occupants() {
    let server = Server::start(Kind::Prosody, Options { plaintext: true, ..Options::default() });
    let tap = Tap::before(server.plain()).await;
    let proxy = Setup::upstream(tap.address, "none").start();
    let slix = slix::start();
    let alice = [slix.client("alice/1"), slix.client("alice/2")];
    let mallory = slix.client("bob");
    let room = server.room("forgers");
    for client in &alice {
        client.connect(&proxy.login(&client.name)).await;
        client.join(&room, "alice").await;
    }
    mallory.connect(&Login::new(server.starttls(), "bob/x", &server.certs.ca)).await;
    mallory.join(&room, "bob").await;
    for client in &alice {
        client.wait_for("bob", |e| e.is("presence", &["/bob"])).await;
    }
    let bob = format!("{room}/bob");
    for (n, (what, payload)) in forged().into_iter().enumerate() {
        let ways = [
            (room.clone(), "groupchat", bob.clone()),
            (format!("{room}/alice"), "chat", bob.clone()),
            ("alice@localhost/1".to_owned(), "chat", "bob@localhost/x".to_owned()),
        ];
        for (way, (to, kind, from)) in ways.into_iter().enumerate() {
            let id = format!("{MARK}{n}-{way}");
            let mark = alice[0].mark();
            mallory.raw(&format!("<message to='{to}' type='{kind}' id='{id}'><body>b</body>{payload}</message>")).await;
            let is = |e: &Event| e.is("message", &[]) && e.attr("id").as_deref() == Some(&id);
            let seen = alice[0].wait_since(mark, &format!("{what} to {to}"), is).await;
            assert_eq!(seen.attr("from"), Some(from), "{what}: whose it is stays");
            assert!(seen.xml.contains(&format!("{MARK}inner")) || what == "bookmarks", "{what}: it is handed on whole");
        }
    }
    // A push of the roster to the client itself, and to whoever is behind the occupant. (slixmpp heeds neither.)
    let roster = "<query xmlns='jabber:iq:roster'><item jid='evil-x@localhost' subscription='both'/></query>";
    for (to, behind) in [("alice@localhost/1".to_owned(), "behind-1"), (format!("{room}/alice"), "behind-2")] {
        mallory.raw(&format!("<iq to='{to}' type='set' id='{MARK}push'>{roster}</iq>")).await;
        let mark = alice[0].mark();
        mallory.chat(&to, behind, "behind it").await;
        alice[0].wait_since(mark, "what is behind the push", |e| e.is("message", &[behind])).await;
    }
    alice[0].wait_for("the push", |e| e.is("iq", &["evil-x@localhost"])).await;
    for client in &alice {
        for push in client.transcript().iter().filter(|e| e.is("iq", &["evil-x@localhost"])) {
            let from = push.attr("from");
            assert!(from.as_deref() == Some(&bob) || from.as_deref() == Some("bob@localhost/x"), "{push:?}");
        }
        client.sync().await;
        assert_eq!(client.self_ping(&room, "alice").await.attr("type").as_deref(), Some("result"));
        assert_eq!(client.view(&room).await.len(), 2, "{}", client.name);
        let ended = client.transcript().into_iter().find(|e| e.kind == "disconnected" || e.is("presence", &["333"]));
        assert!(ended.is_none(), "{ended:?}");
    }
    assert_eq!(tap.has("evil@conference"), None, "the proxy believes no bookmark of a stranger's");
    // The neighbours' talk goes on, to all.
    let mark = alice[1].mark();
    alice[0].groupchat(&room, "still", "still here").await;
    alice[1].wait_since(mark, "her message", |e| e.is("message", &["still here"])).await;
}

/// CVE-2013-6483: on a client's own stream nothing is mapped, so what the server says of the sender stays, and an
/// answer cannot become the answer to what went by another way.
#[tokio::test(flavor = "multi_thread")]
async fn s15_an_answer_on_the_clients_own_stream_stays_its_senders() {
    let rooms = Rooms::scripted(|_, stanza| stanza.starts_with("<iq") && stanza.contains("urn:question")).await;
    let proxy = rooms.proxy().start();
    let tls = raw::tls(&proxy.certs.ca);
    let mut client = joined(&proxy, &tls, "alice/1").await;
    client.send("<iq type='get' id='hello'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    client.expect("id='hello'").await;
    let own = rooms.stream("alice@localhost/1").await;
    // One question by her own stream, one by the account session.
    for (to, id) in [("bob@localhost/x", "own"), ("room@conference.localhost/evil", "shared")] {
        client.send(format!("<iq to='{to}' type='get' id='{id}'><question xmlns='urn:question'/></iq>")).await;
        let to = format!("to='{to}'");
        rooms.wait("the question", |_, s| s.contains(&to) && s.contains("urn:question")).await;
    }
    for id in ["own", "shared"] {
        let forged =
            format!("<iq from='evil-x@localhost/y' to='{}' id='{id}' type='result'><q xmlns='urn:q'/></iq>", own.jid);
        own.send(forged.as_str());
        assert!(client.expect("</iq>").await.ends_with(&forged), "as it came, from whom it is");
    }
    // The account session's question still waits for its own answer, and gets it.
    let account = rooms.account("alice").await;
    let asked = rooms.sent(&account.jid).into_iter().find(|s| s.contains("urn:question")).expect("the question");
    let id = support::scripted::attribute(&asked, "id").expect("an id");
    let right =
        |a: &str| format!("<iq from='{ROOM}/evil' to='{}' id='{id}' type='result'><q a='{a}'/></iq>", account.jid);
    account.send(right("first"));
    account.send(right("second"));
    let answer = client.expect("</iq>").await;
    assert!(answer.contains("a='first'") && answer.contains("id='shared'"), "{answer}");
    client.send("</stream:stream>").await;
    assert!(!client.rest().await.0.contains("second"));
}

/// Stream management is not offered by the proxy, though its server does: there is nothing to take over.
#[tokio::test(flavor = "multi_thread")]
async fn s09_another_accounts_session_cannot_be_resumed() {
    let server = Server::start(Kind::Prosody, Options { plaintext: true, ..Options::default() });
    let tap = Tap::before(server.plain()).await;
    let proxy = Setup::upstream(tap.address, "none").start();
    let tls = raw::tls(&proxy.certs.ca);
    // The victim's session at the server can be resumed: it is not the proxy's.
    let mut victim = Raw::plain(server.plain()).await;
    victim.log_in("alice", "victim").await;
    victim.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>").await;
    let enabled = victim.expect("/>").await;
    let previd = support::scripted::between(&enabled, "id='", "'").expect("an id to resume by").to_owned();
    let mut second = Raw::bound(proxy.direct_tls(), &tls, "alice/second").await;

    let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='4294967295'/>");
    let enable = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
    for user in ["bob", "alice"] {
        let (mut early, mut late) =
            (Raw::logged_in(proxy.direct_tls(), &tls, user).await, Raw::bound(proxy.direct_tls(), &tls, user).await);
        for attacker in [&mut early, &mut late] {
            for attempt in [resume.as_str(), enable] {
                attacker.send(attempt).await;
                let answer = attacker.expect("</failed>").await;
                assert!(answer.contains("<failed ") && !answer.contains("resumed") && !answer.contains("<enabled"));
            }
            // A count for what was never counted.
            attacker.send("<a xmlns='urn:xmpp:sm:3' h='4294967295'/>").await;
            let rest = attacker.rest().await.0;
            assert!(rest.contains("<unsupported-stanza-type ") && rest.ends_with("</stream:stream>"), "{rest}");
        }
    }
    for never in ["urn:xmpp:sm:", &previd] {
        assert_eq!(tap.has(never), None);
    }
    for victim in [&mut victim, &mut second] {
        victim.send("<iq type='get' id='alive'><ping xmlns='urn:xmpp:ping'/></iq>").await;
        victim.expect("alive").await;
    }
}

/// All test functions of this project, by name.
fn tests_in(directory: &std::path::Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn what_the_documentation_says_is_tested_is_tested() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/security.md")).expect("the documentation");
    let mut tests = Vec::new();
    for directory in ["src", "tests"] {
        tests_in(&root.join(directory), &mut tests);
    }
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| S")).collect();
    for number in [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 22, 23, 25] {
        let row = rows.iter().find(|row| row.starts_with(&format!("| S{number} ")));
        let row = row.unwrap_or_else(|| panic!("docs/security.md has no row for S{number}"));
        assert!(row.contains(&format!("`s{number:02}_")), "no test of its own in {row}");
        let files = row.split(" | ").nth(2).expect("a third column").split('`').skip(1).step_by(2);
        for file in files.filter(|file| file.contains('/')) {
            assert!(root.join("src").join(file).exists(), "docs/security.md names src/{file}, which is not there");
        }
    }
    let named = text.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() >= 2);
    for name in named.filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')) {
        let limit = name.starts_with("login_failures") || name == "allow_plain" || name == "keep_password";
        assert!(limit || tests.iter().any(|t| t == name), "docs/security.md names the test {name}, which is not there");
    }
}
