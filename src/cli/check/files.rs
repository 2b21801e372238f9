//! Files and directories: who can read them (S22).

use std::fs::{Metadata, metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::geteuid;

use super::Report;
use crate::config::Config;
use crate::store::SqliteStore;

/// The permission bits.
fn mode(meta: &Metadata) -> u32 {
    meta.mode() & 0o777
}

/// A certificate's private key. A group may read it: services that share a certificate often share one.
pub(super) fn check_private_key(key: &Path, report: &mut Report) {
    if metadata(key).is_ok_and(|meta| mode(&meta) & 0o007 != 0) {
        report.warnings.push(format!("the private key {0} can be read by everybody: chmod 600 {0}", key.display()));
    }
}

/// The data directory and what is in it.
pub(super) fn check_data(data: &Path, report: &mut Report) {
    let place = data.display();
    let meta = match metadata(data) {
        Ok(meta) if !meta.is_dir() => {
            return report.errors.push(format!("data {place} is not a directory; name another one"));
        }
        Ok(meta) => meta,
        Err(_) => return report.fine.push(format!("store in {place} (will be made)")),
    };
    report.fine.push(format!("store in {place}"));
    if mode(&meta) & 0o077 != 0 {
        report.warnings.push(format!("data {place} is open to others: chmod 700 {place}"));
    }
    if ![0, geteuid().as_raw()].contains(&meta.uid()) {
        let owner = meta.uid();
        report.warnings.push(format!(
            "data {place} belongs to another user (uid {owner}); run this as the user that runs the proxy, or chown it"
        ));
    }
    let files = std::fs::read_dir(data).into_iter().flatten().flatten();
    for file in files.filter(|file| file.metadata().is_ok_and(|meta| mode(&meta) & 0o077 != 0)) {
        report.warnings.push(format!("{0} is open to others: chmod 600 {0}", file.path().display()));
    }
}

/// The store's key.
pub(super) fn check_key_file(config: &Config, report: &mut Report) {
    let place = config.key_file.display();
    let store = SqliteStore::file(&config.data);
    let meta = match metadata(&config.key_file) {
        Ok(meta) => meta,
        Err(_) if store.exists() => {
            let former = config.data.join("key");
            let remedy = match former.exists() {
                true => format!("mv {} {place}", former.display()),
                false => "set it to where the key is, or restore it".to_owned(),
            };
            return report
                .errors
                .push(format!("key_file {place} is missing, and {} is encrypted with it: {remedy}", store.display()));
        }
        Err(_) => return report.fine.push(format!("key_file {place} (will be made)")),
    };
    if mode(&meta) & 0o077 != 0 {
        report.errors.push(format!(
            "key_file {place} can be read by others: chmod 600 {place}, and if others had access, \
             minimix-proxy key rotate"
        ));
    } else if ![0, geteuid().as_raw()].contains(&meta.uid()) {
        let owner = meta.uid();
        report.errors.push(format!(
            "key_file {place} belongs to another user (uid {owner}): chown it to the user that runs the proxy"
        ));
    } else if ![32, 64].contains(&meta.len()) {
        report.errors.push(format!("key_file {place} is no key: {} bytes instead of 32; restore it", meta.len()));
    } else {
        report.fine.push(format!("key_file {place}"));
    }
}
