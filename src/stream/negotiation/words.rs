//! What goes into the machine and what comes out of it.

use bytes::Bytes;
use jid::{BareJid, FullJid};
use secrecy::SecretString;

use crate::stream::sasl::Plain;
use crate::xml::framer::Frame;
use crate::xmpp::conditions::StreamCondition;
use crate::xmpp::header::Header;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// Where logins end (DESIGN §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Only PLAIN is offered; the proxy logs in upstream with what it gets.
    Learn,
    /// PLAIN ends at the proxy, the server's other mechanisms are relayed.
    Mixed,
    /// The server's own mechanisms, all relayed.
    Relay,
}

/// The domains of this proxy, as far as a stream asks for them (S1).
pub trait Domains: Send + Sync {
    /// The configured domain that `to` names, as it is configured; `None` if there is none.
    fn configured(&self, to: &str) -> Option<String>;

    /// The largest stanza that is taken after login, in bytes.
    fn largest_stanza(&self) -> usize {
        usize::MAX
    }

    /// What clients of a configured domain may do before they have logged in (S4).
    fn before_login(&self, _domain: &str) -> BeforeLogin {
        BeforeLogin::default()
    }
}

/// What passes before login, where the server offers it (S4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BeforeLogin {
    /// Registration (XEP-0077).
    pub registration: bool,
    /// The login of before SASL (XEP-0078).
    pub legacy_auth: bool,
}

/// How an attempt to log in ended (S3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The server said success.
    Success,
    /// It said failure, or it was asked and nobody waited for the answer.
    Failure,
    /// The server's stream ended instead of an answer.
    Unanswered,
    /// The server was not asked, for no fault of the client.
    Withdrawn,
}

/// Tells whether the certificate that a client was shown is good for a domain.
pub struct Covers(pub Box<dyn Fn(&str) -> bool + Send + Sync>);

impl std::fmt::Debug for Covers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Covers")
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A frame from the client.
    Client(Frame),
    /// A frame from the server.
    Server(Frame),
    /// TLS with the client is up. If it asked for a certificate by name (SNI): what the one it was shown is good for.
    TlsUp(Option<Covers>),
    /// The upstream connection is there, encrypted as configured; nothing was sent on it.
    Dialled,
    /// What [`Action::Gate`] asked for may go up.
    Admitted,
    /// It may not: the client is told to try again later.
    TurnedAway,
    /// It is not to be had.
    DialFailed(StreamCondition, String),
    /// The proxy's own login succeeded.
    LoggedIn,
    /// The server refused it: its `<failure/>` as it came. The upstream stream can be used for another attempt.
    LoginRefused(Bytes),
    /// It failed, and the upstream stream with it.
    LoginBroken(StreamCondition, String),
    /// The client's connection ended without `</stream:stream>`.
    ClientEnd,
    /// The server's connection ended without `</stream:stream>`.
    ServerEnd,
    /// Another reason to end both streams: deadlines, XML that cannot be a stream, shutdown. The server, where it is
    /// to blame, is told by a stream error too.
    Stop {
        /// What the client is told.
        down: (StreamCondition, String),
        /// What the server is told before its stream is closed.
        up: Option<(StreamCondition, String)>,
    },
}

/// What is to be done, in order.
#[derive(Debug)]
pub enum Action {
    /// Send to the client.
    Down(Bytes),
    /// Send to the server.
    Up(Bytes),
    /// Begin TLS after these last plaintext bytes. If anything was read behind `<starttls/>`, stop instead.
    StartTls(Bytes),
    /// Connect to the domain's server.
    Dial {
        /// The domain, as configured.
        domain: String,
    },
    /// An attempt to log in: nothing of it has gone up yet. To be answered by [`Input::Admitted`] or
    /// [`Input::TurnedAway`].
    Gate(Gate),
    /// The attempt that was let in has ended.
    Settle(Outcome),
    /// The client's attempt made no sense; the server was not asked.
    Mistake,
    /// Log in upstream with what the client gave; the server offers these features.
    Login {
        /// The configured domain.
        domain: String,
        /// What the client gave.
        plain: Plain,
        /// The server's features as they came.
        features: Stanza,
    },
    /// Expect a new stream header from the client.
    RestartDown,
    /// Expect a new stream header from the server.
    RestartUp,
    /// The client has logged in: the larger limits hold from here on, both ways.
    RaiseLimits,
    /// Negotiation is done.
    Bound(Box<Bound>),
    /// All is said: write what is queued and close both connections. Says why, for the log.
    End(String),
}

/// Who asks to log in.
#[derive(Debug)]
pub struct Gate {
    /// The configured domain.
    pub domain: String,
    /// The account, prepared, if the mechanism tells it in its first message.
    pub account: Option<BareJid>,
    /// The password, if the client gave it.
    pub password: Option<SecretString>,
}

/// What negotiation found out.
#[derive(Debug)]
pub struct Bound {
    /// The client's JID, of the configured domain.
    pub jid: FullJid,
    /// The account, if the stream itself logged in to it by a name the proxy saw, and that is who was bound (S2).
    pub account: Option<BareJid>,
    /// The configured domain.
    pub domain: String,
    /// The client's stream header.
    pub client: Header,
    /// Whether client state indication was offered.
    pub csi: bool,
    /// Ends the stream to the client.
    pub close_down: String,
    /// Ends the stream to the server.
    pub close_up: String,
}

/// How a stream ends; most functions here return it as their error.
#[derive(Debug)]
pub(super) struct End {
    pub down: Last,
    pub up: Last,
    pub why: String,
}

#[derive(Debug)]
pub(super) enum Last {
    /// The connection just ends.
    Nothing,
    /// `</stream:stream>`
    Close,
    Error(StreamCondition, String),
    /// The other side's stream error as it came.
    Relayed(Bytes),
}

impl End {
    /// The client is told, the server's stream is closed.
    pub(super) fn client(condition: StreamCondition, text: impl Into<String>) -> End {
        let text = text.into();
        End { why: format!("{condition}: {text}"), down: Last::Error(condition, text), up: Last::Close }
    }

    /// The server did something that has no place.
    pub(super) fn server(text: impl Into<String>) -> End {
        let text = text.into();
        End {
            why: format!("the server broke the protocol: {text}"),
            down: Last::Error(StreamCondition::UndefinedCondition, format!("the server broke the protocol: {text}")),
            up: Last::Error(StreamCondition::UnsupportedStanzaType, text),
        }
    }
}

/// The condition in a stream error, for the log.
pub fn condition_of(error: &Stanza) -> String {
    let name = error.tree().ok().and_then(|tree| {
        let condition = tree.root().children().find(|c| c.space() == ns::STREAM_ERRORS && c.name() != "text")?;
        Some(condition.name().to_owned())
    });
    name.unwrap_or_else(|| "no condition".to_owned())
}
