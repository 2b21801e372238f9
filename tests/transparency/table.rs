//! The table of scenarios, as `docs/transparency.md` has it.

use std::collections::BTreeMap;

use super::name;
use super::script::Scenario;
use crate::support::server::{KINDS, Kind};

/// What came of a scenario on one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passes,
    Differs(String),
    /// The server itself lacks what it is about.
    NotThere,
    /// The scenario is wrong, or could not be carried out.
    Broken(String),
}

pub type Outcomes = BTreeMap<(String, &'static str), Outcome>;

const BEGIN: &str = "| scenario | XEP | Prosody | ejabberd | exceptions |\n|---|---|---|---|---|\n";

/// The table in Markdown.
pub fn table(scenarios: &[Scenario], outcomes: &Outcomes) -> String {
    let mut out = BEGIN.to_owned();
    for scenario in scenarios {
        let cell = |kind: Kind| match outcomes.get(&(scenario.name.clone(), name(kind))) {
            Some(Outcome::Passes) => "passes".to_owned(),
            Some(Outcome::NotThere) => "not there".to_owned(),
            Some(Outcome::Differs(_)) => match scenario.differs(kind) {
                Some(why) => format!("differs: {why}"),
                None => "DIFFERS".to_owned(),
            },
            Some(Outcome::Broken(_)) | None => "BROKEN".to_owned(),
        };
        let [prosody, ejabberd] = KINDS.map(cell);
        let Scenario { name, title, xep, .. } = scenario;
        let except = scenario.except.iter().map(|e| format!("`{e}`")).collect::<Vec<_>>().join(", ");
        out += &format!(
            "| [{title}](../tests/transparency/scenarios/{name}.txt) | {xep} | {prosody} | {ejabberd} | {except} |\n"
        );
    }
    out
}

/// How many there are of each outcome.
pub fn summary(scenarios: &[Scenario], outcomes: &Outcomes) -> String {
    let count = |kind: Kind, like: fn(&Outcome) -> bool| {
        outcomes.iter().filter(|((_, server), outcome)| *server == name(kind) && like(outcome)).count()
    };
    let mut out = format!("{} scenarios", scenarios.len());
    for kind in KINDS {
        out += &format!(
            "; {}: {} pass, {} differ, {} not there, {} broken",
            name(kind),
            count(kind, |o| *o == Outcome::Passes),
            count(kind, |o| matches!(o, Outcome::Differs(_))),
            count(kind, |o| *o == Outcome::NotThere),
            count(kind, |o| matches!(o, Outcome::Broken(_))),
        );
    }
    out
}

/// The table that the documentation has now.
pub fn documented(documentation: &str) -> &str {
    let Some(begin) = documentation.find(BEGIN) else { return "" };
    let table = &documentation[begin..];
    &table[..table.find("\n\n").map_or(table.len(), |end| end + 1)]
}
