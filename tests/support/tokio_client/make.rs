//! What tokio-xmpp clients send, made of the types of xmpp-parsers; muc#admin and direct invitations, which it has no
//! types for, of its elements.

use serde_json::Value;
use tokio_xmpp::Stanza;
use tokio_xmpp::jid::Jid;
use tokio_xmpp::minidom::Element;
use tokio_xmpp::parsers::data_forms::{DataForm, DataFormType, Field, FieldType};
use tokio_xmpp::parsers::iq::Iq;
use tokio_xmpp::parsers::mam::{Query, QueryId};
use tokio_xmpp::parsers::message::{Id, Lang, Message, MessageType};
use tokio_xmpp::parsers::muc::user::{Decline, Invite};
use tokio_xmpp::parsers::muc::{Muc, MucUser};
use tokio_xmpp::parsers::ping::Ping;
use tokio_xmpp::parsers::presence::Presence;
use tokio_xmpp::parsers::rsm::SetQuery;
use tokio_xmpp::parsers::{carbons, muc::muc::History, ns};

const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
const CONFERENCE: &str = "jabber:x:conference";
pub const VOICE_REQUEST: &str = "http://jabber.org/protocol/muc#request";

/// The command's stanza; `None` if it is none of these, or its addresses are none.
pub fn stanza(command: &Value) -> Option<Stanza> {
    let text = |key: &str| command[key].as_str().unwrap_or_default().to_owned();
    let address = |key: &str| Jid::new(&text(key)).ok();
    let room = address("room");
    let occupant = || Some(room.clone()?.to_bare().with_resource_str(&text("nick")).ok()?);
    let ask = |iq: Iq, to: Jid| Some(Stanza::from(iq.with_to(to).with_id(id(command))));
    let to_room = |x: MucUser| Some(Message::normal(room.clone()?).with_payload(x).into());
    let reason = || Some(text("reason")).filter(|reason| !reason.is_empty());
    Some(match command["do"].as_str()? {
        "raw" => return from_xml(&text("xml")),
        "join" => Presence::available().with_to(occupant()?).with_payload(join(command)).into(),
        "leave" => Presence::unavailable().with_to(occupant()?).into(),
        "nick" => Presence::available().with_to(occupant()?).into(),
        "message" => {
            let type_: MessageType = text("type").parse().ok()?;
            with_body(Message::new_with_type(type_, address("to")?), command)
        }
        "whisper" => with_body(Message::chat(Jid::from(occupant()?)).with_payload(MucUser::new()), command),
        "presence" => return presence(command),
        "settle" => Iq::from_get(id(command), Ping).into(),
        "copies" => Iq::from_set(id(command), carbons::Enable).into(),
        "role" => {
            let item = Element::builder("item", ADMIN).attr("nick".try_into().ok()?, text("nick"));
            return ask(admin(item.attr("role".try_into().ok()?, text("role")).build(), reason()), room?);
        }
        "affiliation" => {
            let item = Element::builder("item", ADMIN).attr("jid".try_into().ok()?, text("jid"));
            let item = item.attr("affiliation".try_into().ok()?, text("affiliation"));
            return ask(admin(item.build(), reason()), room?);
        }
        "invite" => {
            let invite = Invite { from: None, to: address("jid"), reason: reason() };
            return to_room(MucUser { invite: Some(invite), ..MucUser::new() });
        }
        "decline" => {
            let decline = Decline { from: None, to: address("jid"), reason: reason() };
            return to_room(MucUser { decline: Some(decline), ..MucUser::new() });
        }
        "invite_directly" => {
            let x = Element::builder("x", CONFERENCE).attr("jid".try_into().ok()?, text("room"));
            let x = x.attr("reason".try_into().ok()?, reason());
            Message::normal(address("jid")?).with_payloads(vec![x.build()]).into()
        }
        "ask_for_voice" => {
            let role = Field::new("muc#role", FieldType::ListSingle).with_value("participant");
            let form = DataForm::new(DataFormType::Submit, VOICE_REQUEST, vec![role]);
            Message::normal(room?).with_payloads(vec![form.into()]).into()
        }
        "self_ping" => return ask(Iq::from_get("", Ping), occupant()?.into()),
        "archive" => return ask(page(command, None), room?),
        _ => return None,
    })
}

/// The id of the stanza that a command is answered by.
pub fn id(command: &Value) -> String {
    format!("command-{}", command["req"])
}

/// What is written there, if it is a stanza.
fn from_xml(xml: &str) -> Option<Stanza> {
    let element = Element::from_reader_with_prefixes(xml.as_bytes(), "jabber:client".to_owned()).ok()?;
    match element.name() {
        "message" => Message::try_from(element).map(Stanza::from).ok(),
        "presence" => Presence::try_from(element).map(Stanza::from).ok(),
        _ => Iq::try_from(element).map(Stanza::from).ok(),
    }
}

fn join(command: &Value) -> Muc {
    let number = |key: &str| command[key].as_u64().and_then(|n| n.try_into().ok());
    let (maxstanzas, seconds, maxchars) = (number("maxstanzas"), number("seconds"), number("maxchars"));
    let asked = maxstanzas.or(seconds).or(maxchars).is_some();
    let history = History { maxchars, maxstanzas, seconds, since: None };
    Muc { password: command["password"].as_str().map(str::to_owned), history: asked.then_some(history) }
}

fn with_body(mut message: Message, command: &Value) -> Stanza {
    message.id = command["id"].as_str().map(|id| Id(id.to_owned()));
    message.with_body(Lang::new(), command["body"].as_str().unwrap_or_default().to_owned()).into()
}

fn presence(command: &Value) -> Option<Stanza> {
    let given = |key: &str| command[key].as_str();
    let mut presence = Element::builder("presence", ns::DEFAULT_NS);
    for attribute in ["to", "type"] {
        presence = presence.attr(attribute.try_into().ok()?, given(attribute));
    }
    for (name, text) in ["show", "status"].into_iter().filter_map(|name| Some((name, given(name)?))) {
        presence = presence.append(Element::builder(name, ns::DEFAULT_NS).append(text).build());
    }
    Presence::try_from(presence.build()).map(Stanza::from).ok()
}

fn admin(mut item: Element, reason: Option<String>) -> Iq {
    if let Some(reason) = reason {
        item.append_child(Element::builder("reason", ADMIN).append(reason).build());
    }
    let payload = Element::builder("query", ADMIN).append(item).build();
    Iq::Set { from: None, to: None, id: String::new(), payload }
}

/// One page of the room's archive, from the beginning or behind a message.
pub fn page(command: &Value, after: Option<String>) -> Iq {
    let max = command["max"].as_u64().and_then(|max| max.try_into().ok());
    let set = SetQuery { max, after, before: None, index: None };
    let queryid = Some(QueryId(id(command)));
    let query = Query { queryid, node: None, form: None, set: Some(set), flip_page: false };
    let iq = Iq::from_set(id(command), query);
    match Jid::new(command["room"].as_str().unwrap_or_default()) {
        Ok(room) => iq.with_to(room),
        Err(_) => iq,
    }
}

/// The answer of a moderator who lets the asker speak: the request's form, filled in.
pub fn grant(room: Jid, mut form: DataForm) -> Stanza {
    form.type_ = DataFormType::Submit;
    for field in &mut form.fields {
        if field.var.as_deref() == Some("muc#request_allow") {
            field.values = vec!["true".to_owned()];
        }
    }
    Message::normal(room).with_payloads(vec![form.into()]).into()
}
