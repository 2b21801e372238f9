//! A stanza (RFC 6120 §8): its bytes, and where in the start tag its addresses stand. Nothing else is read until
//! somebody asks.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use quick_xml::XmlVersion;
use quick_xml::events::attributes::Attribute;
use quick_xml::name::QName;

use crate::xml::element::{Node, Tree, ViewError};
use crate::xml::framer::{Element, Space};
use crate::xml::writer::escape;

/// What a first-level element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `<message/>`
    Message,
    /// `<presence/>`
    Presence,
    /// `<iq/>`
    Iq,
    /// Anything else: stream errors, features, and what extensions send beside stanzas.
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One first-level element of a stream.
#[derive(Debug, Clone)]
pub struct Stanza {
    bytes: Bytes,
    kind: Kind,
    space: Space,
    inherits: bool,
    empty: bool,
    /// The qualified name is `bytes[1..name_end]`.
    name_end: u32,
    /// Just behind the start tag's `>`.
    tag_end: u32,
    to: Option<Span>,
    from: Option<Span>,
    id: Option<Span>,
    type_: Option<Span>,
    lang: Option<Span>,
}

/// An attribute's value as every reader of XML sees it: references resolved, line breaks and tabs turned into spaces
/// (XML 1.0 §3.3.3).
fn normalized(raw: &[u8]) -> Cow<'_, str> {
    // The framer has checked both the encoding and the references.
    let text = std::str::from_utf8(raw).unwrap_or_default();
    if !raw.iter().any(|b| matches!(b, b'&' | b'\t' | b'\r' | b'\n')) {
        return Cow::Borrowed(text);
    }
    let attribute = Attribute { key: QName(""), value: Cow::Borrowed(text) };
    attribute.normalized_value(XmlVersion::Implicit1_0).unwrap_or(Cow::Borrowed(text))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl Stanza {
    /// Indexes the start tag of a frame.
    pub fn new(element: Element) -> Self {
        let Element { bytes, space, name, inherits } = element;
        let kind = match (space, &bytes[name.clone()]) {
            (Space::Client, b"message") => Kind::Message,
            (Space::Client, b"presence") => Kind::Presence,
            (Space::Client, b"iq") => Kind::Iq,
            _ => Kind::Other,
        };
        let mut stanza = Stanza {
            kind,
            space,
            inherits,
            empty: false,
            name_end: name.end as u32,
            tag_end: 0,
            to: None,
            from: None,
            id: None,
            type_: None,
            lang: None,
            bytes,
        };
        stanza.index();
        stanza
    }

    /// A stanza this program wrote itself: unprefixed, in `jabber:client`, complete.
    pub fn own(text: impl Into<Vec<u8>>) -> Self {
        let bytes = Bytes::from(text.into());
        let end = bytes[1..].iter().position(|&b| is_space(b) || b == b'>' || b == b'/').map_or(bytes.len(), |n| n + 1);
        Stanza::new(Element { space: Space::Client, name: 1..end, inherits: false, bytes })
    }

    fn index(&mut self) {
        let bytes = &self.bytes;
        let mut at = self.name_end as usize;
        loop {
            while at < bytes.len() && is_space(bytes[at]) {
                at += 1;
            }
            match bytes.get(at) {
                Some(b'>') => {
                    self.tag_end = at as u32 + 1;
                    return;
                }
                Some(b'/') => {
                    self.tag_end = at as u32 + 2;
                    self.empty = true;
                    return;
                }
                None => {
                    self.tag_end = bytes.len() as u32;
                    return;
                }
                _ => {}
            }
            let name_start = at;
            while at < bytes.len() && bytes[at] != b'=' && !is_space(bytes[at]) {
                at += 1;
            }
            let name = &bytes[name_start..at];
            while at < bytes.len() && bytes[at] != b'\'' && bytes[at] != b'"' {
                at += 1;
            }
            let Some(&quote) = bytes.get(at) else { continue };
            let start = at + 1;
            let Some(length) = memchr::memchr(quote, &bytes[start..]) else {
                at = bytes.len();
                continue;
            };
            at = start + length + 1;
            let span = Some(Span { start: start as u32, end: (start + length) as u32 });
            match name {
                b"to" => self.to = span,
                b"from" => self.from = span,
                b"id" => self.id = span,
                b"type" => self.type_ = span,
                b"xml:lang" => self.lang = span,
                _ => {}
            }
        }
    }

    /// The bytes as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is an `<iq/>`.
    pub fn is_iq(&self) -> bool {
        self.kind == Kind::Iq
    }

    /// Whether it is a `<presence/>`.
    pub fn is_presence(&self) -> bool {
        self.kind == Kind::Presence
    }

    /// Whether it is a `<message/>`.
    pub fn is_message(&self) -> bool {
        self.kind == Kind::Message
    }

    /// The element's namespace.
    pub fn space(&self) -> Space {
        self.space
    }

    /// True if only the stream header declares a prefix used in it.
    pub fn inherits(&self) -> bool {
        self.inherits
    }

    /// The local name.
    pub fn name(&self) -> &str {
        let qualified = std::str::from_utf8(&self.bytes[1..self.name_end as usize]).unwrap_or_default();
        qualified.rsplit(':').next().unwrap_or(qualified)
    }

    fn value(&self, span: Option<Span>) -> Option<Cow<'_, str>> {
        span.map(|s| normalized(&self.bytes[s.range()]))
    }

    /// The `to` attribute.
    pub fn to(&self) -> Option<Cow<'_, str>> {
        self.value(self.to)
    }

    /// The `from` attribute.
    pub fn from(&self) -> Option<Cow<'_, str>> {
        self.value(self.from)
    }

    /// The `id` attribute.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.value(self.id)
    }

    /// The `type` attribute.
    pub fn type_(&self) -> Option<Cow<'_, str>> {
        self.value(self.type_)
    }

    /// The `xml:lang` attribute.
    pub fn lang(&self) -> Option<Cow<'_, str>> {
        self.value(self.lang)
    }

    /// Whether the `type` attribute is `kind`.
    pub fn is_type(&self, kind: &str) -> bool {
        self.type_().is_some_and(|value| value == kind)
    }

    /// Where the value of `to` stands in the bytes.
    pub fn to_range(&self) -> Option<Range<usize>> {
        self.to.map(Span::range)
    }

    /// Just behind the element's name in the start tag, where an attribute can be added.
    pub fn name_end(&self) -> usize {
        self.name_end as usize
    }

    /// The start tag, from `<` to `>`.
    pub fn tag(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.tag_end as usize]).unwrap_or_default()
    }

    /// The content between start tag and end tag.
    pub fn content(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.tag_end as usize..self.content_end()]).unwrap_or_default()
    }

    /// Where the content ends: at the end tag, or behind the start tag of an empty element.
    fn content_end(&self) -> usize {
        if self.empty {
            return self.tag_end as usize;
        }
        memchr::memrchr(b'<', &self.bytes).unwrap_or(self.bytes.len()).max(self.tag_end as usize)
    }

    /// The whole element, to look inside.
    pub fn tree(&self) -> Result<Tree<'_>, ViewError> {
        Tree::parse(&self.bytes)
    }

    /// Begins a changed copy.
    pub fn edit(&self) -> Edit<'_> {
        Edit { stanza: self, set: Vec::new(), splices: Vec::new() }
    }
}

