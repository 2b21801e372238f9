//! A look inside a complete frame: elements with their namespaces, attributes and texts, and where they stand in
//! the bytes. Read by quick-xml, which may trust what the framer has checked. Nothing is copied but namespaces.

use std::borrow::Cow;
use std::ops::Range;

use indexmap::IndexSet;
use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::events::attributes::Attributes;
use quick_xml::name::{Namespace, PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;

/// Nothing here is asked about a namespace with a longer name. To compare longer ones for each element would take time
/// quadratic in the size of a stanza that declares one and has many elements.
pub const LONGEST_NAMESPACE: usize = 256;

/// A frame that could not be read; the framer lets none of these pass, so this means that bytes of other origin
/// were looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot look inside a stanza: {0}")]
pub struct ViewError(String);

#[derive(Debug)]
struct Item {
    range: Range<usize>,
    /// Between the start tag and the end tag; empty at the tag's end for `<a/>`.
    inner: Range<usize>,
    name_len: usize,
    space: usize,
    /// Index of the first item that is not inside this one.
    after: usize,
}

/// One element and all that is in it.
#[derive(Debug)]
pub struct Tree<'a> {
    text: &'a str,
    items: Vec<Item>,
    /// All namespaces in it; there may be as many as elements.
    spaces: IndexSet<String>,
}

impl<'a> Tree<'a> {
    /// Reads a complete element whose surrounding default namespace is `jabber:client`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ViewError> {
        let text = simdutf8::basic::from_utf8(bytes).map_err(|e| ViewError(e.to_string()))?;
        let mut reader = NsReader::from_str(text);
        reader.config_mut().check_end_names = false;
        reader
            .resolver_mut()
            .add(PrefixDeclaration::Default, Namespace("jabber:client"))
            .map_err(|e| ViewError(e.to_string()))?;
        let mut tree = Tree { text, items: Vec::new(), spaces: IndexSet::new() };
        let mut open: Vec<usize> = Vec::new();
        loop {
            let start = reader.buffer_position() as usize;
            let event = reader.read_event().map_err(|e| ViewError(e.to_string()))?;
            let end = reader.buffer_position() as usize;
            match event {
                Event::Start(tag) => {
                    let space = tree.space(reader.resolver().resolve_element(tag.name()).0);
                    open.push(tree.items.len());
                    let name_len = tag.name().0.len();
                    tree.items.push(Item { range: start..end, inner: end..end, name_len, space, after: 0 });
                }
                Event::Empty(tag) => {
                    let space = tree.space(reader.resolver().resolve_element(tag.name()).0);
                    let name_len = tag.name().0.len();
                    let after = tree.items.len() + 1;
                    tree.items.push(Item { range: start..end, inner: end..end, name_len, space, after });
                }
                Event::End(_) => {
                    let Some(at) = open.pop() else { return Err(ViewError("unmatched end tag".into())) };
                    let after = tree.items.len();
                    let item = &mut tree.items[at];
                    item.inner.end = start;
                    item.range.end = end;
                    item.after = after;
                }
                Event::Eof => break,
                _ => {}
            }
        }
        if tree.items.is_empty() || !open.is_empty() {
            return Err(ViewError("not one complete element".into()));
        }
        Ok(tree)
    }

    fn space(&mut self, resolved: ResolveResult<'_>) -> usize {
        let name = match resolved {
            ResolveResult::Bound(Namespace(name)) if name.len() <= LONGEST_NAMESPACE => name,
            // Declared on the stream header only, or too long: not a namespace anything here is asked about.
            ResolveResult::Bound(_) | ResolveResult::Unbound | ResolveResult::Unknown(_) => "",
        };
        match self.spaces.get_index_of(name) {
            Some(at) => at,
            None => self.spaces.insert_full(name.to_owned()).0,
        }
    }

    /// The outermost element.
    pub fn root(&self) -> Node<'_> {
        Node { tree: self, at: 0 }
    }
}

