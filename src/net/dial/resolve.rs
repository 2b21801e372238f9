//! From a domain to hosts (SRV: RFC 2782, RFC 6120 §3.2, XEP-0368), and from a host to addresses.
//!
//! SRV records are asked for through hickory; addresses through the system, whose hosts file, container DNS and other
//! name services an operator expects to count.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use tokio::net::lookup_host;
use tokio::sync::OnceCell;

use super::DialError;
use crate::config::UpstreamTls;

/// Where a server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    /// TLS from the first byte.
    pub(super) direct: bool,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// An SRV record, of whichever service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    priority: u16,
    weight: u16,
    target: Target,
}

/// Asks for SRV records; made at the first question, since only domains without an address need it.
#[derive(Clone, Default)]
pub(super) struct Resolver(Arc<OnceCell<TokioResolver>>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// Hosts to try for `domain`, in order. Without SRV records: the domain itself, port 5222.
    pub(super) async fn targets(&self, domain: &str, tls: UpstreamTls) -> Result<Vec<Target>, DialError> {
        let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
        let direct_only = tls == UpstreamTls::Direct;
        let (starttls, direct) = tokio::join!(
            async { if direct_only { Ok(None) } else { self.service("_xmpp-client._tcp", &ascii, false).await } },
            async {
                if tls == UpstreamTls::None { Ok(None) } else { self.service("_xmpps-client._tcp", &ascii, true).await }
            },
        );
        let (starttls, direct) = (starttls?, direct?);
        if starttls.is_none() && direct.is_none() {
            let port = if direct_only { 5223 } else { 5222 };
            return Ok(vec![Target { host: ascii, port, direct: direct_only }]);
        }
        let records = starttls.into_iter().chain(direct).flatten().collect();
        let targets = order(records, random_below);
        if targets.is_empty() { Err(DialError::NoService { domain: domain.to_owned() }) } else { Ok(targets) }
    }

    /// The records of one service; `None` if there are none.
    async fn service(&self, service: &str, domain: &str, direct: bool) -> Result<Option<Vec<Record>>, DialError> {
        // The final dot keeps the system's search domains out of it.
        let name = format!("{service}.{}.", domain.trim_end_matches('.'));
        let failed = |cause: &dyn fmt::Display| DialError::Resolve { host: name.clone(), cause: cause.to_string() };
        let resolver = self
            .0
            .get_or_try_init(|| async { TokioResolver::builder_tokio().and_then(|builder| builder.build()) })
            .await
            .map_err(|cause| failed(&cause))?;
        let found = match resolver.srv_lookup(name.as_str()).await {
            Ok(found) => found,
            Err(error) if error.is_no_records_found() => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let records = found.answers().iter().filter_map(|answer| match &answer.data {
            RData::SRV(srv) => Some(Record {
                priority: srv.priority,
                weight: srv.weight,
                target: Target { host: srv.target.to_ascii().trim_end_matches('.').to_owned(), port: srv.port, direct },
            }),
            _ => None,
        });
        Ok(Some(records.collect()))
    }
}

/// RFC 2782: lowest priority first, within one priority at random by weight. A target "." is no service. `random(n)`
/// is below `n`.
fn order(mut records: Vec<Record>, mut random: impl FnMut(u32) -> u32) -> Vec<Target> {
    records.retain(|r| !r.target.host.is_empty());
    // Those with weight 0 first: their chance is small, not none.
    records.sort_by_key(|r| (r.priority, r.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let same = records.iter().take_while(|r| r.priority == first.priority);
        let sum: u32 = same.clone().map(|r| u32::from(r.weight)).sum();
        let drawn = random(sum + 1);
        let mut running = 0;
        let at = same
            .into_iter()
            .position(|r| {
                running += u32::from(r.weight);
                running >= drawn
            })
            .unwrap_or(0);
        ordered.push(records.remove(at).target);
    }
    ordered
}

fn random_below(below: u32) -> u32 {
    getrandom::u32().unwrap_or(0) % below.max(1)
}

/// The addresses of a host, IPv6 and IPv4 in turn (RFC 8305 §4).
pub(super) async fn addresses(target: &Target) -> Result<Vec<SocketAddr>, DialError> {
    let failed = |cause: String| DialError::Resolve { host: target.host.clone(), cause };
    let host = target.host.trim_start_matches('[').trim_end_matches(']');
    let found = lookup_host((host, target.port)).await.map_err(|cause| failed(cause.to_string()))?;
    let (v6, v4): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv6);
    let addresses = interleave(v6, v4);
    if addresses.is_empty() { Err(failed("it has no address".into())) } else { Ok(addresses) }
}

fn interleave(first: Vec<SocketAddr>, second: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut out = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = (first.next(), second.next());
        if pair == (None, None) {
            return out;
        }
        out.extend(pair.0);
        out.extend(pair.1);
    }
}

#[cfg(test)]
mod tests;
