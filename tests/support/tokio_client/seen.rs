//! What a tokio-xmpp client is shown in rooms, as the types of xmpp-parsers understand it: the answers that commands
//! wait for, and `parsed` events (see [`crate::support::muc`]).

use super::{accept, make, refuse};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use tokio_xmpp::Stanza;
use tokio_xmpp::jid::Jid;
use tokio_xmpp::minidom::Element;
use tokio_xmpp::parsers::data_forms::DataForm;
use tokio_xmpp::parsers::iq::Iq;
use tokio_xmpp::parsers::message::{Message, MessageType};
use tokio_xmpp::parsers::muc::MucUser;
use tokio_xmpp::parsers::presence::{Presence, Type};
use tokio_xmpp::parsers::stanza_error::StanzaError;
use tokio_xmpp::parsers::{carbons, mam, ns};

/// What a client knows of its rooms, and the commands that wait for something.
#[derive(Default)]
pub struct Rooms {
    joins: HashMap<String, Value>,
    nicks: HashMap<String, Value>,
    /// By the id of the IQ, or the message.
    asked: HashMap<String, Value>,
    /// By the id of the query.
    pages: HashMap<String, Vec<Vec<String>>>,
    occupants: HashMap<String, BTreeMap<String, Value>>,
    voice_request: Option<(Jid, DataForm)>,
}

impl Rooms {
    /// Remembers what waits for an answer; `false` if the command is done when its stanza is sent.
    pub fn waits(&mut self, command: &Value) -> bool {
        let room = command["room"].as_str().unwrap_or_default().to_owned();
        match command["do"].as_str() {
            Some("join") => {
                self.occupants.remove(&room);
                self.joins.insert(room, command.clone());
            }
            Some("nick") => drop(self.nicks.insert(room, command.clone())),
            Some("settle" | "copies" | "role" | "affiliation" | "self_ping" | "archive") => {
                self.pages.insert(make::id(command), vec![Vec::new()]);
                self.asked.insert(make::id(command), command.clone());
            }
            _ => return false,
        }
        true
    }

    /// Who is in a room.
    pub fn occupants(&self, room: &str) -> Vec<Value> {
        self.occupants.get(room).map(|all| all.values().cloned().collect()).unwrap_or_default()
    }

    /// The answer to the last voice request.
    pub fn grant(&self) -> Option<Stanza> {
        let (room, form) = self.voice_request.clone()?;
        Some(make::grant(room, form))
    }

    /// Takes a stanza: what it says, and what is to be sent next.
    pub fn take(&mut self, stanza: Stanza) -> (Option<Value>, Option<Stanza>) {
        match stanza {
            Stanza::Presence(presence) => (self.presence(&presence), None),
            Stanza::Message(message) => (self.message(message), None),
            Stanza::Iq(iq) => (None, self.answered(iq)),
        }
    }

