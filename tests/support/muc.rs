//! What clients of [`super::driver`] do in rooms by their libraries' own means, and what those understood of what they
//! were shown. For clients that log in [`parsed`].

use super::driver::{Client, Event, Failure, Login};
use serde_json::{Value, json};

/// The same login; the client also tells what its library understood.
pub fn parsed(login: Login) -> Login {
    login.with("parsed", true)
}

/// What a library understood of one stanza: `what` it is, and its parts.
#[derive(Debug, Clone)]
pub struct Seen(Value);

impl Seen {
    /// `presence`, `groupchat`, `chat`, `sent copy`, `subject`, `invitation`, `direct invitation`, `declined`, `voice
    /// request`, `error` or `not understood`.
    pub fn what(&self) -> &str {
        self.text("what")
    }

    /// A part of it: `room`, `nick`, `id`, `type`, `body`, `role`, `affiliation`, `jid`, `new_nick`, `reason`, `actor`,
    /// `inviter`, `invited`, `asker`, `condition`.
    pub fn text(&self, part: &str) -> &str {
        self.0[part].as_str().unwrap_or_default()
    }

    /// The status codes of presence, ascending.
    pub fn codes(&self) -> Vec<u64> {
        self.0["codes"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    }

    /// Is it of this kind, with these parts?
    pub fn is(&self, what: &str, parts: &[(&str, &str)]) -> bool {
        self.what() == what && parts.iter().all(|(part, value)| self.text(part) == *value)
    }

    /// Is it presence of the client's own occupant, leaving or not, with this code?
    pub fn is_own(&self, nick: &str, leaves: bool, code: u64) -> bool {
        let leaving = self.text("type") == "unavailable";
        let codes = self.codes();
        self.is("presence", &[("nick", nick)]) && leaving == leaves && codes.contains(&110) && codes.contains(&code)
    }
}

fn seen(event: &Event) -> Option<Seen> {
    (event.kind == "parsed").then(|| Seen(event.json.clone()))
}

impl Client {
    /// What its library understood since a mark.
    pub fn seen_since(&self, mark: usize) -> Vec<Seen> {
        self.since(mark).iter().filter_map(seen).collect()
    }

    /// A round trip to the server: whatever it had sent before, the library has understood.
    pub async fn settle(&self) {
        self.must("settle", json!({})).await;
    }

    /// Waits for the first thing understood since a mark that fits.
    pub async fn sees(&self, mark: usize, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        let event = self.wait_since(mark, what, |e| seen(e).is_some_and(|s| fits(&s))).await;
        Seen(event.json)
    }

    /// As [`Client::sees`], and after a round trip to the server it has seen that once.
    pub async fn sees_once(&self, mark: usize, what: &str, fits: impl Fn(&Seen) -> bool) -> Seen {
        let first = self.sees(mark, what, &fits).await;
        self.settle().await;
        let all: Vec<Seen> = self.seen_since(mark).into_iter().filter(|s| fits(s)).collect();
        assert_eq!(all.len(), 1, "{} saw {what} more than once: {all:#?}", self.name);
        first
    }

    /// After a round trip to the server, nothing since the mark fits.
    pub async fn sees_no(&self, mark: usize, what: &str, fits: impl Fn(&Seen) -> bool) {
        self.settle().await;
        let all: Vec<Seen> = self.seen_since(mark).into_iter().filter(|s| fits(s)).collect();
        assert!(all.is_empty(), "{} saw {what}: {all:#?}", self.name);
    }

    /// Sends a private message, marked as one (XEP-0045 §7.5).
    pub async fn whisper(&self, room: &str, nick: &str, id: &str, body: &str) {
        self.must("whisper", json!({ "room": room, "nick": nick, "id": id, "body": body })).await;
    }

    /// Has its server copy messages of its siblings to it (XEP-0280).
    pub async fn enable_carbons(&self) {
        self.must("copies", json!({})).await;
    }

    /// Changes an occupant's role (XEP-0045 §8).
    pub async fn set_role(&self, room: &str, nick: &str, role: &str, reason: &str) -> Result<(), Failure> {
        let arguments = json!({ "room": room, "nick": nick, "role": role, "reason": reason });
        self.run("role", arguments).await.map(|_| ())
    }

    /// Changes a person's affiliation (XEP-0045 §9).
    pub async fn set_affiliation(&self, room: &str, jid: &str, to: &str, reason: &str) -> Result<(), Failure> {
        let arguments = json!({ "room": room, "jid": jid, "affiliation": to, "reason": reason });
        self.run("affiliation", arguments).await.map(|_| ())
    }

    /// Invites by the room (XEP-0045 §7.8.2).
    pub async fn invite(&self, room: &str, jid: &str, reason: &str) {
        self.must("invite", json!({ "room": room, "jid": jid, "reason": reason })).await;
    }

    /// Invites past the room (XEP-0249).
    pub async fn invite_directly(&self, room: &str, jid: &str, reason: &str) {
        self.must("invite_directly", json!({ "room": room, "jid": jid, "reason": reason })).await;
    }

    /// Declines an invitation of `jid`'s.
    pub async fn decline(&self, room: &str, jid: &str, reason: &str) {
        self.must("decline", json!({ "room": room, "jid": jid, "reason": reason })).await;
    }

    /// Asks the moderators for a voice (XEP-0045 §7.13).
    pub async fn ask_for_voice(&self, room: &str) {
        self.must("ask_for_voice", json!({ "room": room })).await;
    }

    /// Gives a voice to who asked last (XEP-0045 §8.6).
    pub async fn grant_voice(&self, room: &str) {
        self.must("grant_voice", json!({ "room": room })).await;
    }

    /// Whether it takes itself to be in the room (XEP-0410).
    pub async fn finds_itself_in(&self, room: &str, nick: &str) -> bool {
        let answer = self.must("self_ping", json!({ "room": room, "nick": nick })).await;
        answer["status"] == "JOINED"
    }

    /// The bodies in the room's archive (XEP-0313), page by page.
    pub async fn archive(&self, room: &str, max: usize) -> Vec<Vec<String>> {
        let answer = self.must("archive", json!({ "room": room, "max": max })).await;
        let text = |body: &Value| body.as_str().unwrap_or_default().to_owned();
        let page = |page: &Value| page.as_array().into_iter().flatten().map(text).collect();
        answer["pages"].as_array().into_iter().flatten().map(page).collect()
    }
}
