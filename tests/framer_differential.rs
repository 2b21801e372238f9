//! What the framer accepts, others accept too, and read the same: Python's expat and rxml. A seeded generator makes
//! stanzas and spoils most of them a little.
//!
//! What quick-xml sees in an accepted frame, which is what this project goes by, is compared with what expat and
//! rxml see in the whole stream. What the framer refuses and expat does not must have one of the few known reasons.
//!
//! `FRAMER_SEED` and `FRAMER_COUNT` change what is run.

mod oracle;

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};
use minimix_proxy::xml::framer::{Frame, Framer, FramingError, Limits, Space};
use oracle::expat::Expat;
use oracle::generate::{Context, Generator};
use oracle::{quick, rxml};

const WORKERS: u64 = 2;
const BATCH: usize = 500;

/// One stream, and what the framer made of what comes after its header.
struct Case {
    context: &'static Context,
    body: Vec<u8>,
    found: Result<Vec<Found>, String>,
}

struct Found {
    bytes: Vec<u8>,
    space: Space,
    name: String,
    inherits: bool,
}

impl Case {
    fn document(&self) -> Vec<u8> {
        [self.context.header().as_bytes(), &self.body, self.context.close().as_bytes()].concat()
    }

    fn shown(&self) -> String {
        format!("{}\nas bytes: {:?}", String::from_utf8_lossy(&self.body), self.body)
    }
}

/// Why the framer refuses a stream, or the stanzas in it. It gets the stream in chunks.
fn frame(context: &Context, body: &[u8], chunk: usize) -> Result<Vec<Found>, String> {
    let limits = Limits { stanza: 4096, depth: 10, attributes: 12 };
    let (mut framer, mut buf) = (Framer::new(limits), BytesMut::new());
    let mut found = Vec::new();
    let stream = [context.header().as_bytes(), body].concat();
    for chunk in stream.chunks(chunk) {
        buf.put_slice(chunk);
        while let Some(frame) = framer.next(&mut buf).map_err(|error| reason(&error))? {
            match frame {
                Frame::Header(_) => {}
                Frame::Close => return Err("closed".into()),
                Frame::Element(e) => {
                    let name = String::from_utf8(e.bytes[e.name.clone()].to_vec()).expect("names are ASCII");
                    found.push(Found { bytes: e.bytes.to_vec(), space: e.space, name, inherits: e.inherits });
                }
            }
        }
    }
    if framer.mid_frame() || !buf.is_empty() { Err("incomplete".into()) } else { Ok(found) }
}

fn reason(error: &FramingError) -> String {
    match error {
        FramingError::NotWellFormed { what, .. } => format!("not-well-formed: {what}"),
        other => other.to_string(),
    }
}

/// What the framer refuses although it is XML, by the beginnings of the reasons.
const STRICTER: [&str; 9] = [
    "restricted XML: a comment",
    "restricted XML: a processing instruction",
    "limit exceeded",
    "bad format: a CDATA section outside of a stanza",
    "bad format: text between stanzas",
    "not-well-formed: a name that is not ASCII",
    "not-well-formed: '<' that begins no tag (names",
    "not-well-formed: a reference or a line break in a namespace",
    "closed",
];

/// Names that are refused where a first byte is wrong, which may be a letter that is not ASCII.
const STRICTER_IF_NOT_ASCII: [&str; 3] = [
    "not-well-formed: an attribute's name begins with",
    "not-well-formed: a local name begins with",
    "not-well-formed: a reference",
];

/// Compares; says how the case ended.
fn judge(case: &Case, expat: Result<String, String>) -> &'static str {
    let found = match &case.found {
        Ok(found) => found,
        Err(reason) => {
            let Ok(events) = expat else { return "refused by both" };
            let ascii = case.body.is_ascii();
            let known = STRICTER.iter().any(|known| reason.starts_with(known))
                || (!ascii && STRICTER_IF_NOT_ASCII.iter().any(|known| reason.starts_with(known)))
                || (reason.starts_with("bad format: text") && events.contains('T'));
            assert!(known, "the framer alone refuses ({reason}): {}", case.shown());
            return "refused, though XML";
        }
    };
    let mut events = String::new();
    for element in found {
        let seen = quick::events(case.context.declarations, &element.bytes)
            .unwrap_or_else(|error| panic!("quick-xml: {error}: {}", case.shown()));
        let (space, local) = seen.trim_start_matches("S\0").split_once('\0').expect("a start event");
        let expected = match space {
            "jabber:client" => Space::Client,
            "http://etherx.jabber.org/streams" => Space::Streams,
            _ => Space::Other,
        };
        assert_eq!(element.space, expected, "{}", case.shown());
        assert_eq!(Some(&*element.name), local.split('\0').next(), "{}", case.shown());
        // An element that inherits nothing reads the same where nothing is declared; another cannot be read there.
        let alone = [b"<alone xmlns='jabber:client'>", &element.bytes[..], b"</alone>"].concat();
        match rxml::events(&alone) {
            Ok(events) => assert_eq!((events, element.inherits), (seen.clone(), false), "{}", case.shown()),
            Err(error) => assert!(element.inherits, "alone, rxml says {error}: {}", case.shown()),
        }
        events += &seen;
    }
    match expat {
        Ok(expat) => assert_eq!(events, expat, "expat reads otherwise: {}", case.shown()),
        Err(error) => panic!("expat refuses ({error}): {}", case.shown()),
    }
    match rxml::events(&case.document()) {
        Ok(rxml) => assert_eq!(events, rxml, "rxml reads otherwise: {}", case.shown()),
        Err(error) => panic!("rxml refuses ({error}): {}", case.shown()),
    }
    "accepted"
}

fn work(seed: u64, count: usize) -> BTreeMap<&'static str, usize> {
    let mut generator = Generator::new(seed);
    let mut expat = Expat::start();
    let mut tally = BTreeMap::new();
    let mut left = count;
    while left > 0 {
        let cases: Vec<Case> = (0..left.min(BATCH))
            .map(|_| {
                let (context, body, chunk) = generator.stream();
                let found = frame(context, &body, chunk);
                Case { context, body, found }
            })
            .collect();
        left -= cases.len();
        let verdicts = expat.ask(&cases.iter().map(Case::document).collect::<Vec<_>>());
        for (case, verdict) in cases.iter().zip(verdicts) {
            *tally.entry(judge(case, verdict)).or_insert(0) += 1;
        }
    }
    tally
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")),
        Err(_) => default,
    }
}

#[test]
fn accepts_nothing_that_others_refuse_or_read_otherwise() {
    let (seed, count) = (setting("FRAMER_SEED", 1), setting("FRAMER_COUNT", 100_000));
    println!("FRAMER_SEED={seed} FRAMER_COUNT={count}");
    let share = count.div_ceil(WORKERS) as usize;
    let workers: Vec<_> =
        (0..WORKERS).map(|i| std::thread::spawn(move || work(seed.wrapping_mul(1000) + i, share))).collect();
    let mut tally = BTreeMap::new();
    for worker in workers {
        for (what, n) in worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            *tally.entry(what).or_insert(0) += n;
        }
    }
    let total: usize = tally.values().sum();
    println!("{total} generated: {tally:?}");
    let share = |what| tally.get(what).copied().unwrap_or(0) as f64 / total as f64;
    assert!(share("accepted") > 0.25, "too few were accepted for this to prove anything");
    assert!(share("refused by both") > 0.25, "too few were refused for this to prove anything");
}
