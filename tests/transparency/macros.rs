//! What clients often do, in few words. In each `{room}` is meant, unless another room's name comes first.
//!
//! | line | |
//! |---|---|
//! | `joins as NICK`, `joins room2 as NICK` | with `, password WORD` or `, history ATTRIBUTES` behind it if need be |
//! | `leaves`, `leaves, saying TEXT` | |
//! | `renames to NICK` | asks for another nick |
//! | `shows SHOW`, `shows SHOW, STATUS` | sends the room presence |
//! | `says TEXT` | to all |
//! | `whispers to NICK: TEXT` | a private message |
//! | `sets the subject: TEXT` | |
//! | `gives NICK the role ROLE`, `gives {bob} the affiliation AFFILIATION` | `, because REASON` may follow, and here: |
//! | `kicks NICK`, `bans {bob}` | |
//! | `asks NAMESPACE of JID` | gets an empty `<query/>` |
//! | `accepts the defaults` | makes an instant room |
//! | `configures NAME=VALUE …` | the room; `NAME` stands for `muc#roomconfig_NAME`, `:NAME` for itself, `_` for a space in a value |

use std::collections::HashMap;

use super::script::Act;
use minimix_proxy::xml::writer::escape;

/// The nicks that clients asked for, by client and room.
#[derive(Debug, Default)]
pub struct Nicks(HashMap<(String, String), String>);

impl Nicks {
    fn of(&self, client: &str, room: &str) -> Result<&str, String> {
        let nick = self.0.get(&(client.to_owned(), room.to_owned()));
        nick.map(String::as_str).ok_or(format!("{client} is not in {room}"))
    }
}

/// Namespaces that stanzas may name in braces.
pub const NAMESPACES: [(&str, &str); 11] = [
    ("muc", "http://jabber.org/protocol/muc"),
    ("muc#user", "http://jabber.org/protocol/muc#user"),
    ("muc#admin", "http://jabber.org/protocol/muc#admin"),
    ("muc#owner", "http://jabber.org/protocol/muc#owner"),
    ("muc#roomconfig", "http://jabber.org/protocol/muc#roomconfig"),
    ("muc#request", "http://jabber.org/protocol/muc#request"),
    ("disco#info", "http://jabber.org/protocol/disco#info"),
    ("disco#items", "http://jabber.org/protocol/disco#items"),
    ("stanzas", "urn:ietf:params:xml:ns:xmpp-stanzas"),
    ("mam", "urn:xmpp:mam:2"),
    ("rsm", "http://jabber.org/protocol/rsm"),
];

