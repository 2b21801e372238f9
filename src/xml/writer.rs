//! Writing text into XML so that it stays text.

use std::borrow::Cow;

/// Escapes text for element content and for attribute values in either kind of quotes.
pub fn escape(text: &str) -> Cow<'_, str> {
    quick_xml::escape::escape(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_of_both_kinds_are_escaped() {
        assert_eq!(escape("a<b>'c'\"d\"&"), "a&lt;b&gt;&apos;c&apos;&quot;d&quot;&amp;");
        assert!(matches!(escape("plain"), Cow::Borrowed("plain")));
    }
}
