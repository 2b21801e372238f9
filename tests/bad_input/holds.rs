//! What a process holds, seen from outside.

use std::time::{Duration, Instant};

use super::support::PATIENCE;

/// What a process holds: file descriptors, established connections, threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holds {
    pub descriptors: usize,
    connections: usize,
    threads: usize,
}

impl Holds {
    pub fn of(pid: u32) -> Holds {
        let entries = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).expect("the proxy lives").flatten();
        let links: Vec<String> = entries("fd")
            .filter_map(|fd| Some(std::fs::read_link(fd.path()).ok()?.to_string_lossy().into_owned()))
            .collect();
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("a table of connections");
        let established = table.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            (fields.get(3) == Some(&"01")).then(|| format!("socket:[{}]", fields[9]))
        });
        let connections = established.filter(|socket| links.contains(socket)).count();
        Holds { descriptors: links.len(), connections, threads: entries("task").count() }
    }

    /// Waits until nothing is held that was not before. (Threads that do blocking work end after a while.)
    pub async fn return_to(self, pid: u32) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Holds::of(pid);
            let fewer = now.descriptors <= self.descriptors && now.threads <= self.threads;
            if fewer && now.connections == self.connections {
                return;
            }
            assert!(Instant::now() < deadline, "held before {self:?}, now {now:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Resident memory in KiB, now and at most so far.
pub fn memory(pid: u32) -> (usize, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).expect("a size");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    (field("VmRSS:"), field("VmHWM:"))
}
