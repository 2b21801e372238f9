//! rxml, reading a whole stream.

use rxml::error::EndOrError;
use rxml::{Event, Parse, Parser};

use super::Events;

/// What it sees within the root element of `document`.
pub fn events(document: &[u8]) -> Result<String, String> {
    // rxml refuses a carriage return without a line feed; XML 1.0 §2.11 has it read as a line feed, before all else.
    let mut document = document.to_vec();
    for at in 0..document.len() {
        if document[at] == b'\r' && document.get(at + 1) != Some(&b'\n') {
            document[at] = b'\n';
        }
    }
    let (mut parser, mut rest) = (Parser::new(), &document[..]);
    let mut events = Events::hiding(1);
    loop {
        match parser.parse(&mut rest, true) {
            Ok(Some(Event::StartElement(_, (space, local), attributes))) => {
                let told = attributes.iter().map(|((space, local), value)| Events::attribute(space, local, value));
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
