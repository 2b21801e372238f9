//! What accounts may keep of their rooms (S20), as conversations.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const OTHER: &str = "other@muc.example";
const KIB: usize = 1024;

/// In both rooms, A as their only client, with so much memory for the account, and for all.
fn in_two_rooms(memory_per_account: usize, memory: usize) -> Stage {
    let mut stage = Stage::with(Settings { memory_per_account, memory, ..Settings::default() });
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    stage.let_in("nick", "");
    stage.client(A, &join("nick", "a2").replace(ROOM, OTHER));
    let own = "<item affiliation='owner' role='moderator'/><status code='110'/>";
    stage.server(&occupant(OTHER, "nick", own, 0).replace(" id='p'", " id='a2'"));
    stage.server(&format!("<message from='{OTHER}' to='{SESSION}' type='groupchat'><subject/></message>"));
    stage.forget();
    stage
}

fn occupant(room: &str, nick: &str, item: &str, size: usize) -> String {
    let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{item}</x>");
    let status = "s".repeat(size);
    format!("<presence from='{room}/{nick}' to='{SESSION}' id='p'><status>{status}</status>{x}</presence>")
}

fn comes(room: &str, n: usize, size: usize) -> String {
    occupant(room, &format!("occupant{n}"), "<item affiliation='none' role='participant'/>", size)
}

fn said(room: &str, n: usize, size: usize) -> String {
    let body = "m".repeat(size);
    format!("<message from='{room}/other' to='{SESSION}' type='groupchat'><body>{n} {body}</body></message>")
}

fn used(stage: &Stage) -> usize {
    stage.account.settings.kept.memory().used()
}

/// How many messages a late client of the room is shown.
fn history(stage: &mut Stage, room: &str) -> usize {
    stage.forget();
    stage.client(B, &join("nick", "b1").replace(ROOM, room));
    let seen = stage.seen(B);
    stage.client(B, &leave("nick").replace(ROOM, room));
    assert!(!seen.is_empty() && !seen[0].contains("passes=true"), "{seen:?}");
    seen.iter().filter(|line| line.contains("<body>")).count()
}

#[test]
fn s20_beyond_an_accounts_memory_its_history_goes_first() {
    let mut stage = in_two_rooms(64 * KIB, 1 << 30);
    for n in 0..10 {
        stage.server(&said(ROOM, n, 2 * KIB));
        stage.server(&said(OTHER, n, KIB));
    }
    assert_eq!((history(&mut stage, ROOM), history(&mut stage, OTHER)), (11, 10));
    for n in 0..3 {
        stage.server(&comes(OTHER, n, 10 * KIB));
    }
    assert!(stage.up().iter().any(|line| line == "limited rooms.memory_per_account: history is dropped"));
    assert_eq!((history(&mut stage, ROOM), history(&mut stage, OTHER)), (0, 10), "the longest goes");
    stage.server(&comes(OTHER, 3, 20 * KIB));
    assert_eq!((history(&mut stage, ROOM), history(&mut stage, OTHER)), (0, 0));
    assert!(!stage.up().concat().contains("limited"), "it is not said again at once");
    assert!(stage.account.bytes() <= 64 * KIB);
    // Nobody had to go, and what comes now is kept as far as there is memory.
    assert_eq!(stage.account.rooms().filter(|room| room.is_joined()).count(), 2);
    stage.server(&said(ROOM, 9, KIB));
    assert_eq!(history(&mut stage, ROOM), 1);
}

