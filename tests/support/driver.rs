//! The Rust end of a client process that is driven by JSON lines ([`super::slix`], [`super::tokio_client`]): sends
//! commands, keeps each client's transcript, waits for what a test expects.

use super::PATIENCE;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_xmpp::minidom::Element;

/// One thing that happened to a client. `kind` is `stanza`, `nonza` (features, SASL, stream errors), `header`,
/// `connected`, `failed_auth`, `bad_certificate`, `connection_failed`, `stream_error`, `stream_end`, `malformed`,
/// `disconnected`, or `parsed` ([`super::muc`]).
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place in the client's transcript.
    pub seq: usize,
    pub kind: String,
    /// For `stanza`, `nonza` and `header`: as it was received (slixmpp: byte for byte).
    pub xml: String,
    /// All of the event.
    pub json: Value,
}

impl Event {
    /// Is it a stanza of this name, with all these pieces of text in it?
    pub fn is(&self, name: &str, pieces: &[&str]) -> bool {
        self.kind == "stanza" && self.name() == name && pieces.iter().all(|p| self.xml.contains(p))
    }

    /// The name of its outermost element, prefix included.
    pub fn name(&self) -> &str {
        let rest = self.xml.strip_prefix('<').unwrap_or("");
        &rest[..rest.find(|c: char| c.is_whitespace() || c == '/' || c == '>').unwrap_or(0)]
    }

    /// An attribute of its outermost element.
    pub fn attr(&self, name: &str) -> Option<String> {
        let mut reader = quick_xml::Reader::from_str(&self.xml);
        let (quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag)) = reader.read_event().ok()?
        else {
            return None;
        };
        let found = tag.attributes().flatten().find(|a| a.key.as_ref() == name)?;
        Some(quick_xml::escape::unescape(&found.value).ok()?.into_owned())
    }

    /// It as a tree; the namespace of the stream is `jabber:client`.
    pub fn element(&self) -> Element {
        Element::from_reader_with_prefixes(self.xml.as_bytes(), "jabber:client".to_owned())
            .unwrap_or_else(|e| panic!("not XML ({e}): {}", self.xml))
    }
}

/// Where and how a client logs in.
#[derive(Debug, Clone)]
pub struct Login {
    pub address: SocketAddr,
    pub jid: String,
    pub password: String,
    /// `starttls`, `direct` or `none`.
    pub tls: &'static str,
    pub ca: PathBuf,
    /// More of what the client understands (slixmpp: `mechanism`, `presence`, `lang`, `plugins`, `source`).
    pub more: Value,
}

impl Login {
    /// STARTTLS to `address`, as `user@localhost` (a resource may follow after a slash) with the test password.
    pub fn new(address: SocketAddr, user: &str, ca: &Path) -> Login {
        let (name, resource) = user.split_once('/').unwrap_or((user, ""));
        let jid = format!("{name}@localhost/{resource}").trim_end_matches('/').to_owned();
        let password = super::server::password(name);
        Login { address, jid, password, tls: "starttls", ca: ca.to_owned(), more: json!({}) }
    }

    /// The same over direct TLS (to a port that speaks it).
    pub fn direct(self) -> Login {
        Login { tls: "direct", ..self }
    }

    /// The same without TLS.
    pub fn plaintext(self) -> Login {
        Login { tls: "none", ..self }
    }

    /// The same with another password.
    pub fn password(self, password: &str) -> Login {
        Login { password: password.to_owned(), ..self }
    }

    /// The same with one more option of the client: `.with("mechanism", "PLAIN")`.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Login {
        self.more[key] = value.into();
        self
    }
}

/// An occupant as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Occupant {
    pub nick: String,
    pub role: String,
    pub affiliation: String,
    /// The real JID, where the room tells it; else empty.
    pub jid: String,
}

/// A command that failed: the XMPP condition or the exception's name, and the text.
#[derive(Debug, Clone)]
pub struct Failure {
    pub error: String,
    pub text: String,
}

/// A process that hosts clients; killed when dropped.
pub struct Driver {
    shared: Arc<Shared>,
    child: Mutex<Child>,
}

struct Shared {
    stdin: Mutex<ChildStdin>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    requests: AtomicU64,
}

#[derive(Default)]
struct State {
    transcripts: HashMap<String, Vec<Event>>,
    results: HashMap<u64, Value>,
    ended: bool,
}