    fn presence(&mut self, presence: &Presence) -> Option<Value> {
        let (room, nick) = parts(presence.from.as_ref());
        let mut event = told(presence.from.as_ref(), presence.id.as_deref());
        if presence.type_ == Type::Error {
            event["what"] = "error".into();
            event["condition"] = condition(&presence.payloads).into();
            let waiting = [self.joins.remove(&room), self.nicks.remove(&room)];
            waiting.iter().flatten().for_each(|command| refuse(command, &condition(&presence.payloads), ""));
            return Some(event);
        }
        let x = presence.payloads.iter().find(|payload| payload.is("x", ns::MUC_USER))?;
        event["what"] = "presence".into();
        event["type"] = if presence.type_ == Type::Unavailable { "unavailable" } else { "available" }.into();
        let user = match MucUser::try_from(x.clone()) {
            Ok(user) => user,
            Err(error) => return Some(not_understood(event, &error.to_string())),
        };
        let mut codes: Vec<u64> = user.status.into_iter().filter_map(code).collect();
        codes.sort_unstable();
        if let Some(item) = user.items.first() {
            event["role"] = format!("{:?}", item.role).to_lowercase().into();
            event["affiliation"] = format!("{:?}", item.affiliation).to_lowercase().into();
            event["jid"] = item.jid.as_ref().map(ToString::to_string).unwrap_or_default().into();
            event["new_nick"] = item.nick.clone().unwrap_or_default().into();
            event["reason"] = item.reason.as_ref().map(|reason| reason.0.clone()).unwrap_or_default().into();
            let actor = item.actor.clone().map(Element::from);
            event["actor"] = actor.as_ref().and_then(|actor| actor.attr("nick")).unwrap_or_default().into();
        }
        if presence.type_ == Type::Unavailable {
            self.occupants.entry(room.clone()).or_default().remove(&nick);
            if codes.contains(&110) && !codes.contains(&303) {
                self.occupants.remove(&room);
            }
        } else {
            self.occupants.entry(room.clone()).or_default().insert(nick.clone(), event.clone());
        }
        if codes.contains(&110)
            && codes.contains(&303)
            && let Some(command) = self.nicks.remove(&room)
        {
            accept(&command, json!({ "nick": event["new_nick"] }));
        }
        event["codes"] = codes.into();
        Some(event)
    }

    fn message(&mut self, mut message: Message) -> Option<Value> {
        let id = message.id.as_ref().map(|id| id.0.clone());
        let mut event = told(message.from.as_ref(), id.as_deref());
        event["body"] = message.get_best_body(vec![]).map(|(_, body)| body.clone()).into();
        if message.type_ == MessageType::Error {
            event["what"] = "error".into();
            event["condition"] = condition(&message.payloads).into();
            return Some(event);
        }
        if message.type_ == MessageType::Groupchat {
            return self.groupchat(&message, event);
        }
        let bare = |jid: Option<&Jid>| jid.map(ToString::to_string).unwrap_or_default();
        if let Ok(Some(result)) = message.extract_payload::<mam::Result_>() {
            let page = self.pages.get_mut(&result.queryid?.0).and_then(|pages| pages.last_mut())?;
            page.push(result.forwarded.message.get_best_body(vec![])?.1.clone());
            return None;
        }
        if let Ok(Some(sent)) = message.extract_payload::<carbons::Sent>() {
            let copy = sent.forwarded.message;
            let id = copy.id.as_ref().map(|id| id.0.clone());
            let mut event = told(copy.to.as_ref(), id.as_deref());
            event["what"] = "sent copy".into();
            event["body"] = copy.get_best_body(vec![]).map(|(_, body)| body.clone()).into();
            return Some(event);
        }
        if let Ok(Some(form)) = message.extract_payload::<DataForm>() {
            let value = |var: &str| {
                let field = form.fields.iter().find(|field| field.var.as_deref() == Some(var));
                field.and_then(|field| field.values.first().cloned()).unwrap_or_default()
            };
            event["what"] = "voice request".into();
            event["asker"] = value("muc#roomnick").into();
            event["role"] = value("muc#role").into();
            let wanted = form.form_type() == Some(make::VOICE_REQUEST);
            self.voice_request = message.from.filter(|_| wanted).map(|room| (room, form));
            return wanted.then_some(event);
        }
        if let Some(x) = message.payloads.iter().find(|payload| payload.is("x", "jabber:x:conference"))
            && !message.payloads.iter().any(|payload| payload.is("x", ns::MUC_USER))
        {
            event["what"] = "direct invitation".into();
            event["room"] = x.attr("jid").unwrap_or_default().into();
            event["nick"] = "".into();
            event["reason"] = x.attr("reason").unwrap_or_default().into();
            event["inviter"] = bare(message.from.as_ref()).into();
            return Some(event);
        }
        let user = match message.extract_payload::<MucUser>() {
            Ok(user) => user.unwrap_or_default(),
            Err(error) => return Some(not_understood(event, &error.to_string())),
        };
        if let Some(invite) = user.invite {
            event["what"] = "invitation".into();
            event["inviter"] = bare(invite.from.as_ref()).into();
            event["reason"] = invite.reason.into();
        } else if let Some(decline) = user.decline {
            event["what"] = "declined".into();
            event["invited"] = bare(decline.from.as_ref()).into();
            event["reason"] = decline.reason.into();
        } else if message.type_ == MessageType::Chat && event["body"].is_string() {
            event["what"] = "chat".into();
        } else {
            return None;
        }
        Some(event)
    }

