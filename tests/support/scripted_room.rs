//! A scripted server with rooms on it, behind the proxy: `evil` sits in every room. The test sends what it likes on any
//! stream, and sees what each stream sent.

use super::PATIENCE;
use super::proxy::{Proxy, Setup};
use super::scripted::{Scripted, Stream, attribute};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What the test does with a stanza before the room sees it; true: the room does not see it.
pub type Script = dyn Fn(&Stream, &str) -> bool + Send + Sync;

/// The room in which the tests meet.
pub const ROOM: &str = "room@conference.localhost";
const MUC_USER: &str = "xmlns='http://jabber.org/protocol/muc#user'";

#[derive(Default)]
struct Seen {
    streams: HashMap<String, Stream>,
    stanzas: Vec<(String, String)>,
}

/// The server, and what it has seen.
pub struct Rooms {
    pub server: Scripted,
    seen: Arc<Mutex<Seen>>,
}

impl Rooms {
    /// A server whose rooms let everybody in.
    pub async fn start() -> Rooms {
        Rooms::scripted(|_, _| false).await
    }

    /// The same, but that the script goes first.
    pub async fn scripted(script: impl Fn(&Stream, &str) -> bool + Send + Sync + 'static) -> Rooms {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let keep = Arc::clone(&seen);
        let server = Scripted::start(move |stream, stanza| {
            {
                let mut seen = keep.lock().expect("seen");
                seen.streams.insert(stream.jid.clone(), stream.clone());
                seen.stanzas.push((stream.jid.clone(), stanza.to_owned()));
            }
            if !script(stream, stanza) {
                answer(stream, stanza);
            }
        });
        Rooms { server: server.await, seen }
    }

    /// The proxy in front of it.
    pub fn proxy(&self) -> Setup {
        Setup::upstream(self.server.address, "none")
    }

    /// What was sent on the streams whose JID begins with `jid`.
    pub fn sent(&self, jid: &str) -> Vec<String> {
        let seen = self.seen.lock().expect("seen");
        seen.stanzas.iter().filter(|(from, _)| from.starts_with(jid)).map(|(_, stanza)| stanza.clone()).collect()
    }

    /// The presences that an account's session has sent: every change of its state in a room shows as one.
    pub fn account_presences(&self, user: &str) -> Vec<String> {
        let seen = self.seen.lock().expect("seen");
        let of = |jid: &str| is_account_session(jid, user);
        let presences = seen.stanzas.iter().filter(|(from, s)| of(from) && s.starts_with("<presence"));
        presences.map(|(_, stanza)| stanza.clone()).collect()
    }

    /// A client's own stream, by its full JID, once it has sent a stanza.
    pub async fn stream(&self, jid: &str) -> Stream {
        self.find(|known| known == jid, jid).await
    }

    /// The stream of an account's session.
    pub async fn account(&self, user: &str) -> Stream {
        self.find(|known| is_account_session(known, user), user).await
    }

    async fn find(&self, fits: impl Fn(&str) -> bool, what: &str) -> Stream {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((_, stream)) = self.seen.lock().expect("seen").streams.iter().find(|(jid, _)| fits(jid)) {
                return stream.clone();
            }
            assert!(Instant::now() < deadline, "no stream of {what}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for something among what was sent; `fits` is given the sender's JID and the stanza.
    pub async fn wait(&self, what: &str, fits: impl Fn(&str, &str) -> bool) -> (String, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let seen = self.seen.lock().expect("seen");
                if let Some(found) = seen.stanzas.iter().find(|(from, stanza)| fits(from, stanza)) {
                    return found.clone();
                }
                let all = &seen.stanzas;
                let last = &all[all.len().saturating_sub(15)..];
                assert!(Instant::now() < deadline, "the server waited in vain for {what}; it saw {last:#?}");
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Clients of the tests have short resources; an account session's is long and random.
pub fn is_account_session(jid: &str, user: &str) -> bool {
    jid.strip_prefix(user).and_then(|rest| rest.strip_prefix("@localhost/")).is_some_and(|r| r.len() > 10)
}

/// What a room, and the server itself, answer.
pub fn answer(stream: &Stream, stanza: &str) {
    let to = attribute(stanza, "to").unwrap_or_default();
    let (kind, id) = (attribute(stanza, "type"), attribute(stanza, "id").unwrap_or_default());
    let me = &stream.jid;
    let room = to.split('/').next().unwrap_or_default();
    if stanza.starts_with("<iq") {
        if matches!(kind.as_deref(), Some("get" | "set")) {
            let from = if to.is_empty() { String::new() } else { format!(" from='{to}'") };
            stream.send(format!("<iq{from} to='{me}' id='{id}' type='result'/>"));
        }
    } else if !room.contains("@conference.") {
    } else if stanza.starts_with("<presence") && kind.as_deref() == Some("unavailable") {
        stream.send(format!(
            "<presence from='{to}' to='{me}' id='{id}' type='unavailable'><x {MUC_USER}><item affiliation='none' \
             role='none' jid='{me}'/><status code='110'/></x></presence>"
        ));
    } else if stanza.starts_with("<presence") && kind.is_none() {
        enter(stream, &to, &id);
    } else if stanza.starts_with("<message") && kind.as_deref() == Some("groupchat") {
        let inner = stanza.split_once('>').map(|(_, inner)| inner).unwrap_or_default();
        stream.send(format!("<message from='{room}/me' to='{me}' id='{id}' type='groupchat'>{inner}"));
    }
}

/// Lets the stream's owner into a room as `to`.
pub fn enter(stream: &Stream, to: &str, id: &str) {
    let me = &stream.jid;
    let room = to.split('/').next().unwrap_or_default();
    let item = "<item affiliation='none' role='participant'";
    stream.send(format!(
        "<presence from='{room}/evil' to='{me}'><x {MUC_USER}>{item}/></x></presence>\
         <presence from='{to}' to='{me}' id='{id}'><x {MUC_USER}>{item} jid='{me}'/><status code='110'/></x></presence>\
         <message from='{room}' to='{me}' type='groupchat'><subject/></message>"
    ));
}
