//! Character classes, and the loops that run over bytes that need no thought.

use super::{Fault, FramingError, wrong};

const NOT_UTF8: FramingError = FramingError::UnsupportedEncoding;

/// May start a name. Names are ASCII here: XMPP uses no others, and nobody can argue about ASCII.
pub(super) const NAME_START: u8 = 1;
/// May stand within a name; the colon is not among them.
pub(super) const NAME: u8 = 2;
/// White space: `S` in XML.
pub(super) const SPACE: u8 = 4;
/// Cannot simply be run over in text, CDATA or an attribute value.
pub(super) const SPECIAL: u8 = 8;
/// May stand between `&` and `;`.
pub(super) const REFERENCE: u8 = 16;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => NAME_START | NAME | REFERENCE,
            b'0'..=b'9' | b'.' | b'-' => NAME | REFERENCE,
            b' ' => SPACE,
            b'\t' | b'\n' | b'\r' => SPACE | SPECIAL,
            // Special only because quotes and ampersand are cheaper to find together with it.
            b'#' => SPECIAL | REFERENCE,
            0..=0x1F | 0x80..=0xFF | b'<' | b'&' | b'"' | b'\'' | b']' => SPECIAL,
            _ => 0,
        };
        i += 1;
    }
    table
}

pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// The first byte at or after `at` that is not of `class`.
pub(super) fn skip(bytes: &[u8], mut at: usize, class: u8) -> usize {
    let from = at;
    while at < bytes.len() && is(bytes[at], class) {
        at += 1;
    }
    examined(at - from + 1);
    at
}

/// The first [`SPECIAL`] byte at or after `at`.
pub(super) fn skip_plain(bytes: &[u8], mut at: usize) -> usize {
    let from = at;
    while let Some(&eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let special = special_bits(u64::from_le_bytes(eight));
        if special != 0 {
            at += (special.trailing_zeros() / 8) as usize;
            examined(at - from + 1);
            return at;
        }
        at += 8;
    }
    while at < bytes.len() && !is(bytes[at], SPECIAL) {
        at += 1;
    }
    examined(at - from + 1);
    at
}

/// Eight bytes at once: the lowest top bit that is set tells the first special byte (a subtraction borrows from
/// higher bytes only, so those above it may be wrong).
fn special_bits(eight: u64) -> u64 {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    // "equals c" is "becomes less than 1 by xor"; what the mask 0x05 leaves out makes four of `"#&'` one.
    let quote = (eight & !all(0x05)) ^ all(b'"');
    let less = eight ^ all(b'<');
    let bracket = eight ^ all(b']');
    let below = eight.wrapping_sub(all(0x20))
        | quote.wrapping_sub(all(1))
        | less.wrapping_sub(all(1))
        | bracket.wrapping_sub(all(1));
    (below | eight) & all(0x80)
}

/// XML's `Char` production.
pub(super) fn is_char(code: u32) -> bool {
    matches!(code, 0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x10000..=0x10FFFF)
}

/// A UTF-8 sequence in the making (Unicode table 3-7); it survives chunk borders.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Utf8 {
    /// Continuation bytes still to come, and the range the next one must be in.
    left: u8,
    low: u8,
    high: u8,
    code: u32,
}

impl Utf8 {
    /// True between the bytes of one character.
    pub(super) fn pending(self) -> bool {
        self.left > 0
    }

    /// Runs over the rest of the pending character and the non-ASCII characters that follow it.
    pub(super) fn run(&mut self, bytes: &[u8], mut at: usize) -> Result<usize, Fault> {
        let from = at;
        while let Some(&b) = bytes.get(at) {
            if self.left > 0 {
                if b < self.low || b > self.high {
                    return Err(NOT_UTF8.into());
                }
                self.left -= 1;
                self.code = self.code << 6 | u32::from(b & 0x3F);
                // The ranges rule out all that is no character but these two.
                if self.left == 0 && matches!(self.code, 0xFFFE | 0xFFFF) {
                    return Err(wrong("the character U+FFFE or U+FFFF", at));
                }
                (self.low, self.high) = (0x80, 0xBF);
            } else if b < 0x80 {
                break;
            } else {
                (self.left, self.low, self.high) = match b {
                    0xC2..=0xDF => (1, 0x80, 0xBF),
                    0xE0 => (2, 0xA0, 0xBF),
                    0xE1..=0xEC | 0xEE..=0xEF => (2, 0x80, 0xBF),
                    0xED => (2, 0x80, 0x9F),
                    0xF0 => (3, 0x90, 0xBF),
                    0xF1..=0xF3 => (3, 0x80, 0xBF),
                    0xF4 => (3, 0x80, 0x8F),
                    _ => return Err(NOT_UTF8.into()),
                };
                self.code = u32::from(b) & (0x3F >> self.left);
            }
            at += 1;
        }
        examined(at - from + 1);
        Ok(at)
    }
}

/// Counts the bytes looked at, so that tests can tell linear from quadratic without a clock.
#[cfg(not(test))]
pub(super) fn examined(_bytes: usize) {}

#[cfg(test)]
pub(super) use counter::examined;

#[cfg(test)]
pub(super) mod counter {
    use std::cell::Cell;

    thread_local!(static EXAMINED: Cell<u64> = const { Cell::new(0) });

    pub(in super::super) fn examined(bytes: usize) {
        EXAMINED.with(|count| count.set(count.get() + bytes as u64));
    }

    pub(in super::super) fn take() -> u64 {
        EXAMINED.with(Cell::take)
    }
}
