//! Elements as a reader that knows namespaces sees them: prefixes, quotes and the order of attributes are gone.

use std::collections::BTreeMap;

use minimix_proxy::xml::writer::escape;
use rxml::error::EndOrError;
use rxml::{Event, Parse, Parser};

/// One element and all that is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    pub space: String,
    pub name: String,
    /// By local name; those with a namespace as `xml:lang` or `{namespace}name`.
    pub attributes: BTreeMap<String, String>,
    pub children: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    pub fn attr(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|n| match n {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// Itself and all that is in it, outermost first.
    pub fn all(&self) -> Vec<&Element> {
        let mut all = vec![self];
        let mut at = 0;
        while let Some(element) = all.get(at).copied() {
            all.extend(element.elements());
            at += 1;
        }
        all
    }

    /// Does something to itself and to all that is in it.
    pub fn each(&mut self, act: &mut dyn FnMut(&mut Element)) {
        act(self);
        for node in &mut self.children {
            if let Node::Element(element) = node {
                element.each(act);
            }
        }
    }

    /// Takes child elements out.
    pub fn remove(&mut self, unwanted: impl Fn(&Element) -> bool) {
        self.children.retain(|n| !matches!(n, Node::Element(e) if unwanted(e)));
    }

    /// The text that is directly in it.
    pub fn text(&self) -> String {
        let texts = self.children.iter().map(|n| match n {
            Node::Text(text) => text.as_str(),
            Node::Element(_) => "",
        });
        texts.collect()
    }

    /// Written the one way in which equal elements are equal texts.
    pub fn written(&self) -> String {
        let mut out = String::new();
        self.write("jabber:client", &mut out);
        out
    }

    fn write(&self, around: &str, out: &mut String) {
        *out += &format!("<{}", self.name);
        if self.space != around {
            *out += &format!(" xmlns='{}'", self.space);
        }
        for (name, value) in &self.attributes {
            *out += &format!(" {name}='{}'", escape(value));
        }
        if self.children.is_empty() {
            *out += "/>";
            return;
        }
        *out += ">";
        for node in &self.children {
            match node {
                Node::Element(element) => element.write(&self.space, out),
                Node::Text(text) => *out += &escape(text),
            }
        }
        *out += &format!("</{}>", self.name);
    }
}

/// What a stream brings.
pub enum Read {
    Stanza(Element),
    End,
}

/// Reads a stream as it comes.
#[derive(Default)]
pub struct Reader {
    parser: Parser,
    open: Vec<Element>,
}

impl Reader {
    /// What is complete with these bytes; `Err` says why this is no XML.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Read>, String> {
        let mut out = Vec::new();
        loop {
            match self.parser.parse(&mut bytes, false) {
                Ok(Some(Event::StartElement(_, (space, name), attributes))) => {
                    let attribute = |((space, name), value): ((&rxml::Namespace<'_>, &rxml::NcName), &String)| {
                        let name = match space.to_string().as_str() {
                            "" => name.to_string(),
                            "http://www.w3.org/XML/1998/namespace" => format!("xml:{name}"),
                            space => format!("{{{space}}}{name}"),
                        };
                        (name, value.clone())
                    };
                    let attributes = attributes.iter().map(attribute).collect();
                    let (space, name) = (space.to_string(), name.to_string());
                    self.open.push(Element { space, name, attributes, children: Vec::new() });
                }
                Ok(Some(Event::EndElement(_))) => {
                    let done = self.open.pop().ok_or("an end without a start")?;
                    match self.open.len() {
                        0 => out.push(Read::End),
                        1 => out.push(Read::Stanza(done)),
                        depth => self.open[depth - 1].children.push(Node::Element(done)),
                    }
                }
                Ok(Some(Event::Text(_, text))) if self.open.len() > 1 => {
                    let children = &mut self.open.last_mut().ok_or("text without an element")?.children;
                    match children.last_mut() {
                        Some(Node::Text(before)) => *before += &text,
                        _ => children.push(Node::Text(text.to_string())),
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(EndOrError::NeedMoreData) => return Ok(out),
                Err(EndOrError::Error(error)) => return Err(error.to_string()),
            }
        }
    }
}

/// Stanzas, as a client writes them.
pub fn parse(stanzas: &str) -> Result<Vec<Element>, String> {
    let header = "<?xml version='1.0'?><s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams'>";
    let mut reader = Reader::default();
    reader.feed(header.as_bytes())?;
    let read = reader.feed(stanzas.as_bytes())?;
    let whole = read.iter().all(|r| matches!(r, Read::Stanza(_))) && reader.open.len() == 1;
    if !whole || read.is_empty() {
        return Err("not whole stanzas".to_owned());
    }
    let stanzas = read.into_iter().filter_map(|r| match r {
        Read::Stanza(stanza) => Some(stanza),
        Read::End => None,
    });
    Ok(stanzas.collect())
}
