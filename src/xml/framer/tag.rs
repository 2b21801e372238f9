//! Start tags and their attributes (XML 1.0 §3.1, Namespaces in XML 1.0 §6).

use super::chars::{NAME, NAME_START, REFERENCE, SPACE, Utf8, examined, is, skip, skip_plain};
use super::content::check_reference;
use super::namespaces::{CLIENT, Inherited, NamespaceId, STREAMS, Span, check_default};
use super::scanner::{Kind, Open, Root, Scanner, State};
use super::{Fault, FramingError, Limits, Space, wrong};

/// What an attribute's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
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
    name: Name,
    role: Role,
    /// Once resolved.
    namespace: NamespaceId,
}

/// A qualified name.
#[derive(Debug, Clone, Copy)]
struct Name {
    span: Span,
    /// Where its colon is, or 0.
    colon: u32,
}

impl Name {
    fn prefix(self) -> Option<Span> {
        (self.colon != 0).then_some(Span { start: self.span.start, end: self.colon })
    }

    fn local(self) -> Span {
        let start = if self.colon == 0 { self.span.start } else { self.colon + 1 };
        Span { start, end: self.span.end }
    }
}

/// An attribute value, between its quotes.
struct Value {
    span: Span,
    /// It is not literally what it means: it has references or line breaks.
    indirect: bool,
}

/// A start tag that is being read.
#[derive(Default)]
struct Tag {
    /// A set of hashed attribute names: doubles are looked for only where it says "perhaps".
    names_seen: u64,
    prefixed: u32,
    default: Option<Span>,
}

impl Scanner {
    /// Reads the start tag whose name begins at `self.token`; goes on after it. False if it is not complete: nothing
    /// has changed then, but for scratch memory.
    #[inline(never)]
    pub(super) fn tag(&mut self, bytes: &[u8], header: &Inherited, limits: &Limits) -> Result<bool, Fault> {
        let outer_scope = self.scope.len();
        let result = self.read_tag(bytes, header, limits, outer_scope);
        if !matches!(result, Ok(true)) {
            self.scope.truncate(outer_scope);
        }
        result
    }

    fn read_tag(&mut self, bytes: &[u8], header: &Inherited, limits: &Limits, outer_scope: u32) -> Result<bool, Fault> {
        self.attributes.clear();
        let mut tag = Tag::default();
        let Some(name) = qualified_name(bytes, self.token)? else { return Ok(false) };
        let mut at = name.span.end as usize;
        let empty = loop {
            let gap = at;
            at = skip(bytes, at, SPACE);
            match bytes.get(at) {
                None => return Ok(false),
                Some(b'>') => break false,
                Some(b'/') => {
                    at += 1;
                    match bytes.get(at) {
                        None => return Ok(false),
                        Some(b'>') => break true,
                        Some(_) => return Err(wrong("'>' expected after '/'", at)),
                    }
                }
                Some(_) if at == gap => return Err(wrong("white space or the end of the tag expected", at)),
                Some(&b) if !is(b, NAME_START) => {
                    return Err(wrong("an attribute's name begins with an ASCII letter or '_'", at));
                }
                Some(_) if self.attributes.len() >= limits.attributes => {
                    return Err(FramingError::Limit { what: "an element with too many attributes" }.into());
                }
                Some(_) => match self.attribute(bytes, at, &mut tag, header)? {
                    None => return Ok(false),
                    Some(end) => at = end,
                },
            }
        };
        self.end_tag(bytes, name, &tag, empty, header, outer_scope)?;
        self.at = at + 1;
        Ok(true)
    }

    /// Reads an attribute; where it ends.
    #[inline(always)]
    fn attribute(
        &mut self,
        bytes: &[u8],
        start: usize,
        tag: &mut Tag,
        header: &Inherited,
    ) -> Result<Option<usize>, Fault> {
        let Some(name) = qualified_name(bytes, start)? else { return Ok(None) };
        let whole = name.span.of(bytes);
        // Doubles hash alike; names that hash alike are compared with all others, of which the limit allows few.
        let hash = whole.len() * 7 + usize::from(whole[0]) * 31 + usize::from(whole[whole.len() - 1]);
        let bit = 1 << (hash & 63);
        if tag.names_seen & bit != 0 {
            examined(self.attributes.len());
            if self.attributes.iter().any(|other| other.name.span.of(bytes) == whole) {
                return Err(wrong("an attribute given twice", start));
            }
        }
        tag.names_seen |= bit;
        let role = match name.prefix().map(|prefix| prefix.of(bytes)) {
            None if whole == b"xmlns" => Role::DeclaresDefault,
            None => Role::Plain,
            Some(b"xmlns") => Role::DeclaresPrefix,
            Some(_) => Role::Prefixed,
        };
        tag.prefixed += u32::from(role == Role::Prefixed);
        self.attributes.push(Attribute { name, role, namespace: NamespaceId::XML });
        let Some(value) = attribute_value(bytes, name.span.end as usize)? else { return Ok(None) };
        if matches!(role, Role::DeclaresDefault | Role::DeclaresPrefix) {
            // Two readers may not disagree about a namespace, so it must be written as it is.
            if value.indirect {
                return Err(wrong("a reference or a line break in a namespace declaration", start));
            }
            if role == Role::DeclaresDefault {
                tag.default = Some(value.span);
                check_default(value.span.of(bytes), start)?;
            } else {
                self.scope.declare(bytes, name.local(), value.span, header)?;
            }
        }
        Ok(Some(value.span.end as usize + 1))
    }

