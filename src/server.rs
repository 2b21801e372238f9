//! Top floor: wiring.

use crate::cli::Failure;
use crate::config::Config;

/// Runs the proxy.
pub async fn run(config: Config) -> Result<(), Failure> {
    let _ = config;
    Ok(())
}
