//! Tags and attributes (XML 1.0 §3.1, Namespaces in XML 1.0 §6).

use super::chars::{NAME, NAME_START, SPACE, examined, is, skip};
use super::namespaces::{CLIENT, Inherited, NamespaceId, STREAMS, Span, check_default};
use super::scanner::{Attribute, Kind, Open, Role, Scanner, State};
use super::{Fault, FramingError, Limits, Space};

impl Scanner {
    pub(super) fn markup(&mut self, bytes: &[u8], header: &Inherited, limits: &Limits) -> Result<(), Fault> {
        self.token = self.at;
        match bytes[self.at] {
            b if is(b, NAME_START) => {
                if self.open.len() >= limits.depth {
                    return Err(FramingError::Limit { what: "elements nested too deeply" }.into());
                }
                self.colon = 0;
                self.state = State::ElementName;
                return Ok(());
            }
            b'/' if !self.open.is_empty() => self.state = State::EndName,
            b'/' if !header.stream.is_empty() => {
                self.kind = Kind::Close;
                self.state = State::EndName;
            }
            b'/' => return self.wrong("an end tag where nothing is open"),
            b'!' => self.state = State::Exclamation,
            b'?' => return Err(FramingError::Restricted { what: "a processing instruction" }.into()),
            _ => return self.wrong("'<' that begins no tag (names begin with an ASCII letter or '_')"),
        }
        self.at += 1;
        self.token = self.at;
        Ok(())
    }

    pub(super) fn exclamation(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match bytes[self.at] {
            b'[' if !self.open.is_empty() => self.state = State::CDataStart,
            b'[' => return Err(FramingError::BadFormat { what: "a CDATA section outside of a stanza" }.into()),
            b'-' => return Err(FramingError::Restricted { what: "a comment" }.into()),
            _ => return Err(FramingError::Restricted { what: "a document type or another declaration" }.into()),
        }
        Ok(())
    }

    /// Takes name bytes; true once the name has ended, at `self.at`. Its first byte has been checked.
    fn qualified_name(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        loop {
            if self.colon != 0 && self.at == self.colon + 1 {
                match bytes.get(self.at) {
                    None => return Ok(false),
                    Some(&b) if is(b, NAME_START) => {}
                    Some(_) => return self.wrong("a local name that does not begin with an ASCII letter or '_'"),
                }
            }
            self.at = skip(bytes, self.at, NAME);
            match bytes.get(self.at) {
                None => return Ok(false),
                Some(b':') if self.colon == 0 => {
                    self.colon = self.at;
                    self.at += 1;
                }
                Some(b':') => return self.wrong("a name with two colons"),
                Some(0x80..) => return self.wrong("a name that is not ASCII"),
                Some(_) => return Ok(true),
            }
        }
    }

    pub(super) fn element_name(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if !self.qualified_name(bytes)? {
            return Ok(());
        }
        let name = Span::new(self.token, self.at);
        if self.open.is_empty() {
            self.root = name;
            self.local = Span::new(self.local_start(), self.at);
        }
        self.open.push(Open { name, outer_scope: self.scope.len() });
        // The tag's own prefix can only be resolved once its declarations are known.
        self.element_colon = self.colon;
        self.attributes.clear();
        (self.prefixed, self.names_seen, self.empty) = (0, 0, false);
        self.state = State::TagGap;
        Ok(())
    }

    fn local_start(&self) -> usize {
        if self.colon == 0 { self.token } else { self.colon + 1 }
    }

    pub(super) fn tag_gap(&mut self, bytes: &[u8], header: &Inherited, limits: &Limits) -> Result<(), Fault> {
        match bytes[self.at] {
            b'>' => return self.end_start_tag(bytes, header),
            b'/' => self.state = State::TagSlash,
            b if is(b, SPACE) => {
                self.state = State::TagSpace;
                self.at += 1;
                return self.tag_space(bytes, header, limits);
            }
            _ => return self.wrong("white space or the end of the tag expected"),
        }
        self.at += 1;
        Ok(())
    }

