//! What a room's occupants and its history cost in memory, by account: many accounts of one server in one large room, each
//! with all its occupants and its last messages. What is the same for all is stored once; printed is what each account has
//! beside that.

use std::alloc::{GlobalAlloc, Layout, System};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use jid::FullJid;
use minimix_proxy::account::account::{Account, Input};
use minimix_proxy::account::handle::ClientId;
use minimix_proxy::muc::{Now, Settings};
use minimix_proxy::xmpp::stanza::Stanza;
use time::OffsetDateTime;

/// Counts the bytes that are allocated.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const ACCOUNTS: usize = 200;
const OCCUPANTS: usize = 1000;
const MESSAGES: usize = 20;
const BODY: usize = 1000;
const ROOM: &str = "hall@muc.example";

fn presence(nick: &str, session: &str, own: bool) -> Stanza {
    let (jid, code) = if own { (format!(" jid='{session}'"), "<status code='110'/>") } else { Default::default() };
    Stanza::own(format!(
        "<presence from='{ROOM}/{nick}' to='{session}' id='{nick}-7'><c xmlns='http://jabber.org/protocol/caps' \
         hash='sha-1' node='https://client.example' ver='8RovUdtOmiAjzj+xI7SK5BCw3A8='/><x \
         xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'{jid}/>{code}</x>\
         </presence>"
    ))
}

fn now() -> Now {
    Now { at: Instant::now(), wall: OffsetDateTime::now_utc() }
}

fn session(n: usize) -> String {
    format!("user{n}@example/0123456789abcdefghijkl")
}

/// An account that is in the room with all the others.
fn inside(n: usize, settings: &Arc<Settings>) -> Account {
    let (now, session) = (now(), session(n));
    let jid = FullJid::from_str(&session).expect("a full JID");
    let mut account = Account::new(jid, settings.clone(), Duration::from_secs(10));
    let mut outputs = Vec::new();
    let join = format!("<presence to='{ROOM}/own{n}' id='1'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    let client = FullJid::from_str(&format!("user{n}@example/client")).expect("a full JID");
    let mut give = |input| {
        outputs.clear();
        account.handle(now, input, &mut outputs);
    };
    give(Input::Hello(ClientId(n as u64), client));
    give(Input::Stanza(ClientId(n as u64), Stanza::own(join), true));
    give(Input::SessionUp(None));
    for occupant in 0..OCCUPANTS {
        give(Input::FromServer(presence(&format!("occupant number {occupant}"), &session, false)));
    }
    give(Input::FromServer(presence(&format!("own{n}"), &session, true)));
    let subject = format!("<message from='{ROOM}' to='{session}' type='groupchat'><subject/></message>");
    give(Input::FromServer(Stanza::own(subject)));
    assert_eq!(account.rooms().map(|room| room.occupants()).sum::<usize>(), OCCUPANTS);
    account
}

/// The room's messages come to the account.
fn hears(n: usize, account: &mut Account) {
    for message in 0..2 * MESSAGES {
        let body = format!("{message} {}", "x".repeat(BODY));
        let stanza = format!(
            "<message from='{ROOM}/occupant number {message}' to='{}' type='groupchat' id='m{message}'><body>{body}</body>\
             <stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='0123-{message}'/></message>",
            session(n)
        );
        account.handle(now(), Input::FromServer(Stanza::own(stanza)), &mut Vec::new());
    }
}

fn main() {
    let settings = Arc::new(Settings::default());
    let mut accounts = Vec::with_capacity(ACCOUNTS);
    let begin = BYTES.load(Ordering::Relaxed);
    accounts.push(inside(0, &settings));
    let one = BYTES.load(Ordering::Relaxed) - begin;
    accounts.extend((1..ACCOUNTS).map(|n| inside(n, &settings)));
    let all = BYTES.load(Ordering::Relaxed) - begin;
    let further = (all - one) / ((ACCOUNTS - 1) * OCCUPANTS);
    println!(
        "{ACCOUNTS} accounts in a room of {OCCUPANTS}: the first takes {} bytes an occupant, each further one {further} \
         (aim: at most 64); {} KiB in all",
        one / OCCUPANTS,
        all / 1024
    );
    let begin = BYTES.load(Ordering::Relaxed);
    hears(0, &mut accounts[0]);
    let one = BYTES.load(Ordering::Relaxed) - begin;
    accounts.iter_mut().enumerate().skip(1).for_each(|(n, account)| hears(n, account));
    let all = BYTES.load(Ordering::Relaxed) - begin;
    println!(
        "{MESSAGES} messages of {BODY} characters in its history: the first takes {} bytes a message, each further one {} \
         (aim: at most 64); {} KiB in all",
        one / MESSAGES,
        (all - one) / ((ACCOUNTS - 1) * MESSAGES),
        all / 1024
    );
    drop(accounts);
}
