//! The server's features as the client is shown them (RFC 6120 §4.3.2): rewritten as little as possible. What the
//! proxy cannot carry through, or does itself, is cut out; all else, known or not, stays byte for byte.

use bytes::Bytes;

use super::{Auth, BeforeLogin};
use crate::xml::element::Node;
use crate::xmpp::header::Header;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// Features that end at the proxy, by name and namespace; a name of `*` is any.
const REMOVED: &[(&str, &str)] = &[
    ("starttls", ns::TLS),
    ("compression", ns::COMPRESS_FEATURE),
    ("*", ns::SASL2),
    ("*", ns::SM),
    ("*", ns::SM2),
    ("*", ns::SASL_CB),
    ("*", ns::ISR),
];

/// What the client was offered, of what the proxy has to know later.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Offered {
    /// SASL mechanisms.
    pub mechanisms: Vec<String>,
    /// What may be asked for before login.
    pub before_login: BeforeLogin,
    /// Client state indication (XEP-0352).
    pub csi: bool,
}

/// A server's `<features/>`, filtered.
#[derive(Debug)]
pub(super) struct Filtered {
    pub bytes: Bytes,
    pub offered: Offered,
}

/// Filters `features`, which came under the server's `header`. After login nothing of SASL is left to offer. `most`: the
/// largest stanza that the proxy takes, where the server says that it takes larger ones (XEP-0478).
pub(super) fn filter(
    features: &Stanza,
    header: &Header,
    auth: Auth,
    before_login: BeforeLogin,
    logged_in: bool,
    most: usize,
) -> Option<Filtered> {
    // Read with all prefixes declared; they were all put behind the name, so places in the original are the same
    // but for that many bytes.
    let detached = header.detach(features.clone());
    let added = detached.bytes().len() - features.bytes().len();
    let tree = detached.tree().ok()?;
    let mut offered = Offered::default();
    let mut splices: Vec<(std::ops::Range<usize>, String)> = Vec::new();
    for feature in tree.root().children() {
        let (name, space) = (feature.name(), feature.space());
        if REMOVED.iter().any(|&(n, s)| s == space && (n == "*" || n == name)) {
            splices.push((feature.range(), String::new()));
        } else if feature.is("register", ns::REGISTER_FEATURE) || feature.is("auth", ns::AUTH_FEATURE) {
            let registers = feature.space() == ns::REGISTER_FEATURE;
            let allowed = if registers { before_login.registration } else { before_login.legacy_auth };
            match (allowed && !logged_in, registers) {
                (false, _) => splices.push((feature.range(), String::new())),
                (true, true) => offered.before_login.registration = true,
                (true, false) => offered.before_login.legacy_auth = true,
            }
        } else if feature.is("mechanisms", ns::SASL) {
            if logged_in {
                splices.push((feature.range(), String::new()));
            } else {
                mechanisms(feature, auth, &mut offered.mechanisms, &mut splices);
            }
        } else if feature.is("csi", ns::CSI) {
            offered.csi = true;
        } else if let Some(max_bytes) = feature.child("max-bytes", ns::STREAM_LIMITS).filter(|n| exceeds(*n, most)) {
            splices.push((max_bytes.inner(), most.to_string()));
        }
    }
    let original = features.bytes();
    let mut bytes = Vec::with_capacity(original.len() + 64);
    let mut at = 0;
    for (range, xml) in splices {
        bytes.extend_from_slice(&original[at..range.start - added]);
        bytes.extend_from_slice(xml.as_bytes());
        at = range.end - added;
    }
    bytes.extend_from_slice(&original[at..]);
    Some(Filtered { bytes: bytes.into(), offered })
}

/// A number that cannot be read is none that somebody would go by.
fn exceeds(max_bytes: Node<'_>, most: usize) -> bool {
    max_bytes.text().trim().parse().is_ok_and(|announced: usize| announced > most)
}

/// Whether the exchange of a mechanism can pass through a proxy that ends TLS.
fn passes(mechanism: &str) -> bool {
    mechanism != "EXTERNAL" && !mechanism.ends_with("-PLUS")
}

fn mechanisms(
    list: Node<'_>,
    auth: Auth,
    offered: &mut Vec<String>,
    splices: &mut Vec<(std::ops::Range<usize>, String)>,
) {
    let mut first = None;
    let mut cut = Vec::new();
    for mechanism in list.children().filter(|c| c.is("mechanism", ns::SASL)) {
        first.get_or_insert(mechanism);
        let name = mechanism.text();
        if passes(&name) && (auth != Auth::Learn || name == "PLAIN") && !offered.contains(&name) {
            offered.push(name);
        } else {
            cut.push((mechanism.range(), String::new()));
        }
    }
    if auth != Auth::Relay && !offered.iter().any(|m| m == "PLAIN") {
        offered.push("PLAIN".to_owned());
        // In the place of a first mechanism, named as that is (it may bear a prefix); last in the list, for clients
        // that take the first they know.
        let tag = first.map_or("mechanism", |m| m.qualified_name());
        let plain = format!("<{tag}>PLAIN</{tag}>");
        let end = list.inner().end;
        match first {
            Some(_) => cut.push((end..end, plain)),
            // An empty list has no name to follow.
            None => cut.push((list.range(), format!("<mechanisms xmlns='{}'>{plain}</mechanisms>", ns::SASL))),
        }
    }
    if offered.is_empty() {
        splices.push((list.range(), String::new()));
    } else {
        splices.append(&mut cut);
    }
}
