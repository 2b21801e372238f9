//! Takes out of a stanza what differs between any two conversations with a server, and what a named exception excuses.
//!
//! Names of accounts and rooms lose what tells the conversations apart; ids that servers make and stamps are blanked
//! or numbered in the order in which they come; where a server lists things in any order, they are sorted. All else
//! stays. Each named exception is a row in `docs/transparency.md`, and a scenario names those that it needs.

use std::collections::HashMap;

use super::play::Conversation;
use super::script::Scenario;
use super::xml::{Element, Node};
use super::{Way, macros};
use crate::support::server::Kind;

/// Whose stanza it is, and in which conversation.
pub struct Context<'a> {
    pub scenario: &'a Scenario,
    pub kind: Kind,
    pub way: Way,
    /// The client that got it.
    pub client: &'a str,
    pub told: &'a Conversation,
    /// The exceptions that apply.
    pub except: &'a [String],
}

/// Changes a stanza; `false`: it is not compared at all.
type Rule = fn(&mut Element, &Context<'_>) -> bool;

/// The named exceptions.
pub const EXCEPTIONS: &[(&str, Rule)] = &[
    ("account-resource", account_resource),
    ("occupant-order", |_, _| true), // see `sorts_occupants`
    ("bare-leave", bare_leave),
    (CLIENT_ERROR, |_, _| true), // see `play`: it changes what is sent, not what is seen
    ("delay-place", delay_place),
    ("leave-id", leave_id),
    ("missing-id", missing_id),
    ("ping-language", ping_language),
];

/// With the server itself, a client does not send its errors into rooms.
pub const CLIENT_ERROR: &str = "client-error";

const DELAY: &str = "urn:xmpp:delay";
const LEGACY_DELAY: &str = "jabber:x:delay";

fn namespace(short: &str) -> &'static str {
    macros::NAMESPACES.iter().find(|(s, _)| *s == short).map_or("", |(_, space)| space)
}

/// A stanza as it is compared, or `None` if it is not.
pub fn normalise(context: &Context<'_>, stanza: &Element) -> Option<Element> {
    let mut stanza = stanza.clone();
    let suffix = format!("{}@", context.way.suffix(&context.scenario.name));
    let clean = |value: &str| {
        let kept = context.told.kept.iter().find(|(kept, _)| kept == value && !kept.contains('@'));
        kept.map_or_else(|| value.replace(&suffix, "@"), |(_, name)| format!("{{{name}}}"))
    };
    stanza.each(&mut |element| {
        element.attributes.values_mut().for_each(|value| *value = clean(value));
        for node in &mut element.children {
            if let Node::Text(text) = node {
                *text = if is_time(text) { "*".to_owned() } else { clean(text) };
            }
        }
        let delay = element.name == "delay" && element.space == DELAY;
        if delay || (element.name == "x" && element.space == LEGACY_DELAY) {
            element.attributes.entry("stamp".to_owned()).and_modify(|stamp| *stamp = "*".to_owned());
        }
        let event = element.name == "item" && element.space == "http://jabber.org/protocol/pubsub#event";
        if let Some(id) = element.attributes.get_mut("id")
            && event
            && id.bytes().all(|b| b.is_ascii_digit())
        {
            *id = "*".to_owned();
        }
        if element.name == "unique" && element.space == "http://jabber.org/protocol/muc#unique" {
            element.children.clear();
        }
        lists(element);
    });
    if let Some(id) = stanza.attributes.get_mut("id")
        && !context.told.sent.contains(id)
    {
        *id = "*".to_owned();
    }
    if context.scenario.extras().any(|extra| stanza.attr("from") == extra) {
        return None;
    }
    let rules = EXCEPTIONS.iter().filter(|(name, _)| context.except.iter().any(|e| e == name));
    rules.into_iter().all(|(_, rule)| rule(&mut stanza, context)).then_some(stanza)
}

/// Lists without an order: features, affiliations and roles, and rooms, of which those of other conversations are left out.
fn lists(element: &mut Element) {
    let info = element.space == namespace("disco#info");
    let items = element.space == namespace("disco#items");
    let admin = element.space == namespace("muc#admin");
    if element.name != "query" || !(info || items || admin) {
        return;
    }
    element.remove(|e| {
        items && e.attr("jid").split('@').next().is_some_and(|room| room.contains('.')) && e.attr("jid").contains('@')
    });
    let (mut listed, other): (Vec<Node>, Vec<Node>) = std::mem::take(&mut element.children)
        .into_iter()
        .partition(|n| matches!(n, Node::Element(e) if matches!(e.name.as_str(), "feature" | "item")));
    listed.sort_by_key(|n| match n {
        Node::Element(element) => element.written(),
        Node::Text(text) => text.clone(),
    });
    element.children = listed.into_iter().chain(other).collect();
}

/// `2026-11-23T01:02:03Z` and the like.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().take(19).map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00"
}

/// Others see another resource in real JIDs: the account session's.
fn account_resource(stanza: &mut Element, context: &Context<'_>) -> bool {
    let own = context.client.split_once('/').map(|(account, resource)| format!("{account}@localhost/{resource}"));
    let own = own.unwrap_or_default();
    let blank = |text: &mut String| {
        for account in &context.scenario.accounts {
            let bare = format!("{account}@localhost/");
            let mut out = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once(&bare) {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                let resource = if own == format!("{bare}{}", &after[..end]) { &after[..end] } else { "*" };
                out = out + before + &bare + resource;
                rest = &after[end..];
            }
            *text = out + rest;
        }
    };
    stanza.each(&mut |element| {
        if element.space == "jabber:client" && element.name != "body" {
            return; // who sent a stanza is not excused
        }
        element.attributes.values_mut().for_each(blank);
        for node in &mut element.children {
            if let Node::Text(text) = node {
                blank(text);
            }
        }
    });
    true
}

