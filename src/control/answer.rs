//! What an operator is told. As JSON (`--json`) its fields are stable: more may come, none goes or changes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::account::gauge::Standing;
use crate::muc::dismiss::Standing as InRoom;

/// The answer to a request. Fields that do not belong to the request are left out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was done.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `account list`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Vec<AccountLine>>,
    /// `session list`: the clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<ClientLine>>,
    /// `session list`: the account sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_sessions: Option<Vec<AccountSessionLine>>,
    /// `rooms list`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<RoomLine>>,
}

/// An account that is enrolled or denied.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccountLine {
    /// The account.
    pub account: String,
    /// Nothing is kept of it, now or later.
    pub denied: bool,
    /// What is kept: the mechanism that keys are for (`SCRAM-SHA-256`), or `password`. `null`: nothing.
    pub kept: Option<String>,
    /// At which server that was proved.
    pub upstream: Option<String>,
    /// When, in seconds since the Unix epoch.
    pub enrolled_at: Option<u64>,
    /// Whether that is the server its domain has now: if not, it is not used. `null`: its domain is not served.
    pub bound: Option<bool>,
}

/// A client session.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClientLine {
    /// Its number.
    pub id: u64,
    /// Its full JID.
    pub jid: String,
    /// The client's address and port.
    pub peer: String,
    /// `starttls` or `direct`: the listener it came by.
    pub tls: String,
    /// When it logged in, in seconds since the Unix epoch.
    pub since: u64,
    /// Whether its joins go by its account; if not, they pass through.
    pub attached: bool,
    /// How many rooms it has by its account.
    pub rooms: usize,
}

/// An account session.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccountSessionLine {
    /// Its full JID.
    pub jid: String,
    /// `down`, `connecting`, `up`, `waiting-for-login`, `killed` or `evicted`.
    pub state: Standing,
    /// How many rooms the account is in, or is about to join.
    pub rooms: usize,
    /// How many clients have asked it for a room.
    pub clients: usize,
}

/// A room of an account.
#[derive(Debug, Serialize, Deserialize)]
pub struct RoomLine {
    /// The account.
    pub account: String,
    /// The room.
    pub room: String,
    /// The account's nick there.
    pub nick: String,
    /// `joining`, `joined`, `leaving`, `lost` or `out`.
    pub state: InRoom,
    /// The full JIDs of the attached clients.
    pub clients: Vec<String>,
    /// How many occupants the room has, the account's among them.
    pub occupants: usize,
}

impl Answer {
    /// It was done.
    pub fn done(message: impl Into<String>) -> Self {
        Answer { ok: true, message: Some(message.into()), ..Answer::default() }
    }

    /// It was not.
    pub fn failed(error: impl fmt::Display) -> Self {
        Answer { ok: false, error: Some(error.to_string()), ..Answer::default() }
    }
}

/// The plain form: a line each, columns parted by tabs.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.error.as_ref().or(self.message.as_ref()) {
            writeln!(f, "{text}")?;
        }
        for line in self.accounts.iter().flatten() {
            writeln!(f, "{line}")?;
        }
        for line in self.account_sessions.iter().flatten() {
            let AccountSessionLine { jid, state, rooms, clients } = line;
            writeln!(f, "account\t{jid}\t{state}\trooms {rooms}\tclients {clients}")?;
        }
        for line in self.rooms.iter().flatten() {
            writeln!(f, "{line}")?;
        }
        for line in self.clients.iter().flatten() {
            let ClientLine { id, jid, peer, tls, since, attached, rooms } = line;
            let path = if *attached { format!("rooms {rooms}") } else { "passes through".to_owned() };
            writeln!(f, "client\t{id}\t{jid}\t{peer}\t{tls}\t{}\t{path}", stamp(*since))?;
        }
        Ok(())
    }
}

impl fmt::Display for AccountLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = &self.account;
        if self.denied {
            return write!(f, "{account}\tdenied");
        }
        let kept = match self.kept.as_deref() {
            Some("password") => "password".to_owned(),
            Some(mechanism) => format!("keys for {mechanism}"),
            None => "nothing".to_owned(),
        };
        let upstream = self.upstream.as_deref().unwrap_or_default();
        write!(f, "{account}\t{kept}\t{upstream}")?;
        match self.bound {
            Some(true) => Ok(()),
            Some(false) => write!(f, "\tnot used: bound to {upstream}; `minimix-proxy account rebind {account}`"),
            None => write!(f, "\tnot used: its domain is not served"),
        }
    }
}

