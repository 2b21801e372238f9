//! The log: to standard error, filtered by `RUST_LOG` or the configuration. `tracing-subscriber` escapes control
//! characters in what it writes (S23, CVE-2025-58160).

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging, once for the process. A `RUST_LOG` that makes no sense is told and not used.
pub fn start(log: &Log) {
    let (filter, complaint) = match std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()) {
        None => (log.level.parse().ok(), None),
        Some(text) => match text.parse::<EnvFilter>() {
            Ok(filter) => (Some(filter), None),
            Err(cause) => (log.level.parse().ok(), Some(cause)),
        },
    };
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match log.format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if let Err(cause) = started {
        eprintln!("minimix-proxy: no log: {cause}");
    }
    if let Some(cause) = complaint {
        tracing::warn!(%cause, "RUST_LOG is no log filter; write it like RUST_LOG=debug. Not used");
    }
}
