//! Which mechanism to log in with, and how it is bound to the TLS channel (RFC 5802 §6, RFC 9266, RFC 5929,
//! XEP-0440).

use super::{SaslError, Secret};
use std::fmt;

/// The hash of a SCRAM mechanism, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// SCRAM-SHA-1 (RFC 5802).
    Sha1,
    /// SCRAM-SHA-256 (RFC 7677).
    Sha256,
    /// SCRAM-SHA-512 (the expired draft-melnikov-scram-sha-512, which XMPP servers implement).
    Sha512,
}

/// A mechanism we can log in with. Ordered by preference, the best greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// SCRAM without channel binding.
    Scram(Hash),
    /// SCRAM bound to the TLS channel.
    ScramPlus(Hash),
}

impl Mechanism {
    /// All of them, best first.
    pub const ALL: [Mechanism; 7] = [
        Mechanism::ScramPlus(Hash::Sha512),
        Mechanism::ScramPlus(Hash::Sha256),
        Mechanism::ScramPlus(Hash::Sha1),
        Mechanism::Scram(Hash::Sha512),
        Mechanism::Scram(Hash::Sha256),
        Mechanism::Scram(Hash::Sha1),
        Mechanism::Plain,
    ];

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Scram(Hash::Sha1) => "SCRAM-SHA-1",
            Mechanism::Scram(Hash::Sha256) => "SCRAM-SHA-256",
            Mechanism::Scram(Hash::Sha512) => "SCRAM-SHA-512",
            Mechanism::ScramPlus(Hash::Sha1) => "SCRAM-SHA-1-PLUS",
            Mechanism::ScramPlus(Hash::Sha256) => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramPlus(Hash::Sha512) => "SCRAM-SHA-512-PLUS",
        }
    }

    /// The mechanism of that name, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// The hash, where it is a SCRAM.
    pub const fn hash(self) -> Option<Hash> {
        match self {
            Mechanism::Plain => None,
            Mechanism::Scram(hash) | Mechanism::ScramPlus(hash) => Some(hash),
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the TLS link upstream yields for channel binding.
#[derive(Clone, Debug, Default)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266): 32 bytes exported under `EXPORTER-Channel-Binding`. Only of TLS 1.3, or 1.2
    /// with the extended master secret.
    pub exporter: Option<Vec<u8>>,
    /// `tls-server-end-point` (RFC 5929): the hash of the server's certificate.
    pub server_end_point: Option<Vec<u8>>,
}

impl ChannelBinding {
    /// The type and data to bind with: `tls-exporter` before `tls-server-end-point`, of those the server lists.
    /// Without a list (XEP-0440) there is no telling: ejabberd 23.01 offers `-PLUS` and takes `tls-unique` alone,
    /// which TLS 1.3 does not have.
    fn pick(&self, listed: Option<&[&str]>) -> Option<(&'static str, Vec<u8>)> {
        let listed = listed?;
        [("tls-exporter", &self.exporter), ("tls-server-end-point", &self.server_end_point)]
            .into_iter()
            .find_map(|(name, data)| Some((name, data.clone().filter(|_| listed.contains(&name))?)))
    }
}

/// What the operator allows towards this upstream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// PLAIN may be used where the server has no SCRAM (S5).
    pub allow_plain: bool,
    /// The link is encrypted, or a plaintext one that is allowed to carry passwords (loopback). Without it
    /// PLAIN is never used.
    pub tls: bool,
    /// The best mechanism this domain is remembered to have offered; a server that now offers only weaker
    /// ones gets nothing from us (S5).
    pub remembered: Option<Mechanism>,
}

/// A mechanism, and what its gs2 header will say.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) mechanism: Mechanism,
    /// `p=`: type and data. Only with a `-PLUS`.
    pub(super) binding: Option<(&'static str, Vec<u8>)>,
}

impl Choice {
    pub(super) fn make(
        secret: &Secret,
        offered: &[&str],
        binding_types: Option<&[&str]>,
        channel: &ChannelBinding,
        policy: &Policy,
    ) -> Result<Self, SaslError> {
        let binding = channel.pick(binding_types);
        // A -PLUS that cannot be bound is worth nothing: without its list of binding types (XEP-0440) a server
        // offers less than with it.
        let bindable = |m: &Mechanism| binding.is_some() || !matches!(m, Mechanism::ScramPlus(_));
        let best = offered.iter().filter_map(|name| Mechanism::from_name(name)).filter(bindable).max();
        if let (Some(remembered), Some(best)) = (policy.remembered, best)
            && best < remembered
        {
            return Err(SaslError::Downgrade { best, remembered });
        }
        let usable = |m: &Mechanism| match (m, secret) {
            (Mechanism::Plain, Secret::Password(_)) => policy.allow_plain && policy.tls,
            (Mechanism::Plain, Secret::Salted(_)) => false,
            (m, _) if !bindable(m) => false,
            (_, Secret::Password(_)) => true,
            (m, Secret::Salted(kept)) => m.hash() == Some(kept.hash),
        };
        let chosen = Mechanism::ALL.into_iter().filter(|m| offered.contains(&m.name())).find(usable);
        let Some(mechanism) = chosen else {
            return Err(match secret {
                Secret::Salted(kept) => SaslError::HashNotOffered { wanted: Mechanism::Scram(kept.hash) },
                Secret::Password(_) => SaslError::NoMechanism { offered: printable(offered) },
            });
        };
        let binding = binding.filter(|_| matches!(mechanism, Mechanism::ScramPlus(_)));
        Ok(Self { mechanism, binding })
    }
}

/// The offered names for an error text: only what is a mechanism name (RFC 4422 §3.1), and not too many.
fn printable(offered: &[&str]) -> String {
    let valid = |name: &&&str| {
        (1..=20).contains(&name.len()) && name.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_'))
    };
    let names: Vec<&str> = offered.iter().filter(valid).take(16).copied().collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
