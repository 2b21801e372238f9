//! One line a rule; any chunking gives the same; the work done is linear.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::chars::counter;
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
fn accepts_what_is_well_formed() {
    for text in [
        "<message/>",
        "<a:b xmlns:a='x'/>",
        "<message\n to = 'a'\tfrom=\"b'\"  />",
        "<message to='a>b' x='&lt;&gt;&amp;&quot;&apos;'/>",
        "<message to='\t\n]]>'/>",
        "<message></message\n>",
        "<message>a &lt;&#65;&#x42;&#x10FFFF;&#9;&#000000000000065; > ]] ]&gt; \u{7f}\u{80}\u{e9}</message>",
        "<message>\u{d7ff}\u{e000}\u{fffd}\u{10000}\u{1fffe}\u{10ffff}\u{ffbf}</message>",
        "<message><![CDATA[<a>&b; ]] > ]]]]></message>",
        "<message><![CDATA[]]><![CDATA[]]]]></message>",
        "<message>]]<![CDATA[>]]>]]&gt;</message>",
        "<message>]<b/>]></message>",
        "<message>]>]></message>",
        "<message><![CDATA[]>]></message><message>]>]]></message>",
        "<message xml:lang='en' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
        "<xml:a/>",
        "<message><a xmlns=''/><b xmlns='b'/></message>",
        "<message xmlns:a='x' xmlns:b='y' a:c='' b:c='' c=''/>",
        "<message xmlns:a='x'><b xmlns:a='y' a:c=''/><b a:c=''/></message>",
        "<message><p:a xmlns:p='x'><p:a xmlns:p='y'/></p:a></message>",
        "<message a='' b='' c='' d='' e='' f=''/>",
        "<a><a><a><a><a/></a></a></a></a>",
        "<_a.-1 _b.-2=''/>",
        "<ab b='' ba='' bb=''/>",
        "<a\r\n/>",
    ] {
        accepts(text);
    }
}

#[test]
fn refuses_what_is_not_well_formed() {
    for text in [
        "<1a/>",
        "<-a/>",
        "< a/>",
        "<a",
        "<:a/>",
        "<a:/>",
        "<a:1/>",
        "<a:b:c xmlns:a='x'/>",
        "<\u{e9}/>",
        "<a\u{e9}/>",
        "<a></b>",
        "<a></ab>",
        "<ab></a>",
        "<a></a b=''>",
        "<a></ a>",
        "<a></a/>",
        "<a/ >",
        "<a b/>",
        "<a b=c/>",
        "<a b='c'd='e'/>",
        "<a b='<'/>",
        "<a b=''' />'/>",
        "<a b='c/></a>",
        "<a =''/>",
        "<a b=''/b>",
        "<a b=\"'/>\u{0}",
        "<a 1b=''/>",
        "<a b='' b=''/>",
        "<a b='' c='' b=''/>",
        "<a \u{e9}=''/>",
        "<a b\u{e9}=''/>",
        "<a b:=''/>",
        "<a :b=''/>",
        "<a b='&'/>",
        "<a b='& '/>",
        "<a>&</a>",
        "<a>&;</a>",
        "<a>&lt</a>",
        "<a>&lt ;</a>",
        "<a>&#;</a>",
        "<a>&#x;</a>",
        "<a>&#X41;</a>",
        "<a>&#1;</a>",
        "<a>&#0;</a>",
        "<a>&#x0;</a>",
        "<a>&#xD800;</a>",
        "<a>&#xDFFF;</a>",
        "<a>&#xFFFE;</a>",
        "<a>&#65535;</a>",
        "<a>&#x110000;</a>",
        "<a>&#99999999999999;</a>",
        "<a>&#4294967361;</a>",
        "<a>&#x100000041;</a>",
        "<a>&#6a;</a>",
        "<a>&#x4g;</a>",
        "<a>&#-1;</a>",
        "<a>&#+65;</a>",
        "<a>]]></a>",
        "<a>]]]></a>",
        "<a>b]]>",
        "<a>\u{0}</a>",
        "<a>\u{1}</a>",
        "<a>\u{b}</a>",
        "<a>\u{1f}</a>",
        "<a>\u{fffe}</a>",
        "<a>\u{ffff}</a>",
        "<a b='\u{ffff}'/>",
        "<a b='\u{1}'/>",
        "<a><![CDATA[\u{0}]]></a>",
        "<a><![CDATA[\u{fffe}]]></a>",
        "<a><![CDATa[]]></a>",
        "<a><![CDATA []]></a>",
        "<a><![CDATA[]]>]]></a>",
        "<a xmlns:xml='x'/>",
        "<a xmlns:xmlns='x'/>",
        "<a xmlns:xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<a xmlns:b=''/>",
        "<a xmlns:b='http://www.w3.org/2000/xmlns/'/>",
        "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<a xmlns='http://www.w3.org/XML/1998/namespace'/>",
        "<a xmlns:b='http://www.w3.org/XML/1998/namespace'/>",
        "<a><b xmlns='http://www.w3.org/2000/xmlns/'/></a>",
        "<a xmlns:b='x' xmlns:b='y'/>",
        "<a xmlns='x' xmlns='y'/>",
        "<a xmlns:b='x' xmlns:c='x' b:d='' c:d=''/>",
        "<a xmlns:b='x'><e xmlns:c='x' b:d='' c:d=''/></a>",
        "<a xmlns:b='jabber:server:dialback' b:d='' db:d=''/>",
        "<a xmlns:b='&#65;'/>",
        "<a xmlns='a&amp;b'/>",
        "<a xmlns:b='x\ty'/>",
        "<a><p:b xmlns:p='x'></q:b></a>",
        "</a>",
        "</stream:stream x='y'>",
        "</stream:streams>",
        "</stream >",
        "<a>\u{b}",
    ] {
        if text != "<a" {
            refuses(text, "not-well-formed");
        }
    }
    assert_eq!(stanza("<a").unwrap(), "incomplete");
}

