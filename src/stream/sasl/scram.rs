//! SCRAM's messages (RFC 5802 §7): strict reading of the server's, the name in a client's, and the
//! computation where the server-first message has extensions.
//!
//! rsasl computes without extension attributes, though AuthMessage (§3) contains them: against a server that
//! sends some (ejabberd since 23.10, Prosody with mod_sasl_ssdp: XEP-0474's downgrade protection) its proof
//! would be refused. These exchanges are finished here; a test holds both ways to the same bytes.

use super::{Hash, MAX_ITERATIONS, MIN_ITERATIONS, Mechanism, SaltedPassword, SaslError};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{digest, hmac};

/// The longest server message and salt taken, in bytes.
const MAX_MESSAGE: usize = 4096;
const MAX_SALT: usize = 512;

/// The server-first message.
pub(super) struct ServerFirst {
    /// Whole, as it came.
    pub(super) message: Vec<u8>,
    nonce: Vec<u8>,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
    /// Whether extensions follow the iterations.
    pub(super) extended: bool,
}

impl ServerFirst {
    /// Parses and checks it: grammar, the nonce (ours, and more), the bounds on iterations.
    pub(super) fn parse(message: &[u8], client_nonce: &[u8]) -> Result<Self, SaslError> {
        let malformed = SaslError::Malformed;
        if message.len() > MAX_MESSAGE || std::str::from_utf8(message).is_err() {
            return Err(malformed("the server-first message is too long or not UTF-8"));
        }
        let mut parts = message.split(|&b| b == b',');
        let nonce = match parts.next().unwrap_or_default() {
            [b'm', b'=', ..] => return Err(malformed("it demands a SCRAM extension unknown to us")),
            [b'r', b'=', nonce @ ..] if nonce.iter().all(u8::is_ascii_graphic) => nonce,
            _ => return Err(malformed("the server-first message has no valid nonce")),
        };
        if nonce.strip_prefix(client_nonce).is_none_or(<[u8]>::is_empty) {
            return Err(malformed("the nonce is not ours, extended by the server"));
        }
        let salt = match parts.next().and_then(|part| part.strip_prefix(b"s=")) {
            Some(salt) => STANDARD.decode(salt).ok().filter(|salt| (1..=MAX_SALT).contains(&salt.len())),
            None => None,
        };
        let salt = salt.ok_or(malformed("the server-first message has no valid salt"))?;
        let iterations = parts
            .next()
            .and_then(|part| part.strip_prefix(b"i="))
            .filter(|i| matches!(i, [b'1'..=b'9', ..]) && i.iter().all(u8::is_ascii_digit))
            .and_then(|i| std::str::from_utf8(i).ok())
            .ok_or(malformed("the server-first message has no valid iteration count"))?;
        let iterations = match iterations.parse() {
            Ok(count @ MIN_ITERATIONS..=MAX_ITERATIONS) => count,
            _ => return Err(SaslError::Iterations { got: iterations.chars().take(20).collect() }),
        };
        let mut extended = false;
        for extension in parts {
            match extension {
                [name, b'=', _, ..] if name.is_ascii_alphabetic() => extended = true,
                _ => return Err(malformed("the server-first message has an invalid extension")),
            }
        }
        Ok(Self { message: message.to_vec(), nonce: nonce.to_vec(), salt, iterations, extended })
    }

    /// Whether these keys were made with this salt and count.
    pub(super) fn made(&self, salted: &SaltedPassword) -> bool {
        self.salt == salted.salt && self.iterations == salted.iterations
    }
}

/// Our side of the exchange, as far as it goes into the signatures.
pub(super) struct Transcript {
    hash: Hash,
    /// gs2 header and binding data: what `c=` carries.
    binding: Vec<u8>,
    /// client-first-message-bare.
    bare: Vec<u8>,
    nonce_at: usize,
    server_signature: Option<Vec<u8>>,
}

impl Transcript {
    /// From our client-first message and the channel-binding data used.
    pub(super) fn new(mechanism: Mechanism, client_first: &[u8], bound: Option<&[u8]>) -> Result<Self, SaslError> {
        const BROKEN: SaslError = SaslError::Library("the client-first message");
        let hash = mechanism.hash().ok_or(BROKEN)?;
        let mut commas = memchr::memchr_iter(b',', client_first);
        let header = commas.nth(1).ok_or(BROKEN)? + 1;
        let (gs2, bare) = client_first.split_at(header);
        let nonce_at = memchr::memmem::find(bare, b",r=").ok_or(BROKEN)? + 3;
        let binding = [gs2, bound.unwrap_or_default()].concat();
        Ok(Self { hash, binding, bare: bare.to_vec(), nonce_at, server_signature: None })
    }

    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    pub(super) fn client_nonce(&self) -> &[u8] {
        &self.bare[self.nonce_at..]
    }

    /// The signature expected of the server, if [`client_final`](Self::client_final) made our proof.
    pub(super) fn server_signature(&self) -> Option<&[u8]> {
        self.server_signature.as_deref()
    }