impl Driver {
    /// Starts the process.
    pub fn start(mut command: Command) -> Driver {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let shared = Arc::new(Shared {
            stdin: Mutex::new(stdin),
            state: Mutex::default(),
            changed: watch::Sender::new(0),
            requests: AtomicU64::new(1),
        });
        let reader = Arc::clone(&shared);
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.filter_map(|l| serde_json::from_str(&l).ok()).for_each(|v| reader.take(v));
            reader.state.lock().expect("state").ended = true;
            reader.changed.send_modify(|n| *n += 1);
        });
        Driver { shared, child: Mutex::new(child) }
    }

    /// A client of this process, by any name; nothing happens until it connects.
    pub fn client(&self, name: &str) -> Client {
        Client { shared: Arc::clone(&self.shared), name: name.to_owned() }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let child = self.child.get_mut().expect("child");
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Shared {
    fn take(&self, json: Value) {
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let mut state = self.state.lock().expect("state");
        if json["event"] == "result" {
            state.results.insert(json["req"].as_u64().unwrap_or_default(), json);
        } else {
            let transcript = state.transcripts.entry(text("client")).or_default();
            transcript.push(Event { seq: transcript.len(), kind: text("event"), xml: text("xml"), json });
        }
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }
}

/// One client. Cheap to clone; all clones are the same client.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    pub name: String,
}

impl Client {
    /// Runs a command to its end.
    pub async fn run(&self, what: &str, mut arguments: Value) -> Result<Value, Failure> {
        let req = self.shared.requests.fetch_add(1, Ordering::Relaxed);
        arguments["req"] = req.into();
        arguments["client"] = self.name.as_str().into();
        arguments["do"] = what.into();
        let mut changed = self.shared.changed.subscribe();
        {
            let mut stdin = self.shared.stdin.lock().expect("stdin");
            writeln!(stdin, "{arguments}").and_then(|()| stdin.flush()).expect("the client process lives");
        }
        let answered = async {
            loop {
                {
                    let mut state = self.shared.state.lock().expect("state");
                    if let Some(result) = state.results.remove(&req) {
                        return result;
                    }
                    assert!(!state.ended, "{}: the client process ended during {what}", self.name);
                }
                changed.changed().await.expect("the sender lives in self");
            }
        };
        let result = tokio::time::timeout(3 * PATIENCE, answered).await;
        let result = result.unwrap_or_else(|_| panic!("{}: no answer to {arguments}\n{}", self.name, self.tail()));
        if result["ok"] == true {
            return Ok(result);
        }
        let text = |key: &str| result[key].as_str().unwrap_or_default().to_owned();
        Err(Failure { error: text("error"), text: text("text") })
    }

    pub(super) async fn must(&self, what: &str, arguments: Value) -> Value {
        let result = self.run(what, arguments.clone()).await;
        result.unwrap_or_else(|e| panic!("{}: {what} {arguments} failed: {e:?}\n{}", self.name, self.tail()))
    }

    /// Logs in; returns the full JID. Replaces an earlier connection of this client.
    pub async fn try_connect(&self, login: &Login) -> Result<String, Failure> {
        let mut arguments = login.more.clone();
        arguments["host"] = login.address.ip().to_string().into();
        arguments["port"] = login.address.port().into();
        arguments["jid"] = login.jid.as_str().into();
        arguments["password"] = login.password.as_str().into();
        arguments["tls"] = login.tls.into();
        arguments["ca"] = login.ca.display().to_string().into();
        Ok(self.run("connect", arguments).await?["jid"].as_str().unwrap_or_default().to_owned())
    }

    /// Logs in, or the test fails.
    pub async fn connect(&self, login: &Login) -> String {
        let result = self.try_connect(login).await;
        result.unwrap_or_else(|e| panic!("{}: cannot log in at {login:?}: {e:?}\n{}", self.name, self.tail()))
    }

    /// Joins and waits for the subject, which ends a join. `more`: `password`, `maxstanzas`, `maxchars`, `seconds`.
    pub async fn try_join(&self, room: &str, nick: &str, mut more: Value) -> Result<Value, Failure> {
        more["room"] = room.into();
        more["nick"] = nick.into();
        self.run("join", more).await
    }

    /// Joins, or the test fails; returns the occupants it was shown, sorted.
    pub async fn join(&self, room: &str, nick: &str) -> Vec<Occupant> {
        let result = self.try_join(room, nick, json!({})).await;
        occupants(&result.unwrap_or_else(|e| panic!("{}: cannot join {room}: {e:?}\n{}", self.name, self.tail())))
    }

    /// Sends the unavailable that leaves a room, as `nick`.
    pub async fn leave(&self, room: &str, nick: &str) {
        self.must("leave", json!({ "room": room, "nick": nick })).await;
    }

    /// Changes the nick and waits for the room's word.
    pub async fn nick(&self, room: &str, nick: &str) -> Result<(), Failure> {
        self.run("nick", json!({ "room": room, "nick": nick })).await.map(|_| ())
    }

    /// The occupants this client believes to be in the room, sorted.
    pub async fn view(&self, room: &str) -> Vec<Occupant> {
        occupants(&self.must("view", json!({ "room": room })).await)
    }

    /// Sends a message to the room, with this id.
    pub async fn groupchat(&self, room: &str, id: &str, body: &str) {
        self.must("message", json!({ "to": room, "type": "groupchat", "id": id, "body": body })).await;
    }

    /// Sends a `chat` message (to an occupant: a private message), with this id.
    pub async fn chat(&self, to: &str, id: &str, body: &str) {
        self.must("message", json!({ "to": to, "type": "chat", "id": id, "body": body })).await;
    }

