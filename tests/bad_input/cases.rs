//! The kinds of bad input, and the condition that each must end a stream with. `streams` puts them where they are sent.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::MARK;
use super::support::raw::HEADER;

pub const NOT_WELL_FORMED: &[&str] = &["not-well-formed"];
pub const RESTRICTED: &[&str] = &["restricted-xml"];
pub const ENCODING: &[&str] = &["unsupported-encoding"];
pub const PREFIX: &[&str] = &["bad-namespace-prefix"];
pub const POLICY: &[&str] = &["policy-violation"];
pub const BAD_FORMAT: &[&str] = &["bad-format"];
/// Random bytes: whatever is found wrong first.
pub const ANY_XML: &[&str] =
    &["bad-format", "not-well-formed", "unsupported-encoding", "restricted-xml", "policy-violation"];

/// Where a stanza should begin: the same, or an element that nobody knows.
pub const ANY_BETWEEN: &[&str] = &[
    "bad-format",
    "not-well-formed",
    "unsupported-encoding",
    "restricted-xml",
    "policy-violation",
    "bad-namespace-prefix",
    "unsupported-stanza-type",
];

/// Bytes that no UTF-8 text has (RFC 3629 §4): overlong, surrogates, too high, cut, alone.
pub const BAD_UTF8: [&[u8]; 14] = [
    b"\xC0\x80",
    b"\xC1\xBF",
    b"\xE0\x80\x80",
    b"\xE0\x9F\xBF",
    b"\xF0\x80\x80\x80",
    b"\xF0\x8F\xBF\xBF",
    b"\xED\xA0\x80",
    b"\xED\xBF\xBF",
    b"\xF4\x90\x80\x80",
    b"\xF5\x80\x80\x80",
    b"\xFE",
    b"\x80",
    b"\xE2\x82",
    b"\xF0\x9F\x98",
];

pub fn bad_chars(random: &mut StdRng) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..0x20u8).filter(|b| !b"\t\n\r".contains(b)).map(|b| vec![b]).collect();
    all.shuffle(random);
    all.truncate(5);
    all.extend([b"\0".to_vec(), b"\x1B[31m".to_vec(), "\u{FFFE}".into(), "\u{FFFF}".into()]);
    all
}

pub const BAD_REFERENCES: [&str; 15] = [
    "&",
    "& ",
    "&;",
    "&amp",
    "&#;",
    "&#x;",
    "&#xg;",
    "&#0;",
    "&#x0;",
    "&#1;",
    "&#xD800;",
    "&#xDFFF;",
    "&#xFFFE;",
    "&#x110000;",
    "&#99999999999999999999;",
];

pub type Fault = (String, Vec<u8>, &'static [&'static str]);

pub fn fault(what: impl Into<String>, bytes: impl AsRef<[u8]>, wanted: &'static [&'static str]) -> Fault {
    (what.into(), bytes.as_ref().to_vec(), wanted)
}