    fn groupchat(&mut self, message: &Message, mut event: Value) -> Option<Value> {
        if event["body"].is_string() {
            event["what"] = "groupchat".into();
            return Some(event);
        }
        // It ends a join, as on slixmpp.
        let (_, subject) = message.get_best_subject(vec![])?;
        let (room, _) = parts(message.from.as_ref());
        if let Some(command) = self.joins.remove(&room) {
            accept(&command, json!({ "occupants": self.occupants(&room), "subject": subject }));
        }
        event["what"] = "subject".into();
        event["body"] = subject.as_str().into();
        Some(event)
    }

    fn answered(&mut self, iq: Iq) -> Option<Stanza> {
        let command = match &iq {
            Iq::Result { id, .. } | Iq::Error { id, .. } => self.asked.remove(id)?,
            _ => return None,
        };
        let pinged = command["do"] == "self_ping";
        match iq {
            // XEP-0410 §3.2: whoever says so, the client is in.
            Iq::Error { error, .. } if pinged => {
                let condition = Element::from(error.defined_condition).name().to_owned();
                let joined = ["service-unavailable", "feature-not-implemented", "item-not-found"];
                let status = if joined.contains(&condition.as_str()) { "JOINED" } else { "DISCONNECTED" };
                accept(&command, json!({ "status": status }));
            }
            Iq::Result { .. } if pinged => accept(&command, json!({ "status": "JOINED" })),
            Iq::Error { error, .. } => refuse(&command, Element::from(error.defined_condition).name(), ""),
            Iq::Result { payload: Some(payload), .. } if command["do"] == "archive" => {
                return self.page_ended(command, payload);
            }
            _ => accept(&command, json!({})),
        }
        None
    }

    /// A page of the archive has its end: the next one is asked for, or the command is answered.
    fn page_ended(&mut self, command: Value, fin: Element) -> Option<Stanza> {
        let id = make::id(&command);
        let after = match mam::Fin::try_from(fin) {
            Ok(fin) if !fin.complete => fin.set.last,
            Ok(_) => None,
            Err(error) => {
                refuse(&command, "NotUnderstood", &error.to_string());
                return None;
            }
        };
        let Some(after) = after else {
            accept(&command, json!({ "pages": self.pages.remove(&id) }));
            return None;
        };
        self.pages.entry(id.clone()).or_default().push(Vec::new());
        let next = make::page(&command, Some(after));
        self.asked.insert(id, command);
        Some(next.into())
    }
}

fn parts(from: Option<&Jid>) -> (String, String) {
    let resource = from.and_then(Jid::resource).map(ToString::to_string).unwrap_or_default();
    (from.map(|from| from.to_bare().to_string()).unwrap_or_default(), resource)
}

fn told(from: Option<&Jid>, id: Option<&str>) -> Value {
    let (room, nick) = parts(from);
    json!({ "room": room, "nick": nick, "id": id.unwrap_or_default() })
}

fn not_understood(mut event: Value, why: &str) -> Value {
    event["what"] = "not understood".into();
    event["why"] = why.into();
    event
}

fn condition(payloads: &[Element]) -> String {
    let error = payloads.iter().find_map(|payload| StanzaError::try_from(payload.clone()).ok());
    error.map(|error| Element::from(error.defined_condition).name().to_owned()).unwrap_or_default()
}

fn code(status: impl Into<Element>) -> Option<u64> {
    status.into().attr("code")?.parse().ok()
}
