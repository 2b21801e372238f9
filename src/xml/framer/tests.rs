//! What becomes of streams; the rules of XML one line each, any chunking, and the work done are in files of their own.

mod chunks;
mod well_formed;
mod work;

use bytes::{BufMut, BytesMut};

use super::*;

const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
    xmlns:db='jabber:server:dialback' version='1.0'>";
const LIMITS: Limits = Limits { stanza: 1000, depth: 5, attributes: 6 };

/// What a stream came to: its frames, told briefly, and what followed them.
#[derive(Debug, PartialEq)]
struct Outcome {
    frames: Vec<String>,
    error: Option<FramingError>,
    mid_frame: bool,
}

fn tell(frame: Frame) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match frame {
        Frame::Header(bytes) => format!("header {}", text(&bytes)),
        Frame::Element(e) => {
            let name = text(&e.bytes[e.name.clone()]);
            format!("{:?} {name} {}{}", e.space, if e.inherits { "inherits " } else { "" }, text(&e.bytes))
        }
        Frame::Close => "close".into(),
    }
}

fn run<'a>(limits: Limits, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let (mut framer, mut buf) = (Framer::new(limits), BytesMut::new());
    let mut frames = Vec::new();
    for chunk in chunks {
        buf.put_slice(chunk);
        loop {
            match framer.next(&mut buf) {
                Ok(Some(frame)) => frames.push(tell(frame)),
                Ok(None) => break,
                Err(error) => {
                    buf.put_slice(b"<ok/>");
                    assert_eq!(framer.next(&mut buf).err(), Some(error), "an error stays");
                    return Outcome { frames, error: Some(error), mid_frame: false };
                }
            }
        }
    }
    Outcome { frames, error: None, mid_frame: framer.mid_frame() }
}

fn whole(document: &[u8]) -> Outcome {
    run(LIMITS, [document])
}

/// What a stanza, put after the header, is found to be.
fn stanza(text: impl AsRef<[u8]>) -> Result<String, FramingError> {
    let mut outcome = whole(&[HEADER.as_bytes(), text.as_ref()].concat());
    match outcome.error {
        Some(error) => Err(error),
        None => Ok(outcome.frames.drain(1..).next_back().unwrap_or_else(|| "incomplete".into())),
    }
}

#[track_caller]
fn accepts(text: &str) {
    let found = stanza(text);
    assert!(found.as_ref().is_ok_and(|f| f.ends_with(text) && f != "incomplete"), "{text}: {found:?}");
}

#[track_caller]
fn refuses(text: impl AsRef<[u8]>, condition: &str) {
    let shown = String::from_utf8_lossy(text.as_ref()).into_owned();
    match stanza(text) {
        Err(error) => assert_eq!(error.condition(), condition, "{shown}: {error}"),
        Ok(found) => panic!("accepted: {shown} as {found}"),
    }
}

#[test]
fn heeds_limits() {
    for text in
        ["<a a='' b='' c='' d='' e='' f='' g=''/>", "<a><b a='' b='' c='' d='' e='' f='' g>", "<a><a><a><a><a><a"]
    {
        refuses(text, "policy-violation");
    }
    let long = |n: usize| format!("<a>{}</a>", "x".repeat(n - 7));
    accepts(&long(1000));
    refuses(long(1001), "policy-violation");
    refuses(&long(1100)[..1001], "policy-violation");
    assert_eq!(stanza(&long(1100)[..1000]).unwrap(), "incomplete");
    refuses(long(1100).replace("<a>x", "<a>\u{1}"), "not-well-formed");
    refuses(format!("</stream:stream{}", " ".repeat(1000)), "policy-violation");
    let in_scope = |n: usize| {
        let element = |i: usize| format!("<a xmlns:n{i}='{i}' xmlns:m{i}='{i}'>");
        let limits = Limits { stanza: 10_000, depth: 100, attributes: 10 };
        let text: String = (0..n / 2).map(element).collect();
        run(limits, [HEADER.as_bytes(), text.as_bytes()]).error.is_none()
    };
    assert!(in_scope(128) && !in_scope(130));
    // The declaration counts, what is dropped before a frame does not.
    let header =
        |n: usize| format!("<?xml version='1.0'?>{HEADER}").replace("'1.0'>", &format!("'1.0'{}>", " ".repeat(n)));
    let room = 1000 - header(0).len();
    assert_eq!(whole(header(room).as_bytes()).frames.len(), 1);
    assert_eq!(whole(header(room + 1).as_bytes()).error.unwrap().condition(), "policy-violation");
    let declaration = format!("<?xml{}", " ".repeat(1000));
    assert_eq!(whole(declaration.as_bytes()).error.unwrap().condition(), "policy-violation");
    let spaces = " ".repeat(2000);
    assert_eq!(whole(format!("{spaces}{HEADER}{spaces}<a/>{spaces}").as_bytes()).frames.len(), 2);
}

