//! Joining (XEP-0045 §7.2): what a client asked for, and the account's own join made of it.

use secrecy::{ExposeSecret, SecretString};

use crate::muc::ClientId;
use crate::muc::history::Request;
use crate::muc::presence::Attached;
use crate::xml::element::Node;
use crate::xml::writer::escape;
use crate::xmpp::conditions::{StanzaCondition, error_element};
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// A client's join that has not been answered yet, and what it sent to the room behind it.
#[derive(Debug)]
pub struct Waiter {
    /// The client.
    pub client: ClientId,
    /// Its join.
    pub join: Join,
    /// What it sent to this room since; taken up when the join is answered.
    pub held: Vec<Stanza>,
    /// Its presence, if the room was shown it first.
    pub(super) shown: Option<Attached>,
}

impl Waiter {
    /// A client that has sent nothing but its join.
    pub fn new(client: ClientId, join: Join) -> Self {
        Waiter { client, join, held: Vec::new(), shown: None }
    }
}

/// One join, as a client asked for it.
#[derive(Debug)]
pub struct Join {
    /// The presence, as it came.
    pub stanza: Stanza,
    /// The nick asked for.
    pub nick: String,
    /// Its id.
    pub id: Option<String>,
    /// How much history.
    pub history: Request,
}

impl Join {
    /// Reads a presence to `room@service/nick`; `None` if it is not a join.
    pub fn read(stanza: &Stanza) -> Option<Join> {
        if !stanza.is_presence() || stanza.type_().is_some() {
            return None;
        }
        let to = stanza.to()?;
        let nick = to.split_once('/')?.1.to_owned();
        let tree = stanza.tree().ok()?;
        let x = tree.root().child("x", ns::MUC)?;
        let history = Request::read(x);
        Some(Join { nick, id: stanza.id().map(|id| id.into_owned()), history, stanza: stanza.clone() })
    }

    /// The account's join: the client's own, but asking for as much history as the proxy keeps.
    pub fn upstream(&self, room: &str, nick: &str, history: usize) -> Stanza {
        let to = format!("{room}/{nick}");
        let stanza = self.stanza.edit().set("to", to).remove("from");
        let Ok(tree) = self.stanza.tree() else { return stanza.finish() };
        let Some(x) = tree.root().child("x", ns::MUC) else { return stanza.finish() };
        let mut edit = stanza;
        if let Some(asked) = x.child("history", ns::MUC) {
            edit = edit.cut(asked.range());
        }
        edit.append_to(x, &format!("<history xmlns='{}' maxstanzas='{history}'/>", ns::MUC)).finish()
    }

    /// An error that answers the account's join, as it answers the client's: some servers (ejabberd) repeat what was
    /// sent, which is to be what the client sent.
    pub fn as_asked(&self, error: &Stanza) -> Stanza {
        let (Ok(answer), Ok(own)) = (error.tree(), self.stanza.tree()) else { return error.clone() };
        let x = |root: Node<'_>| root.child("x", ns::MUC).filter(|x| x.qualified_name() == "x").map(|x| x.range());
        let (Some(repeated), Some(asked)) = (x(answer.root()), x(own.root())) else { return error.clone() };
        let asked = String::from_utf8_lossy(&self.stanza.bytes()[asked]);
        error.edit().splice(repeated, &asked).finish()
    }

    /// An error answer made here (XEP-0045 §7.2: `<x/>` is echoed), for the client alone.
    pub fn error(&self, room: &str, condition: StanzaCondition, text: &str) -> Stanza {
        let from = format!("{room}/{}", self.nick);
        let id = self.id.as_deref().map(|id| format!(" id='{}'", escape(id))).unwrap_or_default();
        Stanza::own(format!(
            "<presence from='{}' to=''{id} type='error'><x xmlns='{}'/>{}</presence>",
            escape(&from),
            ns::MUC,
            error_element(condition, text)
        ))
    }
}

/// What a join leaves of a presence: all but `<x/>`. This is what the room is shown of a client.
pub fn payload(stanza: &Stanza) -> Stanza {
    let Ok(tree) = stanza.tree() else { return stanza.clone() };
    let mut edit = stanza.edit().remove("from");
    for x in tree.root().children().filter(|c| c.is("x", ns::MUC)) {
        edit = edit.cut(x.range());
    }
    edit.finish()
}

/// The join by which the account goes back to a room it has lost, or joins one with no client asking; `shown` is what the
/// room is shown of it.
pub fn rejoin(
    room: &str,
    nick: &str,
    id: &str,
    history: usize,
    password: Option<&SecretString>,
    shown: &Stanza,
) -> Stanza {
    let password = password.map(|p| format!("<password>{}</password>", escape(p.expose_secret()))).unwrap_or_default();
    Stanza::own(format!(
        "<presence to='{}' id='{id}'>{}<x xmlns='{}'>{password}<history maxstanzas='{history}'/></x></presence>",
        escape(&format!("{room}/{nick}")),
        shown.content(),
        ns::MUC
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_joins_with_the_clients_words_but_its_own_wish_for_history() {
        let presence = "<presence to='r@s/Nick' id='1'><show>away</show><x xmlns='http://jabber.org/protocol/muc'>\
            <history maxstanzas='0'/><password>p</password></x><c xmlns='http://jabber.org/protocol/caps'/></presence>";
        let join = Join::read(&Stanza::own(presence)).unwrap();
        assert_eq!((join.nick.as_str(), join.history.maxstanzas), ("Nick", Some(0)));
        let up = join.upstream("r@s", "Nick", 20);
        let text = String::from_utf8(up.bytes().to_vec()).unwrap();
        assert_eq!(text.matches("<history").count(), 1);
        assert!(text.contains("<password>p</password><history") && text.contains("maxstanzas='20'/></x>"), "{text}");
        assert!(up.tree().is_ok());
        let empty =
            Join::read(&Stanza::own("<presence to='r@s/n'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
        assert!(
            empty
                .unwrap()
                .upstream("r@s", "n", 5)
                .tree()
                .unwrap()
                .root()
                .child("x", ns::MUC)
                .unwrap()
                .child("history", ns::MUC)
                .is_some()
        );
        let kept = payload(&Stanza::own(presence));
        assert_eq!(kept.content(), "<show>away</show><c xmlns='http://jabber.org/protocol/caps'/>");
    }

    #[test]
    fn a_repeated_join_is_the_clients_own() {
        let muc = "http://jabber.org/protocol/muc";
        let presence = format!("<presence to='r@s/n'><x xmlns='{muc}'><password>p</password></x></presence>");
        let join = Join::read(&Stanza::own(presence)).unwrap();
        let error = |x: &str| Stanza::own(format!("<presence from='r@s/n' type='error'>{x}<error/></presence>"));
        let repeated = format!("<x xmlns='{muc}'><password>p</password><history maxstanzas='20'/></x>");
        let seen = join.as_asked(&error(&repeated));
        let expected = error(&format!("<x xmlns='{muc}'><password>p</password></x>"));
        assert_eq!(seen.bytes(), expected.bytes());
        assert_eq!(join.as_asked(&error("")).bytes(), error("").bytes());
    }

    #[test]
    fn what_is_no_join() {
        for text in [
            "<presence to='r@s/n'/>",
            "<presence to='r@s'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
            "<presence to='r@s/n' type='unavailable'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
            "<presence to='r@s/n'><x xmlns='http://jabber.org/protocol/muc#user'/></presence>",
        ] {
            assert!(Join::read(&Stanza::own(text)).is_none(), "{text}");
        }
    }
}
