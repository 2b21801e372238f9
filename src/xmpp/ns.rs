//! Namespaces.

/// Stanzas (RFC 6120).
pub const CLIENT: &str = "jabber:client";
/// The stream element (RFC 6120 §4.8).
pub const STREAMS: &str = "http://etherx.jabber.org/streams";
/// Conditions of stream errors (RFC 6120 §4.9).
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// Conditions of stanza errors (RFC 6120 §8.3).
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// STARTTLS (RFC 6120 §5).
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL (RFC 6120 §6).
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Resource binding (RFC 6120 §7).
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// SASL2 (XEP-0388).
pub const SASL2: &str = "urn:xmpp:sasl:2";
/// Stream management (XEP-0198).
pub const SM: &str = "urn:xmpp:sm:3";
/// Stream management, older (XEP-0198).
pub const SM2: &str = "urn:xmpp:sm:2";
/// Compression as a protocol (XEP-0138).
pub const COMPRESS: &str = "http://jabber.org/protocol/compress";
/// Compression as a feature (XEP-0138).
pub const COMPRESS_FEATURE: &str = "http://jabber.org/features/compress";
/// Types of channel binding (XEP-0440).
pub const SASL_CB: &str = "urn:xmpp:sasl-cb:0";
/// Client state indication (XEP-0352).
pub const CSI: &str = "urn:xmpp:csi:0";
/// Instant stream resumption (XEP-0397).
pub const ISR: &str = "https://xmpp.org/extensions/isr/0";
/// In-band registration as a stream feature (XEP-0077).
pub const REGISTER_FEATURE: &str = "http://jabber.org/features/iq-register";
/// In-band registration (XEP-0077).
pub const REGISTER: &str = "jabber:iq:register";
/// Login of before SASL (XEP-0078).
pub const AUTH: &str = "jabber:iq:auth";
/// Login of before SASL, as a stream feature (XEP-0078).
pub const AUTH_FEATURE: &str = "http://jabber.org/features/iq-auth";
/// Joining a room (XEP-0045 §7.2).
pub const MUC: &str = "http://jabber.org/protocol/muc";
/// What a room tells its occupants (XEP-0045).
pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
/// Delayed delivery (XEP-0203).
pub const DELAY: &str = "urn:xmpp:delay";
/// CAPTCHA forms (XEP-0158).
pub const CAPTCHA: &str = "urn:xmpp:captcha";
/// Ping (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// Service discovery, what it is (XEP-0030).
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// Entity capabilities (XEP-0115).
pub const CAPS: &str = "http://jabber.org/protocol/caps";
/// Jingle (XEP-0166).
pub const JINGLE: &str = "urn:xmpp:jingle:1";
/// In-band bytestreams (XEP-0047).
pub const IBB: &str = "http://jabber.org/protocol/ibb";
/// SOCKS5 bytestreams (XEP-0065).
pub const BYTESTREAMS: &str = "http://jabber.org/protocol/bytestreams";
/// Software version (XEP-0092).
pub const VERSION: &str = "jabber:iq:version";
/// The roster (RFC 6121 §2).
pub const ROSTER: &str = "jabber:iq:roster";
/// Carbons (XEP-0280).
pub const CARBONS: &str = "urn:xmpp:carbons:2";
/// Message forwarding (XEP-0297).
pub const FORWARD: &str = "urn:xmpp:forward:0";
/// Message processing hints (XEP-0334).
pub const HINTS: &str = "urn:xmpp:hints";
/// Anonymous unique occupant identifiers (XEP-0421).
pub const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
/// Stream limits advertisement (XEP-0478).
pub const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";
/// Unique and stable stanza ids (XEP-0359).
pub const STANZA_ID: &str = "urn:xmpp:sid:0";
/// Message archives (XEP-0313).
pub const MAM: &str = "urn:xmpp:mam:2";
/// The archive's mark of before XEP-0359, which ejabberd still writes (XEP-0313 0.5).
pub const MAM_OLD: &str = "urn:xmpp:mam:tmp";
/// Explicit message encryption (XEP-0380).
pub const ENCRYPTION: &str = "urn:xmpp:eme:0";
/// Chat markers (XEP-0333).
pub const CHAT_MARKERS: &str = "urn:xmpp:chat-markers:0";
/// Message fastening (XEP-0422).
pub const FASTEN: &str = "urn:xmpp:fasten:0";
/// Message retraction (XEP-0424 0.3).
pub const RETRACT_0: &str = "urn:xmpp:message-retract:0";
/// Message retraction (XEP-0424).
pub const RETRACT_1: &str = "urn:xmpp:message-retract:1";
/// Message moderation (XEP-0425 0.2).
pub const MODERATE_0: &str = "urn:xmpp:message-moderate:0";
/// Message moderation (XEP-0425).
pub const MODERATE_1: &str = "urn:xmpp:message-moderate:1";
/// The administration of a room (XEP-0045 §9, §10).
pub const MUC_ADMIN: &str = "http://jabber.org/protocol/muc#admin";
/// Bookmarks as items of a PEP node (XEP-0402).
pub const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
/// Bookmarks in one element (XEP-0048), in private XML storage or in a PEP node.
pub const STORAGE_BOOKMARKS: &str = "storage:bookmarks";
/// Private XML storage (XEP-0049).
pub const PRIVATE: &str = "jabber:iq:private";
/// Publish-Subscribe (XEP-0060).
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// What the owner of a Publish-Subscribe node asks (XEP-0060 §8).
pub const PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
/// What a Publish-Subscribe node tells (XEP-0060).
pub const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// Result set management (XEP-0059).
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// Extended stanza addressing (XEP-0033).
pub const ADDRESS: &str = "http://jabber.org/protocol/address";