/// What may not stand in an element's content.
pub fn contents(random: &mut StdRng) -> Vec<Fault> {
    let mut all = vec![
        fault("comment", "<!-- c -->", RESTRICTED),
        fault("empty comment", "<!---->", RESTRICTED),
        fault("PI", "<?php echo 1 ?>", RESTRICTED),
        fault("XML declaration", "<?xml version='1.0'?>", RESTRICTED),
        fault("DOCTYPE", "<!DOCTYPE a SYSTEM 'file:///etc/passwd'>", RESTRICTED),
        fault("ENTITY", "<!ENTITY e 'x'>", RESTRICTED),
        fault("undefined entity", "&nbsp;", RESTRICTED),
        fault("an entity's bomb", "<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>&b;", RESTRICTED),
        fault("upper-case entity", "&AMP;", RESTRICTED),
        fault("]]>", "a ]]> b", NOT_WELL_FORMED),
        fault("]]]>", "]]]>", NOT_WELL_FORMED),
        fault("CDATA misspelt", "<![CDAT[x]]>", NOT_WELL_FORMED),
        fault("mismatched end", "<a></b>", NOT_WELL_FORMED),
        fault("end of another case", "<a></A>", NOT_WELL_FORMED),
        fault("end that goes on", "<a></ab>", NOT_WELL_FORMED),
        fault("end with an attribute", "<a></a b='1'>", NOT_WELL_FORMED),
        fault("crossed", "<a><b></a></b>", NOT_WELL_FORMED),
        fault("end by another prefix", "<p:a xmlns:p='urn:a' xmlns:q='urn:a'></q:a>", NOT_WELL_FORMED),
        fault("empty name", "<>", NOT_WELL_FORMED),
        fault("empty end", "</>", NOT_WELL_FORMED),
        fault("space before the name", "< a/>", NOT_WELL_FORMED),
        fault("name with a digit first", "<1m/>", NOT_WELL_FORMED),
        fault("name with a dash first", "<-a/>", NOT_WELL_FORMED),
        fault("two colons", "<a:b:c xmlns:a='urn:a'/>", NOT_WELL_FORMED),
        fault("colon first", "<:a/>", NOT_WELL_FORMED),
        fault("colon last", "<a: xmlns:a='urn:a'/>", NOT_WELL_FORMED),
        fault("undeclared prefix", "<nobody:a/>", PREFIX),
        fault("prefix out of scope", "<a xmlns:p='urn:p'/><p:b/>", PREFIX),
        fault("undeclared prefix of an attribute", "<a nobody:b='1'/>", PREFIX),
        fault("too many prefixes", many_prefixes(), POLICY),
        fault("too deep", "<d>".repeat(random.random_range(65..500)), POLICY),
        fault("too many attributes", many_attributes(random.random_range(65..400)), POLICY),
    ];
    for reference in BAD_REFERENCES {
        all.push(fault(format!("reference {reference}"), reference, NOT_WELL_FORMED));
    }
    for bytes in BAD_UTF8 {
        all.push(fault(format!("UTF-8 {bytes:02x?}"), bytes, ENCODING));
        all.push(fault(format!("UTF-8 {bytes:02x?} in CDATA"), [b"<![CDATA[", bytes, b"]]>"].concat(), ENCODING));
    }
    for bytes in bad_chars(random) {
        all.push(fault(format!("character {bytes:02x?}"), &bytes, NOT_WELL_FORMED));
    }
    // In the tag of a child.
    for (what, bytes, wanted) in attributes(random) {
        all.push(fault(format!("{what} in a child"), [b"<c", &bytes[..], b"/>"].concat(), wanted));
    }
    all
}

pub fn many_attributes(count: usize) -> String {
    format!("<a{}/>", (0..count).map(|n| format!(" a{n}='1'")).collect::<String>())
}

pub fn many_prefixes() -> String {
    let tag = |t: usize| format!("<a{}>", (0..45).map(|n| format!(" xmlns:p{t}x{n}='urn:{n}'")).collect::<String>());
    (0..4).map(tag).collect()
}

/// What may not stand in a start tag, behind the name.
pub fn attributes(random: &mut StdRng) -> Vec<Fault> {
    let mut all = vec![
        fault("< in an attribute", " a='x<y'", NOT_WELL_FORMED),
        fault("attribute twice", " a='1' a='2'", NOT_WELL_FORMED),
        fault("attribute twice by namespace", " xmlns:p='urn:u' xmlns:q='urn:u' p:a='1' q:a='2'", NOT_WELL_FORMED),
        fault("prefix declared twice", " xmlns:p='urn:u' xmlns:p='urn:v'", NOT_WELL_FORMED),
        fault("no space between attributes", " a='1'b='2'", NOT_WELL_FORMED),
        fault("no quotes", " a=1", NOT_WELL_FORMED),
        fault("no value", " a", NOT_WELL_FORMED),
        fault("no name", " ='1'", NOT_WELL_FORMED),
        fault("digit first in an attribute's name", " 1a='1'", NOT_WELL_FORMED),
        fault("attribute with two colons", " a:b:c='1'", NOT_WELL_FORMED),
        fault("undeclared prefix", " nobody:a='1'", PREFIX),
        fault("prefix to no namespace", " xmlns:p=''", NOT_WELL_FORMED),
        fault("xml rebound", " xmlns:xml='urn:x'", NOT_WELL_FORMED),
        fault("xmlns declared", " xmlns:xmlns='urn:x'", NOT_WELL_FORMED),
        fault("xml's namespace by another prefix", " xmlns:p='http://www.w3.org/XML/1998/namespace'", NOT_WELL_FORMED),
        fault("undefined entity in an attribute", " a='&e;'", RESTRICTED),
    ];
    for reference in BAD_REFERENCES {
        all.push(fault(format!("reference {reference} in an attribute"), format!(" a='{reference}'"), NOT_WELL_FORMED));
    }
    for bytes in BAD_UTF8 {
        all.push(fault(format!("UTF-8 {bytes:02x?} in an attribute"), [b" a='", bytes, b"'"].concat(), ENCODING));
    }
    for bytes in bad_chars(random) {
        let what = format!("character {bytes:02x?} in an attribute");
        all.push(fault(what, [b" a='", &bytes[..], b"'"].concat(), NOT_WELL_FORMED));
    }
    let many: String = (0..random.random_range(65..200)).map(|n| format!(" a{n}='1'")).collect();
    all.push(fault("too many attributes", many, POLICY));
    all
}

