//! `minimix-proxy check`: all that can be found wrong without listening or dialling. Names are looked up.

mod files;
mod upstream;

use std::fmt;

use clap::ValueEnum;

use crate::config::{Config, Flags};
use crate::net::tls::ServerTls;

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
        files::check_private_key(&domain.key, report);
        upstream::check(domain, config, report);
    }
    files::check_data(&config.data, report);
    files::check_key_file(config, report);
    report.warnings.extend(crate::server::files::check(&config.limits));
}

/// How a value is written in the configuration.
fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
