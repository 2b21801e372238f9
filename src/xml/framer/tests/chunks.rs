//! Any chunking gives the same, and nothing panics.

use proptest::prelude::*;

use super::*;

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
