//! What is accepted and what is not, one line a rule.

use super::*;

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
