//! The way to a domain's server: whether it leads to this proxy itself (S1), and what can be read on it (S6).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use super::{Report, word};
use crate::config::{Config, Domain, Listen, UpstreamTls};
use crate::net::dial::Upstream;

pub(super) fn check(domain: &Domain, config: &Config, report: &mut Report) {
    let (name, upstream) = (&domain.name, &domain.upstream);
    let place = upstream.address.as_ref().map_or("found by SRV records".to_owned(), ToString::to_string);
    report.fine.push(format!("{name}: server {place} (tls {})", word(upstream.tls)));
    let dialler = match Upstream::new(upstream, &config.limits, Arc::new([])) {
        Ok(dialler) => dialler,
        Err(error) => return report.errors.push(format!("{name}: {error}")),
    };
    match resolve(&dialler, name) {
        Ok(addresses) => check_addresses(domain, &addresses, &config.listen, report),
        Err(error) => report.warnings.push(format!("{name}: {error}")),
    }
}

fn resolve(dialler: &Upstream, domain: &str) -> Result<Vec<SocketAddr>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(dialler.addresses(domain)).map_err(|e| e.to_string())
}

pub(super) fn check_addresses(domain: &Domain, addresses: &[SocketAddr], listen: &[Listen], report: &mut Report) {
    let (name, upstream) = (&domain.name, &domain.upstream);
    let is_far = |address: &&SocketAddr| !address.ip().to_canonical().is_loopback();
    if let Some(own) = addresses.iter().find(|address| listen.iter().any(|l| answers(l, **address))) {
        let what = match &upstream.address {
            Some(address) => format!("upstream.address {address} is where the proxy itself listens ({own})"),
            None => format!("its SRV records lead to {own}, which is where the proxy itself listens"),
        };
        report.errors.push(format!("{name}: {what}; set upstream.address to the server's own address"));
    }
    let Some(far) = addresses.iter().find(is_far) else { return };
    if upstream.tls == UpstreamTls::None && !upstream.insecure {
        report.errors.push(format!(
            "{name}: upstream.tls = \"none\" is for a server on this machine, and {far} is not: passwords would cross \
             the network readable; use \"starttls\" or \"direct\", or set upstream.insecure = true if that network is \
             safe"
        ));
    }
    if !upstream.proxy_protocol {
        report.warnings.push(format!(
            "{name}: the server sees this proxy's address for everybody, and may ban or limit it for what one client \
             does (fail2ban, rate limits); set upstream.proxy_protocol = true, and the server up to expect it"
        ));
    }
}

/// Whether a listener takes what is sent to this address.
fn answers(listen: &Listen, address: SocketAddr) -> bool {
    let (listens, ip) = (listen.address.ip().to_canonical(), address.ip().to_canonical());
    let everywhere = || listens.is_unspecified() && listens.is_ipv4() == ip.is_ipv4() && is_own(ip);
    listen.address.port() == address.port() && (listens == ip || everywhere())
}

/// Whether an address is this machine's: only such a one can be bound.
fn is_own(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified() || UdpSocket::bind((ip, 0)).is_ok()
}
