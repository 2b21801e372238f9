//! Says where two conversations part.

use std::collections::BTreeSet;

use super::Way;
use super::normal::{Context, Seen, view};
use super::play::Conversation;
use super::script::Scenario;
use crate::support::server::Kind;

/// Whether what this client sees is compared.
pub fn compared(scenario: &Scenario, client: &str) -> bool {
    scenario.compare.is_empty() || scenario.compare.contains(client)
}

/// What differs, for people to read; empty if nothing does. `except`: the exceptions that are granted.
pub fn differences(scenario: &Scenario, kind: Kind, except: &[String], two: &[(Way, Conversation); 2]) -> String {
    let mut out = String::new();
    let clients: BTreeSet<&String> = two.iter().flat_map(|(_, told)| told.got.keys()).collect();
    for client in clients.into_iter().filter(|c| compared(scenario, c)) {
        let [direct, proxied] =
            two.each_ref().map(|(way, told)| view(&Context { scenario, kind, way: *way, client, told, except }));
        let streams: BTreeSet<&String> = direct.keys().chain(proxied.keys()).collect();
        for stream in streams {
            let side =
                |view: &std::collections::HashMap<String, Vec<Seen>>| view.get(stream).cloned().unwrap_or_default();
            let (direct, proxied) = (side(&direct), side(&proxied));
            if direct.iter().map(|s| &s.written).ne(proxied.iter().map(|s| &s.written)) {
                out += &format!("  {client} sees from {stream} (- directly, + through the proxy):\n");
                out += &diff(scenario, &direct, &proxied);
            }
        }
    }
    out
}

/// The lines of a diff, with one equal stanza before each difference.
fn diff(scenario: &Scenario, direct: &[Seen], proxied: &[Seen]) -> String {
    let common = common(direct, proxied);
    let (mut out, mut d, mut p) = (String::new(), 0, 0);
    let mut before: Option<&Seen> = None;
    for (to_d, to_p) in common.into_iter().chain([(direct.len(), proxied.len())]) {
        if d < to_d || p < to_p {
            let first = direct.get(d).or(proxied.get(p)).map_or(0, |s| s.step);
            let line = &scenario.lines[first];
            out += &format!("    at line {}: {}\n", line.number, line.text);
            out += &before.map(|s| format!("      {}\n", start(&s.written))).unwrap_or_default();
        }
        direct[d..to_d].iter().for_each(|s| out += &format!("    - {}\n", s.written));
        proxied[p..to_p].iter().for_each(|s| out += &format!("    + {}\n", s.written));
        before = direct.get(to_d);
        (d, p) = (to_d + 1, to_p + 1);
    }
    out
}

/// As much of a stanza as tells which one it is.
fn start(written: &str) -> String {
    match written.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &written[..end]),
        None => written.to_owned(),
    }
}

/// The longest common part of two views, as pairs of indices.
fn common(a: &[Seen], b: &[Seen]) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = match a[i].written == b[j].written {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i].written == b[j].written {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if longest[i + 1][j] >= longest[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}
