//! Holds a conversation and writes down what each client gets.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::Way;
use super::client::{Client, Place, Received};
use super::macros::NAMESPACES;
use super::normal::{CLIENT_ERROR, Context, normalise};
use super::script::{Act, Line, Scenario};
use super::xml;
use crate::support::server::Kind;

/// The server has said all it had to say when nobody has got anything for that long after it answered pings.
const QUIET: Duration = Duration::from_millis(150);
/// How long a stanza that came directly may take through the proxy.
const LATE: Duration = Duration::from_secs(5);
/// The same once one is missing: then it is known that the views differ.
const LATE_AGAIN: Duration = Duration::from_millis(300);
/// What comes through the proxy and did not come directly has this long at the end.
const EXTRA: Duration = Duration::from_millis(400);

/// What came of a conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    /// What each client got, in order.
    pub got: BTreeMap<String, Vec<Received>>,
    /// From which stanza on a client is compared.
    pub from: HashMap<String, usize>,
    /// Who tried to enter a room, and in which step.
    pub joins: HashSet<(String, usize)>,
    /// The ids of all stanzas that clients sent.
    pub sent: HashSet<String>,
    /// What `keeps` kept: value, name.
    pub kept: Vec<(String, String)>,
    /// A client's errors into rooms were not sent, as the proxy does not pass them on.
    pub withheld: bool,
    /// This text did not come: the server lacks what the scenario is about.
    pub lacking: Option<String>,
}

/// How many stanzas each client had got after each step: what to wait for.
pub type Counts = BTreeMap<(String, usize), usize>;

struct Player<'a> {
    scenario: &'a Scenario,
    place: &'a Place,
    kind: Kind,
    way: Way,
    /// In the proxied conversation: what came directly.
    wanted: Option<&'a Counts>,
    clients: BTreeMap<String, Client>,
    /// Something is missing already.
    missing: bool,
    told: Conversation,
}

/// Holds the conversation; `Err` says what in the scenario, or on the way to the server, is wrong.
pub async fn play(
    scenario: &Scenario,
    place: &Place,
    kind: Kind,
    way: Way,
    wanted: Option<&Counts>,
) -> Result<Conversation, String> {
    let (clients, told) = (BTreeMap::new(), Conversation::default());
    let mut player = Player { scenario, place, kind, way, wanted, clients, missing: false, told };
    let mut acted = 0;
    let here = if place.proxied { Way::Proxied } else { Way::Direct };
    for (step, line) in scenario.lines.iter().enumerate() {
        if line.only.is_some_and(|only| only != here) {
            continue;
        }
        let at = |why: String| format!("line {}: {}: {why}", line.number, line.text);
        match &line.act {
            Act::Sees(text) | Act::Needs(text) if way == Way::Direct => {
                if !player.sees(&line.client, acted, text) {
                    if matches!(line.act, Act::Needs(_)) {
                        player.told.lacking = Some(text.clone());
                        break;
                    }
                    let seen = player.seen(&line.client, acted).join("\n    ");
                    return Err(at(format!("it sees\n    {seen}")));
                }
            }
            Act::Sees(_) | Act::Needs(_) => {}
            _ => {
                acted = step;
                player.step(step, line).await.map_err(at)?;
            }
        }
    }
    if way == Way::Proxied {
        tokio::time::sleep(EXTRA).await;
        player.barrier().await?;
    }
    Ok(player.finish())
}