impl fmt::Display for RoomLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RoomLine { account, room, nick, state, clients, occupants } = self;
        // A nick is what a room says it is: it must not move the terminal's cursor.
        let nick: String = nick.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        let resources = clients.iter().map(|jid| jid.split_once('/').map_or(jid.as_str(), |(_, resource)| resource));
        let clients = resources.collect::<Vec<_>>().join(", ");
        write!(f, "{account}\t{room}\t{nick}\t{state}\toccupants {occupants}\tclients {clients}")
    }
}

/// A time as RFC 3339 has it.
fn stamp(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
    at.and_then(|at| at.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_stable() {
        let answer = Answer {
            ok: true,
            accounts: Some(vec![
                AccountLine {
                    account: "a@x".into(),
                    denied: false,
                    kept: Some("SCRAM-SHA-1".into()),
                    upstream: Some("one:5222".into()),
                    enrolled_at: Some(7),
                    bound: Some(false),
                },
                AccountLine {
                    account: "b@x".into(),
                    denied: true,
                    kept: None,
                    upstream: None,
                    enrolled_at: None,
                    bound: Some(true),
                },
            ]),
            ..Answer::default()
        };
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"ok":true,"accounts":[{"account":"a@x","denied":false,"kept":"SCRAM-SHA-1","upstream":"one:5222","enrolled_at":7,"bound":false},{"account":"b@x","denied":true,"kept":null,"upstream":null,"enrolled_at":null,"bound":true}]}"#
        );
        assert_eq!(
            answer.to_string(),
            "a@x\tkeys for SCRAM-SHA-1\tone:5222\tnot used: bound to one:5222; `minimix-proxy account rebind a@x`\n\
             b@x\tdenied\n"
        );
        let sessions = Answer {
            ok: true,
            clients: Some(vec![ClientLine {
                id: 3,
                jid: "a@x/r".into(),
                peer: "192.0.2.1:9".into(),
                tls: "direct".into(),
                since: 0,
                attached: true,
                rooms: 2,
            }]),
            account_sessions: Some(vec![AccountSessionLine {
                jid: "a@x/s".into(),
                state: Standing::WaitingForLogin,
                rooms: 1,
                clients: 1,
            }]),
            ..Answer::default()
        };
        assert_eq!(
            serde_json::to_string(&sessions).unwrap(),
            r#"{"ok":true,"clients":[{"id":3,"jid":"a@x/r","peer":"192.0.2.1:9","tls":"direct","since":0,"attached":true,"rooms":2}],"account_sessions":[{"jid":"a@x/s","state":"waiting-for-login","rooms":1,"clients":1}]}"#
        );
        assert_eq!(
            sessions.to_string(),
            "account\ta@x/s\twaiting-for-login\trooms 1\tclients 1\n\
             client\t3\ta@x/r\t192.0.2.1:9\tdirect\t1970-01-01T00:00:00Z\trooms 2\n"
        );
        let rooms = Answer {
            ok: true,
            rooms: Some(vec![RoomLine {
                account: "a@x".into(),
                room: "r@s".into(),
                nick: "n\u{1b}[2J".into(),
                state: InRoom::Joined,
                clients: vec!["a@x/one".into(), "a@x/two".into()],
                occupants: 3,
            }]),
            ..Answer::default()
        };
        assert_eq!(
            serde_json::to_string(&rooms).unwrap(),
            r#"{"ok":true,"rooms":[{"account":"a@x","room":"r@s","nick":"n\u001b[2J","state":"joined","clients":["a@x/one","a@x/two"],"occupants":3}]}"#
        );
        assert_eq!(rooms.to_string(), "a@x\tr@s\tn\u{fffd}[2J\tjoined\toccupants 3\tclients one, two\n");
        assert_eq!(serde_json::to_string(&Answer::failed("why")).unwrap(), r#"{"ok":false,"error":"why"}"#);
    }
}