#[test]
fn s20_a_room_beyond_an_accounts_memory_is_given_up_and_its_joins_pass_through() {
    let mut stage = in_two_rooms(64 * KIB, 1 << 30);
    for n in 0..6 {
        stage.server(&comes(ROOM, n, 8 * KIB));
    }
    assert_eq!(stage.seen(A).len(), 6);
    // The large room goes, though it is the other one that has grown.
    stage.server(&comes(OTHER, 0, 8 * KIB));
    let seen = stage.seen(A);
    assert!(seen[0].contains("occupant0") && seen[1].contains("'unavailable'"), "{seen:#?}");
    assert!(seen[1].contains("110") && seen[1].contains("333") && seen[1].contains(ROOM), "{}", seen[1]);
    assert!(seen[2].starts_with("detached room@muc.example") && seen.len() == 3, "{}", seen[2]);
    let up = stage.up();
    assert_eq!(up[0], "limited rooms.memory_per_account: history is dropped");
    assert!(up[1].contains("type='unavailable'") && up[1].contains("to='room@muc.example/nick'"), "{up:?}");
    assert_eq!(up[2..], ["limited rooms.memory_per_account: a room is given up"]);
    // Joins pass through, as long as the leave is not answered, and after that.
    for (client, answered) in [(A, false), (B, true)] {
        if answered {
            // What still comes before the answer is not kept.
            stage.server(&comes(ROOM, 9, 100 * KIB));
            assert!(stage.account.bytes() < 16 * KIB);
            stage.server(&gone(""));
            assert_eq!(stage.account.rooms().count(), 1);
            stage.forget();
        }
        stage.client(client, &join("nick", "again"));
        let seen = stage.seen(client);
        assert_eq!(seen[0], "limited rooms.memory_per_account: a join passes through");
        assert!(seen[1].contains("passes=true") && seen.len() == 2, "{seen:?}");
    }
    assert!(stage.up().is_empty());
    // The other room lives.
    stage.server(&said(OTHER, 0, 10));
    assert_eq!(stage.seen(A).len(), 1);
    // After some time it may have become smaller.
    stage.now.at += Duration::from_secs(3600);
    stage.give(Input::Stanza(B, Stanza::own(join("nick", "later")), true));
    assert!(stage.up()[0].contains("id='later'"));
}

#[test]
fn s20_a_room_that_turns_out_too_large_at_the_join_lets_who_waits_pass_through() {
    let mut stage = in_two_rooms(64 * KIB, 1 << 30);
    let third = "third@muc.example";
    for n in 0..4 {
        stage.server(&comes(ROOM, n, 8 * KIB));
    }
    stage.client(B, &join("nick", "b1").replace(ROOM, third));
    stage.client(B, &format!("<message to='{third}' type='groupchat' id='m'><body>behind</body></message>"));
    stage.forget();
    for n in 0..9 {
        stage.server(&comes(third, n, 8 * KIB));
    }
    let seen = stage.seen(B);
    assert!(seen[0].contains("passes=true") && seen[0].contains("id='b1'"), "{seen:?}");
    assert!(seen[1].contains("passes=true") && seen[1].contains("behind") && seen.len() == 2, "{seen:?}");
    assert!(stage.seen(A).is_empty(), "the rooms that the account is in stay, also if they are larger");
    let up = stage.up();
    assert!(up[1].contains("type='unavailable'") && up[1].contains(third), "{up:?}");
    // What the room still answers is nobody's, and then the room is forgotten.
    let own = "<item affiliation='none' role='participant'/><status code='110'/>";
    stage.server(&occupant(third, "nick", own, 0).replace(" id='p'", " id='b1'"));
    assert!(stage.seen(B).is_empty() && stage.account.bytes() < 48 * KIB);
    stage.server(&occupant(third, "nick", own, 0).replace(" id='p'", " type='unavailable'"));
    assert!(stage.seen(B).is_empty());
    assert_eq!(stage.account.rooms().count(), 2);
}

#[test]
fn s20_what_accounts_share_is_counted_once_and_all_counts_end_at_nothing() {
    let settings = Settings::default();
    let kept = settings.kept.clone();
    let mut stages = [(); 2].map(|()| Stage::with(settings.clone()));
    let mut counts = vec![kept.memory().used()];
    for stage in &mut stages {
        stage.client(A, &join("nick", "a1"));
        stage.give(Input::SessionUp(None));
        for n in 0..10 {
            stage.server(&comes(ROOM, n, 10 * KIB));
        }
        stage.let_in("nick", "");
        for n in 0..10 {
            stage.server(&said(ROOM, n, 10 * KIB));
        }
        counts.push(kept.memory().used());
        assert!(stage.account.bytes() > 200 * KIB, "{}", stage.account.bytes());
    }
    assert_eq!(counts[0], 0);
    assert!(counts[1] > 200 * KIB && counts[2] < counts[1] + 5 * KIB, "{counts:?}");
    for stage in &mut stages {
        stage.server(&gone("<status code='307'/>"));
        assert_eq!((stage.account.rooms().count(), stage.account.bytes()), (0, 0));
    }
    assert_eq!(kept.memory().used(), 0);
}

