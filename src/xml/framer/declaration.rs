//! The XML declaration (XML 1.0 §2.8, §4.3.3), which may open each stream.

use super::FramingError;
use super::chars::{SPACE, is, skip};

const START: &[u8] = b"<?xml";

/// Looks at bytes that begin with `<?`, of which those before `done` were looked at earlier. The length of the
/// declaration, or `None` when more bytes are needed.
pub(super) fn scan(bytes: &[u8], done: usize) -> Result<Option<usize>, FramingError> {
    let there = bytes.len().min(START.len());
    let other = bytes[..there] != START[..there] || bytes.get(START.len()).is_some_and(|&b| !is(b, SPACE));
    if other {
        return Err(FramingError::Restricted { what: "a processing instruction" });
    }
    for at in done.max(START.len())..bytes.len() {
        match bytes[at] {
            b'>' => return parse(&bytes[..=at]).map(|()| Some(at + 1)),
            b'\t' | b'\n' | b'\r' | 0x20..0x7F if bytes[at] != b'<' => {}
            _ => return wrong("a byte that no XML declaration has", at),
        }
    }
    Ok(None)
}

fn wrong<T>(what: &'static str, at: usize) -> Result<T, FramingError> {
    Err(FramingError::NotWellFormed { what, at })
}

/// Checks a complete declaration.
fn parse(bytes: &[u8]) -> Result<(), FramingError> {
    let mut fields = Fields { bytes, at: START.len() };
    match fields.value(b"version")? {
        Some(b"1.0") => {}
        Some(_) => return wrong("an XML version other than 1.0", fields.at),
        None => return wrong("an XML declaration without a version", fields.at),
    }
    if let Some(encoding) = fields.value(b"encoding")?
        && !encoding.eq_ignore_ascii_case(b"UTF-8")
    {
        return Err(FramingError::UnsupportedEncoding);
    }
    if let Some(standalone) = fields.value(b"standalone")?
        && !matches!(standalone, b"yes" | b"no")
    {
        return wrong("standalone in an XML declaration is neither yes nor no", fields.at);
    }
    fields.at = skip(bytes, fields.at, SPACE);
    if &bytes[fields.at..] != b"?>" { wrong("an XML declaration that is malformed", fields.at) } else { Ok(()) }
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// The value of the field `name`, if that comes next; it is taken.
    fn value(&mut self, name: &[u8]) -> Result<Option<&'a [u8]>, FramingError> {
        let space = skip(self.bytes, self.at, SPACE);
        if space == self.at || !self.bytes[space..].starts_with(name) {
            return Ok(None);
        }
        let equals = skip(self.bytes, space + name.len(), SPACE);
        if self.bytes.get(equals) != Some(&b'=') {
            return wrong("'=' expected in the XML declaration", equals);
        }
        let open = skip(self.bytes, equals + 1, SPACE);
        let Some(&quote @ (b'"' | b'\'')) = self.bytes.get(open) else {
            return wrong("a quote expected in the XML declaration", open);
        };
        let Some(len) = self.bytes[open + 1..].iter().position(|&b| b == quote) else {
            return wrong("an XML declaration that is malformed", open);
        };
        self.at = open + 1 + len + 1;
        Ok(Some(&self.bytes[open + 1..open + 1 + len]))
    }
}
