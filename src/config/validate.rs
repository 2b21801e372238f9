//! From what was written to a [`Config`]: defaults filled in, contradictions refused with the key and the remedy.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jid::DomainPart;

use super::raw::{Raw, RawDomain, RawListen, RawLog, RawRooms, RawUpstream};
use super::units::{Size, Time};
use super::{
    Address, Auth, Config, ConfigError, Domain, Listen, ListenTls, Log, LogFormat, Rooms, Show, Upstream, UpstreamTls,
    limits,
};

pub(super) type Result<T> = std::result::Result<T, ConfigError>;

pub(super) fn config(raw: Raw) -> Result<Config> {
    let Some(data) = raw.data else {
        return Err(ConfigError::invalid("data", "is missing; name a directory for the store (--data DIR)"));
    };
    let listen = listeners(&raw.listen)?;
    let domains = domains(raw.domain)?;
    Ok(Config {
        key_file: key_file(raw.key_file, &data)?,
        data,
        listen,
        domains,
        limits: limits::validate(&raw.limits)?,
        rooms: rooms(&raw.rooms)?,
        log: log(raw.log)?,
    })
}

/// The store's key: who copies the data directory must not have both (S22).
fn key_file(given: Option<PathBuf>, data: &Path) -> Result<PathBuf> {
    let Some(key_file) = given.or_else(|| key_beside(data)) else {
        let why = format!("must be given: data \"{}\" has no name to make it from (--key-file FILE)", data.display());
        return Err(ConfigError::invalid("key_file", why));
    };
    let (place, data) = (real(&key_file), real(data));
    if place.starts_with(&data) {
        let elsewhere = key_beside(&data).unwrap_or_else(|| "/etc/minimix-proxy/store.key".into());
        let problem = format!(
            "{} lies in the data directory, beside the store that it encrypts: who copies that has both. Move it \
             (mv {0} {1}) and set key_file to where it is then (--key-file FILE)",
            place.display(),
            elsewhere.display()
        );
        return Err(ConfigError::invalid("key_file", problem));
    }
    Ok(key_file)
}

/// The directory's path with `.key` behind it.
fn key_beside(data: &Path) -> Option<PathBuf> {
    let mut name = data.file_name()?.to_owned();
    name.push(".key");
    Some(data.with_file_name(name))
}

/// Where a path leads, symbolic links resolved as far as it exists.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => real(Path::new(".")).join(name),
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    }
}

fn listeners(raw: &[RawListen]) -> Result<Vec<Listen>> {
    if raw.is_empty() {
        let problem = "is missing: nobody could connect; add a [[listen]] with an address (--listen 127.0.0.1:5222)";
        return Err(ConfigError::invalid("listen", problem));
    }
    let mut listeners: Vec<Listen> = Vec::with_capacity(raw.len());
    for (n, raw) in raw.iter().enumerate() {
        let key = |name: &str| format!("listen[{n}].{name}");
        let Ok(address) = raw.address.parse::<SocketAddr>() else {
            let problem = format!(
                "\"{}\" is not an IP address with a port; write it like 127.0.0.1:5222, [::1]:5222 or 0.0.0.0:5222",
                raw.address
            );
            return Err(ConfigError::invalid(key("address"), problem));
        };
        if address.port() != 0 && listeners.iter().any(|l| l.address == address) {
            return Err(ConfigError::invalid(key("address"), format!("{address} is listened on twice; remove one")));
        }
        let auth = match raw.auth {
            Some(auth) => auth,
            None if address.ip().to_canonical().is_loopback() => Auth::Learn,
            None => {
                let problem = format!(
                    "must be given, since {address} is not loopback: \"relay\" or \"mixed\", or \"learn\" if the \
                     proxy may see every password (--auth)"
                );
                return Err(ConfigError::invalid(key("auth"), problem));
            }
        };
        listeners.push(Listen {
            address,
            tls: raw.tls.unwrap_or(ListenTls::StartTls),
            auth,
            proxy_protocol: raw.proxy_protocol.clone(),
        });
    }
    Ok(listeners)
}

fn domains(raw: Vec<RawDomain>) -> Result<Vec<Domain>> {
    if raw.is_empty() {
        let problem = "is missing: nobody could be served; add a [[domain]] with name, certificate and key (--domain)";
        return Err(ConfigError::invalid("domain", problem));
    }
    let mut domains: Vec<Domain> = Vec::with_capacity(raw.len());
    for (n, raw) in raw.into_iter().enumerate() {
        let key = |name: &str| format!("domain[{n}].{name}");
        let Ok(name) = DomainPart::new(&raw.name) else {
            let problem = format!("\"{}\" is no XMPP domain; write it like example.org", raw.name);
            return Err(ConfigError::invalid(key("name"), problem));
        };
        let name = name.to_string();
        if domains.iter().any(|d| d.name == name) {
            return Err(ConfigError::invalid(key("name"), format!("{name} is configured twice; remove one")));
        }
        let missing = |key: String, flag: &str| {
            ConfigError::invalid(key, format!("is missing for {name}; name a PEM file ({flag} FILE)"))
        };
        let Some(certificate) = raw.certificate else { return Err(missing(key("certificate"), "--cert")) };
        let Some(tls_key) = raw.key else { return Err(missing(key("key"), "--key")) };
        let upstream = upstream(raw.upstream, |name| key(&format!("upstream.{name}")))?;
        let registration = raw.registration.unwrap_or(false);
        let legacy_auth = raw.legacy_auth.unwrap_or(false);
        domains.push(Domain { name, certificate, key: tls_key, registration, legacy_auth, upstream });
    }
    Ok(domains)
}

