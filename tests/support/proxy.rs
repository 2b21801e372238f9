//! The proxy itself, as its operator runs it: the built binary, a data directory, a log that is checked at the end.
//!
//! When it is dropped it is told to end (SIGTERM) and the test fails if its log has a panic, or an ERROR that the
//! test did not announce with [`Setup::allow`].

use super::driver::Login;
use super::server::Server;
use super::{PATIENCE, certs, certs::Certs, free_port, signal, tail};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the proxy is started. [`Setup::before`] is enough for most tests.
#[derive(Debug, Clone)]
pub struct Setup {
    /// `None`: the proxy itself.
    upstream: Option<SocketAddr>,
    /// Its address written otherwise.
    upstream_name: Option<String>,
    upstream_tls: &'static str,
    upstream_ca: Option<PathBuf>,
    auth: Option<&'static str>,
    /// Networks whose connections begin with a PROXY protocol header.
    networks: Vec<String>,
    /// More of a configuration file, beside the flags.
    config: String,
    more: Vec<String>,
    environment: Vec<(String, String)>,
    allow: Vec<String>,
    log: String,
}

impl Setup {
    /// In front of a server, over STARTTLS, its authority trusted; `auth` left at its default.
    pub fn before(server: &Server) -> Setup {
        let mut setup = Setup::upstream(server.starttls(), "starttls");
        setup.upstream_ca = Some(server.certs.ca.clone());
        setup
    }

    /// In front of whatever listens at `upstream`; `tls` is `starttls`, `direct` or `none`.
    pub fn upstream(upstream: SocketAddr, tls: &'static str) -> Setup {
        Setup {
            upstream: Some(upstream),
            upstream_name: None,
            upstream_tls: tls,
            upstream_ca: None,
            auth: None,
            networks: Vec::new(),
            config: String::new(),
            more: Vec::new(),
            environment: Vec::new(),
            allow: Vec::new(),
            log: std::env::var("MINIMIX_TEST_LOG").unwrap_or_else(|_| "info".to_owned()),
        }
    }

    /// In front of a server, over direct TLS.
    pub fn direct(server: &Server) -> Setup {
        Setup { upstream: Some(server.direct_tls()), upstream_tls: "direct", ..Setup::before(server) }
    }

    /// In front of itself: its own first listener.
    pub fn itself() -> Setup {
        Setup { upstream: None, ..Setup::upstream((Ipv4Addr::LOCALHOST, 0).into(), "none") }
    }

    /// `learn`, `mixed` or `relay`.
    pub fn auth(self, auth: &'static str) -> Setup {
        Setup { auth: Some(auth), ..self }
    }

    /// Takes PROXY protocol headers from these networks.
    pub fn proxy_protocol<const N: usize>(self, networks: [&str; N]) -> Setup {
        Setup { networks: networks.map(str::to_owned).into(), ..self }
    }

    /// Tables of a configuration file, beside the flags.
    pub fn config(self, toml: &str) -> Setup {
        Setup { config: toml.to_owned(), ..self }
    }

    /// Another server, or the same by another name: `localhost:15222`.
    pub fn upstream_named(self, address: &str) -> Setup {
        Setup { upstream_name: Some(address.to_owned()), ..self }
    }

    /// The authority to trust upstream.
    pub fn upstream_ca(self, ca: &Path) -> Setup {
        Setup { upstream_ca: Some(ca.to_owned()), ..self }
    }

    /// More arguments of the command line.
    pub fn args<const N: usize>(mut self, args: [&str; N]) -> Setup {
        self.more.extend(args.map(str::to_owned));
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, key: &str, value: &str) -> Setup {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// ERROR lines that contain this text are expected.
    pub fn allow(mut self, text: &str) -> Setup {
        self.allow.push(text.to_owned());
        self
    }

    /// Another `RUST_LOG` than `info`.
    pub fn log(self, filter: &str) -> Setup {
        Setup { log: filter.to_owned(), ..self }
    }

    /// Starts it and waits until it says `ready` and its ports are open.
    pub fn start(self) -> Proxy {
        for _ in 0..5 {
            let dir = tempfile::Builder::new().prefix("minimix-proxy-").tempdir().expect("a temporary directory");
            let certs = certs::make(dir.path(), &["localhost"], false);
            let ports = (free_port(), free_port());
            let mut proxy = Proxy { setup: self.clone(), certs, dir, ports, child: None };
            match proxy.launch() {
                Ok(()) => return proxy,
                // Taken meanwhile, or the same port was free twice.
                Err(why) if why.contains("in use") || why.contains("listened on twice") => proxy.kill(),
                Err(why) => {
                    proxy.kill();
                    panic!("the proxy does not start: {why}");
                }
            }
        }
        panic!("the proxy does not start: five times in a row its ports were taken by somebody else");
    }
}

/// A running proxy.
pub struct Proxy {
    /// What its listeners show; [`Certs::ca`] is what clients must trust.
    pub certs: Certs,
    setup: Setup,
    dir: tempfile::TempDir,
    ports: (u16, u16),
    child: Option<Child>,
}

impl Proxy {
    /// In front of a server, with all defaults.
    pub fn start(server: &Server) -> Proxy {
        Setup::before(server).start()
    }

    /// Where it offers STARTTLS.
    pub fn starttls(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.0).into()
    }

