//! quick-xml, reading a frame that the framer has accepted.

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;

use super::events::Events;

/// What it sees in `frame`, whose surroundings declare `declarations` and the default namespace `jabber:client`.
pub fn events(declarations: &[(&str, &str)], frame: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(frame).map_err(|e| e.to_string())?;
    let mut reader = NsReader::from_str(text);
    let mut declare = |prefix, uri: &str| reader.resolver_mut().add(prefix, Namespace(uri)).map_err(|e| e.to_string());
    declare(PrefixDeclaration::Default, "jabber:client")?;
    for (prefix, uri) in declarations {
        declare(PrefixDeclaration::Named(prefix), uri)?;
    }
    let mut events = Events::default();
    loop {
        match reader.read_event().map_err(|e| e.to_string())? {
            Event::Start(tag) => start(&reader, &tag, &mut events)?,
            Event::Empty(tag) => {
                start(&reader, &tag, &mut events)?;
                events.end();
            }
            Event::End(_) => events.end(),
            Event::Text(text) => events.text(&text.xml10_content()),
            Event::CData(text) => events.text(&text.xml10_content()),
            Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(|e| e.to_string())? {
                Some(char) => events.text(char.encode_utf8(&mut [0; 4])),
                None => events.text(resolve_predefined_entity(&reference).ok_or("an undefined entity")?),
            },
            Event::Eof => return Ok(events.finish()),
            other => return Err(format!("unexpected {other:?}")),
        }
    }
}

fn start(reader: &NsReader<&[u8]>, tag: &BytesStart, events: &mut Events) -> Result<(), String> {
    let space = |resolved: ResolveResult| match resolved {
        ResolveResult::Bound(Namespace(uri)) => Ok(uri.to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(prefix) => Err(format!("unknown prefix {prefix:?}")),
    };
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|e| e.to_string())?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (resolved, local) = reader.resolver().resolve_attribute(attribute.key);
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| e.to_string())?;
        attributes.push(Events::attribute(&space(resolved)?, local.as_ref(), &value));
    }
    let (resolved, local) = reader.resolver().resolve_element(tag.name());
    events.start(&space(resolved)?, local.as_ref(), attributes);
    Ok(())
}
