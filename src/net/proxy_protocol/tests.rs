use proptest::prelude::*;
use proxy_protocol_rs::V2_SIGNATURE;

use super::*;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 5222\r\n";
const BEHIND: &[u8] = b"<?xml version='1.0'?><stream:stream";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ends_of(client: &str, server: &str) -> Ends {
    Ends { client: address(client), server: address(server) }
}

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [V2_SIGNATURE.as_slice(), &[0x20 | command, family], &length, payload].concat()
}

/// Reads the header from a stream that comes in chunks of this size; second: what is left in the stream.
fn read_in(chunk: usize, bytes: &[u8]) -> (Result<Option<Ends>, HeaderError>, Vec<u8>) {
    let mut io = Chunks { chunk, bytes };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let told = read(&mut io).await;
        let mut rest = Vec::new();
        io.read_to_end(&mut rest).await.unwrap();
        (told, rest)
    })
}

/// Hands out at most `chunk` bytes a read.
struct Chunks<'a> {
    chunk: usize,
    bytes: &'a [u8],
}

impl AsyncRead for Chunks<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        let length = self.chunk.min(self.bytes.len()).min(buffer.remaining());
        let (now, later) = self.bytes.split_at(length);
        buffer.put_slice(now);
        self.bytes = later;
        std::task::Poll::Ready(Ok(()))
    }
}

fn taken(bytes: &[u8]) -> Option<Ends> {
    let (told, rest) = read_in(usize::MAX, &[bytes, BEHIND].concat());
    assert_eq!(rest, BEHIND);
    told.unwrap()
}

fn refused(bytes: &[u8]) -> HeaderError {
    read_in(usize::MAX, &[bytes, BEHIND].concat()).0.unwrap_err()
}

#[test]
fn version_1() {
    assert_eq!(taken(V1), Some(ends_of("192.0.2.7:56324", "198.51.100.1:5222")));
    let v6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n";
    assert_eq!(taken(v6), Some(ends_of("[2001:db8::7]:1", "[2001:db8::1]:65535")));
    let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
    assert_eq!(longest.len(), 104);
    assert!(taken(longest.as_bytes()).is_some());
    // A mapped address is the IPv4 address.
    let mapped = b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n";
    assert_eq!(taken(mapped).unwrap().client, address("192.0.2.7:1"));
    for unknown in ["PROXY UNKNOWN\r\n".to_owned(), format!("PROXY UNKNOWN {}\r\n", "f".repeat(91))] {
        assert_eq!(taken(unknown.as_bytes()), None);
    }
}

#[test]
fn version_2() {
    let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0, 80, 20, 102];
    let wanted = Some(ends_of("192.0.2.7:80", "198.51.100.1:5222"));
    assert_eq!(taken(&v2(1, 0x11, &v4)), wanted);
    // TLVs are skipped: here a NOOP of 5 bytes; at the bound, too.
    assert_eq!(taken(&v2(1, 0x11, &[&v4[..], &[4, 0, 5, 0, 0, 0, 0, 0]].concat())), wanted);
    let noop = [&v4[..], &[4], &(4081_u16).to_be_bytes(), &[0; 4081]].concat();
    assert_eq!(noop.len(), PAYLOAD);
    assert_eq!(taken(&v2(1, 0x11, &noop)), wanted);
    // LOCAL: whatever else it says. A unix socket has no address.
    assert_eq!(taken(&v2(0, 0, b"")), None);
    assert_eq!(taken(&v2(0, 0x11, &v4)), None);
    assert_eq!(taken(&v2(1, 0x31, &[0; 216])), None);
    // A checksum is checked.
    let mut good = HeaderBuilder::v2_proxy(address("192.0.2.7:80"), address("198.51.100.1:5222")).with_crc32c().build();
    assert_eq!(taken(&good), wanted);
    good[16] ^= 1;
    assert!(matches!(refused(&good), HeaderError::Malformed(ParseError::CrcMismatch { .. })));
}

