//! SASL as the client of an upstream server (RFC 4422, RFC 5802, RFC 7677, XEP-0438), and the reading of what
//! our own clients send (PLAIN, and the name in a relayed SCRAM).
//!
//! Pure: messages in, messages out. Base64 and XML are the stream's business, sockets and threads the caller's:
//! PBKDF2 is handed out as a [`Derivation`], to be run on a blocking thread (S5).
//!
//! `rsasl` speaks the mechanisms. What it does not do for us is done here: the choice of the mechanism, strict
//! reading of the server's messages before rsasl sees them (it indexes without looking at lengths), the bounds
//! on iterations, and server-first messages with extensions (`scram`).

mod mechanism;
mod plain;
mod prep;
mod rsasl_client;
mod scram;
mod secret;
#[cfg(test)]
mod tests;

pub use mechanism::{ChannelBinding, Hash, Mechanism, Policy};
pub use plain::{Plain, PlainError, parse_plain};
pub use scram::{ClientFirst, Gs2Flag, scram_username};
pub use secret::{Derivation, SaltedPassword, Secret};

use mechanism::Choice;
use rsasl_client::Exchange;
use scram::{ServerFirst, Transcript};
use thiserror::Error;
use zeroize::Zeroizing;

/// The fewest PBKDF2 iterations we take part in (RFC 5802 §5.1 asks for no less): S5.
pub const MIN_ITERATIONS: u32 = 4_096;
/// The most PBKDF2 iterations we take part in, about half a second of a core: S5.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// Why a login upstream did not succeed. No text contains a password, a key or a nonce (S23).
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SaslError {
    /// Nothing that the server offers can be used with a password under this policy.
    #[error(
        "the upstream server offers no login mechanism we may use (it offers: {offered}); \
         enable SCRAM-SHA-1, -256 or -512 there, or allow_plain for this domain"
    )]
    NoMechanism {
        /// The names that the server offers.
        offered: String,
    },
    /// The kept keys are for a hash that the server does not offer: they are of no use until it does again.
    #[error(
        "the upstream server no longer offers {wanted}, which the kept keys are for; the account has to log in anew"
    )]
    HashNotOffered {
        /// The mechanism that the keys are for.
        wanted: Mechanism,
    },
    /// The server offers less than it once did (S5).
    #[error(
        "the upstream server offers {best} at most, but had {remembered}: refused as a possible downgrade; \
         if the server was reconfigured, run `minimix-proxy domain reset DOMAIN`"
    )]
    Downgrade {
        /// The strongest mechanism now offered.
        best: Mechanism,
        /// The strongest one seen before.
        remembered: Mechanism,
    },
    /// The kept keys are for another salt or iteration count: the password was changed, or the server makes a
    /// new salt for every login (it stores passwords in the clear). These keys are dead.
    #[error(
        "the server's salt or iteration count is not the one the kept keys were made with; the account has to log in anew"
    )]
    SaltChanged,
    /// The server asks for too few or too many PBKDF2 iterations (S5). Nothing was computed.
    #[error(
        "the upstream server asks for {got} SCRAM iterations; between {MIN_ITERATIONS} and {MAX_ITERATIONS} are accepted"
    )]
    Iterations {
        /// What it asked for, digits only.
        got: String,
    },
    /// SASLprep (RFC 4013) prohibits it.
    #[error("the {what} is empty or contains characters that SASLprep (RFC 4013) prohibits")]
    Unpreparable {
        /// `user name` or `password`.
        what: &'static str,
    },
    /// A message of the server is not what the mechanism's grammar allows.
    #[error("the upstream server sent a malformed SASL message: {0}")]
    Malformed(&'static str),
    /// The server proved no knowledge of the password (RFC 5802 §3): success is not believed.
    #[error("the upstream server's signature is wrong: it does not know the password, or somebody stands in between")]
    ServerSignature,
    /// The server said success without proving that it knows the password: not believed.
    #[error(
        "the upstream server claims success without its signature: it does not know the password, or somebody stands in between"
    )]
    Unverified,
    /// The server ended SCRAM with one of its error values (RFC 5802 §7).
    #[error("the upstream server refused the SCRAM exchange: {0}")]
    Refused(&'static str),
    /// A message came, or a method was called, that does not belong here in the exchange.
    #[error("the SASL exchange with the upstream server is out of order: {0}")]
    OutOfOrder(&'static str),
    /// rsasl failed where it cannot, as far as we know.
    #[error("the SASL library failed at {0}; please report this")]
    Library(&'static str),
}

impl SaslError {
    /// Whether nothing had been sent yet.
    pub fn is_before_all(&self) -> bool {
        use SaslError::{Downgrade, HashNotOffered, NoMechanism, Unpreparable};
        matches!(self, NoMechanism { .. } | HashNotOffered { .. } | Downgrade { .. } | Unpreparable { .. })
    }
}

/// What to do after a challenge.
#[derive(Debug)]
pub enum Step {
    /// Send this as `<response/>`; empty where the server only wanted to be heard.
    Respond(Vec<u8>),
    /// Run this on a blocking thread and hand the result to [`Login::derived`].
    Derive(Derivation),
}

/// How an exchange begins: what goes into `<auth/>`.
#[derive(Debug)]
pub struct Start {
    /// The exchange from here on.
    pub login: Login,
    /// The mechanism that was chosen.
    pub mechanism: Mechanism,
    /// The initial response, not yet base64. PLAIN's contains the password.
    pub initial: Zeroizing<Vec<u8>>,
}

/// One login upstream.
///
/// Call [`challenge`](Self::challenge) for each `<challenge/>` and [`success`](Self::success) for `<success/>`;
/// only its `Ok` means that the login succeeded. After an error the exchange is dead.
pub struct Login {
    exchange: Exchange,
    transcript: Option<Transcript>,
    state: State,
}

enum State {
    /// SCRAM: waits for the server-first message.
    First(Secret),
    /// SCRAM: waits for PBKDF2.
    Deriving(ServerFirst),
    /// SCRAM: the client-final message is out; waits for the server's signature.
    Final(SaltedPassword),
    /// SCRAM: the signature came in a challenge and is right; waits for success.
    Verified(SaltedPassword),
    /// PLAIN: all is said.
    Plain,
    Dead,
}

impl Login {
    /// Chooses the mechanism and begins.
    ///
    /// `offered` are the mechanism names of the stream features, `binding_types` those of XEP-0440's
    /// `<sasl-channel-binding/>` where the server sent it; where it did not, no `-PLUS` is used. Best first: the
    /// three `-PLUS` (512, 256, 1), the three plain SCRAMs, PLAIN where the policy allows; with
    /// [`Secret::Salted`] only its own hash.
    ///
    /// The gs2 header (RFC 5802 §6) is `p=tls-exporter,,` or `p=tls-server-end-point,,` for a `-PLUS`, else `n,,`.
    /// Never `y,,`, which would ask the server whether somebody took `-PLUS` out of its list: ejabberd refuses it
    /// outright, also behind a TLS terminator where it has nothing to bind to. The remembered mechanism finds such
    /// a theft out instead (S5).
    pub fn start(
        username: &str,
        secret: Secret,
        offered: &[&str],
        binding_types: Option<&[&str]>,
        binding: &ChannelBinding,
        policy: &Policy,
    ) -> Result<Start, SaslError> {
        let choice = Choice::make(&secret, offered, binding_types, binding, policy)?;
        let mechanism = choice.mechanism;
        let username = prep::query(username).ok_or(SaslError::Unpreparable { what: "user name" })?;
        let secret = match secret {
            Secret::Password(password) => Secret::Password(prep::password(&password)?),
            salted => salted,
        };
        let bound = choice.binding.as_ref().map(|(_, data)| data.clone());
        let mut exchange = Exchange::new(&username, &secret, choice)?;
        let initial = exchange.initial()?;
        let (transcript, state) = match mechanism {
            Mechanism::Plain => (None, State::Plain),
            _ => (Some(Transcript::new(mechanism, &initial, bound.as_deref())?), State::First(secret)),
        };
        Ok(Start { login: Self { exchange, transcript, state }, mechanism, initial })
    }

    /// Takes in the (decoded) content of a `<challenge/>`.
    pub fn challenge(&mut self, data: &[u8]) -> Result<Step, SaslError> {
        match std::mem::replace(&mut self.state, State::Dead) {
            State::First(secret) => self.server_first(data, secret),
            State::Final(salted) => {
                // RFC 6120 §6.4.3 lets a server send its last data in a challenge, before an empty success.
                self.verify(data)?;
                self.state = State::Verified(salted);
                Ok(Step::Respond(Vec::new()))
            }
            _ => Err(SaslError::OutOfOrder("a challenge came that the mechanism has no answer to")),
        }
    }

    /// Goes on after [`Step::Derive`]; returns the response to send.
    pub fn derived(&mut self, salted: SaltedPassword) -> Result<Vec<u8>, SaslError> {
        match std::mem::replace(&mut self.state, State::Dead) {
            State::Deriving(first) if self.hash() == Some(salted.hash) && first.made(&salted) => {
                self.respond(&first, salted)
            }
            _ => Err(SaslError::OutOfOrder("keys were derived that nobody waits for")),
        }
    }

    /// Takes in the (decoded) content of `<success/>`, empty if it has none.
    ///
    /// `Ok` only if the server has proved that it knows the password. After SCRAM it holds what to keep for
    /// logging in again without the password.
    pub fn success(mut self, data: &[u8]) -> Result<Option<SaltedPassword>, SaslError> {
        match std::mem::replace(&mut self.state, State::Dead) {
            State::Plain => Ok(None),
            State::Verified(salted) if data.is_empty() => Ok(Some(salted)),
            State::Final(salted) if !data.is_empty() => {
                self.verify(data)?;
                Ok(Some(salted))
            }
            State::First(_) | State::Deriving(_) | State::Final(_) => Err(SaslError::Unverified),
            State::Verified(_) | State::Dead => Err(SaslError::OutOfOrder("success came after the exchange had ended")),
        }
    }

    fn hash(&self) -> Option<Hash> {
        self.transcript.as_ref().map(Transcript::hash)
    }

    fn server_first(&mut self, data: &[u8], secret: Secret) -> Result<Step, SaslError> {
        let transcript = self.transcript.as_ref().ok_or(SaslError::Library("the transcript"))?;
        let first = ServerFirst::parse(data, transcript.client_nonce())?;
        match secret {
            Secret::Salted(salted) if first.made(&salted) => Ok(Step::Respond(self.respond(&first, salted)?)),
            Secret::Salted(_) => Err(SaslError::SaltChanged),
            Secret::Password(password) => {
                let derivation = Derivation::new(transcript.hash(), password, first.salt.clone(), first.iterations);
                self.state = State::Deriving(first);
                Ok(Step::Derive(derivation))
            }
        }
    }

    fn respond(&mut self, first: &ServerFirst, salted: SaltedPassword) -> Result<Vec<u8>, SaslError> {
        let transcript = self.transcript.as_mut().ok_or(SaslError::Library("the transcript"))?;
        let response = if first.extended {
            transcript.client_final(first, &salted)
        } else {
            self.exchange.client_final(&first.message, &salted)?
        };
        self.state = State::Final(salted);
        Ok(response)
    }

    fn verify(&mut self, server_final: &[u8]) -> Result<(), SaslError> {
        scram::check_server_final(server_final)?;
        match self.transcript.as_ref().and_then(Transcript::server_signature) {
            Some(expected) => scram::verify_signature(server_final, expected),
            None => self.exchange.server_final(server_final),
        }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.state {
            State::First(_) => "First",
            State::Deriving(_) => "Deriving",
            State::Final(_) => "Final",
            State::Verified(_) => "Verified",
            State::Plain => "Plain",
            State::Dead => "Dead",
        };
        f.debug_struct("Login").field("state", &state).finish_non_exhaustive()
    }
}
