//! The control socket: how `minimix-proxy account …` reaches a running proxy. One JSON object a line each way, on a
//! unix socket in the data directory that only its owner may open.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jid::BareJid;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tracing::{info, warn};

use crate::account::keys::Kept;
use crate::account::registry::Registry;

/// How long a peer may take to say what it wants, and how much it may say.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST: u64 = 64 * 1024;

/// What an operator asks for.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Enrol an account.
    AccountAdd {
        /// The account.
        account: String,
        /// Its password.
        password: String,
    },
    /// List the enrolled accounts.
    AccountList,
    /// Forget an account's keys.
    AccountRemove {
        /// The account.
        account: String,
    },
    /// Make a new key for the store.
    KeyRotate,
    /// Forget the best mechanism a domain's server has offered.
    DomainReset {
        /// The domain.
        domain: String,
    },
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// What there is to say, a line each.
    pub lines: Vec<String>,
}

impl Answer {
    fn new(ok: bool, line: String) -> Self {
        Answer { ok, lines: vec![line] }
    }
}

/// Where the socket is.
pub fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
}

/// Does what is asked.
pub async fn perform(registry: &Registry, request: Request) -> Answer {
    let result = match request {
        Request::AccountAdd { account, password } => match BareJid::new(&account) {
            Err(error) => Err(format!("{account} is no bare JID ({error}); give it as user@domain")),
            Ok(account) => match registry.enrol(&account, SecretString::from(password)).await {
                Ok(Kept::Password) => Ok(vec![format!("{account} is enrolled (its password is kept, encrypted)")]),
                Ok(_) => Ok(vec![format!("{account} is enrolled")]),
                Err(error) => Err(error.to_string()),
            },
        },
        Request::AccountList => match registry.enrolled().await {
            Ok(all) => Ok(all.iter().map(ToString::to_string).collect()),
            Err(error) => Err(error.to_string()),
        },
        Request::AccountRemove { account } => match BareJid::new(&account) {
            Err(error) => Err(format!("{account} is no bare JID ({error}); give it as user@domain")),
            Ok(account) => match registry.unenrol(&account).await {
                Ok(true) => Ok(vec![format!("{account} is no longer enrolled: its joins pass through")]),
                Ok(false) => Err(format!("{account} is not enrolled; `minimix-proxy account list` shows who is")),
                Err(error) => Err(error.to_string()),
            },
        },
        Request::KeyRotate => match registry.rotate_key().await {
            Ok(done) if done.unreadable > 0 => Ok(vec![format!(
                "the store is encrypted with a new key; {} values had been altered and are lost: `minimix-proxy account list`",
                done.unreadable
            )]),
            Ok(_) => Ok(vec!["the store is encrypted with a new key".to_owned()]),
            Err(error) => Err(error.to_string()),
        },
        Request::DomainReset { domain } => match registry.reset_mechanism(&domain).await {
            Ok(true) => Ok(vec![format!("{domain}: whatever its server offers next is taken as its best")]),
            Ok(false) => Ok(vec![format!("{domain}: nothing was remembered")]),
            Err(error) => Err(error.to_string()),
        },
    };
    match result {
        Ok(lines) => Answer { ok: true, lines },
        Err(line) => Answer::new(false, line),
    }
}

/// The server's end.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket. Only the holder of the store's lock may: whatever lies at that path is a leftover.
    pub fn bind(data: &Path) -> io::Result<Self> {
        let path = path(data);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The directory is 0700 (S22), so nobody can be faster than this.
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Control { listener, path })
    }

    /// Answers until the future is dropped; one peer after the other.
    pub async fn serve(self, registry: Arc<Registry>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if tokio::time::timeout(PATIENCE * 6, answer(stream, &registry)).await.is_err() {
                        warn!("a request on the control socket took too long");
                    }
                }
                Err(error) => {
                    warn!(%error, "control socket");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, registry: &Registry) {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(MOST));
    if !matches!(tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await, Ok(Ok(n)) if n > 0) {
        return;
    }
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => perform(registry, request).await,
        Err(error) => Answer::new(false, format!("no request: {error}")),
    };
    info!(ok = answer.ok, "request on the control socket");
    let mut text = serde_json::to_string(&answer).unwrap_or_default();
    text.push('\n');
    let _ = write.write_all(text.as_bytes()).await;
}

/// Asks a running proxy; `None` if none runs over that data directory.
pub async fn ask(data: &Path, request: &Request) -> io::Result<Option<Answer>> {
    let mut stream = match UnixStream::connect(path(data)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut text = serde_json::to_string(request).map_err(io::Error::other)?;
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    Ok(Some(serde_json::from_str(&line).map_err(io::Error::other)?))
}
