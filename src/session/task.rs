//! A bound client's task, the shell of [`crate::session::session`]: two links, the account's queue, and one loop.
//!
//! Back-pressure: what is queued for one side above [`HIGH_WATER`] stops the reading of what would add to it, so the
//! two peers slow each other down as they would without a proxy, and nothing is kept without bound. The account is
//! never waited for while the other directions could move.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use jid::FullJid;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::accept::Floor;
use super::closing::{End, FAREWELL, Last, close, condition, server_fault};
use super::pace::Pace;
use super::session::{Output, Session};
use super::sessions::Registered;
use super::ways::{Introduced, receive, room, until};
use crate::account::handle::{Allowance, ClientId, Credit, Handle, Inbox, ToAccount, ToClient, queue};
use crate::net::link::{Event, Link, LinkError};
use crate::stream::negotiation::Bound;
use crate::xml::framer::Frame;
use crate::xml::writer::escape;
use crate::xmpp::conditions::StreamCondition;
use crate::xmpp::stanza::Stanza;

/// More than this waiting for one side: what adds to it is not read.
const HIGH_WATER: usize = 64 * 1024;
/// Answers of the proxy's own may wait up to this; then the client is no longer read.
const ANSWERS: usize = 1024 * 1024;
/// A client that takes nothing for so long while it is owed more than [`HIGH_WATER`] is given up.
const STALL: Duration = Duration::from_secs(60);

/// One bound client and its upstream stream.
pub struct Relay {
    down: Link,
    up: Link,
    session: Session,
    peer: SocketAddr,
    client: ClientId,
    /// Its place among all sessions: the operator may end it.
    registered: Registered,
    /// The client's JID as it stands in XML.
    jid: Box<str>,
    close_down: Box<str>,
    close_up: Box<str>,
    handle: Option<Handle>,
    inbox: Option<Inbox>,
    introduced: Option<Introduced>,
    /// What the account has no room for yet; while there is any, the client is not read.
    waiting: VecDeque<ToAccount>,
    /// How much may be under way to the account.
    allowance: Allowance,
    queue_frames: usize,
    queue_bytes: usize,
    /// Since when the client has taken nothing, if it is owed too much.
    stalled: Option<Instant>,
    idle: Option<Idle>,
    pace: Pace,
    shutdown: watch::Receiver<bool>,
    /// Stanzas of the server's that were too large.
    skipped: u64,
}

/// Watches for a client's silence.
struct Idle {
    timeout: Duration,
    received: u64,
    deadline: Instant,
}

enum Happened {
    Client(Option<Result<Event, LinkError>>),
    Server(Option<Result<Event, LinkError>>),
    Account(Option<ToClient>),
    Room,
    Late,
    Killed,
    Shutdown,
}

impl Relay {
    pub(super) fn new<A>(
        (down, mut up): (Link, Link),
        session: Session,
        bound: &Bound,
        registered: Registered,
        peer: SocketAddr,
        handle: Option<Handle>,
        floor: &Floor<A>,
    ) -> Self {
        let limits = &floor.limits;
        let received = down.received();
        up.skip_oversize();
        registered.note(session.rooms());
        Relay {
            down,
            up,
            session,
            peer,
            client: registered.id(),
            registered,
            jid: escape(bound.jid.as_str()).into(),
            close_down: bound.close_down.as_str().into(),
            close_up: bound.close_up.as_str().into(),
            handle,
            inbox: None,
            introduced: None,
            waiting: VecDeque::new(),
            allowance: Allowance::default(),
            queue_frames: limits.client_queue_frames,
            queue_bytes: limits.client_queue_bytes,
            stalled: None,
            idle: limits.idle_timeout.map(|timeout| Idle { timeout, received, deadline: Instant::now() + timeout }),
            pace: Pace::new(limits, received),
            shutdown: floor.shutdown.clone(),
            skipped: 0,
        }
    }

    /// Relays until one side ends.
    pub async fn run(mut self: Box<Self>) {
        let end = loop {
            let happened = self.wait().await;
            if let Err(end) = self.take(happened) {
                break end;
            }
        };
        self.finish(end).await;
    }

    fn jid(&self) -> &FullJid {
        self.session.jid()
    }

    fn reads_client(&self) -> bool {
        self.up.queued() < HIGH_WATER && self.waiting.is_empty() && self.down.queued() < ANSWERS
    }

    fn reads_server(&self) -> bool {
        self.down.queued() < HIGH_WATER
    }

    /// Until when the client is not read because it sends too fast.
    fn paused(&mut self) -> Option<Instant> {
        let now = Instant::now().into_std();
        self.pace.received(now, self.down.received());
        let Some((until, limit)) = self.pace.wait(now) else {
            self.down.allow(self.pace.allowance(now));
            return None;
        };
        if self.pace.first_slowed() {
            info!(peer = %self.peer, jid = %self.jid(), limit, "slowed: it sends faster than it may");
        }
        Some(until.into())
    }