    pub(super) fn tag_space(&mut self, bytes: &[u8], header: &Inherited, limits: &Limits) -> Result<(), Fault> {
        self.at = skip(bytes, self.at, SPACE);
        match bytes.get(self.at) {
            None => {}
            Some(b'>') => return self.end_start_tag(bytes, header),
            Some(b'/') => {
                self.at += 1;
                self.state = State::TagSlash;
            }
            Some(&b) if is(b, NAME_START) => {
                if self.attributes.len() >= limits.attributes {
                    return Err(FramingError::Limit { what: "an element with too many attributes" }.into());
                }
                (self.token, self.colon) = (self.at, 0);
                self.state = State::AttributeName;
            }
            Some(_) => return self.wrong("an attribute (its name beginning with an ASCII letter or '_') expected"),
        }
        Ok(())
    }

    pub(super) fn tag_slash(&mut self, bytes: &[u8], header: &Inherited) -> Result<(), Fault> {
        if bytes[self.at] != b'>' {
            return self.wrong("'>' expected after '/'");
        }
        self.empty = true;
        self.end_start_tag(bytes, header)
    }

    pub(super) fn attribute_name(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if !self.qualified_name(bytes)? {
            return Ok(());
        }
        let name = &bytes[self.token..self.at];
        // Doubles hash alike; names that hash alike are compared, 64 of them at most.
        let hash = name.len() as u64 * 7 + u64::from(name[0]) * 31 + u64::from(name[name.len() - 1]);
        let bit = 1 << (hash & 63);
        if self.names_seen & bit != 0 {
            examined(self.attributes.len());
            if self.attributes.iter().any(|other| other.name.of(bytes) == name) {
                return self.wrong("an attribute given twice");
            }
        }
        self.names_seen |= bit;
        let prefix = &bytes[self.token..self.colon.max(self.token)];
        self.role = match prefix {
            b"" if name == b"xmlns" => Role::DeclaresDefault,
            b"" => Role::Plain,
            b"xmlns" => Role::DeclaresPrefix,
            _ => Role::Prefixed,
        };
        self.prefixed += u32::from(self.role == Role::Prefixed);
        self.attributes.push(Attribute {
            name: Span::new(self.token, self.at),
            colon: self.colon as u32,
            role: self.role,
            namespace: NamespaceId::XML,
        });
        self.state = State::Equals;
        Ok(())
    }

    pub(super) fn equals(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.at = skip(bytes, self.at, SPACE);
        match bytes.get(self.at) {
            None => {}
            Some(b'=') => {
                self.at += 1;
                self.state = State::Quote;
            }
            Some(_) => return self.wrong("'=' expected after an attribute's name"),
        }
        Ok(())
    }

    pub(super) fn open_quote(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.at = skip(bytes, self.at, SPACE);
        match bytes.get(self.at) {
            None => {}
            Some(&quote @ (b'"' | b'\'')) => {
                self.at += 1;
                (self.token, self.quote, self.indirect) = (self.at, quote, false);
                self.state = State::Value;
            }
            Some(_) => return self.wrong("an attribute value without quotes"),
        }
        Ok(())
    }

    /// At the closing quote of a value that starts at `token`.
    pub(super) fn end_value(&mut self, bytes: &[u8], header: &Inherited) -> Result<(), Fault> {
        if matches!(self.role, Role::DeclaresDefault | Role::DeclaresPrefix) {
            self.declare(bytes, header)?;
        }
        self.at += 1;
        self.state = State::TagGap;
        Ok(())
    }

