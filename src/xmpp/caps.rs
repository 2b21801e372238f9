//! Entity capabilities (XEP-0115): what a presence says of them, and the proxy's own, which rooms are shown while no
//! client of the account is there.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest;

use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

const OWN_URI: &str = "https://github.com/minimix-proxy/minimix-proxy";
const IDENTITY: (&str, &str, &str) = ("client", "bot", "minimix-proxy");
/// In the order of XEP-0115 §5.1.
const FEATURES: [&str; 4] = [ns::CAPS, ns::DISCO_INFO, ns::VERSION, ns::PING];

/// The node under which the proxy's own capabilities can be asked for.
static OWN_NODE: LazyLock<String> = LazyLock::new(|| {
    let (category, kind, name) = IDENTITY;
    let text = format!("{category}/{kind}//{name}<{}<", FEATURES.join("<"));
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    format!("{OWN_URI}#{}", STANDARD.encode(hash))
});

/// The node (`node#ver`) of the capabilities that a presence announces by a hash, which says what they are for good.
pub fn node(presence: &Stanza) -> Option<String> {
    let tree = presence.tree().ok()?;
    let caps = tree.root().child("c", ns::CAPS)?;
    caps.attr("hash")?;
    Some(format!("{}#{}", caps.attr("node")?, caps.attr("ver")?))
}

/// What the proxy announces of itself.
pub fn own_element() -> String {
    let ver = OWN_NODE.rsplit('#').next().unwrap_or_default();
    format!("<c xmlns='{}' hash='sha-1' node='{OWN_URI}' ver='{}'/>", ns::CAPS, escape(ver))
}

/// Whether `node` is the proxy's own.
pub fn is_own_node(node: &str) -> bool {
    node == OWN_NODE.as_str()
}

/// What the proxy answers to disco#info.
pub fn own_disco_info(node: Option<&str>) -> String {
    let features: String = FEATURES.iter().map(|f| format!("<feature var='{f}'/>")).collect();
    let node = node.map(|node| format!(" node='{}'", escape(node))).unwrap_or_default();
    let (category, kind, name) = IDENTITY;
    format!(
        "<query xmlns='{}'{node}><identity category='{category}' type='{kind}' name='{name}'/>{features}</query>",
        ns::DISCO_INFO
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_hash_is_of_what_is_answered() {
        // XEP-0115 §5.1, by hand: identities, then features, each ended by '<', in octet order.
        let mut sorted = FEATURES;
        sorted.sort_unstable();
        assert_eq!(sorted, FEATURES);
        let presence = Stanza::own(format!("<presence>{}</presence>", own_element()));
        let node = node(&presence).unwrap();
        assert!(is_own_node(&node), "{node}");
        let answer = own_disco_info(Some(&node));
        assert!(FEATURES.iter().all(|f| answer.contains(&format!("<feature var='{f}'/>"))));
        assert_eq!(node, format!("{OWN_URI}#FdLvwUr34ucW759hwkMJA5ad+OE="));
    }

    #[test]
    fn without_a_hash_nothing_is_sure() {
        let presence = |c: &str| Stanza::own(format!("<presence><c xmlns='{}' {c}/></presence>", ns::CAPS));
        assert_eq!(node(&presence("hash='sha-1' node='n' ver='v&lt;'")).as_deref(), Some("n#v<"));
        assert_eq!(node(&presence("node='n' ver='1.0' ext='a b'")), None);
        assert_eq!(node(&Stanza::own("<presence/>")), None);
    }
}