    async fn wait(&mut self) -> Happened {
        let paused = self.paused();
        let (reads_client, reads_server) = (self.reads_client() && paused.is_none(), self.reads_server());
        let half = Some(HIGH_WATER / 2);
        let down_low = half.filter(|_| !reads_server);
        let up_low = half.filter(|_| self.up.queued() >= HIGH_WATER);
        let way = self.handle.as_ref().map(|h| (h.sender(), &self.allowance)).zip(self.waiting.front());
        let late = self.stalled.map(|since| since + STALL).into_iter().chain(self.idle.as_ref().map(|i| i.deadline));
        let late = late.chain(paused).min();
        tokio::select! {
            event = self.down.drive_to(reads_client, down_low) => Happened::Client(event),
            event = self.up.drive_to(reads_server, up_low) => Happened::Server(event),
            item = receive(&mut self.inbox), if reads_server => Happened::Account(item),
            () = room(way) => Happened::Room,
            () = until(late) => Happened::Late,
            () = self.registered.killed() => Happened::Killed,
            _ = self.shutdown.wait_for(|down| *down) => Happened::Shutdown,
        }
    }

    /// Deals with what happened, and with what else is there already: fewer, larger writes.
    fn take(&mut self, happened: Happened) -> Result<(), End> {
        match happened {
            Happened::Client(Some(event)) => self.client_events(event)?,
            Happened::Server(Some(event)) => self.server_events(event)?,
            Happened::Account(item) => self.account_items(item)?,
            Happened::Client(None) | Happened::Server(None) => {}
            Happened::Room => self.pump(),
            Happened::Late => self.late()?,
            // RFC 6120 §4.9.3.16: whoever comes back has to authenticate anew.
            Happened::Killed => return Err(End::client(StreamCondition::Reset, "ended by the operator")),
            Happened::Shutdown => return Err(End::client(StreamCondition::SystemShutdown, "")),
        }
        self.registered.note(self.session.rooms());
        self.stalled = match self.stalled {
            _ if self.down.queued() < HIGH_WATER => None,
            since => since.or_else(|| Some(Instant::now())),
        };
        Ok(())
    }

    fn client_events(&mut self, event: Result<Event, LinkError>) -> Result<(), End> {
        let now = Instant::now().into_std();
        let (mut next, mut out) = (Some(event), Vec::new());
        while let Some(event) = next {
            match event {
                Ok(Event::Frame(Frame::Element(element))) => {
                    self.pace.stanza(now);
                    self.session.from_client(Stanza::new(element), &mut out);
                    self.perform(&mut out)?;
                }
                Ok(Event::Frame(Frame::Close)) => {
                    return Err(End::both(|| Last::Close, "the client closed its stream"));
                }
                Ok(Event::Frame(Frame::Header(_))) => {
                    return Err(End::client(StreamCondition::PolicyViolation, "a second stream header"));
                }
                Ok(Event::End) => return Err(End::both(|| Last::Nothing, "the client's connection ended")),
                Err(LinkError::Io(error)) => {
                    return Err(End::both(|| Last::Nothing, format!("the client's connection is lost: {error}")));
                }
                Err(LinkError::Framing(error)) => return Err(End::client(condition(&error), error.to_string())),
                Err(LinkError::NoRoom) => return Err(End::no_room()),
            }
            if !self.reads_client() || self.pace.wait(now).is_some() {
                break;
            }
            next = self.down.buffered().transpose().map(|frame| frame.map(Event::Frame));
        }
        Ok(())
    }

    fn server_events(&mut self, event: Result<Event, LinkError>) -> Result<(), End> {
        self.note_skipped();
        let (mut next, mut out) = (Some(event), Vec::new());
        while let Some(event) = next {
            match event {
                Ok(Event::Frame(Frame::Element(element))) => {
                    self.session.from_server(Stanza::new(element), &mut out);
                    self.perform(&mut out)?;
                }
                Ok(Event::Frame(Frame::Close)) => {
                    return Err(End::both(|| Last::Close, "the server closed the stream"));
                }
                Ok(Event::Frame(Frame::Header(_))) => {
                    return Err(End::client(StreamCondition::UndefinedCondition, "the server's stream is broken"));
                }
                Ok(Event::End) => return Err(End::both(|| Last::Nothing, "the server's connection ended")),
                Err(LinkError::Io(error)) => {
                    return Err(End::both(|| Last::Nothing, format!("the server's connection is lost: {error}")));
                }
                Err(LinkError::Framing(error)) => {
                    let (down, text) = server_fault(&error);
                    let up = Last::Error(condition(&error), error.to_string());
                    return Err(End { why: text.clone(), down: Last::Error(down, text), up });
                }
                Err(LinkError::NoRoom) => return Err(End::no_room()),
            }
            if !self.reads_server() {
                break;
            }
            next = self.up.buffered().transpose().map(|frame| frame.map(Event::Frame));
        }
        Ok(())
    }

    /// Stanzas that were too large have been dropped by the link (S12).
    fn note_skipped(&mut self) {
        let skipped = self.up.skipped();
        if skipped > self.skipped {
            let limit = "limits.stanza";
            warn!(peer = %self.peer, jid = %self.jid(), limit, "a stanza too large came from the server: skipped");
        }
        self.skipped = skipped;
    }