    fn declare(&mut self, bytes: &[u8], header: &Inherited) -> Result<(), Fault> {
        // Two readers may not disagree about a namespace, so it is written as it is.
        if self.indirect {
            return self.wrong("a reference or a line break in a namespace declaration");
        }
        let name = Span::new(self.token, self.at);
        if self.role == Role::DeclaresDefault {
            // Deeper ones change neither the frame's namespace nor the meaning of any prefix.
            if self.open.len() == 1 {
                self.default = Some(name);
            }
            return check_default(name.of(bytes), self.token);
        }
        // The attribute at hand is the last one.
        let Some(attribute) = self.attributes.last() else { return Ok(()) };
        let prefix = Span { start: attribute.colon + 1, end: attribute.name.end };
        self.scope.declare(bytes, prefix, name, header)
    }

    /// At the `>` of a start tag: all its declarations are known, so prefixes can be resolved.
    fn end_start_tag(&mut self, bytes: &[u8], header: &Inherited) -> Result<(), Fault> {
        self.at += 1;
        let Some(&Open { name, outer_scope }) = self.open.last() else { return Ok(()) };
        let root = self.open.len() == 1;
        if self.element_colon != 0 {
            let resolved = self.scope.resolve(bytes, &bytes[name.start as usize..self.element_colon], header)?;
            self.inherits |= resolved.inherited;
            if root {
                self.space = Space::of(resolved.name);
            }
        } else if root {
            self.space = self.default.map_or(Space::Client, |default| Space::of(default.of(bytes)));
        }
        if self.prefixed > 0 {
            self.resolve_attributes(bytes, header)?;
        }
        if self.kind == Kind::Header {
            self.state = State::Complete;
        } else if self.empty {
            self.close(outer_scope);
        } else {
            self.state = State::Text;
        }
        Ok(())
    }

    fn resolve_attributes(&mut self, bytes: &[u8], header: &Inherited) -> Result<(), Fault> {
        for i in 0..self.attributes.len() {
            let attribute = self.attributes[i];
            if attribute.role != Role::Prefixed {
                continue;
            }
            let prefix = Span { start: attribute.name.start, end: attribute.colon };
            let resolved = self.scope.resolve(bytes, prefix.of(bytes), header)?;
            self.inherits |= resolved.inherited;
            self.attributes[i].namespace = resolved.id;
            let local = attribute.local(bytes);
            let same = |other: &Attribute| {
                other.role == Role::Prefixed && other.namespace == resolved.id && other.local(bytes) == local
            };
            examined(i);
            if self.prefixed > 1 && self.attributes[..i].iter().any(same) {
                let what = "an attribute given twice, by prefixes of one namespace";
                return Err(FramingError::NotWellFormed { what, at: attribute.name.start as usize }.into());
            }
        }
        Ok(())
    }

    pub(super) fn end_name(&mut self, bytes: &[u8], header: &Inherited) -> Result<(), Fault> {
        let expected = self.open.last().map_or(&*header.stream, |open| open.name.of(bytes));
        let rest = &expected[self.at - self.token..];
        let there = &bytes[self.at..bytes.len().min(self.at + rest.len())];
        examined(there.len());
        if !rest.starts_with(there) {
            let what = "an end tag that is not the open element's";
            return Err(FramingError::NotWellFormed { what, at: self.token }.into());
        }
        self.at += there.len();
        if there.len() == rest.len() {
            self.state = State::EndSpace;
        }
        Ok(())
    }

    pub(super) fn end_space(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.at = skip(bytes, self.at, SPACE);
        match bytes.get(self.at) {
            None => return Ok(()),
            Some(b'>') => self.at += 1,
            Some(_) => {
                let what = "an end tag that is not the open element's, or with something in it";
                return Err(FramingError::NotWellFormed { what, at: self.token }.into());
            }
        }
        self.close(self.open.last().map_or(0, |open| open.outer_scope));
        Ok(())
    }

    fn close(&mut self, outer_scope: u32) {
        self.scope.truncate(outer_scope);
        self.open.pop();
        self.state = if self.open.is_empty() { State::Complete } else { State::Text };
    }
}

impl Attribute {
    fn local(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.colon as usize + 1..self.name.end as usize]
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
