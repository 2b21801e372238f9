//! How many files the process may open: a connection through the proxy takes two.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Limits;

/// Listeners, the store, account sessions that share nothing with a client, the runtime's own.
const OTHERS: u64 = 1000;

/// Raises the soft limit of open files to the hard one: many systems keep the soft one at 1024 for the sake of
/// programs that use select(2). A warning, if what is configured may need more.
pub(super) fn raise_limit(limits: &Limits) -> Option<String> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    warning(getrlimit(Resource::Nofile).current, limits.connections)
}

/// The same warning, before anything is raised: for what the process could open.
pub fn check(limits: &Limits) -> Option<String> {
    warning(getrlimit(Resource::Nofile).maximum, limits.connections)
}

fn warning(files: Option<u64>, connections: usize) -> Option<String> {
    let needed = 2 * connections as u64 + OTHERS;
    let files = files.filter(|files| *files < needed)?;
    Some(format!(
        "limits.connections is {connections}, which may take {needed} open files, but this process may open only \
         {files}: set LimitNOFILE={needed} (systemd) or ulimit -n {needed}, or lower limits.connections"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_two_files() {
        assert_eq!(warning(None, 20_000), None);
        assert_eq!(warning(Some(41_000), 20_000), None);
        assert!(warning(Some(40_999), 20_000).is_some_and(|w| w.contains("LimitNOFILE=41000")));
    }
}
