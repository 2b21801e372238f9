//! The resumable scanner of one frame: an element with all that is in it, the stream header, or the closing tag.
//!
//! Every state takes what it can of the bytes there are and remembers where it stopped; no byte is looked at again
//! when more arrive. Tags are in [`super::tag`], texts in [`super::content`].

use bytes::Bytes;

use super::chars::{Utf8, Utf8Error};
use super::namespaces::{CLIENT, Inherited, NamespaceId, Scope, Span};
use super::{Element, Fault, FramingError, Limits, Space};

/// Rooms kept between frames; larger ones are given back.
const KEEP_OPEN: usize = 16;
const KEEP_ATTRIBUTES: usize = 16;
const KEEP_DECLARATIONS: usize = 8;

/// What the scanner expects at `at`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The byte after `<`.
    #[default]
    Markup,
    /// The rest of an element's name, in a start tag.
    ElementName,
    /// White space or the tag's end, right after a name or a value.
    TagGap,
    /// An attribute or the tag's end, after white space.
    TagSpace,
    /// `>` after `/`.
    TagSlash,
    /// The rest of an attribute's name.
    AttributeName,
    /// `=`
    Equals,
    /// An opening quote.
    Quote,
    /// The rest of an attribute value.
    Value,
    /// The rest of a name that must repeat the start tag's.
    EndName,
    /// `>` after an end tag's name.
    EndSpace,
    /// Character data or markup.
    Text,
    /// The byte after `<!`.
    Exclamation,
    /// The rest of `[CDATA[`.
    CDataStart,
    /// The rest of a CDATA section.
    CData,
    /// The byte after `&`.
    Reference,
    /// The byte after `&#`.
    Numeric,
    /// The rest of a decimal reference.
    Decimal,
    /// The rest of a hexadecimal reference.
    Hexadecimal,
    /// The rest of an entity's name.
    Entity,
    /// Nothing: the frame is complete.
    Complete,
}

/// What kind of frame was found.
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

/// What an attribute's name says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    #[default]
    Plain,
    /// It has a prefix.
    Prefixed,
    /// `xmlns`
    DeclaresDefault,
    /// `xmlns:…`
    DeclaresPrefix,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute {
    pub(super) name: Span,
    /// Where its colon is, or 0.
    pub(super) colon: u32,
    pub(super) role: Role,
    /// Its namespace, once resolved.
    pub(super) namespace: NamespaceId,
}

#[derive(Debug, Default)]
pub(super) struct Scanner {
    pub(super) state: State,
    pub(super) kind: Kind,
    /// Bytes of the frame taken so far.
    pub(super) at: usize,
    /// Where the name, value or `[CDATA[` at hand starts.
    pub(super) token: usize,
    /// Where the entity's name or the digits of the reference at hand start.
    pub(super) reference_start: usize,
    /// Where the colon of the name at hand is, or 0.
    pub(super) colon: usize,
    /// Where the colon of the tag's own name is, or 0.
    pub(super) element_colon: usize,
    /// The quote that ends the value at hand.
    pub(super) quote: u8,
    /// How many `]` came just before `at`, two at most.
    pub(super) brackets: u8,
    /// The value at hand is not literally what it means: it has references or line breaks.
    pub(super) indirect: bool,
    /// The reference at hand is in a value, else in text.
    pub(super) in_value: bool,
    /// The start tag at hand is an empty element's.
    pub(super) empty: bool,
    pub(super) utf8: Utf8,
    /// The character number that the reference at hand gives so far.
    pub(super) number: u32,
    /// The role of the attribute at hand.
    pub(super) role: Role,
    /// Attributes with prefixes in the tag at hand.
    pub(super) prefixed: u32,
    /// A set of hashed attribute names of the tag at hand: doubles are looked for only where it says "perhaps".
    pub(super) names_seen: u64,
    pub(super) open: Vec<Open>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) scope: Scope,
    /// The default namespace that the root declares, if it does.
    pub(super) default: Option<Span>,
    /// Of the root: its qualified name, its local name, its namespace.
    pub(super) root: Span,
    pub(super) local: Span,
    pub(super) space: Space,
    /// A prefix of the stream header's was used.
    pub(super) inherits: bool,
}

impl Scanner {
    /// Begins a frame whose `<` is the first byte.
    pub(super) fn begin(&mut self, kind: Kind) {
        (self.state, self.kind, self.at) = (State::Markup, kind, 1);
        (self.inherits, self.default) = (false, None);
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
                State::Markup => self.markup(bytes, header, limits)?,
                State::ElementName => self.element_name(bytes)?,
                State::TagGap => self.tag_gap(bytes, header, limits)?,
                State::TagSpace => self.tag_space(bytes, header, limits)?,
                State::TagSlash => self.tag_slash(bytes, header)?,
                State::AttributeName => self.attribute_name(bytes)?,
                State::Equals => self.equals(bytes)?,
                State::Quote => self.open_quote(bytes)?,
                State::Value => self.value(bytes, header)?,
                State::EndName => self.end_name(bytes, header)?,
                State::EndSpace => self.end_space(bytes)?,
                State::Text => self.text(bytes)?,
                State::Exclamation => self.exclamation(bytes)?,
                State::CDataStart => self.cdata_start(bytes)?,
                State::CData => self.cdata(bytes)?,
                State::Reference => self.reference(bytes)?,
                State::Numeric => self.numeric(bytes)?,
                State::Decimal => self.decimal(bytes)?,
                State::Hexadecimal => self.hexadecimal(bytes)?,
                State::Entity => self.entity(bytes)?,
                State::Complete => break,
            }
        }
        Ok(self.state == State::Complete)
    }

    /// Checks a complete stream header; what it leaves for the frames after it.
    pub(super) fn header(&self, bytes: &[u8]) -> Result<Inherited, Fault> {
        let default = self.default.map(|default| default.of(bytes));
        if self.local.of(bytes) != b"stream" || self.space != Space::Streams || default != Some(CLIENT) {
            return Err(FramingError::InvalidNamespace.into());
        }
        if self.empty {
            return Err(FramingError::BadFormat { what: "a stream header that ends the stream at once" }.into());
        }
        Ok(Inherited::keep(bytes, self.root.of(bytes), &self.scope))
    }

    /// The complete element.
    pub(super) fn element(&self, bytes: Bytes) -> Element {
        let name = self.local.start as usize..self.local.end as usize;
        Element { bytes, space: self.space, name, inherits: self.inherits }
    }

    pub(super) fn wrong<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(FramingError::NotWellFormed { what, at: self.at }.into())
    }

    /// Runs over non-ASCII characters.
    pub(super) fn non_ascii(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match self.utf8.run(bytes, self.at) {
            Ok(at) => {
                self.at = at;
                Ok(())
            }
            Err(Utf8Error::Encoding) => Err(FramingError::BadFormat { what: "bytes that are not UTF-8" }.into()),
            Err(Utf8Error::Noncharacter(at)) => {
                Err(FramingError::NotWellFormed { what: "the character U+FFFE or U+FFFF", at }.into())
            }
        }
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
