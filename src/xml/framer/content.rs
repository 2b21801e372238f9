//! Texts: character data, attribute values, CDATA sections and the references in them (XML 1.0 §2.4, §2.7, §4.1).

use super::chars::{NAME, NAME_START, examined, is, is_char, skip, skip_plain};
use super::namespaces::Inherited;
use super::scanner::{Scanner, State};
use super::{Fault, FramingError};

const CDATA_START: &[u8] = b"[CDATA[";

impl Scanner {
    pub(super) fn text(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        while let Some(&b) = bytes.get(self.at) {
            if b >= 0x80 || self.utf8.pending() {
                self.brackets = 0;
                self.non_ascii(bytes)?;
                continue;
            }
            match b {
                b'<' => {
                    self.state = State::Markup;
                    self.brackets = 0;
                    self.at += 1;
                    return Ok(());
                }
                b'&' => {
                    self.brackets = 0;
                    self.begin_reference(false);
                    return Ok(());
                }
                b']' => self.bracket(),
                b'>' if self.brackets == 2 => return self.wrong("]]> in text"),
                _ => self.plain(bytes, b)?,
            }
        }
        Ok(())
    }

    pub(super) fn cdata_start(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        examined(1);
        if bytes[self.at] != CDATA_START[self.at - self.token] {
            return self.wrong("<! begins neither a CDATA section nor anything else that is allowed");
        }
        self.at += 1;
        if self.at - self.token == CDATA_START.len() {
            self.state = State::CData;
        }
        Ok(())
    }

    pub(super) fn cdata(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        while let Some(&b) = bytes.get(self.at) {
            if b >= 0x80 || self.utf8.pending() {
                self.brackets = 0;
                self.non_ascii(bytes)?;
                continue;
            }
            match b {
                b']' => self.bracket(),
                b'>' if self.brackets == 2 => {
                    self.brackets = 0;
                    self.state = State::Text;
                    self.at += 1;
                    return Ok(());
                }
                _ => self.plain(bytes, b)?,
            }
        }
        Ok(())
    }

    fn bracket(&mut self) {
        self.brackets = (self.brackets + 1).min(2);
        self.at += 1;
    }

    /// Takes `b`, an ASCII byte that means nothing here, and what is plain after it.
    fn plain(&mut self, bytes: &[u8], b: u8) -> Result<(), Fault> {
        if b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r') {
            return self.wrong("a control character");
        }
        self.brackets = 0;
        self.at = skip_plain(bytes, self.at + 1);
        Ok(())
    }

    pub(super) fn value(&mut self, bytes: &[u8], header: &Inherited) -> Result<(), Fault> {
        while let Some(&b) = bytes.get(self.at) {
            if b >= 0x80 || self.utf8.pending() {
                self.non_ascii(bytes)?;
                continue;
            }
            match b {
                _ if b == self.quote => return self.end_value(bytes, header),
                b'<' => return self.wrong("'<' in an attribute value"),
                b'&' => {
                    self.indirect = true;
                    self.begin_reference(true);
                    return Ok(());
                }
                b'\t' | b'\n' | b'\r' => {
                    self.indirect = true;
                    self.at += 1;
                }
                _ => self.plain(bytes, b)?,
            }
        }
        Ok(())
    }

    fn begin_reference(&mut self, in_value: bool) {
        self.in_value = in_value;
        self.at += 1;
        self.reference_start = self.at;
        self.state = State::Reference;
    }

    fn end_reference(&mut self) {
        self.at += 1;
        self.state = if self.in_value { State::Value } else { State::Text };
    }

    pub(super) fn reference(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match bytes[self.at] {
            b'#' => {
                self.at += 1;
                self.number = 0;
                self.state = State::Numeric;
            }
            b if is(b, NAME_START) => self.state = State::Entity,
            _ => return self.wrong("'&' that begins no reference"),
        }
        Ok(())
    }

    pub(super) fn numeric(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match bytes[self.at] {
            b'x' => {
                self.at += 1;
                self.state = State::Hexadecimal;
                self.reference_start = self.at;
            }
            b if b.is_ascii_digit() => {
                self.state = State::Decimal;
                self.reference_start = self.at;
            }
            _ => return self.wrong("a character reference without a number"),
        }
        Ok(())
    }

    pub(super) fn decimal(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.digit(bytes[self.at], 10)
    }

    pub(super) fn hexadecimal(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.digit(bytes[self.at], 16)
    }

    fn digit(&mut self, b: u8, base: u32) -> Result<(), Fault> {
        examined(1);
        if let Some(digit) = char::from(b).to_digit(base) {
            // Saturates just above the last character, however many digits follow.
            self.number = (self.number * base + digit).min(0x11_0000);
            self.at += 1;
            return Ok(());
        }
        if b != b';' || self.at == self.reference_start {
            return self.wrong("a character reference that is no number");
        }
        if !is_char(self.number) {
            return self.wrong("a reference to a character that XML does not allow");
        }
        self.end_reference();
        Ok(())
    }

    pub(super) fn entity(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.at = skip(bytes, self.at, NAME);
        match bytes.get(self.at) {
            None => return Ok(()),
            Some(b';') => {}
            Some(_) => return self.wrong("an entity reference without ';'"),
        }
        if !matches!(&bytes[self.reference_start..self.at], b"amp" | b"lt" | b"gt" | b"quot" | b"apos") {
            return Err(
                FramingError::Restricted { what: "a reference to an entity that XML does not predefine" }.into()
            );
        }
        self.end_reference();
        Ok(())
    }
}
