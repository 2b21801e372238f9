//! Skipping a stanza that is too large instead of ending the stream (S12): for streams from a server, where it is not
//! the peer's fault and the stream is worth more than the stanza. It is checked to its end like any other, and memory
//! stays within the limit: whenever that is reached, all is dropped but the names that are still open and the
//! prefixes in scope.

use bytes::{Buf, BytesMut};

use super::scanner::{Kind, Scanner, State};
use super::{Fault, Framer, Stage, TOO_LARGE};

impl Framer {
    /// From now on elements that are too large are dropped and counted. A stream header, or a single start tag, that is
    /// too large ends the stream all the same.
    pub fn skip_oversize(&mut self) {
        self.skips = true;
    }

    /// How many elements were too large and are dropped.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The frame at hand has reached the limit: what of it is no longer needed goes.
    #[cold]
    pub(super) fn skip_on(&mut self, buf: &mut BytesMut) -> Result<(), Fault> {
        if !self.skips || self.scanner.kind == Kind::Header {
            return Err(TOO_LARGE.into());
        }
        let tail = self.scanner.unfinished_from();
        if self.scanner.at - tail >= self.limits.stanza {
            return Err(TOO_LARGE.into());
        }
        self.skipping = true;
        let mut kept = BytesMut::new();
        self.scanner.keep_open(buf, &mut kept);
        self.scanner.shift(tail, kept.len());
        self.room = kept.len() + self.limits.stanza;
        buf.advance(tail);
        kept.extend_from_slice(buf);
        *buf = kept;
        Ok(())
    }

    /// The frame that was too large is complete.
    #[cold]
    pub(super) fn skip_off(&mut self, buf: &mut BytesMut) {
        buf.advance(self.scanner.at);
        self.scanner.finish();
        (self.skipping, self.stage, self.limits) = (false, Stage::Between, self.next_limits);
        self.skipped += 1;
    }
}

impl Scanner {
    /// Where the markup or reference at hand begins, of which all bytes are still needed.
    fn unfinished_from(&self) -> usize {
        match self.state {
            State::Text | State::CData | State::Markup | State::Complete => self.at,
            _ => self.token,
        }
    }

    /// Copies what later bytes are compared with, and points there.
    fn keep_open(&mut self, bytes: &[u8], kept: &mut BytesMut) {
        for open in &mut self.open {
            open.name = open.name.copy(bytes, kept);
        }
        self.scope.copy(bytes, kept);
    }

    /// What was at `from` is at `to` now.
    fn shift(&mut self, from: usize, to: usize) {
        self.at = self.at - from + to;
        self.token = self.token.saturating_sub(from) + to;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Frame, FramingError, Limits};
    use super::*;

    const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

    /// The elements that come through, how many were skipped, and the largest buffer.
    fn run(text: &str, chunk: usize) -> Result<(Vec<String>, u64, usize), FramingError> {
        let mut framer = Framer::new(Limits { stanza: 100, depth: 8, attributes: 8 });
        framer.skip_oversize();
        let (mut buf, mut frames, mut most) = (BytesMut::new(), Vec::new(), 0);
        for chunk in [HEADER, text].concat().as_bytes().chunks(chunk) {
            buf.extend_from_slice(chunk);
            while let Some(frame) = framer.next(&mut buf)? {
                if let Frame::Element(element) = frame {
                    frames.push(String::from_utf8(element.bytes.to_vec()).unwrap());
                }
            }
            most = most.max(buf.len());
        }
        Ok((frames, framer.skipped(), most))
    }

    #[test]
    fn s12_a_stanza_that_is_too_large_is_skipped_and_the_next_is_read() {
        let long = "y".repeat(1000);
        let many = "<c xmlns:q='u:1'><q:d a='1'/></c>".repeat(50);
        for inner in [&long, &many, "<![CDATA[".to_owned().as_str()].map(str::to_owned) {
            let inner = if inner.starts_with("<![") { format!("{inner}{long}]]>") } else { inner };
            let text = format!("<a/><p:m xmlns:p='u:2'><p:b>{inner}</p:b>&lt;</p:m><b>{}</b>", "x".repeat(50));
            for chunk in [1, 3, 64, 10_000] {
                let (frames, skipped, most) = run(&text, chunk).unwrap();
                assert_eq!((frames.len(), skipped), (2, 1), "{frames:?}");
                assert!(frames[1].starts_with("<b>"));
                // The buffer holds the limit, what is open, and one chunk.
                assert!(most <= 100 + 40 + chunk, "{most}");
            }
        }
    }

    #[test]
    fn what_is_skipped_is_checked_all_the_same() {
        let long = "y".repeat(1000);
        let wrong = [
            (format!("<m><b>{long}</c></m>"), "not-well-formed"),
            (format!("<m><b>{long}</b><!-- --></m>"), "restricted-xml"),
            (format!("<m><b>{long}</b><q:d/></m>"), "bad-namespace-prefix"),
            (format!("<m><b>{long}\u{FFFF}</b></m>"), "not-well-formed"),
            (format!("<m a='{long}'/>"), "policy-violation"),
        ];
        for (text, condition) in wrong {
            for chunk in [1, 7, 10_000] {
                assert_eq!(run(&text, chunk).unwrap_err().condition(), condition, "{text}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_chunking_skips_alike(parts in proptest::collection::vec((0..6usize, 0..150usize), 1..12), chunk in 1..200usize) {
            let part = |(kind, len): &(usize, usize)| match kind {
                0 => format!("<a>{}</a>", "é".repeat(*len)),
                1 => format!("<a xmlns:p='u:{len}'>{}</a>", "<p:b/>".repeat(len / 4)),
                2 => format!("<a>{}</a>", "&amp;]]".repeat(len / 4)),
                3 => format!("<a><b><![CDATA[{}]]></b></a>", "]".repeat(*len)),
                4 => format!("<a><b c='{}'/><d></d ></a>", "z".repeat(len / 4)),
                _ => " ".repeat(*len),
            };
            let text: String = parts.iter().map(part).collect();
            let (frames, skipped, _) = run(&text, 1_000_000).unwrap();
            let (by_chunks, skipped_by_chunks, _) = run(&text, chunk).unwrap();
            prop_assert_eq!(&frames, &by_chunks);
            prop_assert_eq!(skipped, skipped_by_chunks);
            prop_assert_eq!(frames.len() + skipped as usize, parts.iter().filter(|(kind, _)| *kind < 5).count());
        }
    }
}
