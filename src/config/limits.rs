//! Limits: what each is, its default and its bounds. `docs/configuration.md` tells what happens at each.

use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use super::units::{Size, Time};
use super::validate::{Result, at_least_a_millisecond, within};
use crate::xml::framer;

/// Numbers, sizes, rates and deadlines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Client connections, in all.
    pub connections: usize,
    /// Client connections of one address (IPv6: of one /64).
    pub connections_per_address: usize,
    /// Client connections that have not logged in yet, in all.
    pub connections_before_login: usize,
    /// Client connections of one address that have not logged in yet.
    pub connections_before_login_per_address: usize,
    /// Bytes of a stanza before login.
    pub stanza_before_login: usize,
    /// Bytes of a stanza after login.
    pub stanza: usize,
    /// Depth of elements in a stanza.
    pub depth: usize,
    /// Attributes of an element.
    pub attributes: usize,
    /// Stanzas that a client may send; beyond, it is read more slowly. `None`: any.
    pub stanza_rate: Option<Rate>,
    /// Bytes that a client may send; beyond, it is read more slowly. `None`: any.
    pub byte_rate: Option<Rate>,
    /// Failed logins.
    pub logins: LoginLimits,
    /// Bytes that all streams together may have buffered, beyond what each may have by itself.
    pub buffers: usize,
    /// From the connection to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the connection to the end of login, absolute.
    pub negotiation_timeout: Duration,
    /// To reach the server, TLS included.
    pub dial_timeout: Duration,
    /// Silence of a logged-in client, after which it is given up; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Frames waiting for a client that is slow.
    pub client_queue_frames: usize,
    /// Bytes waiting for a client that is slow.
    pub client_queue_bytes: usize,
    /// For streams to end by themselves at a shutdown.
    pub drain_timeout: Duration,
}

/// A token bucket's measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// What is allowed in the long run.
    pub per_second: u32,
    /// What is allowed at once.
    pub burst: u32,
}

/// How many failed logins there may be, before more are refused without asking the server (S3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginLimits {
    /// From one address (IPv6: one /64).
    pub per_address: u32,
    /// For one account.
    pub per_account: u32,
    /// At one domain's server, in a row, from whomever; it sees one address for all, unless it is told
    /// (`proxy_protocol`), and then this does not count.
    pub per_server: u32,
    /// Failures are forgotten when there was none for so long.
    pub window: Duration,
}

impl Limits {
    /// For a link before login.
    pub fn before_login(&self) -> framer::Limits {
        framer::Limits { stanza: self.stanza_before_login, depth: self.depth, attributes: self.attributes }
    }

    /// For a link after login.
    pub fn after_login(&self) -> framer::Limits {
        framer::Limits { stanza: self.stanza, depth: self.depth, attributes: self.attributes }
    }
}

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    connections: Option<usize>,
    connections_per_address: Option<usize>,
    connections_before_login: Option<usize>,
    connections_before_login_per_address: Option<usize>,
    stanza_before_login: Option<Size>,
    stanza: Option<Size>,
    depth: Option<usize>,
    attributes: Option<usize>,
    stanzas_per_second: Option<u32>,
    stanzas_burst: Option<u32>,
    bytes_per_second: Option<Size>,
    bytes_burst: Option<Size>,
    login_failures_per_address: Option<u32>,
    login_failures_per_account: Option<u32>,
    login_failures_per_server: Option<u32>,
    login_failures_window: Option<Time>,
    buffers: Option<Size>,
    handshake_timeout: Option<Time>,
    negotiation_timeout: Option<Time>,
    dial_timeout: Option<Time>,
    idle_timeout: Option<Time>,
    client_queue_frames: Option<usize>,
    client_queue_bytes: Option<Size>,
    drain_timeout: Option<Time>,
}

