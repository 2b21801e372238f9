//! A framed stream over any byte stream: reads frames, queues writes, never loses a byte when a read is cancelled.
//!
//! All state is in the [`Link`], none in its futures, so every method can be a branch of `select!`. An idle link holds
//! no buffer: both are given back as soon as they are empty. What a link that is not idle holds is counted
//! ([`Share`]), and a large buffer is given back when little of it is still needed.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use super::budget::Share;
use crate::xml::framer::{Frame, Framer, FramingError, Limits};

/// Room made for one read: several stanzas, half a TLS record.
const READ: usize = 8 * 1024;
/// A buffer of which so much is used up, and more than is still needed, is changed for a smaller one.
const SHRINK: usize = 16 * 1024;

/// Any byte stream: TCP, TLS over it, or a test's pipe.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A byte stream of whatever kind.
pub type Socket = Box<dyn Io>;

/// What a link reports.
#[derive(Debug)]
pub enum Event {
    /// A frame arrived.
    Frame(Frame),
    /// The peer closed its side (TCP FIN or TLS close_notify), perhaps in the middle of a stanza.
    End,
}

/// Why a link cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What the peer sent cannot be a stream.
    #[error("{0}")]
    Framing(#[from] FramingError),
    /// It needs more room, and all that there is for buffers is in use (`limits.buffers`).
    #[error("all room for buffers is in use (limits.buffers)")]
    NoRoom,
}

/// Bytes, and what lies used up before them in the same allocation.
#[derive(Debug, Default)]
struct Buffer {
    bytes: BytesMut,
    used_up: usize,
}

impl Buffer {
    /// Bytes were taken off the front.
    fn took(&mut self, bytes: usize) {
        self.used_up += bytes;
        if self.bytes.is_empty() {
            *self = Buffer::default();
        } else if self.used_up >= SHRINK && self.used_up >= self.bytes.len() {
            // No byte is copied more often than others are used up.
            *self = Buffer { bytes: BytesMut::from(&self.bytes[..]), used_up: 0 };
        }
    }

    /// Memory in use.
    fn size(&self) -> usize {
        self.bytes.len() + self.used_up
    }
}

/// A framed stream.
pub struct Link<S = Socket> {
    io: S,
    framer: Framer,
    input: Buffer,
    output: Buffer,
    share: Share,
    /// Something was written that the layers below may still hold.
    unflushed: bool,
    received: u64,
    /// No more than this is read, until more is allowed.
    allowed: u64,
}

