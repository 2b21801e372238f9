//! Reading what a server offers and refuses: stream features (RFC 6120 §4.3.2), conditions with their texts.

use super::SESSION;
use crate::xml::element::Node;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// The SASL mechanisms that the features offer, in the server's order.
pub fn mechanisms(features: &Stanza) -> Vec<String> {
    let Ok(tree) = features.tree() else { return Vec::new() };
    let Some(list) = tree.root().child("mechanisms", ns::SASL) else { return Vec::new() };
    list.children().filter(|c| c.is("mechanism", ns::SASL)).map(|c| c.text().trim().to_owned()).collect()
}

/// The channel-binding types that the features list (XEP-0440); `None` if the server has no such list.
pub fn binding_types(features: &Stanza) -> Option<Vec<String>> {
    let tree = features.tree().ok()?;
    let list = tree.root().child("sasl-channel-binding", ns::SASL_CB)?;
    let types = list.children().filter(|c| c.is("channel-binding", ns::SASL_CB));
    Some(types.filter_map(|c| c.attr("type").map(|t| t.into_owned())).collect())
}

/// The largest stanza that the server takes, in bytes (XEP-0478); `None` if it does not say.
pub fn max_bytes(features: &Stanza) -> Option<usize> {
    let tree = features.tree().ok()?;
    tree.root().child("limits", ns::STREAM_LIMITS)?.child_text("max-bytes", ns::STREAM_LIMITS)?.trim().parse().ok()
}

/// Whether the features have a child `name` in `space`.
pub fn offers(features: &Stanza, name: &str, space: &str) -> bool {
    features.tree().is_ok_and(|tree| tree.root().child(name, space).is_some())
}

/// Whether the element itself is `name` in `space`.
pub fn is(element: &Stanza, name: &str, space: &str) -> bool {
    element.tree().is_ok_and(|tree| tree.root().is(name, space))
}

/// Whether a session (RFC 3921 §3) has to be asked for.
pub(super) fn wants_session(features: &Stanza) -> bool {
    features.tree().is_ok_and(|tree| {
        tree.root().child("session", SESSION).is_some_and(|session| session.child("optional", SESSION).is_none())
    })
}

/// Condition and text of a `<failure/>` or a `<stream:error/>`.
pub(super) fn failure(element: &Stanza, space: &str) -> (String, Option<String>) {
    let Ok(tree) = element.tree() else { return (undefined(), None) };
    let text = tree.root().child_text("text", space).filter(|t| !t.is_empty());
    (first_condition(tree.root(), space), text.map(|t| printable(&t)))
}

/// A server's text as it may stand in a line of a log or on a terminal: no control characters (S23), not too long.
fn printable(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().take(500).map(escaped).collect()
}

/// The condition in the child `name` of a stanza.
pub(super) fn condition(stanza: &Stanza, name: &str, space: &str) -> String {
    let Ok(tree) = stanza.tree() else { return undefined() };
    tree.root().child(name, ns::CLIENT).map_or_else(undefined, |error| first_condition(error, space))
}

fn first_condition(node: Node<'_>, space: &str) -> String {
    let found = node.children().find(|c| c.space() == space && c.name() != "text");
    found.map_or_else(undefined, |c| c.name().to_owned())
}

fn undefined() -> String {
    "undefined-condition".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEATURES: &str = "<features xmlns='http://etherx.jabber.org/streams'>\
        <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1-PLUS</mechanism>\
        <mechanism> PLAIN\n</mechanism></mechanisms>\
        <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>\
        <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session></features>";

    #[test]
    fn reads_features() {
        let features = Stanza::own(FEATURES);
        assert_eq!(mechanisms(&features), ["SCRAM-SHA-1-PLUS", "PLAIN"]);
        assert_eq!(binding_types(&features), Some(vec!["tls-exporter".to_owned()]));
        assert!(offers(&features, "mechanisms", ns::SASL));
        assert!(!offers(&features, "starttls", ns::TLS));
        assert!(!wants_session(&features));
        let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes> 262144</max-bytes></limits></features>";
        assert_eq!(max_bytes(&Stanza::own(FEATURES.replace("</features>", limits))), Some(262_144));
        assert_eq!(max_bytes(&features), None);
        let old = Stanza::own(FEATURES.replace("<optional/>", ""));
        assert!(wants_session(&old));
        assert_eq!(binding_types(&Stanza::own("<features/>")), None);
        assert!(mechanisms(&Stanza::own("<features/>")).is_empty());
    }

    #[test]
    fn reads_conditions_and_texts() {
        let refusal = Stanza::own(
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><text>no &amp; never</text><not-authorized/></failure>",
        );
        assert_eq!(failure(&refusal, ns::SASL), ("not-authorized".into(), Some("no & never".into())));
        let empty = Stanza::own("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
        assert_eq!(failure(&empty, ns::SASL), ("undefined-condition".into(), None));
        let error = Stanza::own(
            "<iq type='error'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
        );
        assert_eq!(condition(&error, "error", ns::STANZA_ERRORS), "conflict");
    }
}
