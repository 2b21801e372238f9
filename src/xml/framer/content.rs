//! Texts: character data, CDATA sections, and references (XML 1.0 §2.4, §2.7, §4.1).

use super::chars::{REFERENCE, examined, is_char, skip, skip_plain};
use super::scanner::{Scanner, State};
use super::{Fault, FramingError, wrong};

const CDATA_START: &[u8] = b"[CDATA[";

impl Scanner {
    #[inline(never)]
    pub(super) fn text(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        while let Some(b) = self.next_special(bytes)? {
            self.at += 1;
            match b {
                b'<' => {
                    self.state = State::Markup;
                    return Ok(());
                }
                b'&' => {
                    (self.token, self.state) = (self.at, State::Reference);
                    return Ok(());
                }
                b']' => self.brackets = (self.brackets + 1).min(2),
                b'>' if self.brackets == 2 => return Err(wrong("]]> in text", self.at - 1)),
                _ => self.brackets = 0,
            }
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn cdata_start(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        examined(1);
        if bytes[self.at] != CDATA_START[self.at - self.token] {
            return Err(wrong("<! that begins neither a CDATA section nor anything else that is allowed", self.at));
        }
        self.at += 1;
        if self.at - self.token == CDATA_START.len() {
            self.state = State::CData;
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn cdata(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        while let Some(b) = self.next_special(bytes)? {
            self.at += 1;
            match b {
                b']' => self.brackets = (self.brackets + 1).min(2),
                b'>' if self.brackets == 2 => {
                    (self.brackets, self.state) = (0, State::Text);
                    return Ok(());
                }
                // In "]>]>" nothing ends.
                _ => self.brackets = 0,
            }
        }
        Ok(())
    }

    /// The next byte that may mean something, after running over what does not; it stays at `self.at`.
    #[inline(always)]
    fn next_special(&mut self, bytes: &[u8]) -> Result<Option<u8>, Fault> {
        loop {
            match bytes.get(self.at) {
                None => return Ok(None),
                Some(&b) if b >= 0x80 || self.utf8.pending() => {
                    self.brackets = 0;
                    self.at = self.utf8.run(bytes, self.at)?;
                }
                // After brackets even a plain '>' means something.
                Some(&b @ (b'<' | b'&' | b']' | b'>')) => {
                    if !matches!(b, b']' | b'>') {
                        self.brackets = 0;
                    }
                    return Ok(Some(b));
                }
                Some(&b) if b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r') => {
                    return Err(wrong("a control character", self.at));
                }
                Some(_) => {
                    self.brackets = 0;
                    self.at = skip_plain(bytes, self.at + 1);
                }
            }
        }
    }

    #[inline(never)]
    pub(super) fn reference(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.at = skip(bytes, self.at, REFERENCE);
        if self.at < bytes.len() {
            check_reference(bytes, self.token, self.at)?;
            self.at += 1;
            self.state = State::Text;
        }
        Ok(())
    }
}

/// Checks the reference whose `&` is before `start` and whose `;` must be at `end`.
pub(super) fn check_reference(bytes: &[u8], start: usize, end: usize) -> Result<(), Fault> {
    if bytes[end] != b';' {
        return Err(wrong("'&' that begins no reference, or a reference without ';'", end));
    }
    let number = match &bytes[start..end] {
        [b'#', b'x', digits @ ..] => parse_number(digits, 16),
        [b'#', digits @ ..] => parse_number(digits, 10),
        b"amp" | b"lt" | b"gt" | b"quot" | b"apos" => return Ok(()),
        name if is_name(name) => {
            return Err(FramingError::Restricted { what: "a reference to an undefined entity" }.into());
        }
        _ => None,
    };
    match number {
        Some(number) if is_char(number) => Ok(()),
        Some(_) => Err(wrong("a reference to a character that XML does not allow", start)),
        None => Err(wrong("a reference that is neither a name nor a number", start)),
    }
}

fn is_name(name: &[u8]) -> bool {
    let start = name.first().is_some_and(|&b| super::chars::is(b, super::chars::NAME_START));
    start && name.iter().all(|&b| super::chars::is(b, super::chars::NAME))
}

/// A number; above all characters it is any number above all characters.
fn parse_number(digits: &[u8], base: u32) -> Option<u32> {
    examined(digits.len());
    if digits.is_empty() {
        return None;
    }
    let mut number: u32 = 0;
    for &b in digits {
        number = (number * base + char::from(b).to_digit(base)?).min(0x11_0000);
    }
    Some(number)
}
