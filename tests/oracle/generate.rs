//! Makes stanzas, and spoils them.

use rand::prelude::*;
use rand::rngs::StdRng;

/// A stream header and what it declares.
pub struct Context {
    stream: &'static str,
    pub declarations: &'static [(&'static str, &'static str)],
}

const STREAMS: &str = "http://etherx.jabber.org/streams";

const CONTEXTS: [Context; 3] = [
    Context { stream: "stream:stream", declarations: &[("stream", STREAMS)] },
    Context {
        stream: "stream:stream",
        declarations: &[("stream", STREAMS), ("db", "jabber:server:dialback"), ("p", "a")],
    },
    Context { stream: "p:stream", declarations: &[("p", STREAMS), ("q", "b"), ("r", "b")] },
];

impl Context {
    pub fn header(&self) -> String {
        let declared: String = self.declarations.iter().map(|(p, uri)| format!(" xmlns:{p}='{uri}'")).collect();
        format!("<{} xmlns='jabber:client'{declared} version='1.0'>", self.stream)
    }

    pub fn close(&self) -> String {
        format!("</{}>", self.stream)
    }
}

const REAL: [&str; 8] = [
    "<message from='coven@chat.example.net/thirdwitch' to='romeo@example.net/orchard' type='groupchat' id='4f1c' \
        xml:lang='en'><body>Thrice the brinded cat hath mewed.</body><stanza-id xmlns='urn:xmpp:sid:0' id='0123' \
        by='coven@chat.example.net'/></message>",
    "<presence from='coven@chat.example.net/thirdwitch' to='romeo@example.net/orchard'><x \
        xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/><status code='110'/></x>\
        </presence>",
    "<iq type=\"get\" id=\"a1\"><query xmlns=\"jabber:iq:roster\" ver=\"\"/></iq>",
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>\
        </stream:features>",
    "<message><body>1 &lt; 2 &amp;&amp; 3 &gt; 2 &#x41;&#66; <![CDATA[<b>]] &x;]]></body></message>",
    "<message to='\u{fc}@example.net'><body>\u{4f60}\u{597d} \u{1f600} \u{430}\u{431}</body></message>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldAByMG0zMG15cjBtMzA=</auth>",
    "<p:x xmlns:p='a' xmlns:q='b' p:y='1' q:y='2' y='3'><q:z p:y=''/></p:x>",
];

const PREFIXES: [&str; 9] = ["", "", "", "p:", "q:", "r:", "stream:", "db:", "xml:"];
const LOCALS: [&str; 8] = ["a", "b", "message", "body", "x", "_y", "a.b-1", "lang"];
const NAMESPACES: [&str; 7] = ["", "a", "b", "jabber:client", "jabber:client ", STREAMS, "urn:x?y=z&amp;"];
const VALUES: [&str; 10] = [
    "",
    "a",
    "1 > 0",
    "&lt;&amp;",
    "&#10;&#x1F600;",
    "\u{e9}\u{20ac}",
    "a\tb\nc\r\nd\re",
    "]]>",
    "romeo@example.net/o",
    "#\"'",
];
const TEXTS: [&str; 14] = [
    "Hello",
    " ",
    "\n  ",
    "&amp;&#65;",
    "\u{1f600}\u{fffd}",
    "]]",
    "]",
    ">",
    "<![CDATA[a<&]]>",
    "<![CDATA[]]]]>",
    "]>]>",
    "<![CDATA[]>]>]]>",
    "a\r\nb\rc",
    "'\"#",
];

/// Tokens that are put in where they may not belong.
const NASTY: [&[u8]; 66] = [
    b"<",
    b">",
    b"&",
    b"'",
    b"\"",
    b"=",
    b"/",
    b":",
    b";",
    b"#",
    b"!",
    b"?",
    b"-",
    b"]",
    b"]]>",
    b"]]",
    b"[",
    b" ",
    b"\n",
    b"\r",
    b"\t",
    b"\0",
    b"\x01",
    b"\x0b",
    b"\x0c",
    b"\x1f",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xef\xbb\xbf",
    b"\xf4\x90\x80\x80",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    "\u{e9}".as_bytes(),
    b"&#0;",
    b"&#1;",
    b"&#xD800;",
    b"&#xFFFF;",
    b"&#x110000;",
    b"&#65",
    b"&#X41;",
    b"&nbsp;",
    b"&lt",
    b"&amp;",
    b"&#000065;",
    b"<!-- x -->",
    b"<?x y?>",
    b"<?xml version='1.0'?>",
    b"<!DOCTYPE a>",
    b"<![CDATA[",
    b"<![CDATA[x]]>",
    b"<1m/>",
    b"<a b='<'/>",
    b"<a b='1'c='2'/>",
    b"<a b='1' b='2'/>",
    b"<u:a/>",
    b" u:a=''",
    b" xmlns:u='a'",
    b" xmlns:xml='a'",
    b" xmlns:xmlns='a'",
    b" xmlns:u=''",
];

