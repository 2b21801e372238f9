//! Floods: thousands of clients that come to be a burden. What it costs is printed; asserted is only what no busy
//! machine can break: everybody is ended, memory has its bound and falls back, and others are served meanwhile.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::PATIENCE;
use support::proxy::{Proxy, Setup};
use support::raw::{self, HEADER, Raw};
use support::scripted::{Scripted, Stream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Echoes messages, answers IQs.
fn echo(stream: &Stream, stanza: &str) {
    if stanza.starts_with("<iq") {
        stream.result(stanza);
    } else if stanza.starts_with("<message") {
        stream.send(stanza.to_owned());
    }
}

async fn world(limits: &str) -> (Scripted, Proxy) {
    // This process needs as many files as the proxy.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("raise the limit of open files");
    let server = Scripted::offering(&["PLAIN"], "", echo).await;
    server.forget();
    let setup = Setup::upstream(server.address, "none").auth("relay").log("warn,minimix_proxy=info");
    (server, setup.config(&format!("[limits]\n{limits}\n")).start())
}

/// Resident memory of a process, in KiB.
fn rss(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Open files of a process.
fn files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives").count()
}

/// Waits until the process has no more open files than this.
async fn falls_to(pid: u32, most: usize) {
    let start = Instant::now();
    while files(pid) > most {
        assert!(start.elapsed() < 3 * PATIENCE, "{} files are still open", files(pid));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The most that is resident while it runs.
fn watch(pid: u32) -> (tokio::task::JoinHandle<()>, Arc<AtomicUsize>) {
    let peak = Arc::new(AtomicUsize::new(0));
    let shared = peak.clone();
    let watching = tokio::spawn(async move {
        loop {
            shared.fetch_max(rss(pid), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    (watching, peak)
}

/// One that sends a byte a second, in the place `kind`, until it is ended: what it was told.
async fn slow_client(
    proxy: (std::net::SocketAddr, std::net::SocketAddr),
    n: usize,
    tls: tokio_rustls::TlsConnector,
) -> String {
    let source = u8::try_from(2 + n % 50).expect("below 256");
    let (starttls, direct) = proxy;
    let hello: Vec<u8> = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3].into_iter().chain([7; 100]).collect();
    let auth = format!("<auth {} mechanism='PLAIN'>{}", raw::SASL, "A".repeat(100));
    let (mut client, bytes) = match n % 4 {
        0 => (Raw::plain_from([127, 0, 0, source], starttls).await, HEADER.as_bytes().to_vec()),
        1 => (Raw::plain_from([127, 0, 0, source], direct).await, hello),
        2 => (Raw::direct_from([127, 0, 0, source], direct, &tls).await, HEADER.as_bytes().to_vec()),
        _ => {
            let mut client = Raw::direct_from([127, 0, 0, source], direct, &tls).await;
            client.open().await;
            (client, auth.into_bytes())
        }
    };
    for byte in bytes {
        client.send([byte]).await;
        if let Some((told, _)) = client.rest_within(Duration::from_secs(1)).await {
            return told;
        }
    }
    panic!("a client that is slow ({}) is never ended", n % 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn slowloris() {
    let number = 2000;
    let limits = "handshake_timeout = \"15s\"\nnegotiation_timeout = \"20s\"\nconnections_before_login = 3000";
    let (_server, proxy) = world(limits).await;
    let tls = raw::tls(&proxy.certs.ca);
    drop(Raw::bound(proxy.direct_tls(), &tls, "alice/first").await);
    let (before, files_before) = (rss(proxy.pid()), files(proxy.pid()));
    let start = Instant::now();
    let mut slow = JoinSet::new();
    for n in 0..number {
        let (addresses, tls) = ((proxy.starttls(), proxy.direct_tls()), tls.clone());
        slow.spawn(async move { (n % 4, slow_client(addresses, n, tls).await, start.elapsed()) });
    }
    // As soon as all are there.
    let all = Instant::now();
    while files(proxy.pid()) < files_before + number + number / 4 && all.elapsed() < Duration::from_secs(12) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (there, took) = (files(proxy.pid()) - files_before, all.elapsed());
    let each = (rss(proxy.pid()).saturating_sub(before)) as f64 / number as f64;
    println!("slowloris: {there} sockets after {took:.1?}, {each:.1} KiB of memory per connection");
    let login = Instant::now();
    let mut client = Raw::bound(proxy.direct_tls(), &tls, "alice/meanwhile").await;
    let login = login.elapsed();
    println!("slowloris: a login meanwhile takes {login:.2?}");
    let mut last = [Duration::ZERO; 4];
    while let Some(ended) = slow.join_next().await {
        let (kind, told, after) = ended.expect("it is ended");
        assert!(kind == 1 || told.contains("<connection-timeout"), "{kind}: {told}");
        last[kind] = last[kind].max(after);
    }
    println!("slowloris: the last ended after {last:.1?} (before TLS, within TLS, within the header, within a stanza)");
    client.send("<iq type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    client.expect("id='still'").await;
    drop(client);
    falls_to(proxy.pid(), files_before).await;
    println!("slowloris: {} KiB before, {} after", before, rss(proxy.pid()));
    assert!(login < PATIENCE / 3, "{login:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    let (number, budget) = (1000, 64 << 10);
    // The room that each stream has by itself, on either side and in TLS; then the allocator's and the runtime's own.
    let allowance = 48 * number + (16 << 10);
    let limits =
        format!("buffers = \"{} MiB\"\nconnections_per_address = 2000\nclient_queue_bytes = \"1 MiB\"", budget >> 10);
    let (_server, proxy) = world(&limits).await;
    let tls = raw::tls(&proxy.certs.ca);
    drop(Raw::bound(proxy.direct_tls(), &tls, "alice/first").await);
    let (before, files_before) = (rss(proxy.pid()), files(proxy.pid()));
    let turns = Arc::new(Semaphore::new(20));
    let mut coming = JoinSet::new();
    for n in 0..number {
        let (address, tls, turns) = (proxy.direct_tls(), tls.clone(), turns.clone());
        coming.spawn(async move {
            let _turn = turns.acquire().await.expect("open");
            let mut client = Raw::direct_that_reads_little(address, &tls).await;
            client.log_in(&format!("user{n}"), "greedy").await;
            client
        });
    }
    let clients = coming.join_all().await;
    let idle = rss(proxy.pid());
    let (watching, peak) = watch(proxy.pid());
    let body: Arc<str> = "x".repeat((1 << 20) - 200).into();
    let mut sending = JoinSet::new();
    for (n, mut client) in clients.into_iter().enumerate() {
        let (body, turns) = (body.clone(), turns.clone());
        sending.spawn(async move {
            let _turn = turns.acquire().await.expect("open");
            // One half never ends its stanza, the other does not take what comes back.
            let end = if n % 2 == 0 { "" } else { "</body></message>" };
            let all = format!("<message><body>{body}{end}");
            // Who has been ended is not read any more.
            let _ = tokio::time::timeout(Duration::from_secs(5), client.send(all)).await;
            client
        });
    }
    let mut clients = sending.join_all().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut neighbour = Raw::bound(proxy.direct_tls(), &tls, "bob/neighbour").await;
    neighbour.send("<iq type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    neighbour.expect("id='still'").await;
    watching.abort();
    let peak = peak.load(Ordering::Relaxed);
    let ended = proxy.log().matches("resource-constraint: all room for buffers is in use").count();
    println!("memory: {before} KiB before, {idle} with {number} clients, {peak} at the peak; {ended} were ended");
    assert!(ended > 0 && ended < number, "{ended} of {number} were ended");
    assert!(peak - before < budget + allowance, "{} KiB for a budget of {budget} and {allowance}", peak - before);
    clients.clear();
    drop(neighbour);
    falls_to(proxy.pid(), files_before).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = rss(proxy.pid());
    println!("memory: {after} KiB after");
    assert!(after - before.min(after) < (peak - before) / 2, "{after} KiB after {peak}");
    // Once more: the room has been given back.
    let mut client = Raw::bound(proxy.direct_tls(), &tls, "alice/again").await;
    client.send(format!("<message><body>{body}</body></message>")).await;
    client.expect("</body></message>").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_logins() {
    let number: usize = std::env::var("MINIMIX_HALF_LOGINS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let (server, proxy) = world("connections_before_login = 100").await;
    let tls = raw::tls(&proxy.certs.ca);
    let first = |count: usize| flood(&proxy, &tls, count);
    let start = Instant::now();
    first(number / 10).await;
    falls_to(proxy.pid(), 40).await;
    let before = rss(proxy.pid());
    let half = first(number - number / 10).await;
    let took = start.elapsed();
    falls_to(proxy.pid(), 40).await;
    let after = rss(proxy.pid());
    let (open, most) = server.open();
    println!(
        "half_logins: {number} in {took:.1?}, {half} of the last got half-way; {before} KiB before, {after} after; {most} upstream connections at most"
    );
    // Sessions that end have their farewell while the next are let in.
    assert!(most <= 200, "{most}");
    assert!(open <= 100, "{open}");
    assert!(after < before + (16 << 10), "{before} KiB before, {after} after");
    drop(Raw::bound(proxy.direct_tls(), &tls, "alice/after").await);
}

/// So many clients, 200 at a time, that go away in the middle of their login; how many got there.
async fn flood(proxy: &Proxy, tls: &tokio_rustls::TlsConnector, number: usize) -> usize {
    let (turns, half) = (Arc::new(Semaphore::new(200)), Arc::new(AtomicUsize::new(0)));
    let mut all = JoinSet::new();
    for n in 0..number {
        let turn = turns.clone().acquire_owned().await.expect("open");
        let (address, tls, half) = (proxy.direct_tls(), tls.clone(), half.clone());
        all.spawn(async move {
            let _turn = turn;
            let source = u8::try_from(2 + n % 200).expect("below 256");
            // Who is one too many has no TLS.
            let Some(mut client) = Raw::try_direct_from([127, 0, 0, source], address, &tls).await else { return };
            client.send(HEADER).await;
            if client.try_expect("</stream:features>").await.is_ok() {
                client.send(format!("<auth {} mechanism='PLAIN'>AAAA", raw::SASL)).await;
                half.fetch_add(1, Ordering::Relaxed);
            }
        });
        while all.try_join_next().is_some() {}
    }
    all.join_all().await;
    half.load(Ordering::Relaxed)
}
