//! Why the process ends with an error, and the exit code that tells a service manager.

use crate::config::ConfigError;
use crate::net::dev_certs::DevCertsError;
use crate::net::listen::BindError;
use crate::net::tls::TlsError;

/// Why the process ends with an error: what it says, and its exit code.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// For the operator: what, where, and the remedy.
    pub message: String,
}

impl Failure {
    /// Something went wrong while running.
    pub const RUNTIME: u8 = 1;
    /// An address to listen on is not available (`EX_UNAVAILABLE`).
    pub const UNAVAILABLE: u8 = 69;
    /// The configuration, a certificate or a key is wrong (`EX_CONFIG`).
    pub const CONFIG: u8 = 78;

    /// With the code for whatever went wrong while running.
    pub fn runtime(cause: impl std::fmt::Display) -> Self {
        Failure { code: Failure::RUNTIME, message: cause.to_string() }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure { code: Failure::CONFIG, message: error.to_string() }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Failure { code: Failure::CONFIG, message: error.to_string() }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Failure { code: Failure::UNAVAILABLE, message: error.to_string() }
    }
}

impl From<DevCertsError> for Failure {
    fn from(error: DevCertsError) -> Self {
        Failure::runtime(error)
    }
}