/// What a line with `verb` makes a client do.
pub fn act(number: usize, client: &str, verb: &str, rest: &str, nicks: &mut Nicks) -> Result<Act, String> {
    let id = format!("{verb}-{number}");
    // A room may be named first: `joins room2 as Al`.
    let (room, rest) = match rest.split_once([' ', ',']) {
        Some((word, rest)) if word.strip_prefix("room").is_some_and(|n| n.chars().all(|c| c.is_ascii_digit())) => {
            (word, rest.trim_start())
        }
        _ if rest.starts_with("room") && rest.len() < 6 => (rest, ""),
        _ => ("room", rest),
    };
    let place = (client.to_owned(), room.to_owned());
    let (what, because) = match rest.split_once(", because ") {
        Some((what, reason)) => (what, format!("<reason>{}</reason>", escape(reason))),
        None => (rest, String::new()),
    };
    let admin = |item: String| {
        format!(
            "<iq to='{{{room}}}' type='set' id='{id}'><query xmlns='{{muc#admin}}'><item {item}>{because}</item></query></iq>"
        )
    };
    let owner = |form: String| {
        format!(
            "<iq to='{{{room}}}' type='set' id='{id}'><query xmlns='{{muc#owner}}'>\
             <x xmlns='jabber:x:data' type='submit'>{form}</x></query></iq>"
        )
    };
    let mut joins = false;
    let stanza = match verb {
        "joins" => {
            joins = true;
            let rest = rest.strip_prefix("as ").ok_or("joins as NICK")?;
            let (rest, history) = match rest.split_once(", history ") {
                Some((rest, how)) => (rest, format!("<history {how}/>")),
                None => (rest, String::new()),
            };
            let (nick, password) = match rest.split_once(", password ") {
                Some((nick, word)) => (nick, format!("<password>{word}</password>")),
                None => (rest, String::new()),
            };
            nicks.0.insert(place, nick.to_owned());
            let nick = escape(nick);
            format!("<presence to='{{{room}}}/{nick}' id='{id}'><x xmlns='{{muc}}'>{password}{history}</x></presence>")
        }
        "renames" => {
            let nick = rest.strip_prefix("to ").ok_or("renames to NICK")?;
            nicks.0.insert(place, nick.to_owned());
            format!("<presence to='{{{room}}}/{}' id='{id}'/>", escape(nick))
        }
        "leaves" => {
            let nick = escape(nicks.of(client, room)?);
            let status = match rest.trim_start_matches(',').trim_start().strip_prefix("saying ") {
                Some(status) => format!("<status>{}</status>", escape(status)),
                None => String::new(),
            };
            format!("<presence to='{{{room}}}/{nick}' type='unavailable' id='{id}'>{status}</presence>")
        }
        "shows" => {
            let nick = escape(nicks.of(client, room)?);
            let (show, status) = rest.split_once(", ").unwrap_or((rest, ""));
            let status = match status {
                "" => String::new(),
                status => format!("<status>{}</status>", escape(status)),
            };
            let show = match show {
                "available" => String::new(),
                show => format!("<show>{show}</show>"),
            };
            format!("<presence to='{{{room}}}/{nick}' id='{id}'>{show}{status}</presence>")
        }
        "says" => {
            let body = escape(rest);
            format!("<message to='{{{room}}}' type='groupchat' id='{id}'><body>{body}</body></message>")
        }
        "whispers" => {
            let (nick, text) =
                rest.strip_prefix("to ").and_then(|r| r.split_once(": ")).ok_or("whispers to NICK: TEXT")?;
            let (nick, body) = (escape(nick), escape(text));
            let mark = "<x xmlns='{muc#user}'/>";
            format!("<message to='{{{room}}}/{nick}' type='chat' id='{id}'><body>{body}</body>{mark}</message>")
        }
        "sets" => {
            let subject = escape(rest.strip_prefix("the subject:").ok_or("sets the subject: TEXT")?.trim());
            format!("<message to='{{{room}}}' type='groupchat' id='{id}'><subject>{subject}</subject></message>")
        }
        "gives" => match what.split_once(" the role ").zip(Some("nick")) {
            Some(((nick, role), key)) => admin(format!("{key}='{}' role='{role}'", escape(nick))),
            None => {
                let (jid, affiliation) = what.split_once(" the affiliation ").ok_or("gives NICK the role ROLE")?;
                admin(format!("jid='{jid}' affiliation='{affiliation}'"))
            }
        },
        "kicks" => admin(format!("nick='{}' role='none'", escape(what))),
        "bans" => admin(format!("jid='{what}' affiliation='outcast'")),
        "asks" => {
            let (space, jid) = rest.split_once(" of ").ok_or("asks NAMESPACE of JID")?;
            format!("<iq to='{jid}' type='get' id='{id}'><query xmlns='{space}'/></iq>")
        }
        "accepts" if rest == "the defaults" => owner(String::new()),
        "configures" => {
            let field = |setting: &str| {
                let (name, value) = setting.split_once('=').ok_or("configures NAME=VALUE")?;
                let name = name.strip_prefix(':').map_or_else(|| format!("muc#roomconfig_{name}"), str::to_owned);
                let value = value.replace('_', " ");
                Ok::<_, String>(format!("<field var='{name}'><value>{value}</value></field>"))
            };
            let fields: Result<String, String> = rest.split_whitespace().map(field).collect();
            owner(format!("<field var='FORM_TYPE'><value>{{muc#roomconfig}}</value></field>{}", fields?))
        }
        _ => return Err(format!("nobody can do that: {verb} {rest}")),
    };
    Ok(Act::Send { stanza, joins })
}
