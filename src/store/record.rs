//! How an enrolment is written before it is sealed: JSON, so that fields can be added. Secrets are base64 in
//! it, which JSON never escapes: so they are read out of the buffer without a copy that would not be wiped.

use super::Enrolment;
use crate::stream::sasl::{Hash, Mechanism, SaltedPassword, Secret};
use base64::{Engine, engine::general_purpose::STANDARD};
use jid::BareJid;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    upstream: String,
    resource: String,
    enrolled_at: u64,
    #[serde(borrow)]
    secret: SecretRecord<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SecretRecord<'a> {
    Password(&'a str),
    Salted { mechanism: String, salt: String, iterations: u32, key: &'a str },
}

/// The bytes to seal.
pub(super) fn encode(enrolment: &Enrolment) -> Option<Zeroizing<Vec<u8>>> {
    let secret = Zeroizing::new(match &enrolment.secret {
        Secret::Password(password) => STANDARD.encode(password.expose_secret()),
        Secret::Salted(salted) => STANDARD.encode(&*salted.key),
    });
    let record = Record {
        upstream: enrolment.upstream.clone(),
        resource: enrolment.resource.clone(),
        enrolled_at: enrolment.enrolled_at,
        secret: match &enrolment.secret {
            Secret::Password(_) => SecretRecord::Password(&secret),
            Secret::Salted(salted) => SecretRecord::Salted {
                mechanism: Mechanism::Scram(salted.hash).name().to_owned(),
                salt: STANDARD.encode(&salted.salt),
                iterations: salted.iterations,
                key: &secret,
            },
        },
    };
    // Room enough that the buffer never grows: what it would leave behind is not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(8192));
    serde_json::to_writer(&mut *bytes, &record).ok()?;
    Some(bytes)
}

/// The enrolment in opened bytes; `None` if they are none of ours.
pub(super) fn decode(account: &BareJid, bytes: &[u8]) -> Option<Enrolment> {
    let record: Record<'_> = serde_json::from_slice(bytes).ok()?;
    let secret = match record.secret {
        SecretRecord::Password(password) => {
            let password = Zeroizing::new(STANDARD.decode(password).ok()?);
            Secret::Password(SecretString::from(std::str::from_utf8(&password).ok()?))
        }
        SecretRecord::Salted { mechanism, salt, iterations, key } => Secret::Salted(SaltedPassword {
            hash: hash(&mechanism)?,
            salt: STANDARD.decode(salt).ok()?,
            iterations,
            key: Zeroizing::new(STANDARD.decode(key).ok()?),
        }),
    };
    let Record { upstream, resource, enrolled_at, .. } = record;
    Some(Enrolment { account: account.clone(), upstream, resource, secret, enrolled_at })
}

fn hash(mechanism: &str) -> Option<Hash> {
    Mechanism::from_name(mechanism)?.hash()
}
