//! Writing text into XML so that it stays text.

use std::borrow::Cow;

/// Escapes text for element content and for attribute values in either kind of quotes. Tabs and line breaks are written
/// as references: a reader turns others into spaces or line feeds (XML 1.0 §2.11, §3.3.3).
pub fn escape(text: &str) -> Cow<'_, str> {
    let escaped = quick_xml::escape::escape(text);
    if !escaped.bytes().any(|b| matches!(b, b'\t' | b'\r' | b'\n')) {
        return escaped;
    }
    Cow::Owned(escaped.replace('\t', "&#9;").replace('\n', "&#10;").replace('\r', "&#13;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_of_both_kinds_are_escaped() {
        assert_eq!(escape("a<b>'c'\"d\"&"), "a&lt;b&gt;&apos;c&apos;&quot;d&quot;&amp;");
        assert_eq!(escape("a\t\r\n"), "a&#9;&#13;&#10;");
        assert!(matches!(escape("plain"), Cow::Borrowed("plain")));
    }
}
