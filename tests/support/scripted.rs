//! A scripted XMPP server in this process, for what a real server cannot be made to do: plaintext on loopback, it
//! answers the stream header, logs in whoever has the test password (PLAIN, SCRAM-SHA-256), binds, and then leaves
//! every stanza to the test's own closure.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::{digest, hmac, pbkdf2};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What the server does with each stanza: the stream it came on, its bytes.
pub type Hook = dyn Fn(&Stream, &str) + Send + Sync;

/// A running scripted server; ends with the test's runtime.
pub struct Scripted {
    pub address: SocketAddr,
    streams: Arc<AtomicUsize>,
    ways: Arc<Ways>,
}

/// How it behaves, which may change while it runs, and what it was sent.
struct Ways {
    mechanisms: Mutex<String>,
    /// The domain of the JIDs it binds.
    domain: Mutex<String>,
    /// Whose JIDs it binds, if not of who logged in.
    user: Mutex<Option<String>>,
    /// The text of its refusals.
    text: Mutex<String>,
    /// SCRAM's iterations, as it says them.
    iterations: Mutex<String>,
    /// Its SCRAM signature is wrong.
    lies: AtomicBool,
    received: Mutex<Vec<u8>>,
    /// Keeps nothing of what it is sent from now on.
    forgets: AtomicBool,
    open: AtomicUsize,
    most_open: AtomicUsize,
    /// As servers do: a login costs them no PBKDF2.
    salted: Mutex<HashMap<String, [u8; 32]>>,
}

/// One client's stream, after bind. Cheap to clone: a hook may keep it and write later.
#[derive(Clone)]
pub struct Stream {
    /// The full JID.
    pub jid: String,
    /// Which connection this is, from 0.
    pub number: usize,
    out: mpsc::UnboundedSender<Out>,
}

enum Out {
    Bytes(Vec<u8>),
    Cut,
}

impl Stream {
    /// Writes this to the client, exactly.
    pub fn send(&self, xml: impl Into<Vec<u8>>) {
        let _ = self.out.send(Out::Bytes(xml.into()));
    }

    /// Answers an IQ with an empty result.
    pub fn result(&self, iq: &str) {
        let id = attribute(iq, "id").unwrap_or_default();
        self.send(format!("<iq type='result' id='{id}' to='{}'/>", self.jid));
    }

    /// Ends the stream with a stream error, then the connection.
    pub fn error(&self, condition: &str) {
        let namespace = "urn:ietf:params:xml:ns:xmpp-streams";
        self.send(format!("<stream:error><{condition} xmlns='{namespace}'/></stream:error></stream:stream>"));
        self.cut();
    }

    /// Ends the connection, after what was sent before.
    pub fn cut(&self) {
        let _ = self.out.send(Out::Cut);
    }
}

impl Scripted {
    /// Offers SCRAM-SHA-256 and PLAIN.
    pub async fn start(hook: impl Fn(&Stream, &str) + Send + Sync + 'static) -> Scripted {
        Scripted::offering(&["SCRAM-SHA-256", "PLAIN"], "", hook).await
    }

    /// Offers these mechanisms before, and these features (beside bind) after the login.
    pub async fn offering(
        mechanisms: &[&str],
        features: &str,
        hook: impl Fn(&Stream, &str) + Send + Sync + 'static,
    ) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind on 127.0.0.1");
        let address = listener.local_addr().expect("the address of a bound socket");
        let streams = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&streams);
        let ways = Arc::new(Ways {
            mechanisms: Mutex::new(listed(mechanisms)),
            domain: Mutex::new("localhost".to_owned()),
            user: Mutex::default(),
            text: Mutex::default(),
            iterations: Mutex::new("4096".to_owned()),
            lies: AtomicBool::new(false),
            received: Mutex::default(),
            forgets: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            salted: Mutex::default(),
        });
        let shared = Arc::new((Arc::clone(&ways), features.to_owned(), Box::new(hook) as Box<Hook>));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let ways = &shared.0;
                    let open = ways.open.fetch_add(1, Ordering::SeqCst) + 1;
                    ways.most_open.fetch_max(open, Ordering::SeqCst);
                    serve(socket, number, ways, &shared.1, &*shared.2).await;
                    ways.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Scripted { address, streams, ways }
    }

    /// Offers other mechanisms from now on.
    pub fn offer(&self, mechanisms: &[&str]) {
        *self.ways.mechanisms.lock().expect("ways") = listed(mechanisms);
    }

    /// Binds JIDs of another domain from now on.
    pub fn bind_to(&self, domain: &str) {
        *self.ways.domain.lock().expect("ways") = domain.to_owned();
    }

    /// Binds JIDs of this user from now on, whoever logged in.
    pub fn bind_as(&self, user: &str) {
        *self.ways.user.lock().expect("ways") = Some(user.to_owned());
    }

    /// Explains its refusals from now on, in this XML text.
    pub fn explain(&self, text: &str) {
        *self.ways.text.lock().expect("ways") = format!("<text>{text}</text>");
    }

    /// Asks for so many SCRAM iterations from now on.
    pub fn iterate(&self, iterations: &str) {
        *self.ways.iterations.lock().expect("ways") = iterations.to_owned();
    }

    /// Gives a wrong SCRAM signature from now on, and success to whoever comes: it does not know the passwords.
    pub fn lie(&self) {
        self.ways.lies.store(true, Ordering::SeqCst);
    }

    /// All that it has been sent, on all connections.
    pub fn received(&self) -> String {
        String::from_utf8_lossy(&self.ways.received.lock().expect("ways")).into_owned()
    }

    /// Keeps nothing of what it is sent from now on.
    pub fn forget(&self) {
        self.ways.forgets.store(true, Ordering::SeqCst);
    }

    /// How many connections are open, and were at most at the same time.
    pub fn open(&self) -> (usize, usize) {
        (self.ways.open.load(Ordering::SeqCst), self.ways.most_open.load(Ordering::SeqCst))
    }

    /// How many connections it has seen.
    pub fn connections(&self) -> usize {
        self.streams.load(Ordering::SeqCst)
    }
}

