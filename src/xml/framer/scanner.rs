//! The resumable scanner of one frame: an element with all that is in it, the stream header, or the closing tag.
//!
//! Texts and end tags are checked as their bytes come ([`super::content`]). A start tag is checked when it is
//! complete ([`super::tag`]); until then only its end is looked for. So no byte is looked at more than three times,
//! however it comes in, and what is found does not depend on where the chunks end.

use bytes::Bytes;

use super::chars::{NAME_START, SPACE, Utf8, examined, is, skip, skip_plain};
use super::namespaces::{CLIENT, Inherited, Scope, Span};
use super::tag::Attribute;
use super::{Element, Fault, FramingError, Limits, Space, wrong};

/// Rooms kept between frames; larger ones are given back.
const KEEP_OPEN: usize = 16;
const KEEP_ATTRIBUTES: usize = 16;
const KEEP_DECLARATIONS: usize = 8;

/// What is at `at`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The byte after `<`.
    #[default]
    Markup,
    /// Within a start tag that is not complete.
    StartTag,
    /// The rest of a name that must repeat the start tag's.
    EndName,
    /// `>` after an end tag's name.
    EndSpace,
    /// Character data or markup.
    Text,
    /// The rest of a reference in text.
    Reference,
    /// The byte after `<!`.
    Exclamation,
    /// The rest of `[CDATA[`.
    CDataStart,
    /// The rest of a CDATA section.
    CData,
    /// Nothing: the frame is complete.
    Complete,
}

/// What kind of frame it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Element,
    /// The frame is only a start tag: the stream header.
    Header,
    /// The frame is the stream's end tag.
    Close,
}

/// An element whose end tag has not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) name: Span,
    /// Declarations in scope outside it.
    pub(super) outer_scope: u32,
}

/// What there is to say of a frame's root.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Root {
    pub(super) name: Span,
    pub(super) local: Span,
    pub(super) space: Space,
    /// The default namespace it declares, if it does.
    pub(super) default: Option<Span>,
    /// It is an empty-element tag.
    pub(super) empty: bool,
}

#[derive(Debug, Default)]
pub(super) struct Scanner {
    pub(super) state: State,
    pub(super) kind: Kind,
    /// The quote whose fellow is looked for in an incomplete start tag, or 0.
    quote: u8,
    /// How many `]` came just before `at` in text or CDATA, two at most.
    pub(super) brackets: u8,
    /// A prefix of the stream header's was used.
    pub(super) inherits: bool,
    pub(super) utf8: Utf8,
    /// Bytes of the frame taken so far.
    pub(super) at: usize,
    /// Where the name, reference or `[CDATA[` at hand starts.
    pub(super) token: usize,
    pub(super) root: Root,
    pub(super) open: Vec<Open>,
    /// Of the start tag at hand.
    pub(super) attributes: Vec<Attribute>,
    pub(super) scope: Scope,
}

impl Scanner {
    /// Begins a frame whose `<` is the first byte.
    pub(super) fn begin(&mut self, kind: Kind) {
        (self.state, self.kind, self.at) = (State::Markup, kind, 1);
        self.inherits = false;
    }

    /// Ends a frame; large rooms are given back.
    pub(super) fn finish(&mut self) {
        self.at = 0;
        self.open.clear();
        self.open.shrink_to(KEEP_OPEN);
        self.attributes.clear();
        self.attributes.shrink_to(KEEP_ATTRIBUTES);
        self.scope.reset(KEEP_DECLARATIONS);
    }

    /// Takes what it can of `bytes`, which start with the frame; true once the frame is complete, at `self.at`.
    pub(super) fn scan(&mut self, bytes: &[u8], header: &Inherited, limits: &Limits) -> Result<bool, Fault> {
        // Each state takes at least one byte or changes to a state that does.
        while self.at < bytes.len() {
            match self.state {
                State::Text => self.text(bytes)?,
                State::Markup => self.markup(bytes, header, limits)?,
                State::StartTag => self.start_tag_end(bytes, header, limits)?,
                State::EndName => self.end_name(bytes, header)?,
                State::EndSpace => self.end_space(bytes)?,
                State::Reference => self.reference(bytes)?,
                State::Exclamation => self.exclamation(bytes)?,
                State::CDataStart => self.cdata_start(bytes)?,
                State::CData => self.cdata(bytes)?,
                State::Complete => break,
            }
        }
        Ok(self.state == State::Complete)
    }

