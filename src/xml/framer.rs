//! Cuts an XMPP stream (RFC 6120 §4, restricted as §11 says) into frames: one pass, strict, resumable.
//!
//! What it lets pass is well-formed XML 1.0 with namespaces, to the letter, so that every reader after it reads the
//! same. Beyond what RFC 6120 restricts it is stricter than XML in four points: names are ASCII; a namespace
//! declaration holds no reference, tab or line break; 128 prefixes may be in scope within a stanza; a second stream
//! header is refused at its start tag (it would be a stanza that takes all the others in). Nothing is
//! unescaped, resolved or built: whoever wants to see inside a frame reads it again ([`super::element`]).
//!
//! This file knows the stream (XML declaration, header, children, closing tag). `scanner` scans one frame: start tags
//! are in `tag`, texts in `content`, prefixes in `namespaces`, bytes and characters in `chars`; what is too large and
//! not worth a stream is dropped by `skip`.

mod chars;
mod content;
mod declaration;
mod namespaces;
mod scanner;
mod skip;
mod tag;
#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes, BytesMut};

use chars::SPACE;
use namespaces::Inherited;
use scanner::{Kind, Scanner};

/// What one stream may contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one stanza, or of the stream header.
    pub stanza: usize,
    /// Depth of elements within a stanza, the stanza itself being 1.
    pub depth: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes: usize,
}

impl Limits {
    /// Before login: 16 KiB, depth 64, 64 attributes.
    pub const BEFORE_LOGIN: Limits = Limits { stanza: 16 * 1024, depth: 64, attributes: 64 };
    /// After login: 1 MiB, depth 64, 64 attributes.
    pub const AFTER_LOGIN: Limits = Limits { stanza: 1024 * 1024, depth: 64, attributes: 64 };
}

/// The namespace of a top-level element, after resolving its prefix.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// `jabber:client`
    Client,
    /// `http://etherx.jabber.org/streams`
    Streams,
    /// Any other.
    #[default]
    Other,
}

/// A complete child of the stream, checked to the letter.
#[derive(Debug, Clone)]
pub struct Element {
    /// The element's bytes as they came, from `<` to the last `>`.
    pub bytes: Bytes,
    /// Its namespace.
    pub space: Space,
    /// Its local name, as a range of `bytes`.
    pub name: std::ops::Range<usize>,
    /// True if a prefix is used in it that only the stream header declares (`xml:` does not count): such an
    /// element must be given the declarations before it moves to another stream.
    pub inherits: bool,
}

/// One unit of a stream.
#[derive(Debug, Clone)]
pub enum Frame {
    /// The stream header's start tag (`<stream:stream …>`), without XML declaration and white space before it.
    Header(Bytes),
    /// A first-level element.
    Element(Element),
    /// `</stream:stream>`
    Close,
}

/// Why a stream cannot go on. The stream ends with [`FramingError::condition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Not well-formed XML; what and where (byte offset in the frame).
    #[error("not well-formed: {what} at byte {at} of the stanza")]
    NotWellFormed {
        /// What is wrong.
        what: &'static str,
        /// Byte offset within the frame.
        at: usize,
    },
    /// XML that RFC 6120 §11.1 forbids: comments, processing instructions, DTDs, undefined entities.
    #[error("restricted XML: {what}")]
    Restricted {
        /// What was seen.
        what: &'static str,
    },
    /// A prefix that nothing declares.
    #[error("undeclared namespace prefix")]
    BadNamespacePrefix,
    /// The stream element is not `stream` in the streams namespace, or its default namespace is not `jabber:client`.
    #[error("wrong namespace on the stream header")]
    InvalidNamespace,
    /// Another encoding than UTF-8 was declared, or bytes are not UTF-8 (RFC 6120 §4.9.3.22).
    #[error("unsupported encoding: XMPP is UTF-8")]
    UnsupportedEncoding,
    /// No XML at all where a stream should start, text between stanzas, or a stream header within a stream.
    #[error("bad format: {what}")]
    BadFormat {
        /// What is wrong.
        what: &'static str,
    },
    /// Larger, deeper or with more attributes than the limits allow.
    #[error("limit exceeded: {what}")]
    Limit {
        /// Which limit.
        what: &'static str,
    },
}

impl FramingError {
    /// The stream error's condition (RFC 6120 §4.9.3), as its element is named.
    pub fn condition(&self) -> &'static str {
        match self {
            FramingError::NotWellFormed { .. } => "not-well-formed",
            FramingError::Restricted { .. } => "restricted-xml",
            FramingError::BadNamespacePrefix => "bad-namespace-prefix",
            FramingError::InvalidNamespace => "invalid-namespace",
            FramingError::UnsupportedEncoding => "unsupported-encoding",
            FramingError::BadFormat { .. } => "bad-format",
            FramingError::Limit { .. } => "policy-violation",
        }
    }
}

/// Where in the stream the framer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of the stream has come.
    Start,
    /// Within the XML declaration.
    Declaration,
    /// The stream header is to come.
    Prolog,
    /// A stanza or the closing tag is to come.
    Between,
    /// Within a frame.
    Frame,
    /// The closing tag has come.
    Closed,
    /// Nothing more: there was an error.
    Failed,
}