    /// At the end of a start tag: all its declarations are known, so prefixes can be resolved.
    fn end_tag(
        &mut self,
        bytes: &[u8],
        name: Name,
        tag: &Tag,
        empty: bool,
        header: &Inherited,
        outer_scope: u32,
    ) -> Result<(), Fault> {
        let space = match name.prefix() {
            Some(prefix) => {
                let resolved = self.scope.resolve(bytes, prefix.of(bytes), header)?;
                self.inherits |= resolved.inherited;
                Space::of(resolved.name)
            }
            // What the stream header declares; deeper down this is wrong, and of no use.
            None => tag.default.map_or(Space::Client, |default| Space::of(default.of(bytes))),
        };
        if tag.prefixed > 0 {
            self.resolve_attributes(bytes, header)?;
        }
        if self.open.is_empty() {
            if self.kind == Kind::Element && space == Space::Streams && name.local().of(bytes) == b"stream" {
                return Err(FramingError::BadFormat { what: "a stream header within a stream" }.into());
            }
            self.root = Root { name: name.span, local: name.local(), space, default: tag.default, empty };
        }
        self.state = State::Text;
        if self.kind == Kind::Header {
            self.state = State::Complete;
        } else if !empty {
            self.open.push(Open { name: name.span, outer_scope });
        } else {
            self.scope.truncate(outer_scope);
            if self.open.is_empty() {
                self.state = State::Complete;
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn resolve_attributes(&mut self, bytes: &[u8], header: &Inherited) -> Result<(), Fault> {
        for i in 0..self.attributes.len() {
            let attribute = self.attributes[i];
            let (Role::Prefixed, Some(prefix)) = (attribute.role, attribute.name.prefix()) else { continue };
            let resolved = self.scope.resolve(bytes, prefix.of(bytes), header)?;
            self.inherits |= resolved.inherited;
            self.attributes[i].namespace = resolved.id;
            let local = attribute.name.local().of(bytes);
            examined(i);
            let double = self.attributes[..i].iter().any(|other| {
                other.role == Role::Prefixed && other.namespace == resolved.id && other.name.local().of(bytes) == local
            });
            if double {
                let what = "an attribute given twice, by prefixes of one namespace";
                return Err(wrong(what, attribute.name.span.start as usize));
            }
        }
        Ok(())
    }
}

/// The name at `start`, whose first byte has been checked; `None` if it may go on.
#[inline(always)]
fn qualified_name(bytes: &[u8], start: usize) -> Result<Option<Name>, Fault> {
    let (mut at, mut colon) = (skip(bytes, start, NAME), 0);
    if bytes.get(at) == Some(&b':') {
        colon = at;
        match bytes.get(at + 1) {
            None => return Ok(None),
            Some(&b) if is(b, NAME_START) => at = skip(bytes, at + 1, NAME),
            Some(_) => return Err(wrong("a local name begins with an ASCII letter or '_'", at + 1)),
        }
    }
    match bytes.get(at) {
        None => Ok(None),
        Some(b':') => Err(wrong("a name with two colons", at)),
        Some(0x80..) => Err(wrong("a name that is not ASCII", at)),
        Some(_) => Ok(Some(Name { span: Span::new(start, at), colon: colon as u32 })),
    }
}

/// The value after an attribute's name.
#[inline(always)]
fn attribute_value(bytes: &[u8], at: usize) -> Result<Option<Value>, Fault> {
    let at = skip(bytes, at, SPACE);
    match bytes.get(at) {
        None => return Ok(None),
        Some(b'=') => {}
        Some(_) => return Err(wrong("'=' expected after an attribute's name", at)),
    }
    let at = skip(bytes, at + 1, SPACE);
    let quote = match bytes.get(at) {
        None => return Ok(None),
        Some(&quote @ (b'"' | b'\'')) => quote,
        Some(_) => return Err(wrong("an attribute value without quotes", at)),
    };
    let start = at + 1;
    let (mut at, mut indirect) = (start, false);
    loop {
        at = skip_plain(bytes, at);
        match bytes.get(at) {
            None => return Ok(None),
            Some(&b) if b == quote => return Ok(Some(Value { span: Span::new(start, at), indirect })),
            Some(b'<') => return Err(wrong("'<' in an attribute value", at)),
            Some(b'&') => {
                let end = skip(bytes, at + 1, REFERENCE);
                if end == bytes.len() {
                    return Ok(None);
                }
                check_reference(bytes, at + 1, end)?;
                (at, indirect) = (end + 1, true);
            }
            Some(b'\t' | b'\n' | b'\r') => (at, indirect) = (at + 1, true),
            Some(0x80..) => {
                let mut utf8 = Utf8::default();
                at = utf8.run(bytes, at)?;
            }
            Some(..0x20) => return Err(wrong("a control character", at)),
            Some(_) => at += 1,
        }
    }
}

impl Space {
    fn of(name: &[u8]) -> Self {
        match name {
            CLIENT => Space::Client,
            STREAMS => Space::Streams,
            _ => Space::Other,
        }
    }
}
