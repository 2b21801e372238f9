//! Transparency (XEP-0045): the same conversation with the server itself and through the proxy, on each real server.
//! What every client sees must be equal, stanza for stanza and in order, but for the named exceptions of
//! `docs/transparency.md`. The scenarios are in `tests/transparency/scenarios`; how they are written is told in
//! `tests/transparency/script.rs`.
//!
//! `MINIMIX_SCENARIOS=kick,ban` runs only these; `MINIMIX_SCENARIOS_DIRECT=1` holds both conversations with the server
//! itself: what then differs no proxy is to blame for.

mod support;
#[path = "transparency/mod.rs"]
mod transparency;

use std::sync::Arc;

use support::proxy::{Proxy, Setup};
use support::raw;
use support::server::{KINDS, Kind, Options, Server, password};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use transparency::client::Place;
use transparency::compare::differences;
use transparency::normal::{CLIENT_ERROR, EXCEPTIONS};
use transparency::play::{counts, play};
use transparency::script::Scenario;
use transparency::table::{self, Outcome, Outcomes};
use transparency::{Way, name};

/// How many conversations go on at the same time at one server.
const AT_ONCE: usize = 16;

/// A server, and the proxy before it.
struct Stage {
    kind: Kind,
    server: Server,
    proxy: Proxy,
}

impl Stage {
    fn new(kind: Kind, scenarios: &[Scenario]) -> Stage {
        let users = scenarios.iter().flat_map(Scenario::users).map(|u| (u.clone(), password(&u))).collect();
        let server = Server::start(kind, Options { users, locked_rooms: true, ..Options::default() });
        // Directly, others see a leave at once.
        let proxy = Setup::before(&server).config("[rooms]\nleave_grace = \"100ms\"\n").start();
        Stage { kind, server, proxy }
    }

    fn place(&self, way: Way) -> Place {
        let proxied = way == Way::Proxied && !without_proxy();
        let (address, certs) = match proxied {
            true => (self.proxy.direct_tls(), &self.proxy.certs),
            false => (self.server.direct_tls(), &self.server.certs),
        };
        Place { address, tls: raw::tls(&certs.ca), proxied }
    }
}

/// What came of a scenario, and which of its exceptions made no difference.
async fn outcome(scenario: &Scenario, kind: Kind, direct: &Place, proxied: &Place) -> (Outcome, Vec<String>) {
    let broken = |why: String| (Outcome::Broken(why), Vec::new());
    let first = match play(scenario, direct, kind, Way::Direct, None).await {
        Ok(told) if told.lacking.is_some() => return (Outcome::NotThere, scenario.except.clone()),
        Ok(told) => told,
        Err(why) => return broken(format!("with the server itself: {why}")),
    };
    let wanted = counts(scenario, kind, &first);
    let second = match play(scenario, proxied, kind, Way::Proxied, Some(&wanted)).await {
        Ok(told) => told,
        Err(why) => return broken(format!("through the proxy: {why}")),
    };
    let two = [(Way::Direct, first), (Way::Proxied, second)];
    let parts = differences(scenario, kind, &scenario.except, &two);
    let without = |one: &String| {
        let others: Vec<String> = scenario.except.iter().filter(|e| *e != one).cloned().collect();
        differences(scenario, kind, &others, &two) == parts
    };
    let changed = |one: &String| one == CLIENT_ERROR && two[0].1.withheld;
    let unneeded = scenario.except.iter().filter(|e| !changed(e) && without(e)).cloned().collect();
    if parts.is_empty() {
        return (Outcome::Passes, unneeded);
    }
    let more = remedy(scenario, |except| differences(scenario, kind, except, &two).is_empty());
    (Outcome::Differs(parts + &more), unneeded)
}

/// The exceptions with which a scenario that differs would pass.
fn remedy(scenario: &Scenario, passes: impl Fn(&[String]) -> bool) -> String {
    let mut except: Vec<String> = EXCEPTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    if !passes(&except) {
        return String::new();
    }
    for (name, _) in EXCEPTIONS.iter().filter(|(name, _)| !scenario.except.iter().any(|e| e == name)) {
        let fewer: Vec<String> = except.iter().filter(|e| e != name).cloned().collect();
        if passes(&fewer) {
            except = fewer;
        }
    }
    except.retain(|e| !scenario.except.contains(e));
    format!("  it passes if these, too, are excused: {}\n", except.join(", "))
}

