//! Defined conditions: why a stream ends (RFC 6120 §4.9.3) and why a stanza is answered by an error (§8.3.3).

use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

macro_rules! conditions {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* #[doc = $text] $variant),* }

        impl $name {
            /// The element name on the wire.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

conditions! {
    /// A stream error's condition (RFC 6120 §4.9.3).
    StreamCondition {
        BadFormat = "bad-format",
        BadNamespacePrefix = "bad-namespace-prefix",
        Conflict = "conflict",
        ConnectionTimeout = "connection-timeout",
        HostUnknown = "host-unknown",
        ImproperAddressing = "improper-addressing",
        InternalServerError = "internal-server-error",
        InvalidFrom = "invalid-from",
        InvalidNamespace = "invalid-namespace",
        InvalidXml = "invalid-xml",
        NotAuthorized = "not-authorized",
        NotWellFormed = "not-well-formed",
        PolicyViolation = "policy-violation",
        RemoteConnectionFailed = "remote-connection-failed",
        Reset = "reset",
        ResourceConstraint = "resource-constraint",
        RestrictedXml = "restricted-xml",
        SystemShutdown = "system-shutdown",
        UndefinedCondition = "undefined-condition",
        UnsupportedEncoding = "unsupported-encoding",
        UnsupportedStanzaType = "unsupported-stanza-type",
        UnsupportedVersion = "unsupported-version",
    }
}

conditions! {
    /// A stanza error's condition (RFC 6120 §8.3.3).
    StanzaCondition {
        BadRequest = "bad-request",
        Conflict = "conflict",
        FeatureNotImplemented = "feature-not-implemented",
        Forbidden = "forbidden",
        InternalServerError = "internal-server-error",
        ItemNotFound = "item-not-found",
        JidMalformed = "jid-malformed",
        NotAcceptable = "not-acceptable",
        NotAllowed = "not-allowed",
        NotAuthorized = "not-authorized",
        PolicyViolation = "policy-violation",
        RecipientUnavailable = "recipient-unavailable",
        RemoteServerTimeout = "remote-server-timeout",
        ResourceConstraint = "resource-constraint",
        ServiceUnavailable = "service-unavailable",
        UndefinedCondition = "undefined-condition",
        UnexpectedRequest = "unexpected-request",
    }
}

impl StanzaCondition {
    /// The error type RFC 6120 §8.3.3 gives it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::BadRequest | Self::JidMalformed | Self::NotAcceptable | Self::PolicyViolation => "modify",
            Self::Forbidden | Self::NotAuthorized => "auth",
            Self::RecipientUnavailable | Self::RemoteServerTimeout | Self::ResourceConstraint => "wait",
            Self::UnexpectedRequest => "wait",
            _ => "cancel",
        }
    }
}

/// `<stream:error/>` with a text, and the stream's end. The header must have been sent with prefix `stream`, so the
/// namespace is declared again: it stands whatever prefix the header used.
pub fn stream_error(condition: StreamCondition, text: &str) -> String {
    let mut out =
        format!("<stream:error xmlns:stream='{}'><{} xmlns='{}'/>", ns::STREAMS, condition.name(), ns::STREAM_ERRORS);
    if !text.is_empty() {
        out += &format!("<text xmlns='{}' xml:lang='en'>{}</text>", ns::STREAM_ERRORS, escape(text));
    }
    out += "</stream:error>";
    out
}

/// The `<error/>` child of an error stanza.
pub fn error_element(condition: StanzaCondition, text: &str) -> String {
    let mut out = format!("<error type='{}'><{} xmlns='{}'/>", condition.kind(), condition.name(), ns::STANZA_ERRORS);
    if !text.is_empty() {
        out += &format!("<text xmlns='{}' xml:lang='en'>{}</text>", ns::STANZA_ERRORS, escape(text));
    }
    out += "</error>";
    out
}

/// The error answer to `stanza`: addresses turned round, its id kept, `payload` (XML, may be empty) echoed before
/// the error. `None` where no answer may be given: to errors and to IQ results (RFC 6120 §8.3.1).
pub fn error_reply(stanza: &Stanza, payload: &str, condition: StanzaCondition, text: &str) -> Option<String> {
    let kind = stanza.type_();
    if kind.as_deref() == Some("error") || (stanza.is_iq() && kind.as_deref() == Some("result")) {
        return None;
    }
    let name = stanza.name();
    let mut out = format!("<{name} type='error'");
    for (attribute, value) in [("from", stanza.to()), ("to", stanza.from()), ("id", stanza.id())] {
        if let Some(value) = value {
            out += &format!(" {attribute}='{}'", escape(&value));
        }
    }
    out += &format!(">{payload}{}</{name}>", error_element(condition, text));
    Some(out)
}
