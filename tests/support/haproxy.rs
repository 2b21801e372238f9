//! HAProxy as a load balancer in TCP mode before the proxy, on a port of its own.

use super::{PATIENCE, free_port, tail};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running HAProxy; killed when dropped.
pub struct Haproxy {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Haproxy {
    /// Hands connections on to `server`; `options` are those of its `server` line, such as `send-proxy-v2`.
    ///
    /// # Panics
    /// With its output, when it does not come up.
    pub fn start(server: SocketAddr, options: &str) -> Haproxy {
        for _ in 0..5 {
            let dir = tempfile::Builder::new().prefix("minimix-haproxy-").tempdir().expect("a temporary directory");
            let port = free_port();
            let config = dir.path().join("haproxy.cfg");
            let text = format!(
                "global\n  maxconn 1000\n  stats socket {}\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 5m\n  \
                 timeout server 5m\n  timeout check 5s\nlisten c2s\n  bind 127.0.0.1:{port}\n  \
                 server minimix {server} {options}\n",
                dir.path().join("control").display()
            );
            std::fs::write(&config, text).expect("write HAProxy's configuration");
            let log = std::fs::File::create(dir.path().join("output.log")).expect("a log file");
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "haproxy", "-db", "-f"]).arg(config).stdin(Stdio::null());
            command.stdout(log.try_clone().expect("a log file")).stderr(log);
            let child = command.spawn().expect("run setpriv");
            let mut haproxy = Haproxy { child, port, dir };
            if haproxy.is_up() {
                return haproxy;
            }
            let output = tail(&haproxy.log_path(), 20);
            let remedy = if output.contains("No such file") { "; run lab/install haproxy" } else { "" };
            assert!(output.contains("in use"), "HAProxy does not start: {output}{remedy}");
        }
        panic!("HAProxy does not start: five times in a row its port was taken by somebody else");
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("output.log")
    }

    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if self.answers().is_ok_and(|answer| answer.starts_with("Name: HAProxy")) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// It answers once it has all its ports; that somebody listens on them would prove nothing.
    fn answers(&self) -> std::io::Result<String> {
        let mut control = UnixStream::connect(self.dir.path().join("control"))?;
        control.write_all(b"show info\n")?;
        let mut answer = String::new();
        control.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
