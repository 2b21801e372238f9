//! What integration tests share: real servers, real clients, the proxy itself, and a scripted server for faults.
//!
//! `mod support;` in a test file brings it in. Each piece stops what it started when it is dropped, and prints the
//! tail of its log when the test is failing.
#![allow(dead_code, unused_imports)] // each test file uses its own part

pub mod certs;
pub mod driver;
pub mod haproxy;
pub mod muc;
pub mod proxy;
pub mod raw;
pub mod scripted;
pub mod scripted_room;
pub mod server;
pub mod slix;
pub mod stage;
pub mod tap;
pub mod tokio_client;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a test waits for something that will happen: generous, as two cores serve many tests at once.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A port on loopback that nobody listens on just now. Whoever opens it must be ready to find it taken.
pub fn free_port() -> u16 {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a free port on 127.0.0.1");
    probe.local_addr().expect("the address of a bound socket").port()
}

/// The last `lines` lines of a log file, for the message of a failing test.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Sends a signal (`TERM`, `HUP`, ...) to one process.
pub fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -s {name} {pid}")]).status();
    assert!(sent.is_ok_and(|s| s.success()), "cannot send SIG{name} to process {pid}");
}

/// A path in the source tree.
pub fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