    /// Sends presence: `{}`, or any of `to`, `type`, `show`, `status`.
    pub async fn presence(&self, what: Value) {
        self.must("presence", what).await;
    }

    /// Sends a stanza as it is written here.
    pub async fn raw(&self, xml: &str) {
        self.must("raw", json!({ "xml": xml })).await;
    }

    /// Sends an IQ as it is written here (it needs an id no other has) and waits for its answer.
    pub async fn iq(&self, xml: &str) -> Event {
        let sent = Event { seq: 0, kind: "stanza".to_owned(), xml: xml.to_owned(), json: Value::Null };
        let id = sent.attr("id").unwrap_or_else(|| panic!("an IQ needs an id: {xml}"));
        let mark = self.mark();
        self.raw(xml).await;
        let answers = |e: &Event| {
            e.is("iq", &[])
                && e.attr("id").as_ref() == Some(&id)
                && !matches!(e.attr("type").as_deref(), Some("get" | "set"))
        };
        self.wait_since(mark, &format!("the answer to {xml}"), answers).await
    }

    /// XEP-0410: pings itself through the room; the answer's type, or the error's XML.
    pub async fn self_ping(&self, room: &str, nick: &str) -> Event {
        let id = format!("self-ping-{}", self.shared.requests.load(Ordering::Relaxed));
        self.iq(&format!("<iq type='get' id='{id}' to='{room}/{nick}'><ping xmlns='urn:xmpp:ping'/></iq>")).await
    }

    /// A round trip to the server: whatever it had sent this client before is in the transcript then.
    pub async fn sync(&self) {
        let id = format!("sync-{}", self.shared.requests.load(Ordering::Relaxed));
        self.iq(&format!("<iq type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
    }

    /// Ends the connection abruptly: no stream close, no TLS close.
    pub async fn cut(&self) {
        self.must("cut", json!({})).await;
    }

    /// Ends the stream in good order.
    pub async fn disconnect(&self) {
        self.must("disconnect", json!({})).await;
    }

    /// All that happened to this client so far.
    pub fn transcript(&self) -> Vec<Event> {
        self.shared.state.lock().expect("state").transcripts.get(&self.name).cloned().unwrap_or_default()
    }

    /// The end of the transcript, to wait from there: see [`Client::wait_since`].
    pub fn mark(&self) -> usize {
        self.shared.state.lock().expect("state").transcripts.get(&self.name).map_or(0, Vec::len)
    }

    /// What happened since a mark.
    pub fn since(&self, mark: usize) -> Vec<Event> {
        self.transcript().split_off(mark)
    }

    /// Waits for the first event in the whole transcript that fits; `what` names it when it never comes.
    pub async fn wait_for(&self, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        self.wait_since(0, what, fits).await
    }

    /// Waits for the first event after a mark that fits.
    pub async fn wait_since(&self, mark: usize, what: &str, fits: impl Fn(&Event) -> bool) -> Event {
        let found = self.wait_within(PATIENCE, mark, fits).await;
        found.unwrap_or_else(|| panic!("{}: waited in vain for {what}\n{}", self.name, self.tail()))
    }

    /// As [`Client::wait_since`], with its own patience and `None` when it never comes.
    pub async fn wait_within(&self, patience: Duration, mark: usize, fits: impl Fn(&Event) -> bool) -> Option<Event> {
        let mut changed = self.shared.changed.subscribe();
        let mut next = mark;
        let found = async {
            loop {
                {
                    let state = self.shared.state.lock().expect("state");
                    let all = state.transcripts.get(&self.name).map_or(&[][..], Vec::as_slice);
                    if let Some(event) = all.get(next..).unwrap_or_default().iter().find(|e| fits(e)) {
                        return event.clone();
                    }
                    next = next.max(all.len());
                    assert!(!state.ended, "{}: the client process ended", self.name);
                }
                changed.changed().await.expect("the sender lives in self");
            }
        };
        tokio::time::timeout(patience, found).await.ok()
    }

    fn tail(&self) -> String {
        let all = self.transcript();
        let last = all.iter().skip(all.len().saturating_sub(25));
        last.fold(format!("--- the end of {}'s transcript ---\n", self.name), |text, e| {
            text + &format!(
                "{} {} {}\n",
                e.seq,
                e.kind,
                if e.xml.is_empty() { e.json.to_string() } else { e.xml.clone() }
            )
        })
    }
}

fn occupants(result: &Value) -> Vec<Occupant> {
    let list = result["occupants"].as_array().cloned().unwrap_or_default();
    let text = |o: &Value, key: &str| o[key].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<Occupant> = list
        .iter()
        .map(|o| Occupant {
            nick: text(o, "nick"),
            role: text(o, "role"),
            affiliation: text(o, "affiliation"),
            jid: text(o, "jid"),
        })
        .collect();
    all.sort();
    all
}