/// A changed copy of a stanza in the making: attributes set or removed, children cut or added, all else byte for
/// byte as it was.
#[derive(Debug)]
pub struct Edit<'a> {
    stanza: &'a Stanza,
    set: Vec<(&'a str, Option<Cow<'a, str>>)>,
    splices: Vec<(Range<usize>, String)>,
}

impl<'a> Edit<'a> {
    /// Sets an attribute of the start tag.
    pub fn set(mut self, name: &'a str, value: impl Into<Cow<'a, str>>) -> Self {
        self.set.push((name, Some(value.into())));
        self
    }

    /// Removes an attribute of the start tag.
    pub fn remove(mut self, name: &'a str) -> Self {
        self.set.push((name, None));
        self
    }

    /// Adds XML as the last child.
    pub fn append(self, xml: &str) -> Self {
        let end = self.stanza.content_end();
        self.splice(end..end, xml)
    }

    /// Leaves out a range of the original bytes that lies behind the start tag.
    pub fn cut(self, range: Range<usize>) -> Self {
        self.splice(range, "")
    }

    /// Puts XML as the last child into an element of this stanza.
    pub fn append_to(self, node: Node<'_>, xml: &str) -> Self {
        if node.is_empty_tag() {
            let end = node.range().end;
            let text = format!(">{xml}</{}>", node.qualified_name());
            return self.splice(end - 2..end, &text);
        }
        let end = node.inner().end;
        self.splice(end..end, xml)
    }

    /// Replaces a range of the original bytes that lies behind the start tag. Ranges must not overlap; of several
    /// insertions at one place the first called comes first.
    pub fn splice(mut self, range: Range<usize>, xml: &str) -> Self {
        self.splices.push((range, xml.to_owned()));
        self
    }

