//! Namespaces in XML 1.0: declarations, their scope, and what the stream header declared for all that follows.

use bytes::BytesMut;

use super::chars::examined;
use super::{Fault, FramingError, wrong};

pub(super) const CLIENT: &[u8] = b"jabber:client";
pub(super) const STREAMS: &[u8] = b"http://etherx.jabber.org/streams";
const XML: &[u8] = b"http://www.w3.org/XML/1998/namespace";
const XMLNS: &[u8] = b"http://www.w3.org/2000/xmlns/";

/// Prefixes that may be declared at one point of a stanza. Real ones declare three or four; the cap keeps looking
/// one up cheap whatever is sent.
const MAX_IN_SCOPE: usize = 128;

/// A range of the frame. Limits are far below 4 GiB.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Span { start: start as u32, end: end as u32 }
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// Copies what it spans to the end of `kept`; where it is there.
    pub(super) fn copy(self, bytes: &[u8], kept: &mut BytesMut) -> Span {
        let start = kept.len();
        kept.extend_from_slice(self.of(bytes));
        Span::new(start, kept.len())
    }
}

/// A namespace name by number: equal names have equal numbers, so that comparing is cheap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NamespaceId(u32);

impl NamespaceId {
    /// That of `xml:`, which is always declared.
    pub(super) const XML: NamespaceId = NamespaceId(0);
}

/// What a prefix stands for.
pub(super) struct Resolved<'a> {
    pub(super) id: NamespaceId,
    pub(super) name: &'a [u8],
    /// The declaration is the stream header's.
    pub(super) inherited: bool,
}

/// A prefix declared within the frame at hand.
#[derive(Debug, Clone, Copy)]
struct Binding {
    prefix: Span,
    name: Span,
    id: NamespaceId,
}

/// The prefixes in scope that the frame itself declares, innermost last.
#[derive(Debug, Default)]
pub(super) struct Scope {
    bindings: Vec<Binding>,
    /// Numbers given so far in this frame, beyond the header's.
    numbered: u32,
}

impl Scope {
    pub(super) fn len(&self) -> u32 {
        self.bindings.len() as u32
    }

    /// Leaves an element: what it declared is out of scope.
    pub(super) fn truncate(&mut self, len: u32) {
        self.bindings.truncate(len as usize);
    }

    /// Copies all declarations to the end of `kept`.
    pub(super) fn copy(&mut self, bytes: &[u8], kept: &mut BytesMut) {
        for binding in &mut self.bindings {
            binding.prefix = binding.prefix.copy(bytes, kept);
            binding.name = binding.name.copy(bytes, kept);
        }
    }

    /// Between frames: forgets everything, keeping room for `keep` declarations.
    pub(super) fn reset(&mut self, keep: usize) {
        self.bindings.clear();
        self.bindings.shrink_to(keep);
        self.numbered = 0;
    }

    /// Takes `xmlns:prefix='name'`.
    pub(super) fn declare(&mut self, bytes: &[u8], prefix: Span, name: Span, header: &Inherited) -> Result<(), Fault> {
        let wrong = |what| Err(wrong(what, prefix.start as usize));
        let uri = name.of(bytes);
        match prefix.of(bytes) {
            b"xml" if uri == XML => return Ok(()),
            b"xml" => return wrong("the prefix xml bound to another namespace"),
            b"xmlns" => return wrong("the prefix xmlns declared"),
            _ if uri.is_empty() => return wrong("a prefix bound to no namespace"),
            _ => check_reserved(uri, prefix.start as usize)?,
        }
        if self.bindings.len() >= MAX_IN_SCOPE {
            return Err(FramingError::Limit { what: "more than 128 namespace prefixes in scope" }.into());
        }
        let id = self.number(bytes, uri, header);
        self.bindings.push(Binding { prefix, name, id });
        Ok(())
    }

    fn number(&mut self, bytes: &[u8], uri: &[u8], header: &Inherited) -> NamespaceId {
        let own = self.bindings.iter().map(|b| (b.name.of(bytes), b.id));
        for (known, id) in own.chain(header.bindings.iter().map(|b| (&*b.name, b.id))) {
            examined(1);
            if known == uri {
                return id;
            }
        }
        self.numbered += 1;
        NamespaceId(header.bindings.len() as u32 + self.numbered)
    }

    /// What `prefix` stands for here.
    pub(super) fn resolve<'a>(
        &self,
        bytes: &'a [u8],
        prefix: &[u8],
        header: &'a Inherited,
    ) -> Result<Resolved<'a>, Fault> {
        for binding in self.bindings.iter().rev() {
            examined(1);
            if binding.prefix.of(bytes) == prefix {
                return Ok(Resolved { id: binding.id, name: binding.name.of(bytes), inherited: false });
            }
        }
        if prefix == b"xml" {
            return Ok(Resolved { id: NamespaceId::XML, name: XML, inherited: false });
        }
        for binding in &header.bindings {
            examined(1);
            if *binding.prefix == *prefix {
                return Ok(Resolved { id: binding.id, name: &binding.name, inherited: true });
            }
        }
        Err(FramingError::BadNamespacePrefix.into())
    }
}

/// Checks `xmlns='uri'`; an empty one is allowed.
pub(super) fn check_default(uri: &[u8], at: usize) -> Result<(), Fault> {
    check_reserved(uri, at)
}

fn check_reserved(uri: &[u8], at: usize) -> Result<(), Fault> {
    if uri == XML || uri == XMLNS {
        return Err(wrong("a reserved namespace declared", at));
    }
    Ok(())
}

/// What a stream header leaves behind for the frames after it.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// The stream element's qualified name, which the closing tag repeats.
    pub(super) stream: Box<[u8]>,
    bindings: Box<[Declared]>,
}

#[derive(Debug)]
struct Declared {
    prefix: Box<[u8]>,
    name: Box<[u8]>,
    id: NamespaceId,
}

impl Inherited {
    /// Copies what the header declares: keeping a slice of it would pin its whole read buffer.
    pub(super) fn keep(bytes: &[u8], stream: &[u8], scope: &Scope) -> Self {
        let declared =
            |b: &Binding| Declared { prefix: b.prefix.of(bytes).into(), name: b.name.of(bytes).into(), id: b.id };
        Inherited { stream: stream.into(), bindings: scope.bindings.iter().map(declared).collect() }
    }
}

#[cfg(test)]
impl Scope {
    pub(super) fn heap(&self) -> usize {
        self.bindings.capacity() * size_of::<Binding>()
    }
}
