//! slixmpp, a real client: `tests/clients/slix_client.py` hosts as many as a test wants in one process.

use super::driver::Driver;
use std::path::PathBuf;
use std::process::Command;

/// Starts the process. `slix::start().client("phone")` is a client.
pub fn start() -> Driver {
    let mut command = Command::new(python());
    command.args(["-u", "-B"]).arg(super::source("tests/clients/slix_client.py"));
    Driver::start(command)
}

/// The Python that has slixmpp: `MINIMIX_PYTHON`, else the one that `lab/install` made.
pub fn python() -> PathBuf {
    if let Some(given) = std::env::var_os("MINIMIX_PYTHON") {
        return given.into();
    }
    let made = super::source("lab/.state/venv/bin/python");
    assert!(made.exists(), "no {}: run lab/install, or name a Python with slixmpp in MINIMIX_PYTHON", made.display());
    made
}
