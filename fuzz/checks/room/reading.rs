//! Reading: stanzas from what peers say, and what the account hands to clients.

use bytes::BytesMut;
use jid::Jid;
use minimix_proxy::account::account::Output;
use minimix_proxy::account::handle::ToClient;
use minimix_proxy::muc::ClientId;
use minimix_proxy::xml::framer::{Frame, Framer, Limits};
use minimix_proxy::xmpp::header::Header;
use minimix_proxy::xmpp::stanza::Stanza;

/// What clients and server declare on their streams, so that stanzas have something to inherit.
pub const HEADER: &str = "<stream:stream to='example' version='1.0' xml:lang='de' xmlns='jabber:client' xmlns:p='urn:p' \
                      xmlns:stream='http://etherx.jabber.org/streams' xmlns:u='http://jabber.org/protocol/muc#user'>";

/// A peer's bytes, read as the links do.
pub struct Reader {
    framer: Framer,
    pub header: Header,
}

impl Reader {
    pub fn new() -> Self {
        let mut framer = Framer::new(Limits::AFTER_LOGIN);
        let mut buf = BytesMut::from(HEADER);
        assert!(framer.next(&mut buf).is_ok_and(|frame| frame.is_some()));
        Reader { framer, header: Header::parse(HEADER.into()) }
    }

    /// The stanzas in the bytes, up to what cannot stand on a stream.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Stanza> {
        let mut buf = BytesMut::from(bytes);
        let mut all = Vec::new();
        loop {
            match self.framer.next(&mut buf) {
                Ok(Some(Frame::Element(element))) => all.push(Stanza::new(element)),
                Ok(None) if !self.framer.mid_frame() => return all,
                _ => break,
            }
        }
        *self = Reader::new();
        all
    }
}

pub fn flatten<'a>(item: &'a ToClient, frames: &mut Vec<&'a ToClient>) {
    match item {
        ToClient::Batch(all) => all.iter().for_each(|item| flatten(item, frames)),
        ToClient::Shared(_) | ToClient::Own(_) => frames.push(item),
        _ => {}
    }
}

/// What a client is told, if it is not its own stanza given back.
pub fn told(output: &Output) -> Option<(ClientId, &ToClient)> {
    match output {
        Output::Client(client, item @ (ToClient::Shared(_) | ToClient::Own(_) | ToClient::Batch(_))) => {
            Some((*client, item))
        }
        _ => None,
    }
}

/// The bytes that a client of that JID gets.
pub fn shown(item: &ToClient, jid: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    match item {
        ToClient::Shared(shared) => shared.write(&jid.replace('&', "&amp;"), &mut out),
        ToClient::Own(bytes) => out.extend_from_slice(bytes),
        _ => {}
    }
    out.to_vec()
}

pub fn same_address(a: &str, b: &str) -> bool {
    a == b || matches!((Jid::new(a), Jid::new(b)), (Ok(a), Ok(b)) if a == b)
}

/// The number in a client's IQ.
pub fn number(stanza: &Stanza) -> Option<String> {
    let tree = stanza.tree().ok()?;
    tree.root().children().find_map(|c| c.attr("number")).map(|n| n.into_owned())
}

pub fn queryid(stanza: &Stanza) -> Option<String> {
    let tree = stanza.tree().ok()?;
    tree.root().children().find_map(|c| c.attr("queryid")).map(|n| n.into_owned())
}
