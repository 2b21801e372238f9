//! Two accounts in one room whose stored presences are shared (S13): what the one may see, the other is not shown, in
//! whatever order they and the others come, go, and get and lose their roles.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

const NICKS: [&str; 4] = ["carol", "dave", "erin", "frank"];

struct Side {
    stage: Stage,
    moderates: bool,
    clients: u64,
}

impl Side {
    fn is_shown(&mut self, nick: &str, show: &str) {
        let jid = if self.moderates { format!(" jid='{nick}@real/x'") } else { String::new() };
        let item = format!("<item affiliation='none'{jid} role='participant'/>");
        let x = format!("<show>{show}</show><x xmlns='{X}'>{item}</x>");
        self.stage.room(&format!("<presence from='r@s/{nick}' to='{SESSION}'>{x}</presence>"));
    }

    fn gets_role(&mut self, moderates: bool, inside: &BTreeMap<&str, String>, tells_again: bool) {
        self.moderates = moderates;
        self.stage.own(if moderates { "moderator" } else { "participant" }, "", "x");
        if moderates && tells_again {
            // As Prosody does after some promotions.
            inside.iter().for_each(|(nick, show)| self.is_shown(nick, show));
        }
    }

    /// A client comes late; what it is shown.
    fn late(&mut self, inside: &BTreeMap<&str, String>) -> String {
        self.clients += 1;
        let late = ClientId(100 + self.clients);
        self.stage.forget();
        self.stage.joins(late);
        for asked in self.stage.up() {
            let role = asked.content().contains("participant");
            let items = inside.keys().map(|n| format!("<item nick='{n}' role='participant' jid='{n}@real/x'/>"));
            let items: String = if role { items.collect() } else { String::new() };
            if asked.is_iq() {
                self.stage.answer(&asked, "r@s", "result", &items);
            }
        }
        let shown = self.stage.seen(late).concat();
        self.stage.client(late, "<presence to='r@s/me' type='unavailable'/>");
        shown
    }
}

#[test]
fn s13_what_is_stored_together_is_shown_to_whom_it_was_delivered() {
    let (mut with, mut without) = (0, 0);
    for seed in 0..300 {
        let mut random = StdRng::seed_from_u64(seed);
        let settings = Settings::default();
        let mut sides = [(); 2].map(|()| {
            let mut stage = Stage::joined_with(settings.clone(), "participant", "");
            stage.room(&format!("<presence from='r@s/carol' to='{SESSION}' type='unavailable'/>"));
            Side { stage, moderates: false, clients: 0 }
        });
        let mut inside: BTreeMap<&str, String> = BTreeMap::new();
        for _ in 0..60 {
            let nick = *NICKS.choose(&mut random).unwrap();
            let side = random.random_range(0..2);
            match random.random_range(0..10) {
                0..=3 => {
                    let show = *["away", "xa"].choose(&mut random).unwrap();
                    inside.insert(nick, show.to_owned());
                    sides.iter_mut().for_each(|side| side.is_shown(nick, show));
                }
                4 => {
                    inside.remove(nick);
                    let gone = format!("<presence from='r@s/{nick}' to='{SESSION}' type='unavailable'/>");
                    sides.iter_mut().for_each(|side| side.stage.room(&gone));
                }
                5 | 6 => {
                    let (moderates, again) = (random.random(), random.random());
                    sides[side].gets_role(moderates, &inside, again);
                }
                _ => {
                    let shown = sides[side].late(&inside);
                    for (nick, show) in &inside {
                        assert!(shown.contains(&format!("from='r@s/{nick}'")), "seed {seed}: {nick} in {shown}");
                        assert!(shown.contains(&format!("<show>{show}</show>")), "seed {seed}: {show} in {shown}");
                        let jid = shown.contains(&format!("{nick}@real"));
                        assert_eq!(jid, sides[side].moderates, "seed {seed}: {nick} in {shown}");
                        *(if jid { &mut with } else { &mut without }) += 1;
                    }
                }
            }
        }
    }
    assert!(with > 1000 && without > 1000, "{with} shown with JIDs, {without} without");
}
