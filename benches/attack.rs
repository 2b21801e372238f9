//! What an attack costs those who chat: how long a message takes from one client to all in its room, without and with
//! 50 connections that send malformed streams (those of `tests/bad_input`) as fast as they can, in turn.
//!
//! 20 clients, two of each of ten accounts, four in each of five rooms, each speaking ten times a second. The server
//! is a scripted one in this process, so that what is measured is the proxy: a real one would spend as much on the
//! attackers' logins as the proxy does. The attackers are a process of their own that runs when nothing else wants to,
//! as they would have machines of their own: what the proxy does for them counts, what they do themselves does not.

#[path = "../tests/bad_input/cases.rs"]
#[allow(dead_code)]
mod cases;
#[path = "../tests/bad_input/streams.rs"]
#[allow(dead_code)]
mod streams;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::proxy::Proxy;
use support::raw::{self, Raw};
use support::scripted::{Stream, attribute};
use support::scripted_room::Rooms;
use tokio::sync::{mpsc, watch};

const MARK: &str = "evil-";
const SEED: u64 = 20_260_101;
const ACCOUNTS: usize = 10;
const ROOMS: usize = 5;
const AT_ONCE: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);
const PHASE: Duration = Duration::from_secs(8);
const PHASES: usize = 3;
const LIMITS: &str = "[limits]\nlogin_failures_per_address = 1000000\nlogin_failures_per_account = 1000000\n\
    login_failures_per_server = 1000000\n";

/// The condition of the stream error in what was received.
fn told(received: &str) -> Option<&str> {
    let (_, error) = received.split_once("<stream:error")?;
    let (_, condition) = error.split_once('>')?;
    Some(condition.strip_prefix('<')?.split_once(' ')?.0)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|a| a == "--attack") {
        Some(at) => runtime.block_on(attack(&arguments[at + 1..])),
        None => runtime.block_on(measure()),
    }
}

/// The attackers' process: streams until its input ends; then it says how many they were, and how many did not end as
/// they should.
async fn attack(arguments: &[String]) {
    let address = |at: usize| arguments[at].parse::<SocketAddr>().expect("an address");
    let addresses = (address(0), address(1));
    let tls = raw::tls(Path::new(&arguments[2]));
    let all = Arc::new(streams::cases(&mut StdRng::seed_from_u64(SEED), 10_000));
    let (next, done, wrong) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    println!("ready");
    for _ in 0..AT_ONCE {
        let (all, tls, next, done, wrong) = (all.clone(), tls.clone(), next.clone(), done.clone(), wrong.clone());
        tokio::spawn(async move {
            loop {
                let case = &all[next.fetch_add(1, Ordering::Relaxed) % all.len()];
                let fault = case.attack(addresses, &tls).await;
                done.fetch_add(1, Ordering::Relaxed);
                wrong.fetch_add(usize::from(fault.is_some()), Ordering::Relaxed);
            }
        });
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
        .await
        .expect("a thread")
        .expect("input");
    println!("{} {}", done.load(Ordering::Relaxed), wrong.load(Ordering::Relaxed));
    std::process::exit(0);
}

/// The attackers, at work until they are called off.
struct Attackers(Child, BufReader<std::process::ChildStdout>);

impl Attackers {
    fn begin(proxy: &Proxy) -> Attackers {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "chrt", "--idle", "0"]);
        command.arg(std::env::current_exe().expect("this program")).arg("--attack");
        command.args([proxy.starttls().to_string(), proxy.direct_tls().to_string()]).arg(&proxy.certs.ca);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run the attackers");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        assert_eq!(line(&mut output), "ready");
        Attackers(child, output)
    }

    /// How many streams they sent, and how many of them did not end as they should.
    fn end(mut self) -> (usize, usize) {
        drop(self.0.stdin.take());
        let told = line(&mut self.1);
        let _ = self.0.wait();
        let (done, wrong) = told.split_once(' ').expect("two numbers");
        (done.parse().expect("a number"), wrong.parse().expect("a number"))
    }
}

fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("the attackers speak");
    line.trim().to_owned()
}