    fn account_items(&mut self, item: Option<ToClient>) -> Result<(), End> {
        let (mut next, mut out) = (item, Vec::new());
        if next.is_none() {
            return self.inbox_closed();
        }
        while let Some(item) = next {
            self.session.from_account(item, &mut out);
            self.perform(&mut out)?;
            if !self.reads_server() {
                break;
            }
            next = self.inbox.as_mut().and_then(Inbox::try_recv);
        }
        Ok(())
    }

    /// The account has given this client up, or is itself no more.
    fn inbox_closed(&mut self) -> Result<(), End> {
        if self.handle.as_ref().is_some_and(|h| !h.sender().is_closed()) {
            return Err(End::client(StreamCondition::ResourceConstraint, "too slow to take what its rooms send"));
        }
        self.account_gone();
        Ok(())
    }

    /// There is no account any more: the client's stanzas stay on its own stream.
    fn account_gone(&mut self) {
        (self.handle, self.inbox, self.introduced) = (None, None, None);
        self.session.forget_account();
        for message in self.waiting.drain(..) {
            if let ToAccount::Stanza { stanza, .. } = message {
                self.up.queue(self.session.give_back(stanza).bytes());
            }
        }
    }

    fn perform(&mut self, outputs: &mut Vec<Output>) -> Result<(), End> {
        let client = self.client;
        for output in outputs.drain(..) {
            match output {
                Output::Server(bytes) => self.up.queue(&bytes),
                Output::Client(bytes) => self.down.queue(&bytes),
                Output::Shared(shared) => shared.write(&self.jid, self.down.output()),
                Output::Hello => self.introduce(),
                Output::Divert { stanza, fresh } => {
                    self.waiting.push_back(ToAccount::Stanza { client, stanza, fresh, credit: Credit::default() });
                }
                Output::Unavailable(stanza) => {
                    self.waiting.push_back(ToAccount::Unavailable { client, stanza, credit: Credit::default() });
                }
                Output::Copied(copy) => {
                    self.waiting.push_back(ToAccount::Copied { client, copy, credit: Credit::default() });
                }
                Output::Bookmarks(change) => self.waiting.push_back(ToAccount::Bookmarks(change)),
                Output::Limited(limit) => info!(peer = %self.peer, jid = %self.jid(), limit, "limit met"),
                Output::End(condition, text) => return Err(End::client(condition, text)),
                Output::ClientError(error, why) => {
                    return Err(End { down: Last::Close, up: Last::Relayed(error), why });
                }
                Output::ServerError(error, why) => {
                    return Err(End { down: Last::Relayed(error), up: Last::Close, why });
                }
            }
        }
        self.pump();
        Ok(())
    }

    fn introduce(&mut self) {
        let Some(handle) = &self.handle else { return };
        let (queue, inbox) = queue(self.queue_frames, self.queue_bytes);
        self.inbox = Some(inbox);
        self.introduced = Some(Introduced { client: self.client, sender: handle.sender().clone() });
        self.waiting.push_back(ToAccount::Hello { client: self.client, jid: self.jid().clone(), queue });
    }

    /// Hands the account what it has room for.
    fn pump(&mut self) {
        let Some(handle) = &self.handle else { return };
        while let Some(mut message) = self.waiting.pop_front() {
            if !self.allowance.take_for(&mut message) {
                return self.waiting.push_front(message);
            }
            match handle.sender().try_send(message) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(message)) => return self.waiting.push_front(message),
                Err(mpsc::error::TrySendError::Closed(message)) => {
                    self.waiting.push_front(message);
                    return self.account_gone();
                }
            }
        }
    }

    fn late(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.stalled.is_some_and(|since| now >= since + STALL) {
            return Err(End::client(StreamCondition::ResourceConstraint, "too slow to take what it is sent"));
        }
        let received = self.down.received();
        let slowed = self.pace.wait(now.into_std()).is_some();
        if let Some(idle) = self.idle.as_mut().filter(|idle| now >= idle.deadline) {
            if idle.received == received && !slowed {
                return Err(End::client(StreamCondition::ConnectionTimeout, "silent for too long"));
            }
            // Looked at once in a while, not written at every frame: silence ends after one to two timeouts.
            (idle.received, idle.deadline) = (received, now + idle.timeout);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, end: End) {
        info!(peer = %self.peer, jid = %self.jid(), why = end.why, "session ended");
        end.down.queue(&mut self.down, &self.close_down);
        end.up.queue(&mut self.up, &self.close_up);
        let Relay { down, up, handle, waiting, introduced, registered, .. } = *self;
        drop(registered);
        let account = async move {
            // What the client said before it ended was said. Then, as `introduced` is dropped, the account learns
            // that it is gone.
            if let Some(handle) = handle {
                let rest = async {
                    for message in waiting {
                        if handle.sender().send(message).await.is_err() {
                            break;
                        }
                    }
                };
                let _ = timeout(FAREWELL, rest).await;
            }
            drop(introduced);
        };
        tokio::join!(close(down), close(up), account);
    }
}
