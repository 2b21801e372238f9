//! The exchange as rsasl speaks it.

use super::mechanism::Choice;
use super::{Mechanism, SaltedPassword, SaslError, Secret};
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::plain::PLAIN;
use rsasl::mechanisms::scram::properties::SaltedPassword as SaltedPasswordProperty;
use rsasl::mechanisms::scram::{
    SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS, SCRAM_SHA512, SCRAM_SHA512_PLUS,
};
use rsasl::mechname::Mechname;
use rsasl::prelude::{Mechanism as RsaslMechanism, Registry, SASLClient, SASLConfig, Session, SessionError};
use rsasl::property::{AuthId, ChannelBindings, OverrideCBType, Password};
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// Named one by one: rsasl's own list leaves out every `-PLUS`, and never says so.
static MECHANISMS: [RsaslMechanism; 7] =
    [SCRAM_SHA512_PLUS, SCRAM_SHA256_PLUS, SCRAM_SHA1_PLUS, SCRAM_SHA512, SCRAM_SHA256, SCRAM_SHA1, PLAIN];

pub(super) struct Exchange {
    session: Session,
    key: Arc<OnceLock<Zeroizing<Vec<u8>>>>,
}

/// What rsasl asks for while it runs. For a SCRAM it never gets the password, so that PBKDF2 is ours alone.
struct Answers {
    username: String,
    password: Option<SecretString>,
    key: Arc<OnceLock<Zeroizing<Vec<u8>>>>,
    binding: Option<(&'static str, Vec<u8>)>,
}

impl SessionCallback for Answers {
    fn callback(&self, _: &SessionData, _: &Context, request: &mut Request) -> Result<(), SessionError> {
        request.satisfy::<AuthId>(&self.username)?;
        if let Some(password) = &self.password {
            request.satisfy::<Password>(password.expose_secret().as_bytes())?;
        }
        if let Some(key) = self.key.get() {
            request.satisfy::<SaltedPasswordProperty>(key)?;
        }
        if let Some((name, data)) = &self.binding {
            request.satisfy::<OverrideCBType>(name)?.satisfy::<ChannelBindings>(data)?;
        }
        Ok(())
    }

    /// Enables the `-PLUS` mechanisms; without it the others say `n`.
    fn enable_channel_binding(&self) -> bool {
        self.binding.is_some()
    }
}

impl Exchange {
    /// Begins with the one mechanism that was chosen.
    pub(super) fn new(username: &str, secret: &Secret, choice: Choice) -> Result<Self, SaslError> {
        let key = Arc::new(OnceLock::new());
        let password = match (choice.mechanism, secret) {
            (Mechanism::Plain, Secret::Password(password)) => Some(password.clone()),
            _ => None,
        };
        let answers =
            Answers { username: username.to_owned(), password, key: Arc::clone(&key), binding: choice.binding };
        let config = SASLConfig::builder()
            .with_registry(Registry::with_mechanisms(&MECHANISMS))
            .with_callback(answers)
            .map_err(|_| SaslError::Library("its configuration"))?;
        let name = Mechname::parse(choice.mechanism.name().as_bytes())
            .map_err(|_| SaslError::Library("the mechanism's name"))?;
        let session = SASLClient::new(config).start_suggested(&[name]).map_err(|_| SaslError::Library("the start"))?;
        if session.get_mechname().as_str() != choice.mechanism.name() {
            return Err(SaslError::Library("the choice of the mechanism"));
        }
        Ok(Self { session, key })
    }

    /// The initial response.
    pub(super) fn initial(&mut self) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        // Room for the longest PLAIN, so that no half of a password is left behind by growing.
        let mut out = Zeroizing::new(Vec::with_capacity(4096));
        self.session.step(None, &mut *out).map_err(|_| SaslError::Library("the initial response"))?;
        Ok(out)
    }

    /// The client-final message. The server-first message has been checked, and has no extensions.
    pub(super) fn client_final(&mut self, server_first: &[u8], salted: &SaltedPassword) -> Result<Vec<u8>, SaslError> {
        let mut out = Vec::new();
        self.key.set(salted.key.clone()).map_err(|_| SaslError::Library("the key"))?;
        self.session.step(Some(server_first), &mut out).map_err(|_| SaslError::Library("the client-final message"))?;
        Ok(out)
    }

    /// Verifies the server-final message, whose form has been checked.
    pub(super) fn server_final(&mut self, server_final: &[u8]) -> Result<(), SaslError> {
        match self.session.step(Some(server_final), &mut Vec::new()) {
            Ok(state) if state.is_finished() => Ok(()),
            Ok(_) => Err(SaslError::Library("the server-final message")),
            Err(_) => Err(SaslError::ServerSignature),
        }
    }
}
