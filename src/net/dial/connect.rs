//! TCP to one of several addresses, staggered (after RFC 8305 §5): the next starts when the one before has failed or
//! has not answered for a quarter of a second, and the first that connects is taken.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::DialError;
use super::resolve::Target;
use crate::net::listen;

const STAGGER: Duration = Duration::from_millis(250);
/// Of one attempt: a dead address must not eat the whole deadline of the dial.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The first of `addresses` that accepts. Those still under way are given up when it returns or is dropped.
pub(super) async fn first(addresses: &[SocketAddr], target: &Target) -> Result<(TcpStream, SocketAddr), DialError> {
    let mut attempts = JoinSet::new();
    let mut waiting = addresses.iter().copied();
    let mut causes: Vec<String> = Vec::new();
    loop {
        let started = match waiting.next() {
            Some(address) => {
                attempts.spawn(async move { (address, attempt(address).await) });
                true
            }
            None => false,
        };
        if attempts.is_empty() {
            return Err(DialError::Connect { target: target.to_string(), cause: causes.join("; ") });
        }
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = sleep(STAGGER), if started && waiting.len() > 0 => continue,
        };
        match ended {
            Some(Ok((address, Ok(stream)))) => {
                listen::prepare(&stream);
                return Ok((stream, address));
            }
            Some(Ok((address, Err(cause)))) => causes.push(format!("{address}: {cause}")),
            Some(Err(_)) | None => {}
        }
    }
}

async fn attempt(address: SocketAddr) -> std::io::Result<TcpStream> {
    match timeout(ATTEMPT, TcpStream::connect(address)).await {
        Ok(result) => result,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}