impl Player<'_> {
    async fn step(&mut self, step: usize, line: &Line) -> Result<(), String> {
        if !self.clients.contains_key(&line.client) {
            self.connect(&line.client, step).await?;
        }
        self.clients.values().for_each(|c| c.begin(step));
        let name = line.client.as_str();
        match &line.act {
            Act::Connect if !self.clients[name].connected() => self.connect(name, step).await?,
            Act::Connect => return Ok(()),
            Act::Send { stanza, joins } => {
                self.send(name, stanza).await?;
                if *joins {
                    self.told.joins.insert((name.to_owned(), step));
                    self.joined(name, step).await;
                }
            }
            Act::Answer(payload) => {
                let (id, from) = self.request(name)?;
                self.send(name, &format!("<iq type='result' id='{id}' to='{from}'>{payload}</iq>")).await?;
            }
            Act::Refuse(condition) => {
                let (id, from) = self.request(name)?;
                let error = format!("<error type='cancel'><{condition} xmlns='{{stanzas}}'/></error>");
                self.send(name, &format!("<iq type='error' id='{id}' to='{from}'>{error}</iq>")).await?;
            }
            Act::Close => self.client(name)?.close().await?,
            Act::Cut => self.client(name)?.cut(),
            Act::Wait(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Act::Keep { name: kept, what } => {
                let value = self.look_up(name, what.as_ref())?;
                self.told.kept.push((value, kept.clone()));
                return Ok(());
            }
            Act::CompareFromHere => {
                let got = self.clients[name].got().len();
                self.told.from.insert(name.to_owned(), got);
                return Ok(());
            }
            Act::Sees(_) | Act::Needs(_) => {}
        }
        self.settle(step).await
    }

    /// Waits until a room has answered a join. That is not compared in itself, but what others do next may hang on it.
    async fn joined(&self, name: &str, step: usize) {
        let code = |e: &&xml::Element| e.name == "status" && e.attr("code") == "110";
        let answer = |r: &Received| {
            let presence = r.step == step && r.stanza.name == "presence";
            presence && (r.stanza.attr("type") == "error" || r.stanza.all().iter().any(code))
        };
        if let Some(client) = self.clients.get(name) {
            client.until(LATE, |got| got.iter().any(answer)).await;
        }
    }

    async fn connect(&mut self, name: &str, step: usize) -> Result<(), String> {
        let (account, resource) = name.split_once('/').unwrap_or((name, ""));
        let user = format!("{account}{}", self.way.suffix(&self.scenario.name));
        let mut client =
            Client::connect(self.place, &user, resource).await.map_err(|e| format!("{name} cannot log in: {e}"))?;
        client.begin(step);
        client.send("<presence/>").await?;
        if let Some(before) = self.clients.remove(name) {
            let before = std::mem::take(&mut *before.got());
            client.got().splice(0..0, before);
        }
        self.clients.insert(name.to_owned(), client);
        self.settle(step).await
    }

    fn client(&mut self, name: &str) -> Result<&mut Client, String> {
        self.clients.get_mut(name).ok_or(format!("{name} is not there"))
    }

    async fn send(&mut self, name: &str, template: &str) -> Result<(), String> {
        let stanza = self.fill(template)?;
        for element in xml::parse(&stanza).map_err(|e| format!("{e}: {stanza}"))? {
            if !matches!(element.attr("type"), "result" | "error") {
                self.told.sent.insert(element.attr("id").to_owned());
            }
        }
        let into_a_room = stanza.contains("@conference.localhost") && !stanza.starts_with("<iq");
        let error = xml::parse(&stanza).is_ok_and(|all| all.iter().any(|e| e.attr("type") == "error"));
        if into_a_room && error && !self.place.proxied && self.scenario.except.iter().any(|e| e == CLIENT_ERROR) {
            self.told.withheld = true;
            return Ok(());
        }
        self.client(name)?.send(&stanza).await
    }

    /// Puts what they stand for in the place of names in braces.
    fn fill(&self, template: &str) -> Result<String, String> {
        let suffix = self.way.suffix(&self.scenario.name);
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("an open brace")?;
            out += before;
            rest = after;
            let account = name.split('/').next().unwrap_or_default();
            out += &match name {
                "server" => "localhost".to_owned(),
                "service" => "conference.localhost".to_owned(),
                _ if name.starts_with("room") && !name.contains('/') => format!("{name}{suffix}@conference.localhost"),
                _ if self.scenario.accounts.contains(account) => {
                    format!("{account}{suffix}@localhost{}", &name[account.len()..])
                }
                _ => {
                    let space =
                        NAMESPACES.iter().find(|(short, _)| *short == name).map(|(_, space)| (*space).to_owned());
                    let kept = || self.told.kept.iter().rev().find(|(_, n)| n == name).map(|(value, _)| value.clone());
                    space.or_else(kept).ok_or(format!("{{{name}}} means nothing"))?
                }
            };
        }
        Ok(out + rest)
    }

    /// The id and the sender of the last IQ request that a client got.
    fn request(&self, name: &str) -> Result<(String, String), String> {
        let client = self.clients.get(name).ok_or("it is not there")?;
        let got = client.got();
        let request = |r: &&Received| r.stanza.name == "iq" && matches!(r.stanza.attr("type"), "get" | "set");
        match got.iter().rev().find(request) {
            Some(Received { stanza, .. }) => Ok((stanza.attr("id").to_owned(), stanza.attr("from").to_owned())),
            // Through the proxy that is a difference, and will show as one.
            None if self.way == Way::Proxied => Ok(("nothing".to_owned(), "localhost".to_owned())),
            None => Err("it was asked nothing".to_owned()),
        }
    }

    fn look_up(&self, name: &str, what: Option<&(String, String)>) -> Result<String, String> {
        let Some((element, attribute)) = what else {
            let now = time::OffsetDateTime::now_utc().replace_nanosecond(0).map_err(|e| e.to_string())?;
            return now.format(&time::format_description::well_known::Rfc3339).map_err(|e| e.to_string());
        };
        let client = self.clients.get(name).ok_or("it is not there")?;
        let found = client.got().iter().rev().find_map(|r| {
            let mut all = r.stanza.all().into_iter();
            if element == "field" {
                let field = all.find(|e| e.name == "field" && e.attr("var") == attribute)?;
                return Some(field.elements().next()?.text());
            }
            let element = all.find(|e| e.name == *element && e.attributes.contains_key(attribute))?;
            Some(element.attr(attribute).to_owned())
        });
        match found {
            Some(value) => Ok(value),
            None if self.way == Way::Proxied => Ok("nothing".to_owned()),
            None => Err("it has got none".to_owned()),
        }
    }

    /// Waits until all that a step brings about has come.
    async fn settle(&mut self, step: usize) -> Result<(), String> {
        if let Some(wanted) = self.wanted {
            for (name, client) in &self.clients {
                let Some(count) = wanted.get(&(name.clone(), step)) else { continue };
                let context = self.context(name);
                let enough = |got: &[Received]| {
                    got.iter().filter(|r| normalise(&context, &r.stanza).is_some()).count() >= *count
                };
                let patience = if self.missing { LATE_AGAIN } else { LATE };
                if !client.until(patience, enough).await {
                    self.missing = true;
                }
            }
            if self.scenario.compare.is_empty() {
                return self.barrier().await;
            }
        }
        // Who is not compared may see more or less than directly: then there is no number to wait for.
        let quiet = if self.wanted.is_some() { QUIET * 2 } else { QUIET };
        let total = |clients: &BTreeMap<String, Client>| clients.values().map(|c| c.got().len()).sum::<usize>();
        loop {
            self.barrier().await?;
            let before = total(&self.clients);
            tokio::time::sleep(quiet).await;
            if total(&self.clients) == before {
                return Ok(());
            }
        }
    }

    async fn barrier(&mut self) -> Result<(), String> {
        for client in self.clients.values_mut().filter(|c| c.connected()) {
            client.ping().await?;
        }
        for client in self.clients.values().filter(|c| c.connected()) {
            client.pong().await?;
        }
        Ok(())
    }

    fn context<'c>(&'c self, client: &'c str) -> Context<'c> {
        let Player { scenario, kind, way, told, .. } = self;
        Context { scenario, kind: *kind, way: *way, client, told, except: &scenario.except }
    }

    /// What a client got in a step, written.
    fn seen(&self, name: &str, step: usize) -> Vec<String> {
        let Some(client) = self.clients.get(name) else { return Vec::new() };
        let context = Context { except: &[], ..self.context(name) };
        let got = client.got();
        let new = got.iter().filter(|r| r.step == step);
        new.filter_map(|r| normalise(&context, &r.stanza)).map(|s| s.written()).collect()
    }

    fn sees(&self, name: &str, step: usize, text: &str) -> bool {
        self.seen(name, step).iter().any(|stanza| stanza.contains(text))
    }

    fn finish(mut self) -> Conversation {
        for (name, client) in &self.clients {
            self.told.got.insert(name.clone(), client.got().clone());
        }
        self.told
    }
}

/// How many stanzas that are compared each client had after each step.
pub fn counts(scenario: &Scenario, kind: Kind, told: &Conversation) -> Counts {
    let mut counts = Counts::new();
    for (name, got) in &told.got {
        if !super::compare::compared(scenario, name) {
            continue;
        }
        let context = Context { scenario, kind, way: Way::Direct, client: name, told, except: &scenario.except };
        for step in 0..scenario.lines.len() {
            let so_far = got.iter().filter(|r| r.step <= step && normalise(&context, &r.stanza).is_some()).count();
            counts.insert((name.clone(), step), so_far);
        }
    }
    counts
}
