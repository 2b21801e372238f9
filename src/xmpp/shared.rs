//! A frame that several sessions of one account get alike, stored once: only their own JIDs in it differ.

use bytes::{Bytes, BytesMut};

use crate::xmpp::stanza::Stanza;

/// A frame that all attached clients get alike, but for their own JID as `to` and as the JID of their own occupant.
#[derive(Debug, PartialEq, Eq)]
pub struct Shared {
    bytes: Bytes,
    /// Ranges to be replaced by the client's full JID, in order.
    slots: [Option<Slot>; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    start: u32,
    end: u32,
    /// There is no such attribute yet: it is written whole.
    whole: bool,
}

impl Shared {
    /// `stanza`, to be sent to each client with its own JID as `to`, and in `jid` too (a range of the stanza's bytes
    /// behind the start tag) where it is given.
    pub fn new(stanza: &Stanza, jid: Option<std::ops::Range<usize>>) -> Self {
        Shared::with_two(stanza, [jid, None])
    }

    /// The same, with its JID in two more places, in order.
    pub fn with_two(stanza: &Stanza, jids: [Option<std::ops::Range<usize>>; 2]) -> Self {
        let to = match stanza.to_range() {
            Some(range) => Slot { start: range.start as u32, end: range.end as u32, whole: false },
            None => Slot { start: stanza.name_end() as u32, end: stanza.name_end() as u32, whole: true },
        };
        let [first, second] = jids.map(|r| r.map(|r| Slot { start: r.start as u32, end: r.end as u32, whole: false }));
        Shared { bytes: stanza.bytes().clone(), slots: [Some(to), first, second] }
    }

    /// Bytes it keeps.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it keeps none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes as they were before any JID was put in.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// A copy, to be looked into and changed.
    pub fn to_stanza(&self) -> Stanza {
        Stanza::own(self.bytes.to_vec())
    }

    /// Writes the frame for the client whose full JID, escaped for XML, is `jid`.
    pub fn write(&self, jid: &str, out: &mut BytesMut) {
        out.reserve(self.bytes.len() + 3 * jid.len() + 8);
        let mut at = 0;
        for slot in self.slots.iter().flatten() {
            out.extend_from_slice(&self.bytes[at..slot.start as usize]);
            if slot.whole {
                out.extend_from_slice(b" to='");
            }
            out.extend_from_slice(jid.as_bytes());
            if slot.whole {
                out.extend_from_slice(b"'");
            }
            at = slot.end as usize;
        }
        out.extend_from_slice(&self.bytes[at..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_gets_its_own_jid() {
        let text = "<presence from='r@s/n' to='a@b/proxy'><x><item jid='a@b/proxy'/></x></presence>";
        let stanza = Stanza::own(text);
        let jid = text.rfind("a@b/proxy").unwrap();
        let mut out = BytesMut::new();
        Shared::new(&stanza, Some(jid..jid + 9)).write("a@b/phone", &mut out);
        assert_eq!(out, text.replace("proxy", "phone").as_bytes());
        out.clear();
        Shared::new(&Stanza::own("<message from='r@s'/>"), None).write("a@b/c", &mut out);
        assert_eq!(&out[..], b"<message to='a@b/c' from='r@s'/>");
    }
}
