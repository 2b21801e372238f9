//! What the system allows the process.

use rustix::process::{Resource, getrlimit};

use super::Report;
use crate::config::Config;

/// File descriptors beside those of clients: listeners, the store, account sessions in the making.
const OTHERS: u64 = 256;

pub(super) fn check(config: &Config, report: &mut Report) {
    let connections = config.limits.connections as u64;
    // Each client has a stream of its own to the server.
    let needed = 2 * connections + OTHERS;
    if let Some(most) = getrlimit(Resource::Nofile).maximum.filter(|most| *most < needed) {
        report.warnings.push(format!(
            "limits.connections = {connections} may need {needed} file descriptors and more for account sessions, and \
             {most} are allowed: raise the limit (ulimit -n, LimitNOFILE=), or set limits.connections lower"
        ));
    }
}