/// One element of a [`Tree`].
#[derive(Debug, Clone, Copy)]
pub struct Node<'t> {
    tree: &'t Tree<'t>,
    at: usize,
}

impl<'t> Node<'t> {
    fn item(&self) -> &'t Item {
        &self.tree.items[self.at]
    }

    fn tag(&self) -> &'t str {
        let item = self.item();
        let end = item.inner.start - if item.inner.end == item.range.end { 2 } else { 1 };
        &self.tree.text[item.range.start + 1..end]
    }

    /// The name with its prefix.
    pub fn qualified_name(&self) -> &'t str {
        &self.tag()[..self.item().name_len]
    }

    /// The local name.
    pub fn name(&self) -> &'t str {
        let qualified = self.qualified_name();
        qualified.rsplit(':').next().unwrap_or(qualified)
    }

    /// The namespace; empty if there is none, if only a stream header declares it, or if its name is very long.
    pub fn space(&self) -> &'t str {
        &self.tree.spaces[self.item().space]
    }

    /// Whether it is `name` in `space`.
    pub fn is(&self, name: &str, space: &str) -> bool {
        self.name() == name && self.space() == space
    }

    /// An attribute's value by its qualified name, references resolved.
    pub fn attr(&self, name: &str) -> Option<Cow<'t, str>> {
        let mut attributes = Attributes::new(self.tag(), self.item().name_len);
        let found = attributes.with_checks(false).flatten().find(|a| a.key.0 == name)?;
        found.normalized_value(XmlVersion::Implicit1_0).ok()
    }

    /// The attributes, declarations of namespaces too: qualified names, and values with references resolved.
    pub fn attributes(&self) -> impl Iterator<Item = (&'t str, Cow<'t, str>)> + use<'t> {
        let mut attributes = Attributes::new(self.tag(), self.item().name_len);
        attributes.with_checks(false);
        attributes.flatten().filter_map(|a| Some((a.key.0, a.normalized_value(XmlVersion::Implicit1_0).ok()?)))
    }

    /// Where the value of an attribute stands in the bytes, as it was written.
    pub fn attr_range(&self, name: &str) -> Option<Range<usize>> {
        let tag = self.tag();
        let mut attributes = Attributes::new(tag, self.item().name_len);
        let found = attributes.with_checks(false).flatten().find(|a| a.key.0 == name)?;
        let Cow::Borrowed(value) = found.value else { return None };
        // The value is a slice of the tag, so the difference of their addresses is its place there.
        let start = self.item().range.start + 1 + (value.as_ptr() as usize - tag.as_ptr() as usize);
        Some(start..start + value.len())
    }

    /// The child elements, in order.
    pub fn children(&self) -> impl Iterator<Item = Node<'t>> + use<'t> {
        let tree = self.tree;
        let end = self.item().after;
        let mut next = self.at + 1;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let at = next;
            next = tree.items[at].after;
            Some(Node { tree, at })
        })
    }

    /// The first child that is `name` in `space`.
    pub fn child(&self, name: &str, space: &str) -> Option<Node<'t>> {
        self.children().find(|c| c.is(name, space))
    }

    /// The element's own text (not that of its children), references resolved.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let inner = &self.item().inner;
        let mut reader = NsReader::from_str(&self.tree.text[inner.clone()]);
        reader.config_mut().check_end_names = false;
        let mut depth = 0usize;
        loop {
            match reader.read_event() {
                Ok(Event::Start(_)) => depth += 1,
                Ok(Event::End(_)) => depth = depth.saturating_sub(1),
                Ok(Event::Text(text)) if depth == 0 => out.push_str(&text.xml10_content()),
                Ok(Event::CData(text)) if depth == 0 => out.push_str(&text.xml10_content()),
                Ok(Event::GeneralRef(name)) if depth == 0 => match name.resolve_char_ref() {
                    Ok(Some(ch)) => out.push(ch),
                    _ => out.push_str(quick_xml::escape::resolve_predefined_entity(&name).unwrap_or("")),
                },
                Ok(Event::Eof) | Err(_) => return out,
                Ok(_) => {}
            }
        }
    }

    /// The text of the first child that is `name` in `space`.
    pub fn child_text(&self, name: &str, space: &str) -> Option<String> {
        self.child(name, space).map(|c| c.text())
    }

    /// Where the element stands in the bytes the tree was read from.
    pub fn range(&self) -> Range<usize> {
        self.item().range.clone()
    }

    /// Where its content stands: behind the start tag, before the end tag; empty for `<a/>`.
    pub fn inner(&self) -> Range<usize> {
        self.item().inner.clone()
    }

    /// True for `<a/>`.
    pub fn is_empty_tag(&self) -> bool {
        let item = self.item();
        item.inner.end == item.range.end
    }

    /// The element as it was written. It may lean on namespaces declared around it.
    pub fn raw(&self) -> &'t str {
        &self.tree.text[self.range()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_namespaces_attributes_and_texts() {
        let text = "<message to='a&amp;b' xmlns:p='urn:p'><body>x &lt; <b/>y&#33;<![CDATA[<z>]]></body><p:q r=\"1\"/></message>";
        let tree = Tree::parse(text.as_bytes()).unwrap();
        let root = tree.root();
        assert!(root.is("message", "jabber:client"));
        assert_eq!(root.attr("to").as_deref(), Some("a&b"));
        assert_eq!(root.child_text("body", "jabber:client").as_deref(), Some("x < y!<z>"));
        let q = root.child("q", "urn:p").unwrap();
        assert_eq!(q.attr("r").as_deref(), Some("1"));
        assert_eq!(&text[q.attr_range("r").unwrap()], "1");
        assert_eq!(q.raw(), "<p:q r=\"1\"/>");
        assert!(q.is_empty_tag());
        assert_eq!(root.children().count(), 2);
        assert_eq!(&text[root.inner()], &text[root.range()][text.find('>').unwrap() + 1..text.len() - 10]);
    }

    /// The time this takes is measured where it counts, in the running proxy: `tests/known_attacks.rs`.
    #[test]
    fn namespaces_may_be_many_but_not_long() {
        let many: String = (0..5000).map(|n| format!("<a xmlns='u:{n}'/>")).collect();
        let (longest, longer) = ("l".repeat(LONGEST_NAMESPACE), "l".repeat(LONGEST_NAMESPACE + 1));
        let text =
            format!("<m>{many}{many}<a xmlns='{longest}'><b/></a><a xmlns='{longer}'><b/><c xmlns='u'/></a></m>");
        let tree = Tree::parse(text.as_bytes()).unwrap();
        for (n, child) in tree.root().children().take(10_000).enumerate() {
            assert_eq!(child.space(), format!("u:{}", n % 5000));
        }
        let [long, too_long] = [10_000, 10_001].map(|n| tree.root().children().nth(n).unwrap());
        assert!(long.space() == longest && long.child("b", &longest).is_some());
        assert!(too_long.space().is_empty() && too_long.child("b", "").is_some() && too_long.child("c", "u").is_some());
        assert_eq!(tree.spaces.len(), 5004);
    }

    #[test]
    fn nested_children_keep_their_parents() {
        let tree = Tree::parse(b"<iq><a xmlns='u'><b><c/></b></a><d/></iq>").unwrap();
        let names: Vec<_> = tree.root().children().map(|c| c.name().to_owned()).collect();
        assert_eq!(names, ["a", "d"]);
        let a = tree.root().child("a", "u").unwrap();
        assert!(a.child("b", "u").unwrap().child("c", "u").is_some());
        assert!(Tree::parse(b"<a><b></a>").is_err());
        assert!(Tree::parse(b"").is_err());
    }
}