    #[inline(never)]
    fn markup(&mut self, bytes: &[u8], header: &Inherited, limits: &Limits) -> Result<(), Fault> {
        self.token = self.at;
        self.state = match bytes[self.at] {
            b if is(b, NAME_START) => return self.start_tag(bytes, header, limits),
            b'/' if !self.open.is_empty() => State::EndName,
            b'/' if !header.stream.is_empty() => {
                self.kind = Kind::Close;
                State::EndName
            }
            b'/' => return Err(wrong("an end tag where nothing is open", self.at)),
            b'!' => State::Exclamation,
            b'?' => return Err(FramingError::Restricted { what: "a processing instruction" }.into()),
            _ => return Err(wrong("'<' that begins no tag (names begin with an ASCII letter or '_')", self.at)),
        };
        self.at += 1;
        self.token = self.at;
        Ok(())
    }

    /// At the first byte of a start tag's name.
    fn start_tag(&mut self, bytes: &[u8], header: &Inherited, limits: &Limits) -> Result<(), Fault> {
        if self.open.len() >= limits.depth {
            return Err(FramingError::Limit { what: "elements nested too deeply" }.into());
        }
        if let Ok(true) = self.tag(bytes, header, limits) {
            return Ok(());
        }
        // Incomplete or wrong. Even if wrong, its end decides, as it does when the bytes come one by one.
        (self.state, self.quote) = (State::StartTag, 0);
        Ok(())
    }

    /// Looks for the end of a start tag of which more bytes have come.
    #[inline(never)]
    fn start_tag_end(&mut self, bytes: &[u8], header: &Inherited, limits: &Limits) -> Result<(), Fault> {
        while let Some(&b) = bytes.get(self.at) {
            match b {
                b'<' => return Err(wrong("'<' within a tag", self.at)),
                b'>' if self.quote == 0 => {
                    return match self.tag(&bytes[..=self.at], header, limits)? {
                        true => Ok(()),
                        false => Err(wrong("a tag that ends too early", self.at)),
                    };
                }
                b'"' | b'\'' if self.quote == 0 => self.quote = b,
                _ if b == self.quote => self.quote = 0,
                0..0x20 if !is(b, SPACE) => return Err(wrong("a control character", self.at)),
                _ => {}
            }
            self.at = if self.quote == 0 { self.at + 1 } else { skip_plain(bytes, self.at + 1) };
            examined(1);
        }
        Ok(())
    }

    #[inline(never)]
    fn end_name(&mut self, bytes: &[u8], header: &Inherited) -> Result<(), Fault> {
        let expected = self.open.last().map_or(&*header.stream, |open| open.name.of(bytes));
        let rest = &expected[self.at - self.token..];
        let there = &bytes[self.at..bytes.len().min(self.at + rest.len())];
        examined(there.len());
        if !rest.starts_with(there) {
            return Err(wrong("an end tag that is not the open element's", self.token));
        }
        self.at += there.len();
        if there.len() == rest.len() {
            self.state = State::EndSpace;
        }
        Ok(())
    }

    #[inline(never)]
    fn end_space(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.at = skip(bytes, self.at, SPACE);
        match bytes.get(self.at) {
            None => return Ok(()),
            Some(b'>') => self.at += 1,
            Some(_) => {
                let what = "an end tag that is not the open element's, or with something in it";
                return Err(wrong(what, self.token));
            }
        }
        if let Some(open) = self.open.pop() {
            self.scope.truncate(open.outer_scope);
        }
        self.state = if self.open.is_empty() { State::Complete } else { State::Text };
        Ok(())
    }

    #[inline(never)]
    fn exclamation(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match bytes[self.at] {
            b'[' if !self.open.is_empty() => self.state = State::CDataStart,
            b'[' => return Err(FramingError::BadFormat { what: "a CDATA section outside of a stanza" }.into()),
            b'-' => return Err(FramingError::Restricted { what: "a comment" }.into()),
            _ => return Err(FramingError::Restricted { what: "a document type or another declaration" }.into()),
        }
        Ok(())
    }

    /// Checks a complete stream header; what it leaves for the frames after it.
    pub(super) fn header(&self, bytes: &[u8]) -> Result<Inherited, Fault> {
        let root = self.root;
        let default = root.default.map(|default| default.of(bytes));
        if root.local.of(bytes) != b"stream" || root.space != Space::Streams || default != Some(CLIENT) {
            return Err(FramingError::InvalidNamespace.into());
        }
        if root.empty {
            return Err(FramingError::BadFormat { what: "a stream header that ends the stream at once" }.into());
        }
        Ok(Inherited::keep(bytes, root.name.of(bytes), &self.scope))
    }

    /// The complete element.
    pub(super) fn element(&self, bytes: Bytes) -> Element {
        let name = self.root.local.start as usize..self.root.local.end as usize;
        Element { bytes, space: self.root.space, name, inherits: self.inherits }
    }
}

#[cfg(test)]
impl Scanner {
    /// Bytes on the heap.
    pub(super) fn heap(&self) -> usize {
        self.open.capacity() * size_of::<Open>()
            + self.attributes.capacity() * size_of::<Attribute>()
            + self.scope.heap()
    }
}