fn upstream(raw: RawUpstream, key: impl Fn(&str) -> String) -> Result<Upstream> {
    let tls = raw.tls.unwrap_or(UpstreamTls::StartTls);
    let address = match &raw.address {
        None => None,
        Some(text) => Some(Address::parse(text, tls).ok_or_else(|| {
            let problem = format!(
                "\"{text}\" is not a host with a port; write it like xmpp.example.org:5222, 192.0.2.1:5222 or [::1]:5222"
            );
            ConfigError::invalid(key("address"), problem)
        })?),
    };
    let insecure = raw.insecure.unwrap_or(false);
    let ip = address.as_ref().and_then(|a| a.host.parse::<IpAddr>().ok());
    if tls == UpstreamTls::None && !insecure && ip.is_some_and(|ip| !ip.to_canonical().is_loopback()) {
        let problem = "\"none\" is for a server on this machine: passwords would cross the network readable; use \
                       \"starttls\" or \"direct\", or set insecure = true if that network is safe";
        return Err(ConfigError::invalid(key("tls"), problem));
    }
    if tls == UpstreamTls::None && raw.ca.is_some() {
        return Err(ConfigError::invalid(key("ca"), "verifies nothing with tls = \"none\"; remove one of them"));
    }
    Ok(Upstream {
        address,
        tls,
        ca: raw.ca,
        insecure,
        allow_plain: raw.allow_plain.unwrap_or(false),
        keep_password: raw.keep_password.unwrap_or(true),
        proxy_protocol: raw.proxy_protocol.unwrap_or(false),
    })
}

impl Address {
    /// `host:port`, `[v6]:port`, or a host alone with the usual port.
    pub(super) fn parse(text: &str, tls: UpstreamTls) -> Option<Address> {
        let usual = if tls == UpstreamTls::Direct { 5223 } else { 5222 };
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Address { host: address.ip().to_string(), port: address.port() });
        }
        if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Some(Address { host: ip.to_string(), port: usual });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (text, usual),
        };
        let is_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        (port != 0 && !host.is_empty() && host.chars().all(is_host)).then(|| Address { host: host.to_owned(), port })
    }
}

/// A value within bounds, or its default.
pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: Option<T>,
    default: T,
    least: T,
    most: T,
) -> Result<T> {
    match value {
        None => Ok(default),
        Some(value) if value >= least && value <= most => Ok(value),
        Some(value) => {
            Err(ConfigError::invalid(key, format!("{value} is out of bounds; it must be between {least} and {most}")))
        }
    }
}

pub(super) fn at_least_a_millisecond(key: &str, value: Option<Time>, default: Duration) -> Result<Duration> {
    match value {
        None => Ok(default),
        Some(Time(Duration::ZERO)) => {
            Err(ConfigError::invalid(key, "must be longer than nothing; write it like \"10s\""))
        }
        Some(Time(value)) => Ok(value),
    }
}

fn rooms(raw: &RawRooms) -> Result<Rooms> {
    let seconds = Duration::from_secs;
    let size = |value: Option<Size>| value.map(|Size(n)| n);
    let memory = within("rooms.memory", size(raw.memory), 1 << 30, 64 << 10, 1 << 40)?;
    let per_account = size(raw.memory_per_account);
    Ok(Rooms {
        join_timeout: at_least_a_millisecond("rooms.join_timeout", raw.join_timeout, seconds(60))?,
        leave_grace: raw.leave_grace.map_or(seconds(10), |Time(t)| t),
        verify_after: at_least_a_millisecond("rooms.verify_after", raw.verify_after, seconds(15 * 60))?,
        offline_ttl: raw.offline_ttl.map_or(seconds(7 * 86400), |Time(t)| t),
        detached_presence: raw.detached_presence.unwrap_or(Show::Away),
        history: within("rooms.history", raw.history, 100, 0, 10_000)?,
        connect_timeout: at_least_a_millisecond("rooms.connect_timeout", raw.connect_timeout, seconds(10))?,
        max_rooms: within("rooms.max_rooms", raw.max_rooms, 200, 1, 100_000)?,
        max_attached: within("rooms.max_attached", raw.max_attached, 64, 1, 100_000)?,
        memory,
        memory_per_account: within("rooms.memory_per_account", per_account, memory.min(128 << 20), 64 << 10, memory)?,
        bookmarks: raw.bookmarks.unwrap_or(true),
    })
}

fn log(raw: RawLog) -> Result<Log> {
    let level = raw.level.unwrap_or_else(|| "info".to_owned());
    if let Err(cause) = level.parse::<tracing_subscriber::EnvFilter>() {
        let problem =
            format!("\"{level}\" is no log filter ({cause}); write \"info\", \"debug\", or as RUST_LOG takes it");
        return Err(ConfigError::invalid("log.level", problem));
    }
    Ok(Log { format: raw.format.unwrap_or(LogFormat::Text), level })
}