#[test]
fn s20_an_account_keeps_no_more_than_is_left_for_all() {
    let settings = Settings { memory: 300 * KIB, ..Settings::default() };
    let kept = settings.kept.clone();
    let mut stages = [(); 2].map(|()| Stage::with(settings.clone()));
    for (n, stage) in stages.iter_mut().enumerate() {
        stage.client(A, &join("nick", "a1"));
        stage.give(Input::SessionUp(None));
        stage.let_in("nick", "");
        stage.forget();
        for occupant in 0..13 {
            stage.server(&comes(ROOM, 100 * n + occupant, 8 * KIB));
        }
    }
    let [mut large, mut small] = stages;
    // The second one found half of it taken, and has no more than the rest's half.
    assert!(used(&large) <= 300 * KIB);
    assert!(large.up().is_empty() && large.account.rooms().all(|room| room.is_joined()));
    let up = small.up();
    assert!(up.iter().any(|line| line == "limited rooms.memory: a room is given up"), "{up:?}");
    small.client(B, &join("nick", "b1"));
    assert_eq!(small.seen(B)[0], "limited rooms.memory: a join passes through");
    small.server(&gone(""));
    // When the first one goes, there is memory again.
    large.server(&gone("<status code='301'/>"));
    assert_eq!(kept.memory().used(), 0);
    small.forget();
    small.client(A, &join("nick", "a1"));
    small.let_in("nick", "");
    assert!(small.up()[0].contains("id='a1'") && small.seen(A).len() == 4);
}

#[test]
fn s20_with_no_memory_left_everybody_passes_through() {
    let settings = Settings { memory: 64 * KIB, bookmarks: true, ..Settings::default() };
    let taken = settings.kept.memory().clone();
    let mut holder = Stage::with(settings.clone());
    holder.client(A, &join("nick", "a1"));
    holder.give(Input::SessionUp(None));
    holder.let_in("nick", "");
    // One stanza may go beyond, before anybody can tell.
    let own = "<item affiliation='none' role='participant'/><status code='110'/>";
    holder.server(&occupant(ROOM, "nick", own, 40 * KIB));
    assert!(taken.used() <= 64 * KIB);
    let mut stage = Stage::with(Settings { memory: taken.used(), ..settings });
    stage.client(A, &join("nick", "a1"));
    stage.give(Input::SessionUp(None));
    let seen = stage.seen(A);
    assert!(seen[0] == "limited rooms.memory: a join passes through" && seen[1].contains("passes=true"), "{seen:?}");
}

#[test]
fn s20_whatever_happens_the_process_keeps_within_its_memory_and_forgets_all_in_the_end() {
    let (memory, largest, mut given_up) = (300 * KIB, 20 * KIB, 0);
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let settings = Settings { memory, memory_per_account: 150 * KIB, ..Settings::default() };
        let taken = settings.kept.memory().clone();
        let mut stages = [(); 3].map(|()| Stage::with(settings.clone()));
        for stage in &mut stages {
            stage.client(A, &join("nick", "a1"));
            stage.give(Input::SessionUp(None));
        }
        for _ in 0..300 {
            let stage = &mut stages[random.random_range(0..3)];
            let room = [ROOM, OTHER][random.random_range(0..2)];
            let (n, size) = (random.random_range(0..30), random.random_range(0..largest));
            let client = [A, B][random.random_range(0..2)];
            match random.random_range(0..40) {
                0..=23 => stage.server(&comes(room, n, size)),
                24..=31 => stage.server(&said(room, n, size)),
                32 => stage.server(&comes(room, n, 0).replace(" id='p'", " type='unavailable'")),
                33 => stage.server(&gone("").replace(ROOM, room)),
                34 => stage.client(client, &leave("nick").replace(ROOM, room)),
                35 => stage.give(Input::SessionLost),
                36 => {
                    let own = "<item affiliation='none' role='participant'/><status code='110'/>";
                    stage.server(&occupant(room, "nick", own, size));
                    stage.server(&format!(
                        "<message from='{room}' to='{SESSION}' type='groupchat'><subject/></message>"
                    ));
                }
                37 => stage.pass(Duration::from_secs(20)),
                _ => stage.client(client, &join("nick", "again").replace(ROOM, room)),
            }
            if stage.commands().contains(&"connect") {
                stage.give(Input::SessionUp(None));
            }
            given_up += stage.up().iter().filter(|line| line.ends_with("a room is given up")).count();
            stage.forget();
            // A room is looked at again when it has grown by four KiB.
            assert!(stage.account.bytes() <= (150 + 3 * 4) * KIB, "seed {seed}: {}", stage.account.bytes());
            assert!(taken.used() <= memory + 3 * 3 * 4 * KIB, "seed {seed}: {}", taken.used());
        }
        stages.iter_mut().for_each(|stage| stage.give(Input::Unenrolled));
        assert_eq!(taken.used(), 0, "seed {seed}");
    }
    assert!(given_up > 100, "{given_up} rooms were given up");
}
