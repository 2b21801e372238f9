//! Top floor: wiring. Opens the store, the listeners and the control socket, takes in clients, and ends in order.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

pub mod files;

use crate::account::domain::Domain;
use crate::account::guard::Guard;
use crate::account::registry::Registry;
use crate::config::{Config, Listen, Show};
use crate::control::{Control, Operator};
use crate::failure::Failure;
use crate::muc::Settings;
use crate::muc::kept::Kept;
use crate::net::background::Background;
use crate::net::budget::Budget;
use crate::net::dial::Upstream;
use crate::net::listen::Listener;
use crate::net::tls::ServerTls;
use crate::session::accept::{Floor, serve};
use crate::session::admission::Admission;
use crate::session::refusal::Refusals;
use crate::session::sessions::Sessions;
use crate::store::{SqliteStore, Store};
use crate::stream::negotiation::BeforeLogin;

/// Threads for what blocks (PBKDF2, name look-ups, the store): bounded, so that logins cannot take the machine (S5).
const BLOCKING_THREADS: usize = 32;

/// What everything runs on.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build().map_err(Failure::runtime)
}

/// Runs the proxy until SIGTERM or SIGINT.
pub async fn run(config: Config) -> Result<(), Failure> {
    if let Some(warning) = files::raise_limit(&config.limits) {
        warn!("{warning}");
    }
    let store = open_store(&config)?;
    let (tls, warnings) = ServerTls::new(config.domains.iter().map(Into::into).collect())?;
    warnings.iter().for_each(|warning| warn!("{warning}"));
    let tls = Arc::new(tls);
    let mut listeners = Vec::new();
    for listen in &config.listen {
        listeners.push((Listener::bind(listen.address).await?, Arc::new(listen.clone())));
    }
    let own: Arc<[SocketAddr]> = listeners.iter().map(|(listener, _)| listener.address()).collect();
    let background = Background::new().map_err(Failure::runtime)?;
    let (stop, stopped) = watch::channel(false);
    let tasks = TaskTracker::new();
    let registry = Arc::new(registry(&config, store, own, tasks.clone(), stopped.clone())?);
    let control = Control::bind(&config.data).map_err(|cause| {
        let path = crate::control::path(&config.data);
        Failure::runtime(format!("cannot open the control socket {}: {cause}", path.display()))
    })?;
    warn_of_other_servers(&registry).await;
    let sessions = Arc::<Sessions>::default();
    let operator = Operator { registry: registry.clone(), sessions: Some(sessions.clone()) };
    let control = tokio::spawn(control.serve(operator));
    let drain = config.limits.drain_timeout;
    let floor = Arc::new(Floor {
        limits: config.limits.clone(),
        admission: Admission::new(&config.limits),
        refusals: Refusals::default(),
        background,
        buffers: Budget::new(config.limits.buffers),
        tls: tls.clone(),
        upstreams: registry.domains().map(|domain| (domain.name.clone(), domain.upstream.clone())).collect(),
        before_login: before_login(&config),
        guard: registry.guard().clone(),
        accounts: registry,
        sessions,
        shutdown: stopped,
        next_client: AtomicU64::new(1),
    });
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|(listener, listen)| {
            info!(address = %listener.address(), tls = ?listen.tls, auth = ?listen.auth, "listening");
            tokio::spawn(accept(listener, listen, floor.clone(), tasks.clone()))
        })
        .collect();
    info!("ready");

    until_told(&tls).await?;

    accepting.iter().for_each(|task| task.abort());
    control.abort();
    let _ = control.await;
    stop.send_replace(true);
    tasks.close();
    info!(streams = tasks.len(), "shutting down");
    if tokio::time::timeout(drain, tasks.wait()).await.is_err() {
        warn!(streams = tasks.len(), "streams did not end in time and are cut");
    }
    Ok(())
}

/// Opens the store of the configuration.
pub fn open_store(config: &Config) -> Result<Arc<dyn Store>, Failure> {
    let store = SqliteStore::open(&config.data, &config.key_file)
        .map_err(|error| Failure { code: Failure::CONFIG, message: error.to_string() })?;
    Ok(Arc::new(store))
}