#[test]
fn refuses_what_xmpp_restricts() {
    for text in [
        "<!-- -->",
        "<?a?>",
        "<?xml version='1.0'?>",
        "<!DOCTYPE a>",
        "<!a>",
        "<a><!-- --></a>",
        "<a><?b?></a>",
        "<a><!ENTITY b 'c'></a>",
        "<a>&b;</a>",
        "<a>&ltt;</a>",
        "<a>&LT;</a>",
        "<a b='&c;'/>",
        "<a>&l;</a>",
    ] {
        refuses(text, "restricted-xml");
    }
}

#[test]
fn refuses_undeclared_prefixes() {
    for text in [
        "<b:a/>",
        "<a b:c=''/>",
        "<a><b xmlns:c='x'/><c:d/></a>",
        "<a><b xmlns:c='x'></b><d c:e=''/></a>",
        "<xmlns:a/>",
        "<a><b:c xmlns:d='x'/></a>",
        "<b:a xmlns:b2='x'/>",
    ] {
        refuses(text, "bad-namespace-prefix");
    }
}

#[test]
fn refuses_what_is_not_utf_8_or_no_stream() {
    let bad: [&[u8]; 14] = [
        b"\x80",
        b"\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xff",
        b"\xc3(",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
    ];
    for bytes in bad {
        refuses([b"<a>", bytes, b"</a>"].concat(), "unsupported-encoding");
        refuses([b"<a b='", bytes, b"'/>"].concat(), "unsupported-encoding");
        refuses([b"<a><![CDATA[", bytes, b"]]></a>"].concat(), "unsupported-encoding");
    }
    for text in ["x", "&lt;", "\u{0}", "\u{a0}", "<![CDATA[ ]]>", "<a/>x", "</stream:stream><a/>", "</stream:stream>x"]
    {
        refuses(text, "bad-format");
    }
    let again = "<stream:stream to='a' version='1.0'>";
    refuses(again, "bad-format");
    refuses(
        again.replace("stream:", "s:").replace(" to", " xmlns:s='http://etherx.jabber.org/streams' to"),
        "bad-format",
    );
    for start in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\xef\xbb\xbf<stream:stream", b" x", b"\0"] {
        assert_eq!(whole(start).error.map(|e| e.condition()), Some("bad-format"));
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
fn reads_the_prolog() {
    let ok = |text: String| {
        let outcome = whole(text.as_bytes());
        assert_eq!((outcome.frames.len(), outcome.error), (1, None), "{text}");
    };
    for declaration in [
        "",
        " \r\n",
        "<?xml version='1.0'?>",
        "<?xml version=\"1.0\" ?>\n",
        "<?xml\tversion = '1.0' encoding='utf-8'?>",
        "<?xml version='1.0' encoding=\"UTF-8\" standalone='yes'?>",
        "<?xml version='1.0' standalone='no' ?>",
    ] {
        ok(format!("{declaration}{HEADER}"));
    }
    let bad = |text: String, condition| {
        assert_eq!(whole(text.as_bytes()).error.map(|e| e.condition()), Some(condition), "{text}");
    };
    for declaration in [
        "<?xml ?>",
        "<?xml version='1.1'?>",
        "<?xml version='1.0>",
        "<?xml version='1.0'>",
        "<?xml version=1.0?>",
        "<?xml version='1.0'encoding='UTF-8'?>",
        "<?xml encoding='UTF-8' version='1.0'?>",
        "<?xml version='1.0' ? >",
        "<?xml version='1.0' standalone='maybe'?>",
        "<?xml version='1.0' encoding='UTF-8' encoding='UTF-8'?>",
        "<?xml version='1.0' standalone='no' encoding='UTF-8'?>",
        "<?xml <",
        "<?xml \u{0}",
        "<?xml version='1.0' x='y'?>",
        "<?xml version '1.0'?>",
        "<?xml \u{e9}",
        "</stream:stream>",
        "<>",
    ] {
        bad(format!("{declaration}{HEADER}"), "not-well-formed");
    }
    for declaration in
        [" <?xml version='1.0'?>", "<?xml version='1.0'?><?xml version='1.0'?>", "<?x", "<?xmlx", "<!-", "<!D"]
    {
        bad(format!("{declaration}{HEADER}"), "restricted-xml");
    }
    bad(format!("<?xml version='1.0' encoding='UTF-16'?>{HEADER}"), "unsupported-encoding");
    bad(format!("<?xml version='1.0' encoding='ISO-8859-1'?>{HEADER}"), "unsupported-encoding");
    bad(HEADER.replace("'jabber:client'", "'jabber:server'"), "invalid-namespace");
    bad(HEADER.replace("xmlns='jabber:client'", ""), "invalid-namespace");
    bad(HEADER.replace("xmlns='jabber:client'", "xmlns=''"), "invalid-namespace");
    bad(HEADER.replace("etherx", "etherz"), "invalid-namespace");
    bad(HEADER.replace("<stream:stream", "<stream:streams"), "invalid-namespace");
    bad(HEADER.replace("<stream:stream", "<stream"), "invalid-namespace");
    bad(HEADER.replace("<stream:stream", "<streams:stream"), "bad-namespace-prefix");
    bad("<stream xmlns='http://etherx.jabber.org/streams'>".into(), "invalid-namespace");
    bad(HEADER.replace('>', "/>"), "bad-format");
    bad(HEADER.replace("version", "xmlns:db"), "not-well-formed");
    ok(HEADER.replace("stream:", "s:").replace(":stream=", ":s="));
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

/// Bytes looked at when a stream comes in chunks.
fn examined(text: &str, chunk: usize) -> u64 {
    let limits = Limits { stanza: 1 << 20, depth: 64, attributes: 64 };
    counter::take();
    let _ = run(limits, [HEADER.as_bytes()].into_iter().chain(text.as_bytes().chunks(chunk)));
    counter::take()
}

#[test]
fn work_is_linear() {
    let n = 40_000;
    let declarations: String = (0..60).map(|i| format!(" xmlns:a{i}='b{i}'")).collect();
    let prefixed: String = (0..60).map(|i| format!(" a{i}:c=''")).collect();
    for text in [
        format!("<a>{}</a>", "x".repeat(n)),
        format!("<a>{}</a>", "\u{1f600}".repeat(n / 4)),
        format!("<a>{}</a>", "&#x00000000000041;".repeat(n / 18)),
        format!("<a>&#{}65;</a>", "0".repeat(n)),
        format!("<a>&{};</a>", "b".repeat(n)),
        format!("<a><![CDATA[{}]]></a>", "]".repeat(n)),
        format!("<a>{}</a>", "]".repeat(n)),
        format!("<a>{}</a>", "<b/>".repeat(n / 4)),
        format!("<a b='{}'/>", "x".repeat(n)),
        format!("<a {}='x'/>", "b".repeat(n)),
        format!("<{0}></{0}>", "b".repeat(n / 2)),
        format!("<a{}/>", " ".repeat(n)),
        " ".repeat(n),
        format!("<?xml {}", " ".repeat(n)),
    ] {
        for chunk in [1, 7, n * 2] {
            let seen = examined(&text, chunk);
            assert!(seen <= 4 * text.len() as u64 + 2000, "{seen} for {}, in {chunk}", &text[..20]);
        }
    }
    // Costlier, but by a factor that the limits bound.
    for text in [
        format!("<a{}/>", (0..n / 8).map(|i| format!(" b{i}=''")).collect::<String>()),
        format!("<a>{}</a>", format!("<b{declarations}/>").repeat(n / 1000)),
        format!("<a{declarations}>{}</a>", format!("<b{prefixed}/>").repeat(n / 500)),
        format!("<a{declarations}>{}</a>", "<a0:b/>".repeat(n / 7)),
    ] {
        let seen = examined(&text, 1);
        assert!(seen <= 130 * text.len() as u64, "{seen} for {} {}", &text[..20], text.len());
    }
}

#[test]
fn plain_bytes_are_run_over_as_the_table_says() {
    for byte in 0..=255 {
        for (at, len) in (0..40).flat_map(|at| [(at, at + 1), (at, 40)]) {
            let mut bytes = vec![b'x'; len];
            bytes[at] = byte;
            let special = chars::is(byte, chars::SPECIAL);
            assert_eq!(chars::skip_plain(&bytes, 0), if special { at } else { len }, "{byte:#x} at {at} of {len}");
        }
    }
}

/// Bits of streams, good and bad, from which a stream is put together.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let good = prop::sample::select(vec![
        "<a>",
        "</a>",
        "<b c='d'>",
        "</b>",
        "<e/>",
        "<p:q xmlns:p='r' p:s='t'/>",
        "text",
        "&amp;",
        "&#x41;",
        " ",
        "\n",
        "\u{e9}\u{1f600}",
        "<![CDATA[<x>]]>",
        "]]",
        "</stream:stream>",
        "<db:x/>",
        "<a b='&lt;\u{20ac}' c=\"'\"/>",
        "<message to='romeo@example.net' type='groupchat'><body>Hello, world</body></message>",
    ]);
    let bad = prop::sample::select(vec![
        &b"<"[..],
        b">",
        b"'",
        b"]]>",
        b"&",
        b"&x;",
        b"\0",
        b"\xff",
        b"\xed\xa0",
        b"<!--",
        b"<?",
        b"<a b='' b=''/>",
        b"</",
        b"\xef\xbf\xbe",
    ]);
    prop_oneof![20 => good.prop_map(|s| s.as_bytes().to_vec()), 1 => bad.prop_map(<[u8]>::to_vec)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_same(
        pieces in prop::collection::vec(piece(), 0..40),
        cuts in prop::collection::vec(1..20usize, 1..40),
        stanza in 180..400usize,
        start in prop::sample::select(vec!["", " ", "<?xml version='1.0' encoding='utf-8'?>"]),
    ) {
        let limits = Limits { stanza, depth: 4, attributes: 4 };
        let text = [start.as_bytes(), HEADER.as_bytes(), &pieces.concat()].concat();
        let outcome = run(limits, [&text[..]]);
        let mut rest = &text[..];
        let mut chunks = Vec::new();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at(rest.len().min(*cut));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert_eq!(&run(limits, chunks), &outcome);
        prop_assert_eq!(&run(limits, text.chunks(1)), &outcome);
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..200), lead in any::<bool>()) {
        let text = if lead { [HEADER.as_bytes(), b"<a>", &noise].concat() } else { noise };
        prop_assert_eq!(run(LIMITS, text.chunks(3)), whole(&text));
    }
}
