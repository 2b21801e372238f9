//! The account's shell: one task that owns the account session's socket and all the account's state. It never waits
//! for a client.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jid::FullJid;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::account::account::{Account, Input, Output};
use crate::account::connect::{AccountSession, ConnectError, Connector};
use crate::account::fair::{Fair, Window};
use crate::account::gauge::Gauge;
use crate::account::handle::{Queue, ToAccount};
use crate::muc::{ClientId, Now};
use crate::net::link::{Event, Link, LinkError};
use crate::stream::negotiation::condition_of;
use crate::xml::framer::{Frame, Space};
use crate::xmpp::stanza::Stanza;
use crate::xmpp::{ids, ns};

/// More than this waiting for the server: no more is taken from the clients.
const HIGH_WATER: usize = 256 * 1024;
/// How many of the clients' messages are taken before the socket gets its turn.
const BATCH: usize = 64;
/// How long an account without rooms and clients stays in memory.
const LINGER: Duration = Duration::from_secs(60);
/// How long the farewell to the server may take.
const FAREWELL: Duration = Duration::from_secs(2);

type Connecting = Pin<Box<dyn Future<Output = Result<AccountSession, ConnectError>> + Send>>;

/// One account's task.
pub struct Actor {
    jid: FullJid,
    account: Account,
    connector: Connector,
    inbox: mpsc::Receiver<ToAccount>,
    queues: HashMap<ClientId, Queue>,
    /// What the clients sent, until it is its turn.
    fair: Fair,
    window: Window,
    session: Option<AccountSession>,
    connecting: Option<Connecting>,
    /// Whether a client waits for that.
    awaited: watch::Sender<bool>,
    /// Whether this account can be forgotten, and if so, forgets it.
    forget: Box<dyn Fn() -> bool + Send>,
    gauge: Arc<Gauge>,
    /// The operator has ended the account session, and no client has logged in since.
    killed: bool,
    shutdown: watch::Receiver<bool>,
    /// Stanzas of the session that were too large.
    skipped: u64,
}

/// The time.
pub fn now() -> Now {
    Now { at: Instant::now(), wall: OffsetDateTime::now_utc() }
}

enum Happened {
    Client(Option<ToAccount>),
    Server(Result<Event, LinkError>),
    Connected(Box<Result<AccountSession, ConnectError>>),
    /// What waited for the server has gone out.
    Drained,
    /// A client has its turn.
    Turn,
    Deadline,
    Shutdown,
}

impl Actor {
    /// The task for the account whose session is to be `jid`.
    pub fn new(
        jid: FullJid,
        account: Account,
        connector: Connector,
        inbox: mpsc::Receiver<ToAccount>,
        shutdown: watch::Receiver<bool>,
        forget: Box<dyn Fn() -> bool + Send>,
        gauge: Arc<Gauge>,
    ) -> Self {
        Actor {
            jid,
            account,
            connector,
            inbox,
            queues: HashMap::new(),
            fair: Fair::default(),
            window: Window::default(),
            session: None,
            connecting: None,
            awaited: watch::Sender::new(false),
            forget,
            gauge,
            killed: false,
            shutdown,
            skipped: 0,
        }
    }

    /// Runs until nobody needs the account any more, or the process ends.
    pub async fn run(mut self) {
        let mut idle_since: Option<Instant> = None;
        loop {
            let idle = self.account.is_idle() && self.connecting.is_none() && self.fair.is_empty();
            idle_since = if idle { idle_since.or_else(|| Some(Instant::now())) } else { None };
            if idle_since.is_some_and(|since| since.elapsed() >= LINGER) {
                if (self.forget)() {
                    break;
                }
                idle_since = Some(Instant::now());
            }
            let deadlines = [self.account.deadline(), idle_since.map(|since| since + LINGER), self.window_opens()];
            let wake = deadlines.into_iter().flatten().min();
            let happened = self.wait(wake).await;
            if matches!(happened, Happened::Client(None) | Happened::Shutdown) {
                break;
            }
            self.take(happened);
            self.gauge.show(&self.account, self.killed);
        }
        self.farewell().await;
    }

    async fn wait(&mut self, wake: Option<Instant>) -> Happened {
        let turn = !self.fair.is_empty() && self.takes_from_clients();
        tokio::select! {
            message = self.inbox.recv() => Happened::Client(message),
            () = std::future::ready(()), if turn => Happened::Turn,
            event = drive(&mut self.session) => match event {
                Some(event) => Happened::Server(event),
                None => Happened::Drained,
            },
            opened = connected(&mut self.connecting) => Happened::Connected(Box::new(opened)),
            () = until(wake) => Happened::Deadline,
            _ = self.shutdown.wait_for(|down| *down) => Happened::Shutdown,
        }
    }