    /// Where it speaks TLS from the first byte.
    pub fn direct_tls(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.1).into()
    }

    /// A login of `user` (or `user/resource`) through this proxy, with the test password.
    pub fn login(&self, user: &str) -> Login {
        Login::new(self.starttls(), user, &self.certs.ca)
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The key of its store.
    pub fn key_file(&self) -> PathBuf {
        self.dir.path().join("data.key")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the proxy runs").id()
    }

    /// Its log so far, all its runs.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Waits for a line of the log that contains `text`.
    pub async fn wait_log(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log().lines().find(|l| l.contains(text)) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "the proxy never logged {text:?}\n{}", tail(&self.log_path(), 40));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// An administrator's command with the same data directory: `proxy.admin(["account", "list"])`. Standard input
    /// is `input`.
    pub fn admin<const N: usize>(&self, args: [&str; N], input: &str) -> std::process::Output {
        use std::io::Write;
        let mut command = Command::new(binary());
        command.args(self.arguments()).args(args).env("RUST_LOG", "warn").env("NO_COLOR", "1");
        command.envs(self.setup.environment.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("run the proxy's binary");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("write its standard input");
        child.wait_with_output().expect("wait for the command")
    }

    /// Ends it as an operator would (SIGTERM), and waits.
    pub fn stop(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the proxy runs");
        signal(child.id(), "TERM");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("ask for the proxy's end") {
                return status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the proxy does not end on SIGTERM\n{}", tail(&self.log_path(), 40));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as a crash would (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again with the same data and ports.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "the proxy still runs");
        self.launch().unwrap_or_else(|why| panic!("the proxy does not start again: {why}"));
    }

    /// Changes how it is started, from the next start on.
    pub fn change(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.setup = change(self.setup.clone());
    }

    /// Allows ERROR lines with this text from now on.
    pub fn allow(&mut self, text: &str) {
        self.setup.allow.push(text.to_owned());
    }

    /// Panics, and ERRORs that no test announced.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let bad = |l: &&str| l.contains("panicked at") || l.split_whitespace().take(4).any(|w| w == "ERROR");
        let announced = |l: &&str| self.setup.allow.iter().any(|a| l.contains(a));
        log.lines().filter(bad).filter(|l| !announced(l)).map(str::to_owned).collect()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("proxy.log")
    }

    /// The command line that it runs with.
    fn arguments(&self) -> Vec<String> {
        let setup = &self.setup;
        let path = |path: &Path| path.display().to_string();
        let mut all = vec!["--domain".to_owned(), "localhost".to_owned()];
        let mut flag = |name: &str, value: String| all.extend([name.to_owned(), value]);
        if setup.networks.is_empty() {
            flag("--listen", self.starttls().to_string());
            flag("--listen-tls", self.direct_tls().to_string());
        }
        if !setup.networks.is_empty() || !setup.config.is_empty() {
            flag("--config", path(&self.config_file()));
        }
        let upstream = setup.upstream.unwrap_or(self.starttls()).to_string();
        flag("--upstream", setup.upstream_name.clone().unwrap_or(upstream));
        flag("--upstream-tls", setup.upstream_tls.to_owned());
        flag("--cert", path(&self.certs.chain));
        flag("--key", path(&self.certs.key));
        flag("--data", path(&self.data()));
        if let Some(ca) = &setup.upstream_ca {
            flag("--upstream-ca", path(ca));
        }
        if let Some(auth) = setup.auth {
            flag("--auth", auth.to_owned());
        }
        all.extend(setup.more.iter().cloned());
        all
    }

    /// A configuration file, for what flags cannot say.
    fn config_file(&self) -> PathBuf {
        let listen = |address: SocketAddr, tls: &str| {
            let networks = &self.setup.networks;
            format!("[[listen]]\naddress = \"{address}\"\ntls = \"{tls}\"\nproxy_protocol = {networks:?}\n")
        };
        let listeners = match self.setup.networks.is_empty() {
            true => String::new(),
            false => listen(self.starttls(), "starttls") + &listen(self.direct_tls(), "direct"),
        };
        let path = self.dir.path().join("config.toml");
        let text = listeners + &self.setup.config;
        std::fs::write(&path, text).expect("write the configuration");
        path
    }

    fn launch(&mut self) -> Result<(), String> {
        let before = self.log().len();
        let log =
            std::fs::File::options().create(true).append(true).open(self.log_path()).map_err(|e| e.to_string())?;
        let setup = &self.setup;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary()).args(self.arguments());
        command.env("RUST_LOG", &setup.log).env("NO_COLOR", "1");
        command.envs(setup.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(|e| e.to_string())?).stderr(log);
        let child = self.child.insert(command.spawn().map_err(|e| e.to_string())?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = std::fs::read_to_string(self.dir.path().join("proxy.log")).unwrap_or_default();
            let mut words = log.get(before..).unwrap_or_default().split_whitespace();
            if words.any(|w| w.trim_matches('"') == "ready") && TcpStream::connect(("127.0.0.1", self.ports.0)).is_ok()
            {
                return Ok(());
            }
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("it ended with {status}\n{log}"));
            }
            if Instant::now() > deadline {
                return Err(format!("not ready in time\n{log}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill();
            eprintln!("=== the proxy's log ===\n{}", tail(&self.log_path(), 60));
            return;
        }
        if self.child.is_some() {
            self.stop();
        }
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the proxy's log has\n{}", complaints.join("\n"));
    }
}

/// The binary under test.
pub fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_minimix-proxy")
}
