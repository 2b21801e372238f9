//! rxml, reading a whole stream.

use rxml::error::EndOrError;
use rxml::{Event, Parse, Parser};

use super::events::Events;

/// What it sees within the root element of `document`.
pub fn events(document: &[u8]) -> Result<String, String> {
    read(document, |_, _| {})
}

/// What a stream header says to who reads it: `to`, `from`, `id`, `version` and `xml:lang`.
#[allow(dead_code)] // the fuzz targets use it
pub fn root(document: &[u8]) -> Result<String, String> {
    let mut told = None;
    read(document, |(space, local), attributes| {
        if told.is_none() {
            assert_eq!((space, local), ("http://etherx.jabber.org/streams", "stream"));
            let known = |a: &&(String, String, String)| {
                let lang = a.0 == "http://www.w3.org/XML/1998/namespace" && a.1 == "lang";
                lang || (a.0.is_empty() && ["to", "from", "id", "version"].contains(&a.1.as_str()))
            };
            let mut all: Vec<String> =
                attributes.iter().filter(known).map(|(s, l, v)| Events::attribute(s, l, v)).collect();
            all.sort();
            told = Some(all.concat());
        }
    })?;
    told.ok_or_else(|| "no element".to_owned())
}

/// Reads it, and shows each start tag.
fn read(document: &[u8], mut show: impl FnMut((&str, &str), &[(String, String, String)])) -> Result<String, String> {
    // XML 1.0 §2.11 has line breaks made alike before all else. rxml refuses a carriage return without a line feed, and
    // keeps one before a line feed where a bracket in CDATA comes before it.
    let mut line_breaks = Vec::with_capacity(document.len());
    for (at, &byte) in document.iter().enumerate() {
        match byte {
            b'\r' if document.get(at + 1) == Some(&b'\n') => {}
            b'\r' => line_breaks.push(b'\n'),
            byte => line_breaks.push(byte),
        }
    }
    let document = line_breaks;
    let (mut parser, mut rest) = (Parser::new(), &document[..]);
    let mut events = Events::hiding(1);
    loop {
        match parser.parse(&mut rest, true) {
            Ok(Some(Event::StartElement(_, (space, local), attributes))) => {
                let attributes: Vec<_> =
                    attributes.iter().map(|((s, l), v)| (s.to_string(), l.to_string(), v.to_string())).collect();
                show((&space, &local), &attributes);
                let told = attributes.iter().map(|(space, local, value)| Events::attribute(space, local, value));
                events.start(&space, &local, told.collect());
            }
            Ok(Some(Event::EndElement(_))) => events.end(),
            Ok(Some(Event::Text(_, text))) => events.text(&text),
            Ok(Some(Event::XmlDeclaration(..))) => {}
            Ok(None) => return Ok(events.finish()),
            Err(EndOrError::NeedMoreData) => return Err("incomplete".into()),
            Err(EndOrError::Error(error)) => return Err(error.to_string()),
        }
    }
}