fn listed(mechanisms: &[&str]) -> String {
    mechanisms.iter().map(|m| format!("<mechanism>{m}</mechanism>")).collect()
}

async fn serve(socket: TcpStream, number: usize, ways: &Arc<Ways>, features: &str, hook: &Hook) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let (mut read, mut write) = socket.into_split();
    let (out, mut queue) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Out::Bytes(bytes)) = queue.recv().await {
            if write.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = write.shutdown().await;
    });
    let mut stream = Stream { jid: String::new(), number, out };
    let mut input = Input { buffer: Vec::new(), ways: Arc::clone(ways) };

    input.header(&mut read).await?;
    stream.send(header(number));
    let sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
    let mechanisms = ways.mechanisms.lock().expect("ways").clone();
    stream.send(format!("<stream:features><mechanisms xmlns='{sasl}'>{mechanisms}</mechanisms></stream:features>"));
    let user = loop {
        let auth = input.stanza(&mut read).await?;
        match login(&auth, &mut input, &mut read, &stream).await? {
            Ok((user, last)) => {
                stream.send(format!("<success xmlns='{sasl}'>{last}</success>"));
                break user;
            }
            Err(condition) => {
                let text = ways.text.lock().expect("ways").clone();
                stream.send(format!("<failure xmlns='{sasl}'><{condition}/>{text}</failure>"));
            }
        }
    };
    input.header(&mut read).await?;
    stream.send(header(number));
    let bind = "urn:ietf:params:xml:ns:xmpp-bind";
    stream.send(format!("<stream:features><bind xmlns='{bind}'/>{features}</stream:features>"));
    loop {
        let stanza = input.stanza(&mut read).await?;
        if stream.jid.is_empty() && stanza.contains(bind) {
            let asked = between(&stanza, "<resource>", "</resource>").map(str::to_owned);
            let domain = ways.domain.lock().expect("ways").clone();
            let user = ways.user.lock().expect("ways").clone().unwrap_or_else(|| user.clone());
            stream.jid = format!("{user}@{domain}/{}", asked.unwrap_or_else(|| format!("made-{number}")));
            let id = attribute(&stanza, "id").unwrap_or_default();
            let answer = format!("<bind xmlns='{bind}'><jid>{}</jid></bind>", stream.jid);
            stream.send(format!("<iq type='result' id='{id}'>{answer}</iq>"));
        } else {
            hook(&stream, &stanza);
        }
    }
}

fn header(number: usize) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
         from='localhost' id='scripted-{number}' version='1.0' xml:lang='en'>"
    )
}

