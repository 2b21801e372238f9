//! What clients, rooms and servers say, put together from parts: most of it usual, each part of it hostile at times.
//! New parts go to the ends of their lists: the seeds count on the places of the others.

use super::super::script::Script;

pub const JOIN: &str =
    "<presence to='room@muc.example/me' id='j'><x xmlns='http://jabber.org/protocol/muc'/><show>away</show></presence>";

/// The room's answer to it.
pub const LET_IN: &str = "<presence from='room@muc.example/other' to='user@example/account'>\
    <x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/></x></presence>\
    <presence from='room@muc.example/me' to='user@example/account' id='j'>\
    <occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/><x xmlns='http://jabber.org/protocol/muc#user'>\
    <status code='100'/><item affiliation='owner' jid='user@example/account' role='moderator'/><status code='110'/></x>\
    </presence><message from='room@muc.example/other' type='groupchat'><body>old</body>\
    <delay xmlns='urn:xmpp:delay' from='room@muc.example' stamp='2020-01-01T00:00:00Z'/></message>\
    <message from='room@muc.example' to='user@example/account' type='groupchat'><subject>s</subject></message>";

/// What those who make up stanzas have seen.
#[derive(Default)]
pub struct Known {
    /// Counts the clients' stanzas; each IQ bears its number.
    pub number: u64,
    /// Whom the account asked last, and under which id.
    pub asked_up: (String, String),
    /// Whose presence the account sent last, and under which id.
    pub presence_up: (String, String),
    /// Who asked a client last, and under which id.
    pub asked_client: (String, String),
    pub queryid: String,
}

const ADDRESSES: [&str; 20] = [
    "room@muc.example",
    "room@muc.example/me",
    "room@muc.example/me",
    "room@muc.example/other",
    "room@muc.example/Me",
    "two@muc.example",
    "two@muc.example/me",
    "two@muc.example/you &amp; &lt;I&gt; &apos;s",
    "ROOM@muc.example/me",
    "room@muc.example/",
    "room@muc.example/\u{ff2d}e\u{2460}/x",
    "muc.example",
    "user@example",
    "user@example/account",
    "user@example/c&amp;1",
    "example",
    "stranger@evil.example/x",
    "room@muc.example.evil.example/me",
    "not a jid@@/&#10;",
    "",
];

const IDS: [&str; 6] = ["a", "b", "j", "&amp;&apos;&#10;&lt;", "", "mark1-1"];
const TYPES: [&str; 12] = [
    "",
    "unavailable",
    "error",
    "groupchat",
    "chat",
    "get",
    "set",
    "result",
    "probe",
    "&#101;rror",
    "group\nchat",
    "subscribe",
];

/// What both sides may put into a stanza.
const PARTS: [&str; 38] = [
    "",
    "<x xmlns='http://jabber.org/protocol/muc'/>",
    "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/><password>p</password></x>",
    "<x xmlns='http://jabber.org/protocol/muc'><history seconds='-99999999999999' maxchars='5'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc'><history since='0001-01-01T00:00:00Z' seconds='9999999999'/></x>",
    "<u:x/>",
    "<u:x><u:item jid='user@example/account' role='none'/><u:status code='110'/></u:x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='participant'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator' \
     jid='user@example/account'/><status code='110'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><item role='moderator' jid='user@example/account'/>\
     <status code='201'/><status code='110'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><item jid='user@example/other'/><item jid='user@example/account'/>\
     <status code='110'/><status code='210'/><status code='100'/><status code='100'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><item nick='you' role='participant'/><status code='303'/>\
     <status code='110'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><item nick='&lt;&apos;&#10;' role='none'/><status code='303'/>\
     <status code='110'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/><status code='307'/><status code='110'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><status code='333'/><status code='110'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><destroy jid='two@muc.example'/><status code='110'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><status code='170'/><status code='172'/><status code='173'/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><status code='99999999999'/><status code='-110'/><status/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'/>",
    "<o:occupant-id id='x'/>",
    "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='&apos;'/>",
    "<show>dnd</show><priority>200</priority>",
    "<show> chat </show><priority>-1</priority><status>&amp;</status>",
    "<body>hello &lt;&#13;]]&gt;<![CDATA[<]]></body>",
    "<subject>s</subject>",
    "<subject/>",
    "<subject/><thread>t</thread>",
    "<delay xmlns='urn:xmpp:delay' from='room@muc.example' stamp='2020-01-01T00:00:00Z'/>",
    "<delay xmlns='urn:xmpp:delay' stamp='99999-01-01T00:00:00+99:99'/>",
    "<stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.example' id='1'/>",
    "<error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
    "<error type='wait'><remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
    "<ping xmlns='urn:xmpp:ping'/>",
    "<jingle xmlns='urn:xmpp:jingle:1' sid='s1'/>",
    "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>",
    "<private xmlns='urn:xmpp:carbons:2'/><p:q p:r='&#x9;'/>",
    "text &amp; more",
];