pub struct Generator {
    rng: StdRng,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Generator { rng: StdRng::seed_from_u64(seed) }
    }

    /// What follows a stream's header, and the chunk size to feed it in.
    pub fn stream(&mut self) -> (&'static Context, Vec<u8>, usize) {
        let context = &CONTEXTS[self.rng.random_range(0..CONTEXTS.len())];
        let mut body = Vec::new();
        for _ in 0..self.rng.random_range(1..=2) {
            if self.rng.random_bool(0.3) {
                let real = REAL[self.rng.random_range(0..REAL.len())];
                body.extend(real.as_bytes());
            } else {
                let mut text = String::new();
                let scope = context.declarations.iter().map(|d| d.0.to_owned()).collect();
                self.element(&mut text, 1, scope);
                body.extend(text.as_bytes());
            }
            if self.rng.random_bool(0.1) {
                body.extend(b" \n");
            }
        }
        for _ in 0..[0, 0, 1, 1, 1, 2, 4][self.rng.random_range(0..7)] {
            self.spoil(&mut body);
        }
        let chunk = [1, 3, 16, 10_000][self.rng.random_range(0..4)];
        (context, body, chunk)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.random_range(0..from.len())]
    }

    fn quoted(&mut self, value: &str) -> String {
        let value = value.trim_end_matches("&amp;");
        if self.rng.random_bool(0.5) {
            format!("'{}'", value.replace('\'', "&apos;"))
        } else {
            format!("\"{}\"", value.replace('"', "&quot;"))
        }
    }

    /// A prefix that is declared, nearly always.
    fn prefix(&mut self, scope: &[String]) -> &'static str {
        let prefix = self.pick(&PREFIXES);
        let declared = prefix.is_empty() || prefix == "xml:" || scope.iter().any(|p| p == prefix.trim_end_matches(':'));
        if declared || self.rng.random_bool(0.03) { prefix } else { "" }
    }

    fn element(&mut self, out: &mut String, depth: usize, mut scope: Vec<String>) {
        let mut attributes = Vec::new();
        for _ in 0..[0, 0, 0, 1, 1, 2][self.rng.random_range(0..6)] {
            let prefix = self.pick(&["", "p", "q", "r", "db"]);
            let uri = self.pick(&NAMESPACES);
            let (name, uri) = match prefix {
                "" => ("xmlns".to_owned(), uri),
                _ => (format!("xmlns:{prefix}"), if uri.is_empty() { "a" } else { uri }),
            };
            scope.push(prefix.to_owned());
            attributes.push((name, uri));
        }
        for _ in 0..[0, 1, 1, 2, 3, 8][self.rng.random_range(0..6)] {
            let name = format!("{}{}", self.prefix(&scope), self.pick(&LOCALS));
            attributes.push((name, self.pick(&VALUES)));
        }
        attributes.shuffle(&mut self.rng);
        if self.rng.random_bool(0.95) {
            let mut seen = Vec::new();
            attributes.retain(|(name, _)| {
                !seen.contains(name) && {
                    seen.push(name.clone());
                    true
                }
            });
        }
        let name = format!("{}{}", self.prefix(&scope), self.pick(&LOCALS));
        *out += &format!("<{name}");
        for (attribute, value) in attributes {
            let gap = self.pick(&[" ", " ", " ", "\n\t", "  "]);
            let equals = self.pick(&["=", "=", "=", " = ", "=\n"]);
            *out += &format!("{gap}{attribute}{equals}{}", self.quoted(value));
        }
        *out += self.pick(&["", "", "", " "]);
        if self.rng.random_bool(0.3) {
            *out += "/>";
            return;
        }
        *out += ">";
        for _ in 0..self.rng.random_range(0..4) {
            if depth < 5 && self.rng.random_bool(0.4) {
                self.element(out, depth + 1, scope.clone());
            } else {
                *out += self.pick(&TEXTS);
            }
        }
        *out += &format!("</{name}{}>", self.pick(&["", "", "", " "]));
    }

    fn spoil(&mut self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..body.len());
        let end = (at + self.rng.random_range(1..=4)).min(body.len());
        match self.rng.random_range(0..8) {
            0 => drop(body.drain(at..end)),
            1 => {
                let part = body[at..end].to_vec();
                let to = self.rng.random_range(0..body.len());
                body.splice(to..to, part);
            }
            2 => body[at] ^= 1 << self.rng.random_range(0..8),
            3 => body[at] = self.rng.random(),
            4 => {
                // Part of one place, over another.
                let from = self.rng.random_range(0..body.len());
                let part = body[from..(from + self.rng.random_range(1..30)).min(body.len())].to_vec();
                body.splice(at..end, part);
            }
            5 => {
                // Letters turn into others, so that names match no more, or match too well.
                if body[at].is_ascii_alphabetic() {
                    body[at] = *b"abpqrxy_".choose(&mut self.rng).unwrap_or(&b'a');
                }
            }
            _ => {
                let token = NASTY[self.rng.random_range(0..NASTY.len())];
                body.splice(at..at, token.iter().copied());
            }
        }
    }
}
