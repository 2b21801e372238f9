//! The stream header (RFC 6120 §4.7): who speaks to whom, in which version and language, and with which prefixes.

use bytes::Bytes;

use quick_xml::XmlVersion;
use quick_xml::events::Event;
use quick_xml::events::attributes::Attributes;
use quick_xml::reader::Reader;

use crate::xml::framer::Element;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// A stream header as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The bytes of the start tag.
    pub bytes: Bytes,
    /// `to`
    pub to: Option<String>,
    /// `from`
    pub from: Option<String>,
    /// `id`
    pub id: Option<String>,
    /// `version`; absent means 0.9
    pub version: Option<String>,
    /// `xml:lang`
    pub lang: Option<String>,
    /// Prefixes it declares, with their namespaces; the default namespace is not among them.
    pub prefixes: Vec<(String, String)>,
}

impl Header {
    /// Reads the start tag that the framer cut off.
    pub fn parse(bytes: Bytes) -> Header {
        let mut header = Header::default();
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        if let Ok(Event::Start(tag)) = Reader::from_str(text).read_event() {
            for attribute in tag.attributes().with_checks(false).flatten() {
                let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) else { continue };
                let value = value.into_owned();
                match attribute.key.0 {
                    "to" => header.to = Some(value),
                    "from" => header.from = Some(value),
                    "id" => header.id = Some(value),
                    "version" => header.version = Some(value),
                    "xml:lang" => header.lang = Some(value),
                    name => {
                        if let Some(prefix) = name.strip_prefix("xmlns:") {
                            header.prefixes.push((prefix.to_owned(), value));
                        }
                    }
                }
            }
        }
        header.bytes = bytes;
        header
    }

    /// Whether the peer speaks XMPP 1.0 (RFC 6120 §4.7.5).
    pub fn is_version_1(&self) -> bool {
        self.version.as_deref().and_then(|v| v.split('.').next()?.parse::<u32>().ok()).is_some_and(|major| major >= 1)
    }

    /// The header a client sends to `domain`.
    pub fn client(domain: &str, lang: Option<&str>) -> String {
        let lang = lang.map(|l| format!(" xml:lang='{}'", escape(l))).unwrap_or_default();
        format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0'{lang} xmlns='{}' xmlns:stream='{}'>",
            escape(domain),
            ns::CLIENT,
            ns::STREAMS
        )
    }

    /// The header this proxy answers with itself, where there is no server to answer. `domain` is empty if nobody
    /// knows yet which one is wanted.
    pub fn server(domain: &str, id: &str) -> String {
        let from = if domain.is_empty() { String::new() } else { format!(" from='{}'", escape(domain)) };
        format!(
            "<?xml version='1.0'?><stream:stream{from} id='{}' version='1.0' xml:lang='en' xmlns='{}' xmlns:stream='{}'>",
            escape(id),
            ns::CLIENT,
            ns::STREAMS
        )
    }

    /// `stanza`, fit to move to another stream: the prefixes that only this header declares are declared on it.
    pub fn detach(&self, stanza: Stanza) -> Stanza {
        if !stanza.inherits() {
            return stanza;
        }
        let text = std::str::from_utf8(stanza.bytes()).unwrap_or_default();
        let mut declarations = String::new();
        let inner = stanza.tag().get(stanza.name_end()..).unwrap_or_default();
        let own: Vec<&str> = Attributes::new(inner, 0).with_checks(false).flatten().map(|a| a.key.0).collect();
        for (prefix, space) in &self.prefixes {
            // A declaration too many does no harm; one that stands there already would be doubled.
            let declared = own.iter().any(|name| name.strip_prefix("xmlns:") == Some(prefix));
            if text.contains(&format!("{prefix}:")) && !declared {
                // As it stood there: the framer lets no reference into a declaration, so one kind of quotes is free.
                let quote = if space.contains('\'') { '"' } else { '\'' };
                declarations += &format!(" xmlns:{prefix}={quote}{space}{quote}");
            }
        }
        let at = stanza.name_end();
        let name = at - stanza.name().len()..at;
        let bytes = [&text[..at], &declarations, &text[at..]].concat();
        Stanza::new(Element { bytes: bytes.into(), space: stanza.space(), name, inherits: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_header_says() {
        let header = Header::parse(Bytes::from_static(
            b"<stream:stream to='ex&amp;ample' from=\"a@b\" version='1.0' xml:lang='de' xmlns='jabber:client' \
              xmlns:stream='http://etherx.jabber.org/streams' xmlns:x='urn:x'>",
        ));
        assert_eq!(header.to.as_deref(), Some("ex&ample"));
        assert_eq!(header.from.as_deref(), Some("a@b"));
        assert_eq!(header.lang.as_deref(), Some("de"));
        assert!(header.is_version_1());
        assert_eq!(header.prefixes.len(), 2);
        assert!(!Header::default().is_version_1());
    }

    #[test]
    fn a_declaration_is_one_wherever_it_stands_and_a_value_is_none() {
        let header =
            Header { prefixes: vec![("x".into(), "urn:x".into()), ("y".into(), "urn:y".into())], ..Header::default() };
        let text = "<message xmlns:x\n= 'other' id='xmlns:y='><x:a/><y:b/></message>";
        let bytes = Bytes::from(text);
        let stanza =
            Stanza::new(Element { bytes, space: crate::xml::framer::Space::Client, name: 1..8, inherits: true });
        let moved = header.detach(stanza);
        assert_eq!(&moved.bytes()[..], text.replace("<message", "<message xmlns:y='urn:y'").as_bytes());
    }

    #[test]
    fn a_stanza_that_moves_takes_its_prefixes_along() {
        let header =
            Header { prefixes: vec![("x".into(), "urn:x".into()), ("y".into(), "urn:y".into())], ..Header::default() };
        let bytes = Bytes::from_static(b"<message><x:a/></message>");
        let stanza =
            Stanza::new(Element { bytes, space: crate::xml::framer::Space::Client, name: 1..8, inherits: true });
        let moved = header.detach(stanza);
        assert_eq!(&moved.bytes()[..], b"<message xmlns:x='urn:x'><x:a/></message>");
        assert!(moved.is_message());
    }
}
