//! A scenario: a text that reads as the conversation that it checks.
//!
//! ```text
//! title: Bob is kicked
//! xep: 0045 §8.2
//! except: account-resource
//!
//! alice/phone joins as Al
//! bob/desk joins as Bob
//! alice/phone kicks Bob, because be nice
//! bob/desk sees <status code='307'/>
//! ```
//!
//! The header has `title`, `xep`, `except` (named exceptions, see [`super::normal`]), `differs`, `differs on Prosody`,
//! `differs on ejabberd` (why it is known to differ), `compare` (the clients whose views must be equal; if not given,
//! all), `accounts` (those without a client). Then, one a line, with a line's beginning in white space going on with
//! the line before:
//!
//! | line | |
//! |---|---|
//! | `# …` | a remark |
//! | `alice/phone connects` | logs in and sends its presence. The first thing any client does brings this about |
//! | `alice/phone > <stanza/>` | sends it, or several at once |
//! | `alice/phone sees TEXT` | a check of the scenario itself: with the server itself, the line before brings this client a stanza in which TEXT is (as [`super::xml`] writes it) |
//! | `alice/phone needs TEXT` | the same; where it is not so, the server lacks what the scenario is about |
//! | `alice/phone keeps NAME: ELEMENT@ATTRIBUTE` | `{NAME}` is what the last such element that it got has there |
//! | `alice/phone keeps NAME: field@VAR` | `{NAME}` is the value of that field of the last form that has it |
//! | `alice/phone keeps NAME: now` | `{NAME}` is the time |
//! | `alice/phone answers <payload/>` | the last IQ request that it got, by a result; `refuses CONDITION`: by an error |
//! | `alice/phone disconnects`, `… is cut off` | closes its stream; drops its connection |
//! | `alice/phone is compared from here` | what it got before is not compared |
//! | `alice/phone waits 1200 ms` | |
//! | anything else | is in [`super::macros`] |
//!
//! `direct:` or `proxied:` before a line: it belongs to one of the two conversations only. In stanzas `{alice}` is a bare
//! JID, `{alice/phone}` a full one, `{room}` and `{room2}` are rooms, `{service}` is theirs, `{server}` the server,
//! `{muc#user}`, `{disco#info}` and their like namespaces.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::macros;
use super::{Way, name};
use crate::support::server::{KINDS, Kind};

/// A scenario, read.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// Its file's.
    pub name: String,
    pub title: String,
    pub xep: String,
    pub except: Vec<String>,
    /// Why it differs, by server.
    differs: BTreeMap<String, String>,
    /// The clients that are compared; none: all.
    pub compare: BTreeSet<String>,
    pub accounts: BTreeSet<String>,
    pub lines: Vec<Line>,
}

/// One thing that one client does.
#[derive(Debug, Clone)]
pub struct Line {
    pub number: usize,
    /// Part of this conversation only.
    pub only: Option<Way>,
    /// `alice/phone`.
    pub client: String,
    pub act: Act,
    /// As it is written.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Connect,
    /// `joins`: it enters a room by this.
    Send {
        stanza: String,
        joins: bool,
    },
    Sees(String),
    Needs(String),
    Keep {
        name: String,
        what: Option<(String, String)>,
    },
    Answer(String),
    Refuse(String),
    Close,
    Cut,
    Wait(u64),
    CompareFromHere,
}