    /// The client-final message, with the extensions of the server-first message signed like all else.
    pub(super) fn client_final(&mut self, first: &ServerFirst, salted: &SaltedPassword) -> Vec<u8> {
        let (hmac_hash, plain_hash) = match self.hash {
            Hash::Sha1 => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY),
            Hash::Sha256 => (hmac::HMAC_SHA256, &digest::SHA256),
            Hash::Sha512 => (hmac::HMAC_SHA512, &digest::SHA512),
        };
        let sign = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac_hash, key), data);
        let without_proof = [b"c=", STANDARD.encode(&self.binding).as_bytes(), b",r=", &first.nonce].concat();
        let auth_message = [&self.bare[..], &first.message, &without_proof].join(&b',');
        let client_key = sign(&salted.key, b"Client Key");
        let stored_key = digest::digest(plain_hash, client_key.as_ref());
        let client_signature = sign(stored_key.as_ref(), &auth_message);
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(client_signature.as_ref()).map(|(key, sig)| key ^ sig).collect();
        let server_key = sign(&salted.key, b"Server Key");
        self.server_signature = Some(sign(server_key.as_ref(), &auth_message).as_ref().to_vec());
        [&without_proof[..], b",p=", STANDARD.encode(proof).as_bytes()].concat()
    }
}

/// Checks that a server-final message is a signature at all; an error value of RFC 5802 §7 becomes an error.
pub(super) fn check_server_final(message: &[u8]) -> Result<(), SaslError> {
    const ERRORS: [&str; 10] = [
        "invalid-encoding",
        "extensions-not-supported",
        "invalid-proof",
        "channel-bindings-dont-match",
        "server-does-support-channel-binding",
        "channel-binding-not-supported",
        "unsupported-channel-binding-type",
        "unknown-user",
        "invalid-username-encoding",
        "no-resources",
    ];
    if message.len() > MAX_MESSAGE {
        return Err(SaslError::Malformed("the server-final message is too long"));
    }
    match message.split(|&b| b == b',').next() {
        Some([b'v', b'=', _, ..]) => Ok(()),
        Some([b'e', b'=', value @ ..]) => {
            let known = ERRORS.into_iter().find(|known| known.as_bytes() == value);
            Err(SaslError::Refused(known.unwrap_or("other-error")))
        }
        _ => Err(SaslError::Malformed("the server-final message is neither a signature nor an error")),
    }
}

/// Compares the signature in a server-final message.
pub(super) fn verify_signature(server_final: &[u8], expected: &[u8]) -> Result<(), SaslError> {
    let signature = server_final.split(|&b| b == b',').next().and_then(|part| part.strip_prefix(b"v="));
    match signature.map(|text| STANDARD.decode(text)) {
        Some(Ok(got)) if got == expected => Ok(()),
        _ => Err(SaslError::ServerSignature),
    }
}

/// What a client says of channel binding (RFC 5802 §7, gs2-cbind-flag).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gs2Flag {
    /// `n`: it cannot.
    Unsupported,
    /// `y`: it can, and believes that the server cannot.
    NotOffered,
    /// `p=`: it binds, with this type.
    Used(String),
}

/// Who logs in by a SCRAM client-first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst {
    /// The channel-binding flag.
    pub flag: Gs2Flag,
    /// The identity to act as, unescaped, where the client named one.
    pub authzid: Option<String>,
    /// The name that authenticates, unescaped, not prepared.
    pub username: String,
}

/// Reads the name out of a (decoded) SCRAM client-first message that we relay (S2). `None` if it is not one, to
/// the letter of the grammar: whom we cannot read, we do not know.
pub fn scram_username(client_first: &[u8]) -> Option<ClientFirst> {
    if client_first.len() > MAX_MESSAGE {
        return None;
    }
    let mut parts = simdutf8::basic::from_utf8(client_first).ok()?.split(',');
    let flag = match parts.next()? {
        "n" => Gs2Flag::Unsupported,
        "y" => Gs2Flag::NotOffered,
        used => {
            let name = used.strip_prefix("p=")?;
            let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
            (!name.is_empty() && name.bytes().all(valid)).then(|| Gs2Flag::Used(name.to_owned()))?
        }
    };
    let authzid = match parts.next()? {
        "" => None,
        authzid => Some(unescape(authzid.strip_prefix("a=")?)?),
    };
    let username = unescape(parts.next()?.strip_prefix("n=")?)?;
    let nonce = parts.next()?.strip_prefix("r=")?;
    let extensions = parts.all(|part| matches!(part.as_bytes(), [name, b'=', _, ..] if name.is_ascii_alphabetic()));
    (!nonce.is_empty() && nonce.bytes().all(|b| b.is_ascii_graphic()) && extensions).then_some(ClientFirst {
        flag,
        authzid,
        username,
    })
}

/// Undoes `=2C` and `=3D` (RFC 5802 §5.1); `None` for any other `=`, for NUL and for the empty name.
fn unescape(name: &str) -> Option<String> {
    let mut pieces = name.split('=');
    let mut out = pieces.next()?.to_owned();
    for piece in pieces {
        let (character, rest) = match piece.strip_prefix("2C") {
            Some(rest) => (',', rest),
            None => ('=', piece.strip_prefix("3D")?),
        };
        out.push(character);
        out.push_str(rest);
    }
    (!out.is_empty() && !out.contains('\0')).then_some(out)
}
