//! Real, unmodified XMPP servers (Debian's Prosody and ejabberd) with a configuration of their own, in a temporary
//! directory, on free ports of loopback. Several run at once. Never the system's own service.
//!
//! Start them from the test's own thread (not `spawn_blocking`): the kernel ends a server with the thread that
//! started it, so that a test that is killed leaves none behind.

mod ejabberd;
mod prosody;

use super::{PATIENCE, certs, certs::Certs, free_port, tail};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Prosody,
    Ejabberd,
}

/// Both, for tests that do the same on each.
pub const KINDS: [Kind; 2] = [Kind::Prosody, Kind::Ejabberd];

/// How a server is set up. `Options::default()` has three accounts, keys kept as SCRAM hashes, STARTTLS required.
#[derive(Debug, Clone)]
pub struct Options {
    /// Accounts on `localhost`: name and password.
    pub users: Vec<(String, String)>,
    /// Passwords kept as SCRAM keys (salt and iterations stay the same at each login) or in the clear (ejabberd's
    /// default; both servers then make a new salt for every login).
    pub hashed: bool,
    /// Prosody refuses others a room that was just created until its owner configures it.
    pub locked_rooms: bool,
    /// Also accept plaintext: [`Server::plain`].
    pub plaintext: bool,
    /// Also listen where a PROXY protocol header must come first: [`Server::proxied`]. Needs Prosody's `mod_net_proxy`.
    pub proxy_protocol: bool,
    /// The certificate expired a month ago.
    pub expired: bool,
    /// Offer SCRAM with channel binding (`-PLUS`) where the server can: ejabberd always, Prosody 0.12 on TLS 1.2.
    pub channel_binding: bool,
    /// Prosody's modules beside the usual ones.
    pub modules: Vec<&'static str>,
    /// Lines added to the server's own configuration: Prosody's global section, ejabberd's top level.
    pub extra: String,
    /// Further options of ejabberd's `mod_muc`: `"name: value"`.
    pub muc: Vec<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            users: ["alice", "bob", "carol"].iter().map(|u| ((*u).to_owned(), password(u))).collect(),
            hashed: true,
            locked_rooms: false,
            plaintext: false,
            proxy_protocol: false,
            expired: false,
            channel_binding: true,
            modules: Vec::new(),
            extra: String::new(),
            muc: Vec::new(),
        }
    }
}

/// The password of a test account.
pub fn password(user: &str) -> String {
    format!("{user}-password")
}

/// Ports a server listens on, all on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
struct Ports {
    starttls: u16,
    direct_tls: u16,
    plain: u16,
    proxied: u16,
    proxied_tls: u16,
}

impl Ports {
    fn free() -> Ports {
        loop {
            let all = [(); 5].map(|()| free_port());
            // A port that was free a moment ago is free again: the same may come twice.
            if (1..all.len()).all(|n| !all[..n].contains(&all[n])) {
                let [starttls, direct_tls, plain, proxied, proxied_tls] = all;
                return Ports { starttls, direct_tls, plain, proxied, proxied_tls };
            }
        }
    }
}

/// What stands between a start and a running server.
enum Fault {
    /// Somebody took one of its ports meanwhile: worth another try with others.
    PortTaken,
    /// Anything else.
    Broken(String),
}

/// A running server; stopped when dropped.
pub struct Server {
    pub kind: Kind,
    pub certs: Certs,
    options: Options,
    ports: Ports,
    dir: tempfile::TempDir,
    running: Option<Running>,
}

struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    /// What it prints, line by line (ejabberd: answers to [`Server::control`]).
    output: mpsc::Receiver<String>,
}

impl Server {
    /// Starts a server and waits until it accepts connections and knows its users.
    ///
    /// # Panics
    /// With the tail of the server's log, when it does not come up.
    pub fn start(kind: Kind, options: Options) -> Server {
        for _ in 0..5 {
            let dir = tempfile::Builder::new().prefix("minimix-server-").tempdir().expect("a temporary directory");
            let certs = certs::make(dir.path(), &["localhost", "conference.localhost"], options.expired);
            let ports = Ports::free();
            let mut server = Server { kind, certs, options: options.clone(), ports, dir, running: None };
            server.configure();
            match server.launch() {
                Ok(()) => return server,
                Err(Fault::PortTaken) => continue,
                Err(Fault::Broken(why)) => panic!("{kind:?} does not start: {why}"),
            }
        }
        panic!("{kind:?} does not start: five times in a row its ports were taken by somebody else");
    }