/// One SASL exchange: the user and the data of success, or the condition of the failure.
async fn login(
    auth: &str,
    input: &mut Input,
    read: &mut (impl AsyncReadExt + Unpin),
    stream: &Stream,
) -> Option<Result<(String, String), &'static str>> {
    let decoded = |xml: &str| {
        let text = between(xml, ">", "</").unwrap_or_default();
        String::from_utf8(BASE64.decode(text).unwrap_or_default()).unwrap_or_default()
    };
    let password = super::server::password;
    let first = decoded(auth);
    if attribute(auth, "mechanism").as_deref() == Some("PLAIN") {
        let mut parts = first.split('\0').skip(1);
        let (user, given) = (parts.next()?.to_owned(), parts.next()?);
        return Some(if given == password(&user) { Ok((user, String::new())) } else { Err("not-authorized") });
    }
    if attribute(auth, "mechanism").as_deref() == Some("ANONYMOUS") {
        return Some(Ok(("alice".to_owned(), String::new()))); // a server that gives her name to anybody
    }
    // SCRAM-SHA-256, RFC 5802 §3
    let gs2 = first.splitn(3, ',').take(2).fold(String::new(), |all, part| all + part + ",");
    let bare = first.get(gs2.len()..)?;
    let user = bare.split(',').find_map(|p| p.strip_prefix("n="))?.to_owned();
    let nonce = format!("{}scripted", bare.split(',').find_map(|p| p.strip_prefix("r="))?);
    let salt = b"scripted salt";
    let iterations = input.ways.iterations.lock().expect("ways").clone();
    let challenge = format!("r={nonce},s={},i={iterations}", BASE64.encode(salt));
    let sasl = "urn:ietf:params:xml:ns:xmpp-sasl";
    stream.send(format!("<challenge xmlns='{sasl}'>{}</challenge>", BASE64.encode(&challenge)));
    let last = decoded(&input.stanza(read).await?);
    if input.ways.lies.load(Ordering::SeqCst) {
        return Some(Ok((user, BASE64.encode(format!("v={}", BASE64.encode([7; 32]))))));
    }
    let Ok(iterations) = iterations.parse() else { return Some(Err("aborted")) };
    let Some((without_proof, proof)) = last.split_once(",p=") else { return Some(Err("aborted")) };

    let known = input.ways.salted.lock().expect("ways").get(&user).copied();
    let salted = known.unwrap_or_else(|| {
        let mut salted = [0; 32];
        let rounds = std::num::NonZeroU32::new(iterations).expect("not zero");
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password(&user).as_bytes(), &mut salted);
        salted
    });
    input.ways.salted.lock().expect("ways").insert(user.clone(), salted);
    let sign = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    let client_key = sign(&salted, b"Client Key");
    let stored = digest::digest(&digest::SHA256, client_key.as_ref());
    let message = format!("{bare},{challenge},{without_proof}");
    let signature = sign(stored.as_ref(), message.as_bytes());
    let expected: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    if BASE64.decode(proof).ok()? != expected {
        return Some(Err("not-authorized"));
    }
    let server_key = sign(&salted, b"Server Key");
    let verifier = BASE64.encode(sign(server_key.as_ref(), message.as_bytes()));
    Some(Ok((user, BASE64.encode(format!("v={verifier}")))))
}

/// Cuts what the client writes; it is trusted to be well-formed.
struct Input {
    buffer: Vec<u8>,
    ways: Arc<Ways>,
}

impl Input {
    /// The next stream header, to its `>`.
    async fn header(&mut self, read: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"<stream:stream")
                && let Some(end) = tag_end(&self.buffer, at)
            {
                return Some(String::from_utf8_lossy(&self.buffer.drain(..end).collect::<Vec<_>>()).into_owned());
            }
            self.more(read).await?;
        }
    }

    /// The next child of the stream; `None` at the end of the stream.
    async fn stanza(&mut self, read: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
        loop {
            let (mut at, mut depth) = (0, 0);
            while let Some(open) = find(&self.buffer[at..], b"<").map(|o| at + o) {
                let Some(end) = tag_end(&self.buffer, open) else { break };
                let tag = &self.buffer[open..end];
                if tag.starts_with(b"</") {
                    depth -= 1;
                } else if !tag.ends_with(b"/>") {
                    depth += 1;
                }
                if depth < 0 {
                    return None;
                }
                if depth == 0 {
                    let stanza: Vec<u8> = self.buffer.drain(..end).collect();
                    return Some(String::from_utf8_lossy(&stanza).trim_start().to_owned());
                }
                at = end;
            }
            self.more(read).await?;
        }
    }

    async fn more(&mut self, read: &mut (impl AsyncReadExt + Unpin)) -> Option<()> {
        match read.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                if !self.ways.forgets.load(Ordering::SeqCst) {
                    let new = &self.buffer[self.buffer.len() - n..];
                    self.ways.received.lock().expect("ways").extend_from_slice(new);
                }
                Some(())
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

/// Behind the `>` of the tag that opens at `open`.
fn tag_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut quote = 0;
    for (at, &byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            _ if quote != 0 => quote = if byte == quote { 0 } else { quote },
            b'\'' | b'"' => quote = byte,
            b'>' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// An attribute of a stanza's outermost element.
pub fn attribute(stanza: &str, name: &str) -> Option<String> {
    super::driver::Event { seq: 0, kind: String::new(), xml: stanza.to_owned(), json: serde_json::Value::Null }
        .attr(name)
}

/// The text between two others.
pub fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let from = text.find(start)? + start.len();
    Some(&text[from..from + text[from..].find(end)?])
}
