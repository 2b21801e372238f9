//! One direction of a stream as its receiver reads it: whatever the machines say has to be a stream.

use bytes::BytesMut;
use minimix_proxy::xml::framer::{Frame, Framer, Limits};
use minimix_proxy::xmpp::header::Header;
use minimix_proxy::xmpp::stanza::Stanza;

pub struct Wire {
    what: &'static str,
    framer: Framer,
    buf: BytesMut,
    pub header: Header,
}

impl Wire {
    pub fn new(what: &'static str) -> Self {
        // What the machines add may lead beyond the limits that hold for what they are given.
        let limits = Limits { stanza: 8 << 20, depth: 512, attributes: 512 };
        Wire { what, framer: Framer::new(limits), buf: BytesMut::new(), header: Header::default() }
    }

    /// A stream whose header has been read.
    pub fn opened(what: &'static str, header: &str) -> Self {
        let mut wire = Wire::new(what);
        wire.take(header.as_bytes());
        wire
    }

    pub fn restart(&mut self) {
        assert!(!self.framer.mid_frame(), "{}: it starts over within an element", self.what);
        self.framer.restart();
    }

    /// Reads what was sent, which has to be whole frames.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.buf.extend_from_slice(bytes);
        let mut frames = Vec::new();
        loop {
            match self.framer.next(&mut self.buf) {
                Ok(Some(frame)) => {
                    if let Frame::Header(bytes) = &frame {
                        self.header = Header::parse(bytes.clone());
                    }
                    frames.push(frame);
                }
                Ok(None) => break,
                Err(error) => panic!("{}: {error} in {}", self.what, String::from_utf8_lossy(bytes)),
            }
        }
        let whole = self.buf.is_empty() && !self.framer.mid_frame();
        assert!(whole, "{}: no whole frame: {}", self.what, String::from_utf8_lossy(bytes));
        frames
    }

    /// Reads one element, which has to be all that was sent.
    pub fn element(&mut self, bytes: &[u8]) -> Stanza {
        match <[Frame; 1]>::try_from(self.take(bytes)) {
            Ok([Frame::Element(element)]) => self.header.detach(Stanza::new(element)),
            _ => panic!("{}: not one element: {}", self.what, String::from_utf8_lossy(bytes)),
        }
    }
}