#[test]
fn what_is_no_header_is_refused_at_once() {
    for bytes in [&b"<?xml version='1.0'?>"[..], b"\x16\x03\x01\x02\x00", b"PROXX TCP4 ", b"GET / HTTP/1.1\r\n", b" "] {
        assert!(matches!(refused(bytes), HeaderError::Missing), "{bytes:?}");
    }
    let malformed = [
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n",
        "PROXY TCP4 192.0.2.777 198.51.100.1 56324 5222\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
        "PROXY TCP5 192.0.2.7 198.51.100.1 56324 5222\r\n",
        "PROXY UNKNOWNS\r\n",
    ];
    for header in malformed {
        assert!(matches!(refused(header.as_bytes()), HeaderError::Malformed(_)), "{header}");
    }
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 1000]].concat();
    assert!(matches!(refused(&endless), HeaderError::Malformed(_)));
    let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0, 80, 20, 102];
    for header in [v2(2, 0x11, &v4), v2(1, 0x11, &v4[..11]), v2(1, 0x21, &v4), v2(1, 0x41, &v4), v2(1, 0x00, &[])] {
        assert!(matches!(refused(&header), HeaderError::Malformed(_)), "{header:?}");
    }
    let mut version_3 = v2(1, 0x11, &v4);
    version_3[12] = 0x31;
    assert!(matches!(refused(&version_3), HeaderError::Malformed(_)));
    // Its length alone is enough to refuse it: no such buffer is ever made.
    assert!(matches!(refused(&v2(1, 0x11, &[0; PAYLOAD + 1])[..FIXED]), HeaderError::TooLong(4097)));
}

#[test]
fn an_end_within_the_header_is_told_from_silence() {
    assert!(matches!(read_in(1, b"").0, Err(HeaderError::Silent)));
    for length in 1..V1.len() {
        assert!(matches!(read_in(1, &V1[..length]).0, Err(HeaderError::Io(_))), "{length}");
    }
}

#[test]
fn addresses_are_compared_canonically() {
    let networks: Vec<IpNet> = ["10.0.0.0/8", "::1/128", "::ffff:192.0.2.0/120"].map(|n| n.parse().unwrap()).into();
    let is_in = |text: &str| is_in(text.parse().unwrap(), &networks);
    for inside in ["10.1.2.3", "::ffff:10.1.2.3", "::1", "::ffff:192.0.2.9"] {
        assert!(is_in(inside), "{inside}");
    }
    for outside in ["11.0.0.1", "::ffff:11.0.0.1", "::2", "127.0.0.1"] {
        assert!(!is_in(outside), "{outside}");
    }
    assert!(!super::is_in("127.0.0.1".parse().unwrap(), &[]));
}

#[test]
fn what_is_sent_is_of_one_family() {
    let both = |client: &str, server: &str| taken(&header(ends_of(client, server)));
    for (client, server) in [
        ("192.0.2.7:1", "198.51.100.1:2"),
        ("[2001:db8::7]:1", "[2001:db8::1]:2"),
        ("192.0.2.7:1", "[2001:db8::1]:2"),
        ("[2001:db8::7]:1", "198.51.100.1:2"),
    ] {
        assert_eq!(both(client, server), Some(ends_of(client, server)));
    }
    let header = header(ends_of("192.0.2.7:1", "[2001:db8::1]:2"));
    assert_eq!((header[13], header.len()), (0x21, FIXED + 36));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), chunk in 1_usize..40) {
        let _ = read_in(chunk, &bytes);
        let _ = read_in(chunk, &[V2_SIGNATURE.as_slice(), &bytes].concat());
        let _ = read_in(chunk, &[b"PROXY ".as_slice(), &bytes].concat());
        let _ = read_in(chunk, &[b"PROXY TCP6 ".as_slice(), &bytes].concat());
        let _ = read_in(chunk, &v2(1, bytes.first().copied().unwrap_or_default(), &bytes));
    }

    #[test]
    fn every_chunking_reads_the_header_and_not_a_byte_more(
        client in any::<(std::net::IpAddr, u16)>(), server in any::<(std::net::IpAddr, u16)>(), chunk in 1_usize..70,
    ) {
        let ends = Ends { client: canonical(client.into()), server: canonical(server.into()) };
        let (told, rest) = read_in(chunk, &[&header(ends), BEHIND].concat());
        prop_assert_eq!(told.unwrap(), Some(ends));
        prop_assert_eq!(rest, BEHIND);
        if client.0.is_ipv4() == server.0.is_ipv4() {
            let family = if client.0.is_ipv4() { 4 } else { 6 };
            let v1 = format!("PROXY TCP{family} {} {} {} {}\r\n", client.0, server.0, client.1, server.1);
            let (told, rest) = read_in(chunk, &[v1.as_bytes(), BEHIND].concat());
            prop_assert_eq!(told.unwrap(), Some(ends));
            prop_assert_eq!(rest, BEHIND);
        }
    }
}