    /// Deals with what happened, and with what else is there already: fewer, larger writes.
    fn take(&mut self, happened: Happened) {
        match happened {
            Happened::Client(Some(message)) => {
                self.sort(message);
                for _ in 1..BATCH {
                    let Ok(message) = self.inbox.try_recv() else { break };
                    self.sort(message);
                }
            }
            Happened::Server(event) => {
                self.note_skipped();
                self.from_server(event);
            }
            Happened::Connected(opened) => self.connected(*opened),
            Happened::Deadline => self.handle(Input::Tick),
            Happened::Client(None) | Happened::Drained | Happened::Turn | Happened::Shutdown => {}
        }
        for _ in 0..BATCH {
            if !self.takes_from_clients() {
                break;
            }
            let Some(message) = self.fair.next() else { break };
            self.from_client(message);
        }
    }

    /// What the clients say waits for its turn; what others say does not.
    fn sort(&mut self, message: ToAccount) {
        match message.client() {
            Some(client) => self.fair.push(client, message),
            None => self.from_client(message),
        }
    }

    fn takes_from_clients(&self) -> bool {
        self.session.as_ref().is_none_or(|s| s.link.queued() < HIGH_WATER) && !self.window.is_full(Instant::now())
    }

    /// When clients have their turn again though the server does not say how far it has read.
    fn window_opens(&self) -> Option<Instant> {
        self.window.deadline().filter(|_| !self.fair.is_empty() && self.window.is_full(Instant::now()))
    }

    fn from_client(&mut self, message: ToAccount) {
        match message {
            ToAccount::Hello { client, jid, queue } => {
                self.queues.insert(client, queue);
                self.handle(Input::Hello(client, jid));
            }
            ToAccount::Stanza { client, stanza, fresh, .. } => self.handle(Input::Stanza(client, stanza, fresh)),
            ToAccount::Unavailable { client, stanza, .. } => self.handle(Input::Unavailable(client, stanza)),
            ToAccount::Copied { client, copy, .. } => self.handle(Input::Copied(client, copy)),
            ToAccount::Gone { client } => {
                self.queues.remove(&client);
                self.handle(Input::Gone(client));
            }
            ToAccount::LoggedIn => self.handle(Input::LoggedIn),
            ToAccount::Bookmarks(change) => self.handle(Input::Bookmarks(*change)),
            ToAccount::KeysChanged => {
                self.killed = false;
                self.handle(Input::KeysChanged);
            }
            // Who asked may have gone: nobody minds.
            ToAccount::Rooms { answer } => drop(answer.send(self.account.room_states())),
            ToAccount::LeaveRoom { room, answer } => {
                let known = self.account.rooms().any(|known| known.jid() == room.as_str());
                self.handle(Input::LeaveRoom(room.to_string()));
                let _ = answer.send(known);
            }
            message @ (ToAccount::Unenrolled | ToAccount::Killed) => {
                self.killed = matches!(message, ToAccount::Killed);
                self.connecting = None;
                self.disconnect();
                self.handle(Input::Unenrolled);
            }
        }
    }

    fn connected(&mut self, opened: Result<AccountSession, ConnectError>) {
        self.connecting = None;
        match opened {
            Ok(session) => {
                info!(account = %self.jid.to_bare(), "account session is up");
                let max_bytes = session.max_bytes;
                (self.session, self.skipped, self.window) = (Some(session), 0, Window::default());
                self.handle(Input::SessionUp(max_bytes));
            }
            Err(error) => {
                let account = self.jid.to_bare();
                warn!(%account, %error, "no account session: joins pass through");
                self.handle(Input::SessionFailed(error.needs_login()));
            }
        }
    }

    fn from_server(&mut self, event: Result<Event, LinkError>) {
        let mut next = Some(event);
        while let Some(event) = next {
            match event {
                Ok(Event::Frame(Frame::Element(element))) => {
                    let stanza = Stanza::new(element);
                    if stanza.space() == Space::Streams {
                        let condition = condition_of(&stanza);
                        let conflict = condition == "conflict";
                        let input = if conflict { Input::SessionConflict } else { Input::SessionLost };
                        return self.session_lost(&format!("the server ended it: {condition}"), input);
                    }
                    let stanza = match &self.session {
                        Some(session) => session.header.detach(stanza),
                        None => return,
                    };
                    if !self.says_how_far_it_read(&stanza) {
                        self.handle(Input::FromServer(stanza));
                    }
                }
                Ok(Event::Frame(Frame::Close) | Event::End) => return self.session_ended("the server closed it"),
                Ok(Event::Frame(Frame::Header(_))) => return self.session_ended("an unexpected stream header"),
                Err(error) => return self.session_ended(&error.to_string()),
            }
            next = self.session.as_mut().and_then(|s| s.link.buffered().transpose()).map(|f| f.map(Event::Frame));
        }
    }

