//! The PROXY protocol, versions 1 and 2 (HAProxy's doc/proxy-protocol.txt): a load balancer begins a connection with
//! a header that tells the client's address. Taken from configured networks only, and required there; sent to servers
//! that are configured for it, always as version 2.
//!
//! Parsing and building is `proxy-protocol-rs`'s; here is what reads no byte behind the header, whatever its chunks.

use std::io;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use proxy_protocol_rs::{HeaderBuilder, ParseError, parse};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// The shortest header of all: `PROXY UNKNOWN\r\n`.
const SHORTEST: usize = 15;
/// Version 2 up to its length.
const FIXED: usize = 16;
/// Addresses and TLVs of version 2. HAProxy's longest (a certificate's name, a unique id) need far less.
const PAYLOAD: usize = 4096;

/// The two ends of a client's connection, as the client sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client's own address.
    pub client: SocketAddr,
    /// The address it connected to.
    pub server: SocketAddr,
}

/// For whom a connection to a server is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// For a client's own stream.
    Client(Ends),
    /// For the proxy itself: account sessions, proofs of keys.
    Own,
}

/// Why a connection that must begin with a header is closed, without an answer.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Not a single byte came: somebody looked whether the port is open.
    #[error("the connection ended without a word")]
    Silent,
    /// It ended within the header, or failed.
    #[error("the connection ended before its PROXY protocol header did: {0}")]
    Io(#[from] io::Error),
    /// Something else came.
    #[error(
        "no PROXY protocol header, which listen.proxy_protocol asks of this address: let the load balancer there send \
         one (HAProxy: send-proxy-v2), or take its network out of the list if clients connect from it"
    )]
    Missing,
    /// The header makes no sense.
    #[error("{0}; look at what the load balancer at this address sends (listen.proxy_protocol)")]
    Malformed(ParseError),
    /// The header is longer than any that is meant well.
    #[error("a PROXY protocol header of {0} bytes, where at most {PAYLOAD} are taken: send fewer TLVs")]
    TooLong(usize),
    /// It did not come in time.
    #[error("no whole PROXY protocol header in time (limits.handshake_timeout); does the load balancer send one?")]
    Late,
}

/// The ends of an accepted connection: those of TCP, unless `peer` is in one of `networks`. From there the header that
/// must come first tells them, or tells that the connection is the load balancer's own. From anywhere else nothing is
/// read: who sends a header from there has sent bytes that are no stream.
pub async fn ends(
    socket: &mut TcpStream,
    peer: SocketAddr,
    networks: &[IpNet],
    deadline: Instant,
) -> Result<Ends, HeaderError> {
    let tcp = Ends { client: canonical(peer), server: canonical(socket.local_addr()?) };
    if !is_in(peer.ip(), networks) {
        return Ok(tcp);
    }
    let told = timeout_at(deadline, read(socket)).await.map_err(|_| HeaderError::Late)??;
    Ok(told.unwrap_or(tcp))
}

/// Whether an address is in one of the networks; an IPv4 address mapped into IPv6 is the IPv4 address.
fn is_in(address: IpAddr, networks: &[IpNet]) -> bool {
    let canonical = address.to_canonical();
    networks.iter().any(|network| network.contains(&canonical) || network.contains(&address))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Reads a header, and not a byte behind it. `None`: the connection is the load balancer's own (a health check), or of
/// a kind that has no IP addresses.
async fn read(io: &mut (impl AsyncRead + Unpin)) -> Result<Option<Ends>, HeaderError> {
    let mut header = Vec::new();
    loop {
        let more = match step(&header)? {
            Step::Done(ends) => return Ok(ends),
            Step::Read(more) => more,
        };
        let start = header.len();
        header.resize(start + more, 0);
        match io.read(&mut header[start..]).await? {
            0 if start == 0 => return Err(HeaderError::Silent),
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            read => header.truncate(start + read),
        }
    }
}

#[derive(Debug)]
enum Step {
    /// That many bytes belong to the header for certain; more may.
    Read(usize),
    Done(Option<Ends>),
}

fn step(header: &[u8]) -> Result<Step, HeaderError> {
    match parse(header) {
        Ok((told, _)) => {
            let ends = told.source_inet().zip(told.destination_inet());
            Ok(Step::Done(ends.map(|(client, server)| Ends { client: canonical(client), server: canonical(server) })))
        }
        Err(ParseError::Incomplete) => at_least(header).map(|length| Step::Read(length - header.len())),
        Err(ParseError::NotProxyProtocol) => Err(HeaderError::Missing),
        Err(error) => Err(HeaderError::Malformed(error)),
    }
}

/// How long a header that begins like this is at least; more than what is there of it.
fn at_least(header: &[u8]) -> Result<usize, HeaderError> {
    match header {
        // Version 2: its length is told.
        [b'\r', ..] => match header.get(14..FIXED) {
            None => Ok(FIXED),
            Some(length) => match length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)) {
                length if length > PAYLOAD => Err(HeaderError::TooLong(length)),
                length => Ok(FIXED + length),
            },
        },
        short if short.len() < SHORTEST => Ok(SHORTEST),
        // Version 1: a line.
        [.., b'\r'] => Ok(header.len() + 1),
        _ => Ok(header.len() + 2),
    }
}

/// Begins a connection to a server with a header.
///
/// For the proxy's own connections it tells the connection's own addresses, which is what the command LOCAL means too.
/// LOCAL itself does on neither server: Prosody's mod_net_proxy leaves its header standing before the stream, which is
/// not well-formed then; ejabberd (23.01), told that no addresses follow, swallows the stream's first bytes.
pub(super) async fn announce(socket: &mut TcpStream, origin: Origin) -> io::Result<()> {
    let ends = match origin {
        Origin::Client(ends) => ends,
        Origin::Own => Ends { client: socket.local_addr()?, server: socket.peer_addr()? },
    };
    socket.write_all(&header(ends)).await
}

/// A header of version 2. Its addresses are of one family: IPv4 is mapped into IPv6 where only one end has it.
fn header(ends: Ends) -> Vec<u8> {
    let (client, server) = (canonical(ends.client), canonical(ends.server));
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    match client.is_ipv4() == server.is_ipv4() {
        true => HeaderBuilder::v2_proxy(client, server).build(),
        false => HeaderBuilder::v2_proxy(mapped(client), mapped(server)).build(),
    }
}

#[cfg(test)]
mod tests;
