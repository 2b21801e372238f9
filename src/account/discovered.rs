//! What clients have answered to disco#info, by the node of their capabilities (XEP-0115): its hash says what the answer
//! is for good, so an occupant that asks again need not wait for the client.

use indexmap::IndexMap;

use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// How many answers are kept; of more, the oldest goes.
const MOST: usize = 32;
/// No larger answer is kept, in bytes.
const LARGEST: usize = 16 * 1024;

/// A question about capabilities: their node, and whether it was named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    node: String,
    named: bool,
}

/// Whether `stanza` is a disco#info request; if so, the node it names.
pub fn asked(stanza: &Stanza) -> Option<Option<String>> {
    let tree = stanza.tree().ok().filter(|_| stanza.is_type("get"))?;
    let query = tree.root().child("query", ns::DISCO_INFO)?;
    Some(query.attr("node").map(|node| node.into_owned()))
}

/// What a request for `asked` would be kept under, that a client with capabilities `own` answers.
pub fn key(asked: Option<&str>, own: Option<String>) -> Option<Key> {
    match asked {
        None => own.map(|node| Key { node, named: false }),
        Some(asked) => own.filter(|own| own == asked).map(|node| Key { node, named: true }),
    }
}

/// The answers.
#[derive(Debug, Default)]
pub struct Discovered {
    answers: IndexMap<Key, Stanza>,
}

impl Discovered {
    /// A client has answered.
    pub fn keep(&mut self, key: Key, answer: &Stanza) {
        if !answer.is_type("result") || answer.bytes().len() > LARGEST {
            return;
        }
        self.answers.shift_remove(&key);
        if self.answers.len() == MOST {
            self.answers.shift_remove_index(0);
        }
        // A copy, so that it does not pin the buffer it came in.
        self.answers.insert(key, answer.edit().finish());
    }

    /// The answer to `request` for a node (a client's, if it names none), if it is known.
    pub fn answer(&self, request: &Stanza, key: &Key) -> Option<Stanza> {
        let answer = self.answers.get(key)?;
        let (id, to) = (request.id()?.into_owned(), request.from()?.into_owned());
        Some(answer.edit().set("id", id).set("to", to).finish())
    }

    /// The answer to `request`, which names `node`, whosever it was.
    pub fn by_node(&self, request: &Stanza, node: &str) -> Option<Stanza> {
        self.answer(request, &Key { node: node.to_owned(), named: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(node: &str, id: &str) -> Stanza {
        Stanza::own(format!("<iq from='r@s/n' type='get' id='{id}'><query xmlns='{}'{node}/></iq>", ns::DISCO_INFO))
    }

    #[test]
    fn an_answer_serves_again_under_the_askers_id() {
        let named = request(" node='n#v'", "7");
        let asked = asked(&named).unwrap();
        let key = key(asked.as_deref(), Some("n#v".into())).unwrap();
        let mut discovered = Discovered::default();
        let error = Stanza::own("<iq to='r@s/x' id='old' type='error'/>");
        discovered.keep(key.clone(), &error);
        assert!(discovered.by_node(&named, "n#v").is_none());
        discovered.keep(key, &Stanza::own("<iq to='r@s/x' id='old' type='result'><query/></iq>"));
        let answer = discovered.by_node(&named, "n#v").unwrap();
        assert_eq!(&answer.bytes()[..], b"<iq to='r@s/n' id='7' type='result'><query/></iq>");
    }

    #[test]
    fn what_is_not_of_the_client_itself_is_not_kept() {
        assert!(key(Some("else"), Some("n#v".into())).is_none());
        assert!(key(None, None).is_none());
        assert_ne!(key(None, Some("n#v".into())), key(Some("n#v"), Some("n#v".into())));
        assert!(asked(&Stanza::own("<iq type='get'><query xmlns='jabber:iq:version'/></iq>")).is_none());
        let mut discovered = Discovered::default();
        for n in 0..100 {
            let key = key(None, Some(n.to_string())).unwrap();
            discovered.keep(key, &Stanza::own(format!("<iq type='result'>{}</iq>", "x".repeat(n * 500))));
        }
        assert!(discovered.answers.len() == MOST && discovered.answers.values().all(|a| a.bytes().len() <= LARGEST));
    }
}