    fn session_ended(&mut self, why: &str) {
        self.session_lost(why, Input::SessionLost);
    }

    fn session_lost(&mut self, why: &str, input: Input) {
        warn!(account = %self.jid.to_bare(), why, "account session is lost");
        (self.session, self.window) = (None, Window::default());
        self.handle(input);
        if self.account.is_evicted() {
            let account = self.jid.to_bare();
            warn!(%account, "a second conflict: the account session stays down until a client of the account ends");
        }
    }

    /// Stanzas that were too large have been dropped by the link (S12).
    fn note_skipped(&mut self) {
        let skipped = self.session.as_ref().map_or(0, |s| s.link.skipped());
        if skipped > self.skipped {
            warn!(account = %self.jid.to_bare(), "a stanza larger than limits.stanza came from the server: skipped");
        }
        self.skipped = skipped;
    }

    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut outputs = Vec::new();
            self.account.handle(now(), input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Up(stanza) => self.up(&stanza),
                    Output::Client(client, item) => {
                        let kept = self.queues.get(&client).is_none_or(|queue| queue.push(item));
                        if !kept {
                            // Its session sees the queue closed, and ends its stream.
                            debug!(client = client.0, "a client is too slow, or gone: given up");
                            self.queues.remove(&client);
                            inputs.push(Input::Gone(client));
                        }
                    }
                    Output::Limited(limit) => warn!(account = %self.jid.to_bare(), limit, "limit met"),
                    Output::Connect => {
                        self.session = None;
                        let open = self.connector.clone().open(self.jid.clone(), self.awaited.subscribe());
                        self.connecting = Some(Box::pin(open));
                    }
                    Output::Disconnect => self.disconnect(),
                }
            }
        }
        if self.connecting.is_some() {
            self.awaited.send_replace(self.account.is_awaited());
        }
    }

    fn up(&mut self, stanza: &Stanza) {
        let Some(session) = &mut self.session else { return };
        session.link.queue(stanza.bytes());
        if self.window.sent(stanza.bytes().len(), Instant::now()) {
            let id = ids::random();
            let to = self.jid.domain();
            session
                .link
                .queue(format!("<iq to='{to}' type='get' id='{id}'><ping xmlns='{}'/></iq>", ns::PING).as_bytes());
            self.window.asked(id, Instant::now());
        }
    }

    /// Whether it is the server's answer to a ping of ours (S15: the id and the peer).
    fn says_how_far_it_read(&mut self, stanza: &Stanza) -> bool {
        let answer = stanza.is_iq() && (stanza.is_type("result") || stanza.is_type("error"));
        let from_server = || stanza.from().is_none_or(|from| from == self.jid.domain().as_str());
        if !answer || !from_server() {
            return false;
        }
        stanza.id().is_some_and(|id| self.window.answered(&id))
    }

    /// Nothing needs the account session: it is closed beside, for that may take a moment.
    fn disconnect(&mut self) {
        if let Some(session) = self.session.take() {
            self.window = Window::default();
            debug!(account = %self.jid.to_bare(), "account session is closed: no rooms");
            tokio::spawn(close(session.link));
        }
    }

    async fn farewell(mut self) {
        if let Some(session) = self.session.take() {
            close(session.link).await;
        }
    }
}

async fn close(mut link: Link) {
    link.queue(b"</stream:stream>");
    let _ = tokio::time::timeout(FAREWELL, link.shutdown()).await;
}

/// The session's next event; `None` when so little is left to send that the clients can be read again.
async fn drive(session: &mut Option<AccountSession>) -> Option<Result<Event, LinkError>> {
    match session {
        Some(session) => {
            let low = (session.link.queued() >= HIGH_WATER).then_some(HIGH_WATER / 2);
            session.link.drive_to(true, low).await
        }
        None => std::future::pending().await,
    }
}

async fn connected(connecting: &mut Option<Connecting>) -> Result<AccountSession, ConnectError> {
    match connecting {
        Some(connecting) => connecting.await,
        None => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