/// Both conversations are held with the server itself: no mark and no exception is needed then.
fn without_proxy() -> bool {
    std::env::var_os("MINIMIX_SCENARIOS_DIRECT").is_some()
}

/// All that is wrong with what came of a scenario on a server.
fn complaint(scenario: &Scenario, kind: Kind, outcome: &Outcome) -> Option<String> {
    let title = format!("{} on {}", scenario.name, name(kind));
    match (outcome, scenario.differs(kind)) {
        (Outcome::Passes | Outcome::NotThere, Some(_)) if without_proxy() => None,
        (Outcome::Differs(parts), Some(_)) if without_proxy() => Some(format!("{title}: the views differ\n{parts}")),
        (Outcome::Differs(parts), None) => Some(format!("{title}: the views differ\n{parts}")),
        (Outcome::Passes | Outcome::NotThere, Some(why)) => {
            Some(format!("{title}: it is marked `differs: {why}`, and does not differ: take the mark away"))
        }
        (Outcome::Broken(why), _) => Some(format!("{title}: {why}")),
        (Outcome::Passes | Outcome::NotThere | Outcome::Differs(_), _) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_looks_the_same_through_the_proxy() {
    let mut scenarios = Scenario::all();
    let chosen = std::env::var("MINIMIX_SCENARIOS").ok();
    if let Some(chosen) = &chosen {
        scenarios.retain(|s| chosen.split(',').any(|c| c == s.name));
    }
    assert!(!scenarios.is_empty(), "no such scenario");
    let unknown = |s: &Scenario| s.except.iter().any(|e| !EXCEPTIONS.iter().any(|(known, _)| known == e));
    let unknown: Vec<&str> = scenarios.iter().filter(|s| unknown(s)).map(|s| s.name.as_str()).collect();
    assert!(unknown.is_empty(), "exceptions that nobody knows in {unknown:?}");

    let stages = KINDS.map(|kind| Stage::new(kind, &scenarios));
    let mut running = JoinSet::new();
    for stage in &stages {
        let limit = Arc::new(Semaphore::new(AT_ONCE));
        for scenario in scenarios.clone() {
            let (limit, kind) = (Arc::clone(&limit), stage.kind);
            let (direct, proxied) = (stage.place(Way::Direct), stage.place(Way::Proxied));
            running.spawn(async move {
                let _place = limit.acquire().await.expect("it is never closed");
                let (outcome, unneeded) = outcome(&scenario, kind, &direct, &proxied).await;
                (scenario, kind, outcome, unneeded)
            });
        }
    }
    let mut outcomes = Outcomes::new();
    let mut complaints = Vec::new();
    let mut unneeded: std::collections::BTreeMap<(String, String), usize> = Default::default();
    while let Some(done) = running.join_next().await {
        let (scenario, kind, outcome, unneeded_here) = done.expect("no scenario panics");
        complaints.extend(complaint(&scenario, kind, &outcome));
        for exception in unneeded_here {
            *unneeded.entry((scenario.name.clone(), exception)).or_default() += 1;
        }
        if std::env::var_os("MINIMIX_SCENARIOS_SHOW").is_some()
            && let Outcome::Differs(parts) = &outcome
        {
            println!("{} on {}\n{parts}", scenario.name, name(kind));
        }
        outcomes.insert((scenario.name, name(kind)), outcome);
    }
    for ((scenario, exception), count) in unneeded {
        if count == KINDS.len() && !without_proxy() {
            complaints.push(format!("{scenario}: the exception {exception} is not needed: take it out"));
        }
    }

    drop(stages); // their logs say nothing about what differs
    let now = table::table(&scenarios, &outcomes);
    println!("\n{now}\n{}\n", table::summary(&scenarios, &outcomes));
    let documentation = std::fs::read_to_string(support::source("docs/transparency.md")).expect("the documentation");
    let untold = |name: &&str| !documentation.contains(&format!("\n| `{name}` | "));
    let untold: Vec<&str> = EXCEPTIONS.iter().map(|(name, _)| *name).filter(untold).collect();
    assert!(untold.is_empty(), "docs/transparency.md does not tell of the exceptions {untold:?}");
    if chosen.is_none() && !without_proxy() && complaints.is_empty() && table::documented(&documentation) != now {
        complaints.push("docs/transparency.md has another table: put the one above in its place".to_owned());
    }
    complaints.sort();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n\n"));
}
