//! SASLprep (RFC 4013) of user names and passwords, as RFC 5802 §5.1 asks of a client: as query strings.

use super::SaslError;
use secrecy::{ExposeSecret, SecretString};
use std::borrow::Cow;
use stringprep::{saslprep, tables};
use zeroize::Zeroizing;

/// Prepares a query string: code points that Unicode 3.2 did not know yet (emoji) pass as they are, as
/// RFC 3454 §7 allows and servers with libidn do; `None` if prohibited or empty.
///
/// The stringprep crate only has the form for stored strings, which refuses them; so the stretches between
/// them are prepared. Its error is dropped on purpose: it quotes the offending character (S23).
pub(super) fn query(text: &str) -> Option<String> {
    let mut prepared = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(tables::unassigned_code_point) {
        let (before, unassigned) = rest.split_at(at);
        let length = unassigned.chars().next().map_or(0, char::len_utf8);
        push(&mut prepared, before)?;
        prepared.push_str(&unassigned[..length]);
        rest = &unassigned[length..];
    }
    push(&mut prepared, rest)?;
    (!prepared.is_empty()).then_some(prepared)
}

/// Appends a stretch, prepared. It may be a password's: what was made on the way is wiped.
fn push(prepared: &mut String, stretch: &str) -> Option<()> {
    match saslprep(stretch).ok()? {
        Cow::Borrowed(same) => prepared.push_str(same),
        Cow::Owned(other) => prepared.push_str(&Zeroizing::new(other)),
    }
    Some(())
}

/// Prepares a password.
pub(super) fn password(password: &SecretString) -> Result<SecretString, SaslError> {
    let prepared = query(password.expose_secret()).map(Zeroizing::new);
    prepared.map(|text| SecretString::from(text.as_str())).ok_or(SaslError::Unpreparable { what: "password" })
}
