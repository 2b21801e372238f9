//! Top floor: what the process does first, so that no password or key in its memory comes to a disk or to another
//! process of the same user (S22), and that memory once used is given back (S11).

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core dumps, whatever the limits and the system's crash handler say; and no other process of this user may attach
/// to this one or read `/proc/PID/mem` and `/proc/PID/environ`, which belong to root from here on.
pub fn start() -> Result<(), Errno> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// glibc's variable for the size from which memory is taken from the system piece by piece, and what it is set to. Unset,
/// it grows with what is freed, and buffers come to lie in a heap whose holes are not given back: after a flood of large
/// stanzas, or in the midst of one, the process was up to twice as large as what it had buffered.
const THRESHOLD: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "131072");

/// Fixes that size, which glibc reads only once: the process begins anew (with the same id). Returns if there is nothing
/// to be done, or if it cannot be done: then the process is larger than it need be, and works.
pub fn bound_memory() {
    if cfg!(target_env = "gnu")
        && env::var_os(THRESHOLD.0).is_none()
        && let Ok(program) = env::current_exe()
    {
        let mut arguments = env::args_os();
        let mut command = Command::new(&program);
        command.arg0(arguments.next().unwrap_or_else(|| program.into())).args(arguments);
        let error = command.env(THRESHOLD.0, THRESHOLD.1).exec();
        eprintln!("minimix-proxy: cannot begin anew with {}={}: {error}", THRESHOLD.0, THRESHOLD.1);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn s22_no_core_dumps() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
        super::start().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
