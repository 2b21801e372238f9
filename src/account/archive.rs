//! Queries of a room's archive (XEP-0313) on the account session: the results come as messages, and the `queryid`
//! tells whose they are. Each query gets a `queryid` of its own on the way; the client sees the one it gave, or none.

use std::collections::HashMap;

use crate::muc::ClientId;
use crate::xml::element::Node;
use crate::xmpp::ids;
use crate::xmpp::stanza::{Edit, Stanza};

/// How many queries of one account are remembered.
const MOST: usize = 1024;

#[derive(Debug)]
struct Query {
    client: ClientId,
    room: String,
    queryid: Option<String>,
}

/// The archive queries under way.
#[derive(Debug, Default)]
pub struct Queries {
    by_id: HashMap<String, Query>,
}

fn is_mam(node: &Node<'_>, name: &str) -> bool {
    node.name() == name && node.space().starts_with("urn:xmpp:mam:")
}

fn set_queryid<'a>(edit: Edit<'a>, node: Node<'_>, queryid: &str) -> Edit<'a> {
    match node.attr_range("queryid") {
        Some(range) => edit.splice(range, queryid),
        None => {
            let at = node.range().start + 1 + node.qualified_name().len();
            edit.splice(at..at, &format!(" queryid='{queryid}'"))
        }
    }
}

impl Queries {
    /// If `stanza` queries an archive: the query under a `queryid` of its own.
    pub fn ask(&mut self, client: ClientId, stanza: Stanza) -> Stanza {
        let Ok(tree) = stanza.tree() else { return stanza };
        let Some(query) = tree.root().children().find(|c| is_mam(c, "query")) else { return stanza };
        if !stanza.is_type("set") || self.by_id.len() >= MOST {
            return stanza;
        }
        let id = ids::random();
        let room = stanza.to().unwrap_or_default().into_owned();
        let queryid = query.attr("queryid").map(|q| q.into_owned());
        let changed = set_queryid(stanza.edit(), query, &id).finish();
        self.by_id.insert(id, Query { client, room, queryid });
        changed
    }

    /// If `stanza` is a result of such a query, from the archive that was asked: whose it is.
    pub fn result(&self, stanza: &Stanza) -> Option<(ClientId, Stanza)> {
        let tree = stanza.tree().ok()?;
        let result = tree.root().children().find(|c| is_mam(c, "result"))?;
        let query = self.by_id.get(result.attr("queryid")?.as_ref())?;
        if stanza.from().as_deref() != Some(query.room.as_str()) {
            return None;
        }
        let edit = match &query.queryid {
            Some(queryid) => set_queryid(stanza.edit(), result, &crate::xml::writer::escape(queryid)),
            None => {
                let value = result.attr_range("queryid")?;
                // With the name, the equals sign and the quotes.
                let start = stanza.bytes()[..value.start].windows(7).rposition(|w| w == b"queryid")?;
                stanza.edit().cut(start - 1..value.end + 1)
            }
        };
        Some((query.client, edit.finish()))
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The client is gone.
    pub fn client_gone(&mut self, client: ClientId) {
        self.by_id.retain(|_, query| query.client != client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(query: &str) -> (String, ClientId) {
        let mut queries = Queries::default();
        let asked = Stanza::own(format!("<iq to='r@s' type='set' id='1'>{query}</iq>"));
        let up = queries.ask(ClientId(1), asked);
        let tree = up.tree().unwrap();
        let id = tree.root().children().next().unwrap().attr("queryid").unwrap().into_owned();
        assert_eq!(id.len(), 22);
        let forged = format!("<message from='evil@s'><result xmlns='urn:xmpp:mam:2' queryid='{id}' id='5'/></message>");
        assert!(queries.result(&Stanza::own(forged)).is_none());
        let result = format!("<message from='r@s'><result xmlns='urn:xmpp:mam:2' queryid='{id}' id='5'/></message>");
        let (client, seen) = queries.result(&Stanza::own(result)).unwrap();
        (String::from_utf8(seen.bytes().to_vec()).unwrap(), client)
    }

    #[test]
    fn each_sees_the_queryid_it_gave() {
        let (seen, client) = round_trip("<query xmlns='urn:xmpp:mam:2' queryid='q&amp;1'/>");
        assert_eq!(client, ClientId(1));
        assert_eq!(seen, "<message from='r@s'><result xmlns='urn:xmpp:mam:2' queryid='q&amp;1' id='5'/></message>");
        let (seen, _) = round_trip("<query xmlns='urn:xmpp:mam:2'/>");
        assert_eq!(seen, "<message from='r@s'><result xmlns='urn:xmpp:mam:2' id='5'/></message>");
    }
}