    /// The changed stanza.
    pub fn finish(mut self) -> Stanza {
        let stanza = self.stanza;
        let bytes = &stanza.bytes;
        let extra: usize = self.splices.iter().map(|(_, xml)| xml.len()).sum();
        let mut out = Vec::with_capacity(bytes.len() + 128 + extra);
        let name_end = stanza.name_end as usize;
        out.extend_from_slice(&bytes[..name_end]);
        self.attributes(&mut out);
        if stanza.empty && extra == 0 {
            out.extend_from_slice(b"/>");
        } else {
            out.push(b'>');
            self.splices.sort_by_key(|(range, _)| (range.start, range.end));
            let mut at = stanza.tag_end as usize;
            for (range, xml) in &self.splices {
                out.extend_from_slice(&bytes[at..range.start.max(at)]);
                out.extend_from_slice(xml.as_bytes());
                at = range.end.max(at);
            }
            if stanza.empty {
                out.extend_from_slice(b"</");
                out.extend_from_slice(&bytes[1..name_end]);
                out.push(b'>');
            } else {
                out.extend_from_slice(&bytes[at..]);
            }
        }
        let name = name_end - stanza.name().len()..name_end;
        Stanza::new(Element { bytes: out.into(), space: stanza.space, name, inherits: stanza.inherits })
    }

    /// The start tag's attributes: the old ones in their places with new values, then the new ones.
    fn attributes(&mut self, out: &mut Vec<u8>) {
        let stanza = self.stanza;
        let bytes = &stanza.bytes;
        let close = stanza.tag_end as usize - if stanza.empty { 2 } else { 1 };
        let mut at = stanza.name_end as usize;
        while at < close {
            let start = at;
            while at < close && is_space(bytes[at]) {
                at += 1;
            }
            if at == close {
                break;
            }
            let name_start = at;
            while at < close && bytes[at] != b'=' && !is_space(bytes[at]) {
                at += 1;
            }
            let name = &bytes[name_start..at];
            while at < close && bytes[at] != b'\'' && bytes[at] != b'"' {
                at += 1;
            }
            let quote = bytes[at];
            let value = at + 1;
            at = value + memchr::memchr(quote, &bytes[value..close]).unwrap_or(close - value) + 1;
            match self.set.iter().position(|(n, _)| n.as_bytes() == name) {
                None => out.extend_from_slice(&bytes[start..at.min(close)]),
                Some(found) => {
                    if let (_, Some(new)) = self.set.remove(found) {
                        out.extend_from_slice(&bytes[start..value]);
                        out.extend_from_slice(escape(&new).as_bytes());
                        out.push(quote);
                    }
                }
            }
        }
        for (name, value) in self.set.drain(..) {
            if let Some(value) = value {
                out.extend_from_slice(format!(" {name}='{}'", escape(&value)).as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(stanza: &Stanza) -> &str {
        std::str::from_utf8(stanza.bytes()).unwrap()
    }

    #[test]
    fn indexes_the_start_tag() {
        let s =
            Stanza::own("<message  to=\"a@b/c&amp;d\" type='chat'\n id = 'x' xml:lang='en'><body to='no'/></message>");
        assert_eq!(s.kind(), Kind::Message);
        assert_eq!(s.to().as_deref(), Some("a@b/c&d"));
        assert_eq!(s.id().as_deref(), Some("x"));
        assert_eq!(s.lang().as_deref(), Some("en"));
        assert!(s.is_type("chat"));
        assert_eq!(s.from(), None);
        assert_eq!(s.content(), "<body to='no'/>");
        assert_eq!(Stanza::own("<iq/>").kind(), Kind::Iq);
    }

    #[test]
    fn s10_attributes_read_as_every_reader_of_xml_reads_them() {
        let s = Stanza::own("<presence type='un&#97;vailable' to='a\tb\r\nc' id='&#10;'/>");
        assert!(s.is_type("unavailable"));
        assert_eq!(s.to().as_deref(), Some("a b c"));
        assert_eq!(s.id().as_deref(), Some("\n"));
        let copy = s.edit().set("id", s.id().unwrap()).finish();
        assert_eq!(copy.id().as_deref(), Some("\n"));
    }

    #[test]
    fn edits_only_what_was_asked() {
        let s = Stanza::own("<message to=\"a\" type='chat'><body>x</body></message>");
        let changed = s.edit().set("to", "q\"'").remove("type").set("id", "1").append("<y/>").finish();
        assert_eq!(text(&changed), "<message to=\"q&quot;&apos;\" id='1'><body>x</body><y/></message>");
        assert_eq!(changed.to().as_deref(), Some("q\"'"));
        let s = Stanza::own("<presence/>");
        assert_eq!(text(&s.edit().set("to", "r").finish()), "<presence to='r'/>");
        assert_eq!(text(&s.edit().append("<x/>").finish()), "<presence><x/></presence>");
    }

    #[test]
    fn cuts_ranges() {
        let s = Stanza::own("<message><a/><b/><c/></message>");
        let tree = s.tree().unwrap();
        let b = tree.root().child("b", "jabber:client").unwrap().range();
        assert_eq!(text(&s.edit().cut(b).finish()), "<message><a/><c/></message>");
        let a = tree.root().child("a", "jabber:client").unwrap();
        assert_eq!(
            text(&s.edit().append_to(a, "<d/>").append("<e/>").finish()),
            "<message><a><d/></a><b/><c/><e/></message>"
        );
    }
}