fn parts(script: &mut Script<'_>, own: &[String]) -> String {
    let mut out = String::new();
    let count = [0, 1, 1, 1, 1, 2, 2, 3][usize::from(script.byte()) % 8];
    for _ in 0..count {
        let at = usize::from(script.byte()) % (PARTS.len() + own.len());
        out += PARTS.get(at).copied().unwrap_or_else(|| &own[at - PARTS.len()]);
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;").replace('\n', "&#10;")
}

fn element(script: &mut Script<'_>, way: &str, address: &str, id: Option<String>, own: &[String]) -> String {
    let name = script.pick(&["presence", "message", "iq", "presence", "message", "iq"]);
    let type_ = match (name, script.byte() % 4) {
        (_, 0) => *TYPES.get(usize::from(script.byte()) % TYPES.len()).unwrap_or(&""),
        ("message", 1 | 2) => "groupchat",
        ("presence", 1) => "unavailable",
        ("iq", 1) => "get",
        ("iq", 2) => "set",
        ("iq", _) => "result",
        _ => "",
    };
    let type_ = if type_.is_empty() { String::new() } else { format!(" type='{type_}'") };
    let id = id.map(|id| format!(" id='{id}'")).unwrap_or_default();
    let more = match script.byte() % 32 {
        0 => " xmlns:p='urn:other'",
        1 => " xml:lang='en'",
        2 => " p:a='xmlns:p='",
        3 => " xmlns:o\n=\n'urn:xmpp:occupant-id:0' p:to='x'",
        _ => "",
    };
    let address = if address.is_empty() { String::new() } else { format!(" {way}='{address}'") };
    let declared = if more.contains("xmlns:o") { "" } else { " xmlns:o='urn:xmpp:occupant-id:0'" };
    let content = parts(script, own);
    format!("<{name}{address}{type_}{id}{more}{declared}>{content}</{name}>")
}

/// A client's stanza.
pub fn client_stanza(script: &mut Script<'_>, known: &Known) -> String {
    let number = known.number;
    let own = [
        format!("<query xmlns='urn:q' number='{number}'/>"),
        format!("<query xmlns='urn:q' number='{number}' sid='s1'/>"),
        format!("<query xmlns='urn:xmpp:mam:2' number='{number}' queryid='q&amp;'/>"),
        format!("<query xmlns='urn:xmpp:mam:2' number='{number}'/>"),
        format!("<q:query xmlns:q='urn:xmpp:mam:2' number='{number}'/>"),
        format!("<query xmlns='jabber:iq:version' number='{number}'/>"),
    ];
    let (address, id) = match script.byte() % 8 {
        0 => return JOIN.replace("'j'", &format!("'j{}'", number % 3)),
        1 => (escaped(&known.asked_client.0), Some(escaped(&known.asked_client.1))),
        2 => (script.pick(&ADDRESSES).to_owned(), None),
        _ => (script.pick(&ADDRESSES).to_owned(), Some(script.pick(&IDS).to_owned())),
    };
    // An IQ without a number could not be followed.
    let text = element(script, "to", &address, id, &own);
    if text.starts_with("<iq") && !text.contains(" number=") {
        return text.replacen("</iq>", &format!("<number xmlns='urn:n' number='{number}'/></iq>"), 1);
    }
    text
}

/// A stanza from the server, its rooms, or anybody beyond.
pub fn server_stanza(script: &mut Script<'_>, known: &Known) -> String {
    let queryid = escaped(&known.queryid);
    let own = [
        format!("<result xmlns='urn:xmpp:mam:2' queryid='{queryid}' id='5'><forwarded/></result>"),
        format!("<r:result xmlns:r='urn:xmpp:mam:2' id='5'\n queryid = \"{queryid}\" />"),
        format!("<result queryid='{queryid}' xmlns='urn:xmpp:mam:2' note='queryid'/>"),
    ];
    let (address, id) = match script.byte() % 8 {
        0 => return LET_IN.to_owned(),
        1 => (escaped(&known.asked_up.0), Some(escaped(&known.asked_up.1))),
        2 => (script.pick(&ADDRESSES).to_owned(), Some(escaped(&known.asked_up.1))),
        3 | 4 => (escaped(&known.presence_up.0), Some(escaped(&known.presence_up.1))),
        5 => (script.pick(&ADDRESSES).to_owned(), None),
        _ => (script.pick(&ADDRESSES).to_owned(), Some(script.pick(&IDS).to_owned())),
    };
    let to = [" to='user@example/account'", "", " to='user@example/c&amp;1'"][usize::from(script.byte()) % 3];
    element(script, "from", &address, id, &own).replacen(' ', &format!("{to} "), 1)
}
