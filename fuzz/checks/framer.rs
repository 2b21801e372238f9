//! The framer (RFC 6120 §4 and §11), S10: one reading of XML. What it lets pass, rxml lets pass, and this program's own
//! readers (element view, stanza index, stream header) see in it what rxml sees. Frames are the input, byte for byte,
//! however it is cut; the limits hold; an element fit for another stream reads the same there.
//!
//! The first byte chooses the stream header and the limits, the second how the bytes are cut, the rest is the stream.

use bytes::BytesMut;
use minimix_proxy::xml::element::{LONGEST_NAMESPACE, Node, Tree};
use minimix_proxy::xml::framer::{Element, Frame, Framer, FramingError, Limits, Space};
use minimix_proxy::xmpp::header::Header;
use minimix_proxy::xmpp::stanza::Stanza;

use super::oracle::events::Events;
use super::oracle::{quick, rxml};

/// Headers that are put before the input; with the last, the input is all there is.
const HEADERS: [&str; 4] = [
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:p='a' xmlns:q='b'>",
    "<p:stream xmlns='jabber:client' xmlns:p='http://etherx.jabber.org/streams' xmlns:q='b' xmlns:r='b'>",
    "",
];

const LIMITS: [Limits; 2] =
    [Limits { stanza: 16 * 1024, depth: 64, attributes: 64 }, Limits { stanza: 256, depth: 4, attributes: 3 }];

pub fn check(data: &[u8]) {
    let [mode, cut, body @ ..] = data else { return };
    let header = HEADERS[usize::from(mode % 4)];
    let limits = LIMITS[usize::from(mode >> 2 & 1)];
    let stream = [header.as_bytes(), body].concat();
    let whole = read(&stream, limits, |_| stream.len().max(1));
    assert_eq!(whole, read(&stream, limits, |_| 1), "byte by byte it reads otherwise");
    let sizes = |at: usize| 1 + (at.wrapping_mul(usize::from(*cut) | 1) >> 2) % (1 + usize::from(cut >> 3));
    assert_eq!(whole, read(&stream, limits, sizes), "cut in pieces it reads otherwise");
    compare(&stream, &whole, limits);
}

#[derive(Debug, PartialEq)]
struct Read {
    frames: Vec<Found>,
    error: Option<FramingError>,
    /// The end of the last frame.
    end: usize,
}

#[derive(Debug, PartialEq)]
enum Found {
    Header(Vec<u8>),
    Element { bytes: Vec<u8>, space: Space, name: std::ops::Range<usize>, inherits: bool },
    Close,
}

/// Feeds the stream in chunks of the sizes given, and follows where each frame stood in it.
fn read(stream: &[u8], limits: Limits, size: impl Fn(usize) -> usize) -> Read {
    let (mut framer, mut buf) = (Framer::new(limits), BytesMut::new());
    let mut result = Read { frames: Vec::new(), error: None, end: 0 };
    let mut fed = 0;
    while fed < stream.len() && result.error.is_none() {
        let until = (fed + size(fed)).min(stream.len());
        buf.extend_from_slice(&stream[fed..until]);
        fed = until;
        loop {
            let frame = match framer.next(&mut buf) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(framer.next(&mut buf).err(), Some(error), "an error is final");
                    result.error = Some(error);
                    break;
                }
            };
            assert!(!framer.mid_frame(), "within a frame behind its end");
            let end = fed - buf.len();
            let taken = &stream[result.end..end];
            let found = match frame {
                Frame::Header(bytes) => {
                    assert!(taken.ends_with(&bytes), "a header is the bytes that came");
                    let before = &taken[..taken.len() - bytes.len()];
                    assert!(is_blank(before) || before.starts_with(b"<?xml"), "only a declaration comes before it");
                    assert!(taken.len() <= limits.stanza + blanks(before), "the limit holds for a header");
                    Found::Header(bytes.to_vec())
                }
                Frame::Element(e) => {
                    assert!(taken.ends_with(&e.bytes), "an element is the bytes that came");
                    assert!(is_blank(&taken[..taken.len() - e.bytes.len()]), "nothing but white space is dropped");
                    assert!(e.bytes.len() <= limits.stanza, "the limit holds");
                    Found::Element { bytes: e.bytes.to_vec(), space: e.space, name: e.name, inherits: e.inherits }
                }
                Frame::Close => Found::Close,
            };
            result.end = end;
            result.frames.push(found);
        }
    }
    result
}

fn is_blank(bytes: &[u8]) -> bool {
    blanks(bytes) == bytes.len()
}

fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| b" \t\r\n".contains(b)).count()
}

