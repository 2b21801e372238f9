//! A client that does what it is told and writes down every stanza that it gets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::xml::{Element, Read, Reader};
use crate::support::{PATIENCE, raw, server};

type Tls = TlsStream<TcpStream>;

/// Where clients connect to, and whom they trust.
#[derive(Clone)]
pub struct Place {
    pub address: SocketAddr,
    pub tls: TlsConnector,
    /// The proxy is there, not the server itself.
    pub proxied: bool,
}

/// A stanza, and the step of the conversation in which it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub step: usize,
    pub stanza: Element,
}

/// What the reader and the player share.
#[derive(Default)]
struct Shared {
    got: Mutex<Vec<Received>>,
    step: AtomicUsize,
    /// Answers to pings so far.
    pongs: AtomicUsize,
    news: Notify,
    /// The end of the stream is no news: this client has asked for it.
    closing: std::sync::atomic::AtomicBool,
    ended: std::sync::atomic::AtomicBool,
}

/// One client, logged in. Its reader goes with it.
pub struct Client {
    out: Option<WriteHalf<Tls>>,
    shared: Arc<Shared>,
    reader: tokio::task::JoinHandle<()>,
    pings: usize,
}

const PING: &str = "barrier-";

impl Client {
    /// Logs in as `user` and binds `resource`.
    pub async fn connect(place: &Place, user: &str, resource: &str) -> Result<Client, String> {
        timeout(PATIENCE, Client::log_in(place, user, resource))
            .await
            .unwrap_or_else(|_| Err("no login in time".into()))
    }

    async fn log_in(place: &Place, user: &str, resource: &str) -> Result<Client, String> {
        let socket = TcpStream::connect(place.address).await.map_err(|e| e.to_string())?;
        socket.set_nodelay(true).map_err(|e| e.to_string())?;
        let name = ServerName::try_from("localhost").map_err(|e| e.to_string())?;
        let io = place.tls.connect(name, socket).await.map_err(|e| e.to_string())?;
        let (mut input, mut out) = split(io);

        let mut reader = Reader::default();
        write(&mut out, raw::HEADER).await?;
        expect(&mut input, &mut reader, "features").await?;
        write(&mut out, &raw::plain("", user, &server::password(user))).await?;
        expect(&mut input, &mut reader, "success").await?;
        let mut reader = Reader::default();
        write(&mut out, raw::HEADER).await?;
        expect(&mut input, &mut reader, "features").await?;
        let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>";
        write(&mut out, &format!("<iq type='set' id='b'>{bind}<resource>{resource}</resource></bind></iq>")).await?;
        let bound = expect(&mut input, &mut reader, "iq").await?;
        if bound.attr("type") != "result" {
            return Err(format!("not bound: {}", bound.written()));
        }
        let shared = Arc::new(Shared::default());
        let reader = tokio::spawn(listen(input, reader, Arc::clone(&shared)));
        Ok(Client { out: Some(out), shared, reader, pings: 0 })
    }

    pub async fn send(&mut self, stanza: &str) -> Result<(), String> {
        write(self.out.as_mut().ok_or("it is gone")?, stanza).await
    }

    /// Closes the stream in good order and waits for the server's end.
    pub async fn close(&mut self) -> Result<(), String> {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.send("</stream:stream>").await?;
        let _ = timeout(Duration::from_secs(5), &mut self.reader).await;
        self.out = None;
        Ok(())
    }

    /// Drops the connection.
    pub fn cut(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.reader.abort();
        self.out = None;
    }

    pub fn connected(&self) -> bool {
        self.out.is_some() && !self.shared.ended.load(Ordering::Relaxed)
    }

    /// What comes from now on belongs to this step.
    pub fn begin(&self, step: usize) {
        self.shared.step.store(step, Ordering::Relaxed);
    }

    /// Asks its server for a sign of life: what the server had for it before that has come then.
    pub async fn ping(&mut self) -> Result<(), String> {
        self.pings += 1;
        let id = self.pings;
        self.send(&format!("<iq type='get' to='localhost' id='{PING}{id}'><ping xmlns='urn:xmpp:ping'/></iq>")).await
    }

    /// Waits for the answer to the last ping.
    pub async fn pong(&self) -> Result<(), String> {
        let answered = async {
            while self.shared.pongs.load(Ordering::Relaxed) < self.pings && self.connected() {
                self.shared.news.notified().await;
            }
        };
        timeout(PATIENCE, answered).await.map_err(|_| "the server does not answer a ping".to_owned())
    }

    /// Waits until what it has got is `enough`; `false` if that takes longer than `patience`.
    pub async fn until(&self, patience: Duration, enough: impl Fn(&[Received]) -> bool) -> bool {
        let waiting = async {
            while !enough(&self.got()) && self.connected() {
                self.shared.news.notified().await;
            }
        };
        timeout(patience, waiting).await.is_ok()
    }

    pub fn got(&self) -> MutexGuard<'_, Vec<Received>> {
        self.shared.got.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn write(out: &mut WriteHalf<Tls>, text: &str) -> Result<(), String> {
    out.write_all(text.as_bytes()).await.map_err(|e| e.to_string())?;
    out.flush().await.map_err(|e| e.to_string())
}

/// The next element, which must have this name.
async fn expect(input: &mut ReadHalf<Tls>, reader: &mut Reader, name: &str) -> Result<Element, String> {
    let mut buffer = vec![0; 16384];
    loop {
        let read = input.read(&mut buffer).await.map_err(|e| e.to_string())?;
        if let Some(piece) = reader.feed(&buffer[..read])?.into_iter().next() {
            match piece {
                Read::Stanza(stanza) if stanza.name == name => return Ok(stanza),
                Read::Stanza(stanza) => return Err(format!("instead of {name}: {}", stanza.written())),
                Read::End => return Err(format!("the stream ends instead of {name}")),
            }
        }
        if read == 0 {
            return Err(format!("the connection ends instead of {name}"));
        }
    }
}

async fn listen(mut input: ReadHalf<Tls>, mut reader: Reader, shared: Arc<Shared>) {
    let mut buffer = vec![0; 65536];
    let note = |name: &str, why: &str| {
        let attributes = [("why".to_owned(), why.to_owned())].into();
        let stanza = Element { name: name.to_owned(), attributes, ..Element::default() };
        let step = shared.step.load(Ordering::Relaxed);
        shared.got.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Received { step, stanza });
    };
    loop {
        let read = input.read(&mut buffer).await.unwrap_or(0);
        let pieces = reader.feed(&buffer[..read]);
        let ended = read == 0 || pieces.is_err();
        if let Err(why) = &pieces {
            note("what-is-not-xml", why);
        }
        for piece in pieces.unwrap_or_default() {
            match piece {
                Read::Stanza(s) if s.name == "iq" && s.attr("id").starts_with(PING) => {
                    shared.pongs.fetch_add(1, Ordering::Relaxed);
                }
                Read::Stanza(stanza) => {
                    let step = shared.step.load(Ordering::Relaxed);
                    let mut got = shared.got.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    got.push(Received { step, stanza });
                }
                Read::End if !shared.closing.load(Ordering::Relaxed) => note("the-streams-end", ""),
                Read::End => {}
            }
        }
        if ended {
            shared.ended.store(true, Ordering::Relaxed);
        }
        shared.news.notify_one();
        if ended {
            return;
        }
    }
}
