//! `minimix-proxy check`: all that can be found wrong without listening or dialling.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::ValueEnum;

use crate::config::{Config, Flags, UpstreamTls};
use crate::net::tls::{ClientTls, ServerTls};

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What was looked at and is well.
    pub fine: Vec<String>,
    /// What works, and is worth a second thought.
    pub warnings: Vec<String>,
    /// What keeps the proxy, or a domain of it, from working.
    pub errors: Vec<String>,
}

impl Report {
    /// Whether the proxy can run.
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }
}

impl Report {
    /// As `--json` shows it: one line; the fields are stable.
    pub fn to_json(&self) -> String {
        let Report { fine, warnings, errors } = self;
        let all = serde_json::json!({ "ok": self.is_ok(), "errors": errors, "warnings": warnings, "fine": fine });
        format!("{all}\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = [("ok", &self.fine), ("warning", &self.warnings), ("error", &self.errors)];
        for (what, lines) in lines {
            for line in lines {
                writeln!(f, "{what}: {line}")?;
            }
        }
        match (self.errors.len(), self.warnings.len()) {
            (0, 0) => writeln!(f, "The configuration is fine."),
            (0, warnings) => writeln!(f, "The configuration can be used; warnings: {warnings}."),
            (errors, _) => writeln!(f, "The configuration cannot be used; errors: {errors}."),
        }
    }
}

/// Looks at the configuration and all the files it names.
pub fn check(flags: &Flags) -> Report {
    let mut report = Report::default();
    match Config::load(flags) {
        Ok(config) => check_config(&config, &mut report),
        Err(error) => report.errors.push(error.to_string()),
    }
    report
}

fn check_config(config: &Config, report: &mut Report) {
    report.warnings.extend(config.warnings());
    for listen in &config.listen {
        let (tls, auth) = (word(listen.tls), word(listen.auth));
        report.fine.push(format!("listens on {} (tls {tls}, auth {auth})", listen.address));
    }
    // Each domain by itself, so that one's fault does not hide another's.
    for domain in &config.domains {
        match ServerTls::new(vec![domain.into()]) {
            Ok((_, warnings)) => {
                report.fine.push(format!("{}: certificate {}", domain.name, domain.certificate.display()));
                report.warnings.extend(warnings);
            }
            Err(error) => report.errors.push(format!("{}: {error}", domain.name)),
        }
        check_readable_by_others(&domain.key, report);
        let upstream = &domain.upstream;
        if upstream.tls != UpstreamTls::None
            && let Err(error) = ClientTls::new(upstream.ca.as_deref())
        {
            report.errors.push(format!("{}: {error}", domain.name));
        }
        let place = upstream.address.as_ref().map_or("found by SRV records".to_owned(), ToString::to_string);
        report.fine.push(format!("{}: server {place} (tls {})", domain.name, word(upstream.tls)));
        if let Some(address) = &upstream.address
            && let Ok(ip) = address.host.parse()
            && config.listen.iter().any(|l| l.address == std::net::SocketAddr::new(ip, address.port))
        {
            let line = "upstream.address is where the proxy itself listens; set it to the server's own address";
            report.errors.push(format!("{}: {line}", domain.name));
        }
    }
    check_data(&config.data, report);
    if config.key_file.exists() && mode(&config.key_file).is_some_and(|mode| mode & 0o077 != 0) {
        report.errors.push(format!(
            "key_file {0} can be read by others: chmod 600 {0}; if others had access, make a new one",
            config.key_file.display()
        ));
    }
}

/// How a value is written in the configuration.
fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}

fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|meta| meta.permissions().mode())
}

fn check_readable_by_others(key: &Path, report: &mut Report) {
    if mode(key).is_some_and(|mode| mode & 0o007 != 0) {
        report.warnings.push(format!("the private key {0} can be read by everybody: chmod 600 {0}", key.display()));
    }
}

fn check_data(data: &Path, report: &mut Report) {
    match std::fs::metadata(data) {
        Ok(meta) if !meta.is_dir() => {
            report.errors.push(format!("data {} is not a directory; name another one", data.display()));
        }
        Ok(meta) => {
            report.fine.push(format!("store in {}", data.display()));
            if meta.permissions().mode() & 0o077 != 0 {
                report.warnings.push(format!("data {0} is open to others: chmod 700 {0}", data.display()));
            }
        }
        Err(_) => report.fine.push(format!("store in {} (will be made)", data.display())),
    }
}

#[cfg(test)]
mod tests;
