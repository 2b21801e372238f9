//! The work done is linear.

use super::super::chars::counter;
use super::*;

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