    /// Where it offers STARTTLS.
    pub fn starttls(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.starttls).into()
    }

    /// Where it speaks TLS from the first byte.
    pub fn direct_tls(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.direct_tls).into()
    }

    /// Where it takes logins without TLS (needs [`Options::plaintext`]). On Prosody this port also offers STARTTLS.
    pub fn plain(&self) -> SocketAddr {
        assert!(self.options.plaintext, "start the server with Options {{ plaintext: true, .. }}");
        match self.kind {
            Kind::Prosody => self.starttls(),
            Kind::Ejabberd => (Ipv4Addr::LOCALHOST, self.ports.plain).into(),
        }
    }

    /// Where it offers STARTTLS behind a PROXY protocol header (needs [`Options::proxy_protocol`]).
    pub fn proxied(&self) -> SocketAddr {
        assert!(self.options.proxy_protocol, "start the server with Options {{ proxy_protocol: true, .. }}");
        (Ipv4Addr::LOCALHOST, self.ports.proxied).into()
    }

    /// Where ejabberd speaks TLS behind a PROXY protocol header; Prosody's module cannot.
    pub fn proxied_tls(&self) -> SocketAddr {
        assert!(self.options.proxy_protocol && self.kind == Kind::Ejabberd, "only ejabberd can");
        (Ipv4Addr::LOCALHOST, self.ports.proxied_tls).into()
    }

    /// The address that it believes this session (a full JID) to come from.
    pub fn address_of(&mut self, jid: &str) -> String {
        match self.kind {
            Kind::Prosody => prosody::address_of(self, jid),
            Kind::Ejabberd => ejabberd::address_of(self, jid),
        }
    }

    /// The full address of a room, by its local part.
    pub fn room(&self, name: &str) -> String {
        format!("{name}@conference.localhost")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Its configuration, data and log; gone when it is dropped.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes an account, or gives an existing one a new password, while the server runs.
    pub fn set_password(&mut self, user: &str, password: &str) {
        match self.kind {
            Kind::Prosody => prosody::set_password(self, user, password),
            Kind::Ejabberd => ejabberd::set_password(self, user, password),
        }
    }

    /// Runs an administrator's command and returns its answer: Prosody's shell (`muc:room("r@conference.localhost")`),
    /// on ejabberd an Erlang expression with its full stop (`ejabberd_sm:connected_users().`).
    pub fn control(&mut self, command: &str) -> String {
        match self.kind {
            Kind::Prosody => prosody::control(self, command),
            Kind::Ejabberd => ejabberd::control(self, command),
        }
    }

    /// Ends it as a crash would: no stream is closed, no occupant leaves.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// Ends it as an operator would, and waits for it.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            super::signal(running.child.id(), "TERM");
            drop(running.stdin.take());
            let deadline = Instant::now() + PATIENCE;
            while running.child.try_wait().expect("ask for the server's end").is_none() {
                if Instant::now() > deadline {
                    let _ = running.child.kill();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Starts it again after [`Server::kill`] or [`Server::stop`], with the same data and ports.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the server still runs");
        match self.launch() {
            Ok(()) => {}
            Err(Fault::PortTaken) => panic!("{:?} does not start again: its port was taken meanwhile", self.kind),
            Err(Fault::Broken(why)) => panic!("{:?} does not start again: {why}", self.kind),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    fn configure(&self) {
        match self.kind {
            Kind::Prosody => prosody::configure(self),
            Kind::Ejabberd => ejabberd::configure(self),
        }
    }

    /// Starts the process and waits until every port is its own and open.
    fn launch(&mut self) -> Result<(), Fault> {
        let before = self.log().len();
        let command = match self.kind {
            Kind::Prosody => prosody::command(self),
            Kind::Ejabberd => ejabberd::command(self),
        };
        let running = Running::spawn(command, &self.dir.path().join("output.log"));
        self.running = Some(running.map_err(|e| Fault::Broken(format!("cannot run it ({e}); is it installed?")))?);
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            let log = self.log();
            let log = log.get(before..).unwrap_or_default();
            match self.kind {
                Kind::Prosody if prosody::port_taken(log) => return Err(Fault::PortTaken),
                Kind::Ejabberd if ejabberd::port_taken(log) => return Err(Fault::PortTaken),
                Kind::Prosody if prosody::ready(self, log) => return Ok(()),
                Kind::Ejabberd if ejabberd::ready(self, log) => return Ok(()),
                _ => {}
            }
            let running = self.running.as_mut().expect("just started");
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(Fault::Broken(format!("it ended with {status}\n{}", self.tails())));
            }
            if Instant::now() > deadline {
                return Err(Fault::Broken(format!("not ready in time\n{}", self.tails())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn tails(&self) -> String {
        let output = tail(&self.dir.path().join("output.log"), 20);
        format!("--- its log ---\n{}\n--- its output ---\n{output}", tail(&self.log_path(), 40))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("=== {:?} at {} ===\n{}", self.kind, self.starttls(), self.tails());
        }
    }
}

impl Running {
    /// Runs `command` under the kernel's promise to end it with us; its output goes to `log` and to the channel.
    fn spawn(command: Vec<String>, log: &Path) -> std::io::Result<Running> {
        let mut log = std::fs::File::create(log)?;
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?)
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("piped"));
        let (lines, output) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = writeln!(log, "{line}");
                let _ = lines.send(line);
            }
        });
        Ok(Running { child, stdin, output })
    }
}