/// The resumable scanner. Feed it one buffer that only grows between calls; it takes complete frames off its front.
///
/// After an error it is of no more use: it gives the same error again, until [`Framer::restart`].
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    next_limits: Limits,
    stage: Stage,
    /// Bytes of the XML declaration, which count as the header's.
    declaration: usize,
    /// Bytes that the frame at hand may have.
    room: usize,
    scanner: Scanner,
    header: Inherited,
    failed: Option<FramingError>,
    /// Elements that are too large are dropped, and their number.
    skips: bool,
    skipped: u64,
    /// The frame at hand is one.
    skipping: bool,
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Framer {
            limits,
            next_limits: limits,
            stage: Stage::Start,
            declaration: 0,
            room: 0,
            scanner: Scanner::default(),
            header: Inherited::default(),
            failed: None,
            skips: false,
            skipped: 0,
            skipping: false,
        }
    }

    /// Other limits from the next frame on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.next_limits = limits;
        if !self.mid_frame() {
            self.limits = limits;
        }
    }

    /// Starts over: a new stream header is expected (after STARTTLS or SASL).
    pub fn restart(&mut self) {
        let (skips, skipped) = (self.skips, self.skipped);
        *self = Framer { skips, skipped, ..Framer::new(self.next_limits) };
    }

    /// True when part of a frame, and not all of it, has been taken.
    pub fn mid_frame(&self) -> bool {
        matches!(self.stage, Stage::Declaration | Stage::Frame)
    }

    /// The next complete frame, taken off the front of `buf`; `None` when more bytes are needed.
    /// White space between stanzas (keepalives) is dropped.
    pub fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, FramingError> {
        match self.advance(buf) {
            Ok(false) => Ok(None),
            Ok(true) => self.cut(buf).map(Some).map_err(|fault| self.fail(fault)),
            Err(fault) => Err(self.fail(fault)),
        }
    }

    #[cold]
    fn fail(&mut self, fault: Fault) -> FramingError {
        self.stage = Stage::Failed;
        self.failed = Some(*fault.0);
        self.scanner = Scanner::default();
        *fault.0
    }

    /// Takes what it can of `buf`; true once a frame is complete.
    fn advance(&mut self, buf: &mut BytesMut) -> Result<bool, Fault> {
        loop {
            while self.stage != Stage::Frame {
                if !self.begin(buf)? {
                    return Ok(false);
                }
            }
            // What is beyond the limit is not looked at, so that any chunking gives the same error.
            let there = buf.len().min(self.room);
            match self.scanner.scan(&buf[..there], &self.header, &self.limits)? {
                true if self.skipping => self.skip_off(buf),
                true => return Ok(true),
                false if there < buf.len() => self.skip_on(buf)?,
                false => return Ok(false),
            }
        }
    }

    /// Between frames: goes on to what comes next; false when more bytes are needed for that.
    #[inline(never)]
    fn begin(&mut self, buf: &mut BytesMut) -> Result<bool, Fault> {
        match self.stage {
            Stage::Start => match buf[..] {
                [] | [b'<'] => return Ok(false),
                [b'<', b'?', ..] => self.stage = Stage::Declaration,
                _ => self.stage = Stage::Prolog,
            },
            Stage::Declaration => {
                let there = buf.len().min(self.limits.stanza);
                let Some(len) = declaration::scan(&buf[..there], self.declaration)? else {
                    self.declaration = there;
                    return if there < buf.len() { Err(TOO_LARGE.into()) } else { Ok(false) };
                };
                buf.advance(len);
                (self.declaration, self.stage) = (len, Stage::Prolog);
            }
            Stage::Failed => return Err(self.failed.unwrap_or(TOO_LARGE).into()),
            Stage::Frame => {}
            Stage::Prolog | Stage::Between | Stage::Closed => {
                let spaces = chars::skip(buf, 0, SPACE);
                if spaces > 0 {
                    buf.advance(spaces);
                }
                match (self.stage, buf.first()) {
                    (_, None) => return Ok(false),
                    (Stage::Prolog, Some(b'<')) => self.scanner.begin(Kind::Header),
                    (Stage::Between, Some(b'<')) => self.scanner.begin(Kind::Element),
                    (stage, Some(_)) => return Err(FramingError::BadFormat { what: stray(stage) }.into()),
                }
                self.room = self.limits.stanza.min(u32::MAX as usize).saturating_sub(self.declaration);
                self.stage = Stage::Frame;
            }
        }
        Ok(true)
    }

    /// Takes the frame that has been scanned off `buf`.
    #[inline(never)]
    fn cut(&mut self, buf: &mut BytesMut) -> Result<Frame, Fault> {
        let kind = self.scanner.kind;
        if kind == Kind::Header {
            self.header = self.scanner.header(&buf[..self.scanner.at])?;
            self.declaration = 0;
        }
        let bytes = buf.split_to(self.scanner.at).freeze();
        let (frame, stage) = match kind {
            Kind::Header => (Frame::Header(bytes), Stage::Between),
            Kind::Close => (Frame::Close, Stage::Closed),
            Kind::Element => (Frame::Element(self.scanner.element(bytes)), Stage::Between),
        };
        self.scanner.finish();
        self.stage = stage;
        self.limits = self.next_limits;
        Ok(frame)
    }
}

/// An error on its way out, boxed so that every result on the way fits a register.
struct Fault(Box<FramingError>);

impl From<FramingError> for Fault {
    #[cold]
    fn from(error: FramingError) -> Self {
        Fault(Box::new(error))
    }
}

#[cold]
fn wrong(what: &'static str, at: usize) -> Fault {
    FramingError::NotWellFormed { what, at }.into()
}

const TOO_LARGE: FramingError = FramingError::Limit { what: "a stanza or stream header with too many bytes" };

/// What a byte is that is neither white space nor `<`.
fn stray(stage: Stage) -> &'static str {
    match stage {
        Stage::Closed => "something after the end of the stream",
        Stage::Between => "text between stanzas",
        _ => "no XML where a stream should start",
    }
}