#[test]
fn limits_change_between_frames() {
    let (mut framer, mut buf) = (Framer::new(LIMITS), BytesMut::from(HEADER));
    assert!(framer.next(&mut buf).unwrap().is_some());
    buf.put_slice(b"<a b='c'");
    assert!(framer.next(&mut buf).unwrap().is_none() && framer.mid_frame());
    framer.set_limits(Limits { stanza: 8, ..LIMITS });
    buf.put_slice(b" d='e'/><a/>");
    assert!(framer.next(&mut buf).unwrap().is_some());
    assert!(framer.next(&mut buf).unwrap().is_some() && !framer.mid_frame());
    buf.put_slice(b"<a b='c'/>");
    assert_eq!(framer.next(&mut buf).unwrap_err().condition(), "policy-violation");
}

#[test]
fn cuts_a_stream() {
    let text = format!(
        "<?xml version='1.0'?>{HEADER} <stream:features/>\n<a to='b'><c/></a><x:a xmlns:x='jabber:client'/>\
        <a xmlns='y' xml:lang='en'/><db:result/><a><b db:c=''/></a><a xmlns:db='z' db:c=''/>\
        <stream:error xmlns:stream='http://etherx.jabber.org/streams'/></stream:stream > \n"
    );
    let outcome = whole(text.as_bytes());
    let expected = [
        &format!("header {HEADER}"),
        "Streams features inherits <stream:features/>",
        "Client a <a to='b'><c/></a>",
        "Client a <x:a xmlns:x='jabber:client'/>",
        "Other a <a xmlns='y' xml:lang='en'/>",
        "Other result inherits <db:result/>",
        "Client a inherits <a><b db:c=''/></a>",
        "Client a <a xmlns:db='z' db:c=''/>",
        "Streams error <stream:error xmlns:stream='http://etherx.jabber.org/streams'/>",
        "close",
    ];
    assert_eq!(outcome.frames, expected);
    assert_eq!((outcome.error, outcome.mid_frame), (None, false));
    for size in 1..50 {
        assert_eq!(run(LIMITS, text.as_bytes().chunks(size)), outcome, "chunks of {size}");
    }
}

#[test]
fn restarts() {
    let (mut framer, mut buf) = (Framer::new(LIMITS), BytesMut::new());
    for _ in 0..2 {
        buf.put_slice(format!("<?xml version='1.0'?>{HEADER}<a/>").as_bytes());
        assert!(matches!(framer.next(&mut buf), Ok(Some(Frame::Header(_)))));
        assert!(matches!(framer.next(&mut buf), Ok(Some(Frame::Element(_)))));
        framer.restart();
    }
    buf.put_slice(b"<a/>");
    assert_eq!(framer.next(&mut buf).unwrap_err(), FramingError::InvalidNamespace);
}

#[test]
fn an_idle_framer_is_small() {
    let (mut framer, mut buf) = (Framer::new(Limits::AFTER_LOGIN), BytesMut::from(HEADER));
    let attributes: String = (0..60).map(|i| format!(" xmlns:a{i}='b{i}'")).collect();
    let text = format!("{}<b{attributes}/>{}", "<a>".repeat(60), "</a>".repeat(60));
    buf.put_slice(text.as_bytes());
    while framer.next(&mut buf).unwrap().is_some() {}
    assert!(framer.scanner.heap() <= 1024, "{} bytes", framer.scanner.heap());
    assert!(size_of::<Framer>() <= 512, "{} bytes", size_of::<Framer>());
}