impl<S> std::fmt::Debug for Link<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What the buffers hold may be a secret (S23).
        f.debug_struct("Link")
            .field("unread", &self.input.bytes.len())
            .field("queued", &self.output.bytes.len())
            .finish()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A link at the start of a stream.
    pub fn new(io: S, limits: Limits) -> Self {
        Link {
            io,
            framer: Framer::new(limits),
            input: Buffer::default(),
            output: Buffer::default(),
            share: Share::default(),
            unflushed: false,
            received: 0,
            allowed: u64::MAX,
        }
    }

    /// Counts what is buffered from now on.
    pub fn set_share(&mut self, share: Share) {
        self.share = share;
    }

    /// Reads about `bytes` more and then no more, until this is said again: see [`Link::drive_to`].
    pub fn allow(&mut self, bytes: u64) {
        self.allowed = self.received.saturating_add(bytes);
    }

    /// Queues bytes; [`Link::drive`] and [`Link::flush`] write them.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.output.bytes.extend_from_slice(bytes);
    }

    /// The output buffer itself, for callers that write into it.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output.bytes
    }

    /// Bytes queued and not yet written.
    pub fn queued(&self) -> usize {
        self.output.bytes.len()
    }

    /// A frame that has been read already, without waiting.
    pub fn buffered(&mut self) -> Result<Option<Frame>, LinkError> {
        let before = self.input.bytes.len();
        if before == 0 {
            return Ok(None);
        }
        let frame = self.framer.next(&mut self.input.bytes)?;
        let taken = before - self.input.bytes.len();
        if taken > 0 {
            self.input.took(taken);
            self.share.release(self.input.size() + self.output.size());
        }
        Ok(frame)
    }

    /// Writes what is queued and, if `read`, waits for the next frame. Never returns otherwise, but by an error:
    /// made for `select!`. Cancel-safe.
    pub async fn drive(&mut self, read: bool) -> Result<Event, LinkError> {
        poll_fn(|cx| self.poll_drive(cx, read)).await
    }

    /// As [`Link::drive`], and ends with `None` when no more than `low` bytes are left to be written: for a loop that
    /// stops reading elsewhere while this link has much to write, and must go on then. Also when as much has been read
    /// as was allowed.
    pub async fn drive_to(&mut self, read: bool, low: Option<usize>) -> Option<Result<Event, LinkError>> {
        poll_fn(|cx| match self.poll_drive(cx, read) {
            Poll::Ready(event) => Poll::Ready(Some(event)),
            Poll::Pending if low.is_some_and(|low| self.queued() <= low) => Poll::Ready(None),
            Poll::Pending if read && self.received >= self.allowed => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>, read: bool) -> Poll<Result<Event, LinkError>> {
        if read && let Some(frame) = self.buffered()? {
            return Poll::Ready(Ok(Event::Frame(frame)));
        }
        if let Poll::Ready(Err(error)) = self.poll_write_out(cx) {
            return Poll::Ready(Err(error.into()));
        }
        self.count()?;
        if read { self.poll_read_frame(cx) } else { Poll::Pending }
    }

    fn poll_read_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, LinkError>> {
        while self.received < self.allowed {
            self.input.bytes.reserve(READ);
            let read = poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input.bytes);
            if self.input.bytes.is_empty() {
                self.input = Buffer::default();
            }
            match ready!(read)? {
                0 => return Poll::Ready(Ok(Event::End)),
                n => self.received += n as u64,
            }
            if let Some(frame) = self.buffered()? {
                return Poll::Ready(Ok(Event::Frame(frame)));
            }
            self.count()?;
        }
        Poll::Pending
    }

    /// Counts what is buffered; if that is too much, what was read is given up.
    fn count(&mut self) -> Result<(), LinkError> {
        if self.share.hold(self.input.size() + self.output.size()) {
            return Ok(());
        }
        self.input = Buffer::default();
        Err(LinkError::NoRoom)
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.bytes.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.output.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.bytes.advance(written);
            self.output.took(written);
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// The next frame, writing what is queued meanwhile. Cancel-safe.
    pub async fn recv(&mut self) -> Result<Event, LinkError> {
        self.drive(true).await
    }

    /// Waits until all that is queued has been written and flushed. Cancel-safe.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write_out(cx)).await
    }

    /// Writes what is queued and closes this side (TLS close_notify, TCP FIN). Bound it by a timeout: a peer that
    /// reads nothing can hold it up. The socket itself closes when the link is dropped.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await?;
        poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await
    }

    /// Expects a new stream header (after STARTTLS or SASL). What was read and not yet taken stays: see
    /// [`Link::unread`].
    pub fn restart(&mut self) {
        self.framer.restart();
    }

    /// Other limits from the next frame on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.framer.set_limits(limits);
    }

    /// Stanzas that are too large are dropped and counted from now on, instead of ending the stream (S12).
    pub fn skip_oversize(&mut self) {
        self.framer.skip_oversize();
    }

    /// How many were.
    pub fn skipped(&self) -> u64 {
        self.framer.skipped()
    }

    /// Bytes that were read and not yet taken as frames; before TLS starts there must be none (CVE-2011-0411).
    pub fn unread(&self) -> usize {
        self.input.bytes.len()
    }

    /// Bytes read so far, keepalives included: who is silent?
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The byte stream itself. What was read or queued is dropped.
    pub fn into_inner(self) -> S {
        self.io
    }
}

#[cfg(test)]
mod tests;
