//! The control socket itself, both ends.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::answer::Answer;
use super::perform::Operator;
use super::request::Request;

/// How long a peer may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a request may take: a rotation of many keys, a server that does not answer.
const LONGEST: Duration = Duration::from_secs(600);
/// How long a request may be.
pub(super) const MOST: usize = 64 * 1024;
/// How many requests are dealt with at the same time; more wait.
const AT_ONCE: usize = 16;

/// Where the socket is.
pub fn path(data: &Path) -> PathBuf {
    data.join("control.sock")
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

    /// Answers until the future is dropped, some at the same time: a slow request holds up no other.
    pub async fn serve(self, operator: Operator) {
        let (operator, turns) = (Arc::new(operator), Arc::new(Semaphore::new(AT_ONCE)));
        let mut asked = JoinSet::new();
        loop {
            let Ok(turn) = turns.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let operator = operator.clone();
                    asked.spawn(async move {
                        let _turn = turn;
                        if tokio::time::timeout(LONGEST, answer(stream, &operator)).await.is_err() {
                            warn!("a request on the control socket took too long");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "control socket");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            while asked.try_join_next().is_some() {}
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, operator: &Operator) {
    let who = stream.peer_cred().ok();
    let line = match tokio::time::timeout(PATIENCE, request(&mut stream)).await {
        Ok(Ok(line)) => line,
        _ => return,
    };
    let answer = match serde_json::from_slice::<Request>(&line) {
        Ok(request) => {
            // There may be a password in it.
            drop(line);
            let (command, about) = request.describe();
            let about = about.to_owned();
            let answer = operator.perform(request).await;
            let (uid, pid) = (who.map(|w| w.uid()), who.and_then(|w| w.pid()));
            info!(command, about, ok = answer.ok, uid, pid, "asked on the control socket");
            answer
        }
        Err(error) => Answer::failed(format!("no request: {error}")),
    };
    let mut text = serde_json::to_string(&answer).unwrap_or_default();
    text.push('\n');
    let _ = tokio::time::timeout(PATIENCE, stream.write_all(text.as_bytes())).await;
}

/// Reads one line, into a buffer that never grows (it would leave copies) and is wiped.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(vec![0; MOST]);
    let mut length = 0;
    loop {
        let read = stream.read(&mut line[length..]).await?;
        let end = memchr::memchr(b'\n', &line[length..length + read]).map(|at| length + at);
        length += read;
        if let Some(end) = end {
            line.truncate(end);
            return Ok(line);
        }
        if read == 0 {
            let why = if length == MOST { "the request is too long" } else { "the request has no end" };
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    }
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
    stream.write_all(&request.to_line().map_err(io::Error::other)?).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    if line.is_empty() {
        return Err(io::Error::other("the proxy closed it without an answer; its log says why"));
    }
    Ok(Some(serde_json::from_str(&line).map_err(io::Error::other)?))
}
