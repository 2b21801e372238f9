//! What counts of what the three sources say, one after another.

use super::*;

const GRACE: Duration = Duration::from_secs(10);

struct Kept {
    bookmarks: Bookmarks,
    now: Instant,
}

impl Kept {
    fn new() -> Self {
        Kept { bookmarks: Bookmarks::default(), now: Instant::now() }
    }

    fn change(&mut self, change: Change) -> Vec<String> {
        self.bookmarks.change(self.now, GRACE, change)
    }

    fn publish(&mut self, room: &str, autojoin: bool) -> Vec<String> {
        self.change(Change::Published(vec![one(room, autojoin)]))
    }

    fn retract(&mut self, room: &str) -> Vec<String> {
        self.change(Change::Retracted(vec![room.to_owned()]))
    }

    /// What is gone after so many seconds.
    fn gone(&mut self, seconds: u64) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        let due = self.bookmarks.deadline().is_some_and(|at| at <= self.now);
        let gone = self.bookmarks.gone(self.now);
        assert!(due || gone.is_empty(), "nobody would have asked");
        assert!(self.bookmarks.deadline().is_none_or(|at| at > self.now));
        gone
    }
}

fn one(room: &str, autojoin: bool) -> (String, Bookmark) {
    (room.to_owned(), Bookmark { autojoin, nick: None, password: None })
}

fn all(source: Source, rooms: &[&str]) -> Change {
    Change::All(source, rooms.iter().map(|room| one(room, true)).collect())
}

#[test]
fn what_comes_is_wanted_what_goes_settles_first() {
    let mut kept = Kept::new();
    assert_eq!(kept.publish("r@s", true), ["r@s"]);
    assert!(kept.publish("r@s", true).is_empty(), "nothing new");
    assert!(kept.bookmarks.any());
    kept.retract("r@s");
    assert!(!kept.bookmarks.any() && kept.bookmarks.wanted().is_empty());
    assert!(kept.gone(9).is_empty());
    assert_eq!(kept.gone(1), ["r@s"]);
    assert!(kept.bookmarks.rooms.is_empty());
    kept.publish("r@s", true);
    assert!(kept.publish("r@s", false).is_empty());
    assert_eq!(kept.gone(10), ["r@s"]);
    assert_eq!(kept.bookmarks.rooms.len(), 1, "it is still in the bookmarks");
    assert_eq!(kept.publish("r@s", true), ["r@s"]);
}

#[test]
fn a_retract_followed_by_a_publish_is_none() {
    for autojoin in [true, false] {
        let mut kept = Kept::new();
        kept.publish("r@s", autojoin);
        kept.retract("r@s");
        assert!(kept.gone(5).is_empty());
        kept.publish("r@s", autojoin);
        assert!(kept.gone(60).is_empty(), "autojoin={autojoin}");
    }
    let mut kept = Kept::new();
    kept.publish("r@s", true);
    kept.retract("r@s");
    kept.publish("r@s", false);
    assert_eq!(kept.gone(10), ["r@s"], "it came again, but otherwise");
}

#[test]
fn a_bookmark_without_autojoin_is_no_will_but_its_end_is() {
    let mut kept = Kept::new();
    assert!(kept.publish("r@s", false).is_empty());
    assert!(kept.gone(60).is_empty());
    kept.retract("r@s");
    assert_eq!(kept.gone(10), ["r@s"]);
}

#[test]
fn fetched_the_newest_place_that_has_any_is_believed() {
    let mut kept = Kept::new();
    assert_eq!(kept.change(all(Source::Items, &["new@s"])), ["new@s"]);
    assert!(kept.change(all(Source::Pep, &["old@s", "new@s"])).is_empty());
    assert!(kept.change(all(Source::Private, &["old@s"])).is_empty());
    assert_eq!(kept.bookmarks.wanted(), ["new@s"]);
    // What an older client changes there later counts, what it repeats does not.
    assert_eq!(kept.change(all(Source::Private, &["old@s", "other@s"])), ["other@s"]);
    assert_eq!(kept.bookmarks.wanted(), ["new@s", "other@s"]);
    kept.change(all(Source::Private, &[]));
    assert_eq!(kept.gone(10), ["other@s"]);

    let mut kept = Kept::new();
    kept.change(all(Source::Items, &[]));
    assert_eq!(kept.change(all(Source::Pep, &["a@s"])), ["a@s"]);
    assert_eq!(kept.change(all(Source::Private, &["b@s"])), ["b@s"]);
}

#[test]
fn fetched_again_the_difference_counts() {
    let mut kept = Kept::new();
    kept.change(all(Source::Items, &["a@s", "b@s"]));
    assert_eq!(kept.change(all(Source::Items, &["b@s", "c@s"])), ["c@s"]);
    assert_eq!(kept.gone(10), ["a@s"]);
}

#[test]
fn who_was_put_out_is_not_wanted_until_the_bookmark_changes() {
    let mut kept = Kept::new();
    kept.publish("r@s", true);
    kept.bookmarks.ended("r@s", "nick", true);
    assert!(kept.bookmarks.wanted().is_empty() && kept.bookmarks.any());
    assert!(kept.publish("r@s", true).is_empty());
    let renamed = Bookmark { autojoin: true, nick: Some("other".to_owned()), password: None };
    assert_eq!(kept.change(Change::Published(vec![("r@s".to_owned(), renamed)])), ["r@s"]);
    assert_eq!(kept.bookmarks.wanted(), ["r@s"]);
    assert_eq!(kept.bookmarks.last_nick("r@s"), Some("nick"));
}

#[test]
fn s20_no_more_than_so_many_and_so_much() {
    let mut kept = Kept::new();
    for n in 0..MOST + 10 {
        kept.publish(&format!("r{n}@s"), true);
    }
    assert_eq!(kept.bookmarks.wanted().len(), MOST);
    assert!(kept.bookmarks.full);
    let mut kept = Kept::new();
    let long = "p".repeat(1000);
    for n in 0..MOST {
        let bookmark = Bookmark { autojoin: true, nick: None, password: Some(long.clone().into()) };
        kept.change(Change::Published(vec![(format!("r{n}@s"), bookmark)]));
    }
    assert!(kept.bookmarks.wanted().len() <= MOST_BYTES / 1000 && kept.bookmarks.full);
}