pub(super) fn validate(raw: &RawLimits) -> Result<Limits> {
    let size = |value: Option<Size>| value.map(|Size(n)| n);
    let deadline = |name: &str, value, default: u64| {
        at_least_a_millisecond(&format!("limits.{name}"), value, Duration::from_secs(default))
    };
    let stanza = within("limits.stanza", size(raw.stanza), 1 << 20, 10_000, 64 << 20)?;
    // RFC 6120 §13.12 forbids less than 10,000 bytes.
    let stanza_before_login = size(raw.stanza_before_login);
    let stanza_before_login = within("limits.stanza_before_login", stanza_before_login, 16 << 10, 10_000, stanza)?;
    let client_queue_bytes = size(raw.client_queue_bytes);
    let client_queue_bytes = within("limits.client_queue_bytes", client_queue_bytes, 8 << 20, stanza, 1 << 30)?;
    let (connections, per_address, before_login, before_login_per_address) = connections(raw)?;
    Ok(Limits {
        connections,
        connections_per_address: per_address,
        connections_before_login: before_login,
        connections_before_login_per_address: before_login_per_address,
        stanza_before_login,
        stanza,
        depth: within("limits.depth", raw.depth, 64, 8, 1024)?,
        attributes: within("limits.attributes", raw.attributes, 64, 16, 1024)?,
        stanza_rate: rate("stanzas", raw.stanzas_per_second, raw.stanzas_burst, (100, 1000))?,
        byte_rate: rate("bytes", bytes(raw.bytes_per_second), bytes(raw.bytes_burst), (256 << 10, 4 << 20))?,
        logins: logins(raw)?,
        buffers: within("limits.buffers", size(raw.buffers), 512 << 20, stanza, 1 << 40)?,
        handshake_timeout: deadline("handshake_timeout", raw.handshake_timeout, 10)?,
        negotiation_timeout: deadline("negotiation_timeout", raw.negotiation_timeout, 30)?,
        dial_timeout: deadline("dial_timeout", raw.dial_timeout, 10)?,
        idle_timeout: raw.idle_timeout.map(|Time(t)| t).filter(|t| !t.is_zero()),
        client_queue_frames: within("limits.client_queue_frames", raw.client_queue_frames, 4096, 16, 1 << 20)?,
        client_queue_bytes,
        drain_timeout: raw.drain_timeout.map_or(Duration::from_secs(5), |Time(t)| t),
    })
}

/// In all, per address; before login in all, per address. A number that is not given is the default, or a larger
/// number's, if that was given smaller.
fn connections(raw: &RawLimits) -> Result<(usize, usize, usize, usize)> {
    let most = 1_000_000;
    let key = |name: &str| format!("limits.connections{name}");
    let all = within(&key(""), raw.connections, 20_000, 1, most)?;
    let per_address = within(&key("_per_address"), raw.connections_per_address, 500.min(all), 1, all)?;
    let before = within(&key("_before_login"), raw.connections_before_login, 2000.min(all), 1, all)?;
    let lesser = per_address.min(before);
    let given = raw.connections_before_login_per_address;
    let before_per_address = within(&key("_before_login_per_address"), given, 100.min(lesser), 1, lesser)?;
    Ok((all, per_address, before, before_per_address))
}

/// More than four billion bytes a second is as good as any number of them.
fn bytes(size: Option<Size>) -> Option<u32> {
    size.map(|Size(bytes)| u32::try_from(bytes).unwrap_or(u32::MAX))
}

/// Zero a second: any rate.
fn rate(what: &str, per_second: Option<u32>, burst: Option<u32>, default: (u32, u32)) -> Result<Option<Rate>> {
    let per_second = per_second.unwrap_or(default.0);
    if per_second == 0 {
        return Ok(None);
    }
    let burst = within(&format!("limits.{what}_burst"), burst, default.1.max(per_second), 1, u32::MAX)?;
    Ok(Some(Rate { per_second, burst }))
}

fn logins(raw: &RawLimits) -> std::result::Result<LoginLimits, ConfigError> {
    let key = |name: &str| format!("limits.login_failures_{name}");
    let most = 1_000_000;
    Ok(LoginLimits {
        per_address: within(&key("per_address"), raw.login_failures_per_address, 10, 1, most)?,
        per_account: within(&key("per_account"), raw.login_failures_per_account, 10, 1, most)?,
        per_server: within(&key("per_server"), raw.login_failures_per_server, 15, 1, most)?,
        window: at_least_a_millisecond(&key("window"), raw.login_failures_window, Duration::from_secs(3600))?,
    })
}
