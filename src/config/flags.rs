//! The configuration's command-line flags, and how they lie over a file: a flag (or its environment variable) wins.

use std::path::PathBuf;

use clap::Args;

use super::raw::{Raw, RawDomain, RawListen};
use super::{Auth, ConfigError, ListenTls, UpstreamTls};

/// All of the proxy that flags can say.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct Flags {
    /// Configuration file (TOML); the flags below win over it
    #[arg(long, value_name = "FILE", env = "MINIMIX_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    /// XMPP domain to serve
    #[arg(long, value_name = "DOMAIN", env = "MINIMIX_DOMAIN", global = true)]
    pub domain: Option<String>,
    /// Address for clients that start TLS by STARTTLS, such as 127.0.0.1:5222
    #[arg(long, value_name = "IP:PORT", env = "MINIMIX_LISTEN", global = true)]
    pub listen: Option<String>,
    /// Address for clients that speak TLS from the first byte, such as 127.0.0.1:5223
    #[arg(long, value_name = "IP:PORT", env = "MINIMIX_LISTEN_TLS", global = true)]
    pub listen_tls: Option<String>,
    /// The domain's server; found by SRV records if absent
    #[arg(long, value_name = "HOST:PORT", env = "MINIMIX_UPSTREAM", global = true)]
    pub upstream: Option<String>,
    /// TLS towards the server [default: starttls]
    #[arg(long, value_name = "HOW", env = "MINIMIX_UPSTREAM_TLS", global = true)]
    pub upstream_tls: Option<UpstreamTls>,
    /// CA certificates to verify the server with, PEM; the system's if absent
    #[arg(long, value_name = "FILE", env = "MINIMIX_UPSTREAM_CA", global = true)]
    pub upstream_ca: Option<PathBuf>,
    /// Begin connections to the server with a PROXY protocol v2 header that tells the client's address
    #[arg(long, env = "MINIMIX_UPSTREAM_PROXY_PROTOCOL", global = true)]
    pub upstream_proxy_protocol: bool,
    /// The domain's certificate, PEM, with those that issued it
    #[arg(long, value_name = "FILE", env = "MINIMIX_CERT", global = true)]
    pub cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", env = "MINIMIX_KEY", global = true)]
    pub key: Option<PathBuf>,
    /// Directory of the store
    #[arg(long, value_name = "DIR", env = "MINIMIX_DATA", global = true)]
    pub data: Option<PathBuf>,
    /// The key that encrypts the store; not in its directory [default: the directory's path with .key behind it]
    #[arg(long, value_name = "FILE", env = "MINIMIX_KEY_FILE", global = true)]
    pub key_file: Option<PathBuf>,
    /// What clients log in with [default: learn on loopback; must be given elsewhere]
    #[arg(long, value_name = "HOW", env = "MINIMIX_AUTH", global = true)]
    pub auth: Option<Auth>,
}

impl Flags {
    pub(super) fn apply(&self, raw: &mut Raw) -> Result<(), ConfigError> {
        if self.data.is_some() {
            raw.data.clone_from(&self.data);
        }
        if self.key_file.is_some() {
            raw.key_file.clone_from(&self.key_file);
        }
        self.apply_listeners(raw);
        self.apply_domain(raw)
    }

    /// Listeners given by flags take the place of all those in the file.
    fn apply_listeners(&self, raw: &mut Raw) {
        let flagged = [(&self.listen, ListenTls::StartTls), (&self.listen_tls, ListenTls::Direct)];
        let flagged: Vec<_> = flagged
            .into_iter()
            .filter_map(|(address, tls)| {
                Some(RawListen { address: address.clone()?, tls: Some(tls), ..RawListen::default() })
            })
            .collect();
        if !flagged.is_empty() {
            raw.listen = flagged;
        }
        for listen in &mut raw.listen {
            listen.auth = self.auth.or(listen.auth);
        }
    }

    fn apply_domain(&self, raw: &mut Raw) -> Result<(), ConfigError> {
        let about_domain = self.upstream.is_some()
            || self.upstream_tls.is_some()
            || self.upstream_ca.is_some()
            || self.upstream_proxy_protocol
            || self.cert.is_some()
            || self.key.is_some();
        if let Some(name) = &self.domain
            && !raw.domain.iter().any(|d| d.name == *name)
        {
            raw.domain.push(RawDomain { name: name.clone(), ..RawDomain::default() });
        }
        if !about_domain {
            return Ok(());
        }
        let domain = match (&self.domain, raw.domain.as_mut_slice()) {
            (Some(name), domains) => domains.iter_mut().find(|d| d.name == *name),
            (None, [only]) => Some(only),
            (None, []) => return Err(ConfigError::invalid("domain", "is missing; say --domain DOMAIN")),
            (None, _) => None,
        };
        let Some(domain) = domain else {
            let problem =
                "is missing: flags about one domain were given, and the file has several; say --domain DOMAIN";
            return Err(ConfigError::invalid("domain", problem));
        };
        let set = |to: &mut Option<PathBuf>, from: &Option<PathBuf>| {
            if from.is_some() {
                to.clone_from(from);
            }
        };
        set(&mut domain.certificate, &self.cert);
        set(&mut domain.key, &self.key);
        set(&mut domain.upstream.ca, &self.upstream_ca);
        domain.upstream.tls = self.upstream_tls.or(domain.upstream.tls);
        if self.upstream_proxy_protocol {
            domain.upstream.proxy_protocol = Some(true);
        }
        if self.upstream.is_some() {
            domain.upstream.address.clone_from(&self.upstream);
        }
        Ok(())
    }
}
