//! How much history a join asks for (XEP-0045 §7.2.14).

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::xml::element::Node;
use crate::xmpp::ns;

/// How much history a client asked for. Absent limits do not limit; the room's own length does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Total characters of the stanzas; they are counted whole, in bytes, as Prosody and ejabberd do.
    pub maxchars: Option<usize>,
    /// Number of messages.
    pub maxstanzas: Option<usize>,
    /// Only messages of the last so many seconds.
    pub seconds: Option<i64>,
    /// Only messages since then.
    pub since: Option<OffsetDateTime>,
}

impl Request {
    /// Reads the `<history/>` of a join's `<x/>`. What is no number or no date is as if it were not there, a negative
    /// number is none at all: so does Prosody.
    pub fn read(x: Node<'_>) -> Request {
        let Some(history) = x.child("history", ns::MUC) else { return Request::default() };
        let number = |name| history.attr(name).and_then(|v| v.trim().parse::<i64>().ok());
        let at_most = |name| number(name).map(|n| usize::try_from(n.max(0)).unwrap_or(usize::MAX));
        Request {
            maxchars: at_most("maxchars"),
            maxstanzas: at_most("maxstanzas"),
            seconds: number("seconds"),
            since: history.attr("since").and_then(|v| date(v.trim())),
        }
    }

    /// The time of the oldest message that may be shown, if any limits that.
    pub fn oldest(&self, wall: OffsetDateTime) -> Option<OffsetDateTime> {
        // A time so long ago that it cannot be said limits nothing.
        let by_seconds = self.seconds.and_then(|s| wall.checked_sub(Duration::seconds(s)));
        by_seconds.into_iter().chain(self.since).max()
    }
}

/// A date and time as XEP-0082 writes it; without a zone it is UTC.
fn date(text: &str) -> Option<OffsetDateTime> {
    let read = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    read(text).or_else(|| read(&format!("{text}Z")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::element::Tree;
    use time::macros::datetime;

    fn read(attributes: &str) -> Request {
        let text = format!("<x xmlns='http://jabber.org/protocol/muc'><history {attributes}/></x>");
        Request::read(Tree::parse(text.as_bytes()).unwrap().root())
    }

    #[test]
    fn reads_what_is_asked() {
        let request = read("maxstanzas=' 5' maxchars='10' seconds='60' since='2026-01-01T12:00:00Z'");
        assert_eq!((request.maxstanzas, request.maxchars, request.seconds), (Some(5), Some(10), Some(60)));
        let since = datetime!(2026-01-01 12:00 UTC);
        assert_eq!(request.since, Some(since));
        assert_eq!(read("since='2026-01-01T14:00:00+02:00'").since, Some(since));
        assert_eq!(read("since='2026-01-01T12:00:00'").since, Some(since));
        assert_eq!(request.oldest(datetime!(2026-01-01 11:00 UTC)), Some(since));
        assert_eq!(request.oldest(datetime!(2026-01-01 13:00 UTC)), Some(datetime!(2026-01-01 12:59 UTC)));
    }

    #[test]
    fn what_cannot_be_read_limits_nothing() {
        assert_eq!(read("maxstanzas='x' maxchars='' seconds='1m' since='yesterday'"), Request::default());
        assert_eq!(read("maxstanzas='99999999999999999999'"), Request::default());
        assert_eq!(read("maxstanzas='-1'").maxstanzas, Some(0));
        // Longer ago than dates go: no limit, and no panic.
        for seconds in [i64::MAX, 1 << 40] {
            assert_eq!(read(&format!("seconds='{seconds}'")).oldest(datetime!(2026-01-01 12:00 UTC)), None);
        }
    }
}