/// Stream headers that are none.
pub fn headers(random: &mut StdRng) -> Vec<Fault> {
    let with = |from: &str, to: &str| {
        assert!(HEADER.contains(from), "{from}");
        HEADER.replace(from, to)
    };
    let streams = "http://etherx.jabber.org/streams";
    let declaration = "<?xml version='1.0'?>";
    let mut all = vec![
        fault("no 'to'", with(" to='localhost'", ""), &["improper-addressing", "host-unknown"]),
        fault("another domain", with("localhost", "evil-domain.example"), &["host-unknown"]),
        fault("a JID for a domain", with("localhost", "evil-a@localhost"), &["host-unknown"]),
        fault("no version", with(" version='1.0' xml:", " xml:"), &["unsupported-version"]),
        fault("version 0.9", with("' version='1.0' xml:", "' version='0.9' xml:"), &["unsupported-version"]),
        fault("another streams namespace", with(streams, "urn:evil-streams"), &["invalid-namespace"]),
        fault("a server's stream", with("jabber:client", "jabber:server"), &["invalid-namespace"]),
        fault("no content namespace", with(" xmlns='jabber:client'", ""), &["invalid-namespace"]),
        fault("another root", with("<stream:stream", "<stream:evil-root"), &["invalid-namespace", "bad-format"]),
        fault("undeclared stream prefix", with("<stream:stream", "<evil:stream"), PREFIX),
        fault("Latin-1", with("1.0'?>", "1.0' encoding='ISO-8859-1'?>"), ENCODING),
        fault("UTF-16 declared", with("1.0'?>", "1.0' encoding='UTF-16'?>"), ENCODING),
        fault("XML 1.1", with("<?xml version='1.0'", "<?xml version='1.1'"), NOT_WELL_FORMED),
        fault("a malformed XML declaration", with("<?xml version='1.0'", "<?xml standalone='1.0'"), NOT_WELL_FORMED),
        fault("DTD", with("?>", "?><!DOCTYPE stream:stream>"), RESTRICTED),
        fault("DTD with entities", with("?>", "?><!DOCTYPE s [<!ENTITY evil-e 'x'>]>"), RESTRICTED),
        fault("comment", with("?>", "?><!-- evil-c -->"), RESTRICTED),
        fault("PI", with(declaration, "<?evil-pi x?>"), RESTRICTED),
        fault("two XML declarations", format!("{declaration}{HEADER}"), RESTRICTED),
        fault("at once its end", with("streams'>", "streams'/>"), BAD_FORMAT),
        fault("an end tag", "</stream:stream>", NOT_WELL_FORMED),
        fault("HTTP", "GET /evil-page HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD_FORMAT),
        fault("SSH", "SSH-2.0-evil-client\r\n", BAD_FORMAT),
        fault("SOCKS", b"\x05\x01\x00", BAD_FORMAT),
        fault("a TLS record", b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03", BAD_FORMAT),
        fault("byte order mark", [b"\xEF\xBB\xBF", HEADER.as_bytes()].concat(), BAD_FORMAT),
        fault("UTF-16", HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(), NOT_WELL_FORMED),
        fault("too large", with(" to=", &format!(" evil-a='{}' to=", "x".repeat(17_000))), POLICY),
        fault("too large before it", format!("<?xml {}", " ".repeat(17_000)), POLICY),
        fault(
            "a stanza",
            "<message to='evil-x@localhost'/>",
            &["invalid-namespace", "bad-namespace-prefix", "bad-format"],
        ),
    ];
    for (what, bytes, wanted) in attributes(random) {
        let at = HEADER.len() - 1;
        all.push(fault(what, [&HEADER.as_bytes()[..at], &bytes[..], b">"].concat(), wanted));
    }
    all
}

pub fn noise(random: &mut StdRng) -> Vec<u8> {
    let len = random.random_range(20..4000);
    let mut bytes: Vec<u8> = (0..len).map(|_| random.random()).collect();
    // Neither white space nor a tag.
    bytes[0] = random.random_range(0x80..=0xFF);
    bytes
}

/// Whole elements that are out of place in a bound stream.
pub fn stanzas(random: &mut StdRng) -> Vec<Fault> {
    let unsupported: &[&str] = &["unsupported-stanza-type"];
    let from: &[&str] = &["invalid-from"];
    let to = format!("to='{MARK}x@localhost'");
    let mut all = vec![
        fault("nonza", format!("<{MARK}x xmlns='urn:x'/>"), unsupported),
        fault("SASL2", format!("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{MARK}x'/>"), unsupported),
        fault("a dialback key", format!("<db:result xmlns:db='jabber:server:dialback' {to}/>"), unsupported),
        fault("a server's stanza", format!("<message xmlns='jabber:server' {to}/>"), unsupported),
        fault("a stanza without namespace", format!("<message xmlns='' {to}/>"), unsupported),
        fault("a stanza of the stream's namespace", format!("<stream:message {to}/>"), unsupported),
        fault("a client's unknown", format!("<{MARK}x/>"), unsupported),
        fault("features", format!("<stream:features><a xmlns='{MARK}x'/></stream:features>"), unsupported),
        fault("STARTTLS again", format!("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls' a='{MARK}x'/>"), POLICY),
        fault("login again", format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{MARK}x'/>"), POLICY),
        fault("success", format!("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl' a='{MARK}x'/>"), POLICY),
        fault("second header", HEADER.replace("<?xml version='1.0'?>", "").replace("localhost", "evil-x"), BAD_FORMAT),
        fault("second header with declaration", HEADER.replace("localhost", "evil-x"), RESTRICTED),
        fault("text between stanzas", format!("{MARK}text"), BAD_FORMAT),
        fault("a reference between stanzas", format!("&lt;{MARK}"), BAD_FORMAT),
        fault("CDATA between stanzas", format!("<![CDATA[{MARK}]]>"), BAD_FORMAT),
        fault("a comment between stanzas", format!("<!-- {MARK} -->"), RESTRICTED),
        fault("a DTD between stanzas", format!("<!DOCTYPE {MARK}>"), RESTRICTED),
        fault("end of something else", format!("</{MARK}stream>"), NOT_WELL_FORMED),
        fault("a stanza behind the stream's end", format!("</stream:stream><message {to}/>"), &[]),
    ];
    for jid in [
        "alice@localhost",
        "alice@localhost/x",
        "mallory@localhost/nobody",
        "mallory@example.org",
        "localhost",
        "conference.localhost",
        "room@conference.localhost/alice",
        "mallory",
        "",
        "@localhost",
        "mallory@localhost@localhost",
        "mallory@localhost ",
        "m\u{430}llory@localhost",
    ] {
        let name = ["message", "presence", "iq"].choose(random).expect("one");
        all.push(fault(format!("{name} from {jid:?}"), format!("<{name} from='{jid}' {to} id='{MARK}f'/>"), from));
    }
    for size in [1 << 20, 3 << 19] {
        let body = "x".repeat(size);
        all.push(fault("too large", format!("<message {to}><body>{body}</body></message>"), POLICY));
        let many = "<a/>".repeat(size / 4);
        all.push(fault("too large in many", format!("<message {to}>{many}</message>"), POLICY));
    }
    all
}