/// Rooms that hand on what is said to all that are in them.
async fn rooms() -> Rooms {
    let inside: Mutex<HashMap<(String, String), Stream>> = Mutex::default();
    Rooms::scripted(move |stream, stanza| {
        let to = attribute(stanza, "to").unwrap_or_default();
        let room = to.split('/').next().unwrap_or_default().to_owned();
        if stanza.starts_with("<presence") && room.contains("@conference.") {
            inside.lock().expect("rooms").insert((room, stream.jid.clone()), stream.clone());
            return false;
        }
        let groupchat = stanza.starts_with("<message") && stanza.contains("type='groupchat'");
        if groupchat {
            let content = stanza.split_once('>').map(|(_, content)| content).unwrap_or_default();
            for ((at, jid), stream) in inside.lock().expect("rooms").iter().filter(|((at, _), _)| *at == room) {
                stream.send(format!("<message from='{at}/other' to='{jid}' type='groupchat'>{content}"));
            }
        }
        groupchat
    })
    .await
}

/// One client: speaks now and then, and tells how long each message that it gets was under way.
async fn chat(
    mut client: Raw,
    room: String,
    start: Instant,
    took: mpsc::Sender<Duration>,
    stop: watch::Receiver<bool>,
) {
    let pause = || PAUSE.mul_f64(rand::rng().random_range(0.5..1.5));
    let mut next = tokio::time::Instant::now() + pause();
    while !*stop.borrow() {
        tokio::select! {
            () = tokio::time::sleep_until(next) => {
                next += pause();
                let now = start.elapsed().as_nanos();
                client.send(format!("<message to='{room}' type='groupchat'><body>sent {now} .</body></message>")).await;
            }
            message = client.expect("</message>") => {
                let sent = support::scripted::between(&message, "sent ", " ").and_then(|n| n.parse().ok());
                let Some(sent) = sent.map(Duration::from_nanos) else { continue };
                let _ = took.send(start.elapsed().saturating_sub(sent)).await;
            }
        }
    }
}

async fn measure() {
    let rooms = rooms().await;
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.toml");
    std::fs::write(&config, LIMITS).expect("write the configuration");
    let proxy = rooms.proxy().args(["--config", config.to_str().expect("UTF-8")]).start();
    let tls = raw::tls(&proxy.certs.ca);
    let (start, (stop, stopped), (took, mut taken)) = (Instant::now(), watch::channel(false), mpsc::channel(1 << 16));
    let mut clients = Vec::new();
    for n in 0..2 * ACCOUNTS {
        let account = n % ACCOUNTS;
        let room = format!("room{}@conference.localhost", account % ROOMS);
        let mut client = Raw::bound(proxy.direct_tls(), &tls, &format!("user{account}/{n}")).await;
        let muc = "http://jabber.org/protocol/muc";
        client.send(format!("<presence to='{room}/user{account}'><x xmlns='{muc}'/></presence>")).await;
        client.expect("<subject/></message>").await;
        clients.push((client, room));
    }
    let talking: Vec<_> = clients
        .into_iter()
        .map(|(client, room)| tokio::spawn(chat(client, room, start, took.clone(), stopped.clone())))
        .collect();
    tokio::time::sleep(PHASE / 4).await;
    let mut all = [Vec::new(), Vec::new()];
    for phase in 0..2 * PHASES {
        let attackers = (phase % 2 == 1).then(|| Attackers::begin(&proxy));
        while taken.try_recv().is_ok() {}
        tokio::time::sleep(PHASE).await;
        let mut here: Vec<Duration> = std::iter::from_fn(|| taken.try_recv().ok()).collect();
        match attackers.map(Attackers::end) {
            None => print!("quiet:  "),
            Some((done, wrong)) => {
                print!(
                    "attack: {:>5.0} malformed streams a second ({wrong} of them wrong); ",
                    done as f64 / PHASE.as_secs_f64()
                );
            }
        }
        show(&mut here);
        all[phase % 2].extend(here);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stop.send_replace(true);
    for client in talking {
        client.await.expect("nobody was disturbed");
    }
    print!("in all, quiet:  ");
    let quiet = show(&mut all[0]);
    print!("in all, attack: ");
    let attack = show(&mut all[1]);
    println!("p99 with the attack is {:.2} times that without (aim: at most 1.5)", attack / quiet);
    let _ = std::io::stdout().flush();
}

/// Prints the distribution; the 99th percentile, in ms.
fn show(took: &mut [Duration]) -> f64 {
    took.sort_unstable();
    let at = |part: f64| {
        took.get(((took.len() as f64 * part) as usize).min(took.len().saturating_sub(1)))
            .map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    };
    println!("{} deliveries, median {:.2} ms, p99 {:.2} ms, most {:.2} ms", took.len(), at(0.5), at(0.99), at(1.0));
    at(0.99)
}