/// The accounts of the configuration's domains. `own`: where this process listens.
pub fn registry(
    config: &Config,
    store: Arc<dyn Store>,
    own: Arc<[SocketAddr]>,
    tasks: TaskTracker,
    stopped: watch::Receiver<bool>,
) -> Result<Registry, Failure> {
    let mut domains = HashMap::new();
    for domain in &config.domains {
        let upstream = Upstream::new(&domain.upstream, &config.limits, own.clone())?;
        let best = store.best_mechanism(&domain.name).map_err(Failure::runtime)?;
        let upstream_id = domain.upstream.address.as_ref().map_or_else(|| "srv".to_owned(), ToString::to_string);
        let served = Domain {
            name: domain.name.clone(),
            upstream,
            upstream_id,
            allow_plain: domain.upstream.allow_plain,
            keep_password: domain.upstream.keep_password,
            limits: config.limits.clone(),
            best_mechanism: Mutex::new(best),
        };
        domains.insert(domain.name.clone(), Arc::new(served));
    }
    let rooms = &config.rooms;
    let settings = Arc::new(Settings {
        join_timeout: rooms.join_timeout,
        leave_grace: rooms.leave_grace,
        verify_after: rooms.verify_after,
        offline_ttl: rooms.offline_ttl,
        history: rooms.history,
        detached_presence: match rooms.detached_presence {
            Show::Available => None,
            Show::Away => Some("away"),
            Show::Xa => Some("xa"),
            Show::Dnd => Some("dnd"),
        },
        max_rooms: rooms.max_rooms,
        max_attached: rooms.max_attached,
        kept: Kept::default(),
        memory: rooms.memory,
        memory_per_account: rooms.memory_per_account,
        bookmarks: rooms.bookmarks,
    });
    // A server that is told the clients' addresses counts for itself (S3).
    let servers = config.domains.iter().map(|domain| (domain.name.clone(), !domain.upstream.proxy_protocol));
    let guard = Guard::new(config.limits.logins, servers);
    Ok(Registry::new(store, domains, settings, rooms.connect_timeout, tasks, stopped, guard))
}

/// What passes before login (S4).
fn before_login(config: &Config) -> HashMap<String, BeforeLogin> {
    let allowed = config.domains.iter().map(|domain| {
        let (registration, legacy_auth) = (domain.registration, domain.legacy_auth);
        (domain.name.clone(), BeforeLogin { registration, legacy_auth })
    });
    allowed.collect()
}

/// Kept keys of another server than the one a domain has now are not used (S25): the operator learns how many.
async fn warn_of_other_servers(registry: &Registry) {
    let enrolled = match registry.enrolled().await {
        Ok(enrolled) => enrolled,
        Err(error) => return warn!(%error, "the enrolments cannot be read"),
    };
    let mut elsewhere: HashMap<(&str, &str), usize> = HashMap::new();
    for enrolment in enrolled.iter().filter(|e| registry.is_bound_here(e) == Some(false)) {
        *elsewhere.entry((enrolment.account.domain().as_str(), &enrolment.upstream)).or_default() += 1;
    }
    for ((domain, upstream), accounts) in elsewhere {
        warn!(
            domain,
            upstream,
            accounts,
            "the keys of these accounts are of another server than the domain has now, and are not used until their \
             next login; if it is the same server: minimix-proxy account rebind --all-of {domain}"
        );
    }
}

async fn accept(listener: Listener, listen: Arc<Listen>, floor: Arc<Floor<Arc<Registry>>>, tasks: TaskTracker) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => drop(tasks.spawn(serve(socket, peer, listen.clone(), floor.clone()))),
            Err(error) => warn!(%error, address = %listener.address(), "cannot accept a connection"),
        }
    }
}

/// Waits for SIGTERM or SIGINT; at SIGHUP reads the certificates anew.
async fn until_told(tls: &ServerTls) -> Result<(), Failure> {
    let mut term = signal(SignalKind::terminate()).map_err(Failure::runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::runtime)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::runtime)?;
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => match tls.reload() {
                Ok(warnings) => {
                    info!("certificates are read anew");
                    warnings.iter().for_each(|warning| warn!("{warning}"));
                }
                Err(error) => error!(%error, "the old certificates stay in use"),
            },
        }
    }
}