/// Where `<delay/>` stands in a message of the history.
fn delay_place(stanza: &mut Element, _: &Context<'_>) -> bool {
    if stanza.name == "message" {
        let delay = |n: &Node| matches!(n, Node::Element(e) if e.name == "delay" && e.space == DELAY);
        let (delays, others): (Vec<Node>, Vec<Node>) =
            std::mem::take(&mut stanza.children).into_iter().partition(delay);
        stanza.children = others.into_iter().chain(delays).collect();
    }
    true
}

/// ejabberd's unavailable presence of the bare room at a leave.
fn bare_leave(stanza: &mut Element, _: &Context<'_>) -> bool {
    !(stanza.name == "presence" && stanza.attr("type") == "unavailable" && !stanza.attr("from").contains('/'))
}

/// The account's leave is a stanza of the proxy's own.
fn leave_id(stanza: &mut Element, _: &Context<'_>) -> bool {
    if stanza.name == "presence" && stanza.attr("type") == "unavailable" {
        stanza.attributes.remove("id");
    }
    true
}

/// A stanza without an id gets one on its way to the room.
fn missing_id(stanza: &mut Element, _: &Context<'_>) -> bool {
    if stanza.attr("id") == "*" {
        stanza.attributes.remove("id");
    }
    true
}

/// ejabberd repeats the language of a self-ping.
fn ping_language(stanza: &mut Element, _: &Context<'_>) -> bool {
    if stanza.name == "iq" && stanza.attr("type") == "result" && stanza.children.is_empty() {
        stanza.attributes.remove("xml:lang");
    }
    true
}

/// The streams in which a client's stanzas come: those of each room, and all others (`elsewhere`).
pub const ELSEWHERE: &str = "elsewhere";

/// A stanza of a view, and the step in which it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub step: usize,
    pub written: String,
}

/// What a client saw, as it is compared: by room, in order.
pub fn view(context: &Context<'_>) -> HashMap<String, Vec<Seen>> {
    let mut streams: HashMap<String, Vec<(usize, Element)>> = HashMap::new();
    let got = context.told.got.get(context.client).map_or(&[][..], |got| got);
    let from = context.told.from.get(context.client).copied().unwrap_or_default();
    for received in got.iter().skip(from) {
        let Some(stanza) = normalise(context, &received.stanza) else { continue };
        let bare = stanza.attr("from").split('/').next().unwrap_or_default();
        let stream = if bare.ends_with("@conference.localhost") { bare } else { ELSEWHERE };
        streams.entry(stream.to_owned()).or_default().push((received.step, stanza));
    }
    let finished = streams.into_iter().map(|(stream, mut stanzas)| {
        if context.kind == Kind::Prosody || context.except.iter().any(|e| e == "occupant-order") {
            sort_occupants(&mut stanzas, context);
        }
        number_ids(&mut stanzas);
        let seen = stanzas.into_iter().map(|(step, stanza)| Seen { step, written: stanza.written() });
        (stream, seen.collect())
    });
    finished.collect()
}

/// Whom a client sees at its join before itself, or when it gets a moderator, comes in any order from Prosody.
fn sort_occupants(stanzas: &mut [(usize, Element)], context: &Context<'_>) {
    let other = |step: usize, stanza: &Element| {
        (context.kind == Kind::Prosody || context.told.joins.contains(&(context.client.to_owned(), step)))
            && stanza.name == "presence"
            && stanza.attr("type").is_empty()
            && stanza.attr("from").contains('/')
            && !stanza.all().iter().any(|e| e.name == "status" && e.attr("code") == "110")
    };
    for run in stanzas.chunk_by_mut(|a, b| a.0 == b.0 && other(a.0, &a.1) && other(b.0, &b.1)) {
        run.sort_by(|a, b| a.1.attr("from").cmp(b.1.attr("from")));
    }
}

/// Ids that servers make: the first that comes is 1 wherever it comes again.
fn number_ids(stanzas: &mut [(usize, Element)]) {
    let mut known: HashMap<String, usize> = HashMap::new();
    for (_, stanza) in stanzas {
        stanza.each(&mut |element| {
            let made = matches!(
                (element.name.as_str(), element.space.as_str()),
                ("stanza-id", "urn:xmpp:sid:0")
                    | ("archived", "urn:xmpp:mam:tmp")
                    | ("occupant-id", "urn:xmpp:occupant-id:0")
                    | ("result", "urn:xmpp:mam:2")
            );
            let mut number = |value: &mut String| {
                if !value.starts_with('{') {
                    let next = known.len() + 1;
                    *value = format!("#{}", known.entry(value.clone()).or_insert(next));
                }
            };
            if made && let Some(id) = element.attributes.get_mut("id") {
                number(id);
            }
            if element.space == namespace("rsm") && matches!(element.name.as_str(), "first" | "last") {
                for node in &mut element.children {
                    if let Node::Text(text) = node {
                        number(text);
                    }
                }
            }
        });
    }
}