/// Compares what was accepted, up to the last frame.
fn compare(stream: &[u8], read: &Read, limits: Limits) {
    let Some(Found::Header(header)) = read.frames.first() else {
        assert!(read.frames.is_empty(), "the first frame is the header");
        return;
    };
    let mut document = stream[..read.end].to_vec();
    if read.frames.last() != Some(&Found::Close) {
        let name = header[1..].split(|b| b" \t\r\n/>".contains(b)).next().unwrap_or_default();
        document.extend([b"</", name, b">"].concat());
    }
    let theirs = rxml::events(&document).unwrap_or_else(|error| panic!("rxml refuses: {error}"));
    let header = Header::parse(header.clone().into());
    assert_eq!(header_told(&header), rxml::root(&document).expect("it was read before"), "the stream header");
    let prefixes: Vec<(&str, &str)> = header.prefixes.iter().map(|(p, uri)| (p.as_str(), uri.as_str())).collect();
    let mut ours = String::new();
    for found in &read.frames[1..] {
        let Found::Element { bytes, space, name, inherits } = found else { continue };
        let events = quick::events(&prefixes, bytes).unwrap_or_else(|error| panic!("quick-xml refuses: {error}"));
        let seen = Seen::of(&events);
        assert!(seen.depth() <= limits.depth, "the limit of depth holds");
        assert!(seen.most_attributes() <= limits.attributes, "the limit of attributes holds");
        let expected = match seen.space {
            "jabber:client" => Space::Client,
            "http://etherx.jabber.org/streams" => Space::Streams,
            _ => Space::Other,
        };
        assert_eq!((*space, &bytes[name.clone()]), (expected, seen.local.as_bytes()));
        let element = Element { bytes: bytes.clone().into(), space: *space, name: name.clone(), inherits: *inherits };
        stanza(&header, Stanza::new(element), &events, &seen);
        ours += &events;
    }
    assert_eq!(ours, theirs, "rxml reads otherwise");
}

/// What the stream header says, in the words of [`rxml::root`], as far as it is read.
fn header_told(header: &Header) -> String {
    let told = |space: &str, local: &str, value: &Option<String>| {
        value.as_ref().map(|value| Events::attribute(space, local, value))
    };
    let mut all: Vec<String> = [
        told("", "to", &header.to),
        told("", "from", &header.from),
        told("", "id", &header.id),
        told("", "version", &header.version),
        told("http://www.w3.org/XML/1998/namespace", "lang", &header.lang),
    ]
    .into_iter()
    .flatten()
    .collect();
    all.sort();
    all.concat()
}

/// The readers that look at one stanza.
fn stanza(header: &Header, stanza: Stanza, events: &str, seen: &Seen<'_>) {
    let index = [
        ("", "to", stanza.to()),
        ("", "from", stanza.from()),
        ("", "id", stanza.id()),
        ("", "type", stanza.type_()),
        ("http://www.w3.org/XML/1998/namespace", "lang", stanza.lang()),
    ];
    for (space, local, value) in index {
        assert_eq!(value.as_deref(), seen.attribute(space, local), "the index of the start tag: {local}");
    }
    if let Some(kind) = seen.attribute("", "type") {
        assert!(stanza.is_type(kind), "it is of the type it says it is");
    }
    let moved = header.detach(stanza.clone());
    let alone = [b"<alone xmlns='jabber:client'>", &moved.bytes()[..], b"</alone>"].concat();
    match rxml::events(&alone) {
        Ok(there) => assert_eq!(there, events, "it reads otherwise on another stream"),
        Err(error) => panic!("it cannot be read on another stream: {error}"),
    }
    let tree = moved.tree().unwrap_or_else(|error| panic!("{error}"));
    same(tree.root(), seen);
    if !stanza.inherits() {
        assert_eq!(stanza.bytes(), moved.bytes(), "it had no need to change");
    }
    assert!(Tree::parse(stanza.bytes()).is_ok());
}

fn same(node: Node<'_>, seen: &Seen<'_>) {
    let space = if seen.space.len() <= LONGEST_NAMESPACE { seen.space } else { "" };
    assert_eq!((node.space(), node.name()), (space, seen.local), "the element view: names");
    assert_eq!(node.text(), seen.text, "the element view: text");
    for (space, local, value) in &seen.attributes {
        if space.is_empty() {
            assert_eq!(node.attr(local).as_deref(), Some(*value), "the element view: attribute {local}");
        }
    }
    let children: Vec<Node<'_>> = node.children().collect();
    assert_eq!(children.len(), seen.children.len(), "the element view: children");
    for (child, seen) in children.into_iter().zip(&seen.children) {
        same(child, seen);
    }
}

/// An element, made of the events that tell it.
#[derive(Default)]
struct Seen<'a> {
    space: &'a str,
    local: &'a str,
    attributes: Vec<(&'a str, &'a str, &'a str)>,
    text: String,
    children: Vec<Seen<'a>>,
}

impl<'a> Seen<'a> {
    fn of(events: &'a str) -> Seen<'a> {
        let mut open = vec![Seen::default()];
        for event in events.split_terminator('\x01') {
            match event.split_at(1) {
                ("S", rest) => {
                    let mut parts = rest[1..].split('\0');
                    let mut next = || parts.next().unwrap_or_default();
                    let mut element = Seen { space: next(), local: next(), ..Seen::default() };
                    let parts: Vec<&str> = parts.collect();
                    element.attributes = parts.chunks_exact(3).map(|a| (a[0], a[1], a[2])).collect();
                    open.push(element);
                }
                ("T", text) => open.last_mut().expect("the root stays").text += text,
                _ => {
                    let element = open.pop().expect("ends match starts");
                    open.last_mut().expect("the root stays").children.push(element);
                }
            }
        }
        open.remove(0).children.remove(0)
    }

    fn attribute(&self, space: &str, local: &str) -> Option<&'a str> {
        self.attributes.iter().find(|a| (a.0, a.1) == (space, local)).map(|a| a.2)
    }

    fn depth(&self) -> usize {
        1 + self.children.iter().map(Seen::depth).max().unwrap_or(0)
    }

    fn most_attributes(&self) -> usize {
        self.children.iter().map(Seen::most_attributes).max().unwrap_or(0).max(self.attributes.len())
    }
}
