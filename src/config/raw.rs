//! The configuration as it is written: every key optional, none unknown. [`super::validate`] makes sense of it.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;

use super::limits::RawLimits;
use super::units::{Size, Time};
use super::{Auth, ListenTls, LogFormat, Show, UpstreamTls};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) data: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) listen: Vec<RawListen>,
    #[serde(default)]
    pub(super) domain: Vec<RawDomain>,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) rooms: RawRooms,
    #[serde(default)]
    pub(super) log: RawLog,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListen {
    pub(super) address: String,
    pub(super) tls: Option<ListenTls>,
    pub(super) auth: Option<Auth>,
    #[serde(default)]
    pub(super) proxy_protocol: Vec<IpNet>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDomain {
    pub(super) name: String,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) registration: Option<bool>,
    pub(super) legacy_auth: Option<bool>,
    #[serde(default)]
    pub(super) upstream: RawUpstream,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    pub(super) address: Option<String>,
    pub(super) tls: Option<UpstreamTls>,
    pub(super) ca: Option<PathBuf>,
    pub(super) insecure: Option<bool>,
    pub(super) allow_plain: Option<bool>,
    pub(super) keep_password: Option<bool>,
    pub(super) proxy_protocol: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRooms {
    pub(super) join_timeout: Option<Time>,
    pub(super) leave_grace: Option<Time>,
    pub(super) verify_after: Option<Time>,
    pub(super) offline_ttl: Option<Time>,
    pub(super) detached_presence: Option<Show>,
    pub(super) history: Option<usize>,
    pub(super) connect_timeout: Option<Time>,
    pub(super) max_rooms: Option<usize>,
    pub(super) max_attached: Option<usize>,
    pub(super) memory: Option<Size>,
    pub(super) memory_per_account: Option<Size>,
    pub(super) bookmarks: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) format: Option<LogFormat>,
    pub(super) level: Option<String>,
}

impl Raw {
    /// Makes relative paths relative to the directory of the file they stand in.
    pub(super) fn rebase(&mut self, directory: &Path) {
        let domains = self.domain.iter_mut();
        let paths = domains.flat_map(|d| [&mut d.certificate, &mut d.key, &mut d.upstream.ca]);
        for path in paths.chain([&mut self.data, &mut self.key_file]).flatten() {
            *path = directory.join(&*path);
        }
    }
}