impl Scenario {
    /// All scenarios, by name.
    ///
    /// # Panics
    /// With file and line, if one makes no sense.
    pub fn all() -> Vec<Scenario> {
        let dir = crate::support::source("tests/transparency/scenarios");
        let files = std::fs::read_dir(&dir).expect("the scenarios").map(|f| f.expect("a file").path());
        let mut all: Vec<Scenario> = files.map(|f| Scenario::read(&f)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    fn read(file: &Path) -> Scenario {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        Scenario::parse(&name, &text).unwrap_or_else(|(line, why)| panic!("{}:{line}: {why}", file.display()))
    }

    pub fn parse(name: &str, text: &str) -> Result<Scenario, (usize, String)> {
        let mut scenario = Scenario { name: name.to_owned(), ..Scenario::default() };
        let mut lines: Vec<(usize, String)> = Vec::new();
        let mut header = true;
        for (at, line) in text.lines().enumerate() {
            let number = at + 1;
            match line {
                line if line.trim().is_empty() => header = false,
                line if line.starts_with('#') => {}
                line if header => scenario.header(line).map_err(|why| (number, why))?,
                line if line.starts_with(char::is_whitespace) => {
                    let last = lines.last_mut().ok_or((number, "goes on with nothing".to_owned()))?;
                    last.1 += line.trim();
                }
                line => lines.push((number, line.trim_end().to_owned())),
            }
        }
        let mut nicks = macros::Nicks::default();
        for (number, text) in lines {
            let line = line(number, &text, &mut nicks).map_err(|why| (number, why))?;
            let account = line.client.split('/').next().unwrap_or_default();
            scenario.accounts.insert(account.to_owned());
            scenario.lines.push(line);
        }
        match scenario.title.is_empty() || scenario.xep.is_empty() || scenario.lines.is_empty() {
            true => Err((1, "a scenario has a title, an xep and lines".to_owned())),
            false => Ok(scenario),
        }
    }

    fn header(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once(':').ok_or("a header's line is `key: value`")?;
        let value = value.trim().to_owned();
        let words = || value.split(',').map(|w| w.trim().to_owned());
        match key {
            "title" => self.title = value,
            "xep" => self.xep = value,
            "except" => self.except = words().collect(),
            "compare" => self.compare = words().collect(),
            "accounts" => self.accounts.extend(words()),
            "differs" => self.differs.extend(KINDS.map(|k| (name(k).to_owned(), value.clone()))),
            _ => {
                let server = key.strip_prefix("differs on ").filter(|s| KINDS.iter().any(|k| name(*k) == *s));
                self.differs.insert(server.ok_or(format!("no such key: {key}"))?.to_owned(), value);
            }
        }
        Ok(())
    }

    /// Why it is known to differ there.
    pub fn differs(&self, kind: Kind) -> Option<&str> {
        self.differs.get(name(kind)).map(String::as_str)
    }

    /// The full JIDs of clients that take part in one of the conversations only.
    pub fn extras(&self) -> impl Iterator<Item = String> {
        let always = |client: &str| self.lines.iter().any(|l| l.client == client && l.only.is_none());
        let extras = self.lines.iter().filter(move |l| !always(&l.client));
        extras
            .filter_map(|l| l.client.split_once('/'))
            .map(|(account, resource)| format!("{account}@localhost/{resource}"))
    }

    /// The names of the accounts of both conversations.
    pub fn users(&self) -> Vec<String> {
        let user = |way: Way| self.accounts.iter().map(move |a| format!("{a}{}", way.suffix(&self.name)));
        user(Way::Direct).chain(user(Way::Proxied)).collect()
    }
}

fn line(number: usize, text: &str, nicks: &mut macros::Nicks) -> Result<Line, String> {
    let (only, rest) = match text.split_once(": ") {
        Some(("direct", rest)) => (Some(Way::Direct), rest),
        Some(("proxied", rest)) => (Some(Way::Proxied), rest),
        _ => (None, text),
    };
    let (client, what) = rest.split_once(' ').ok_or("a line is `account/resource does something`")?;
    let (account, resource) = client.split_once('/').ok_or(format!("not account/resource: {client}"))?;
    if account.is_empty() || resource.is_empty() {
        return Err(format!("not account/resource: {client}"));
    }
    let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
    let act = match (verb, rest) {
        ("connects", "") => Act::Connect,
        ("disconnects", "") => Act::Close,
        ("is", "cut off") => Act::Cut,
        ("is", "compared from here") => Act::CompareFromHere,
        (">", stanza) => Act::Send { stanza: stanza.to_owned(), joins: false },
        ("sees", what) => Act::Sees(what.to_owned()),
        ("needs", what) => Act::Needs(what.to_owned()),
        ("answers", payload) => Act::Answer(payload.to_owned()),
        ("refuses", condition) => Act::Refuse(condition.to_owned()),
        ("keeps", what) => keep(what)?,
        ("waits", time) => {
            let time = time.strip_suffix(" ms").and_then(|t| t.parse().ok());
            Act::Wait(time.ok_or("it waits for a number of ms")?)
        }
        _ => macros::act(number, client, verb.trim_end_matches(','), rest, nicks)?,
    };
    Ok(Line { number, only, client: client.to_owned(), act, text: text.to_owned() })
}

fn keep(what: &str) -> Result<Act, String> {
    let (name, what) = what.split_once(": ").ok_or("it keeps NAME: ELEMENT@ATTRIBUTE")?;
    let what = match what {
        "now" => None,
        what => {
            let (element, attribute) = what.split_once('@').ok_or("it keeps NAME: ELEMENT@ATTRIBUTE")?;
            Some((element.to_owned(), attribute.to_owned()))
        }
    };
    Ok(Act::Keep { name: name.to_owned(), what })
}
