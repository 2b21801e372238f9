//! The clients' presences in a room, and the one that the account shows there: the best, whole, never a merge (a
//! merged caps hash is invalid, XEP-0115 §5.4).

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::muc::entrance::Entrance;
use crate::muc::join::{Join, payload};
use crate::muc::pace::Pace;
use crate::muc::room::Room;
use crate::muc::self_presence::with_own_jid;
use crate::muc::{ClientId, Now, Out, nick};
use crate::xml::writer::escape;
use crate::xmpp::stanza::Stanza;
use crate::xmpp::{caps, ns};

/// How many of a client's presences may be on their way to the room and back, as far as their ids are remembered.
const MOST_UNDER_WAY: usize = 16;

/// One attached client and its presence in the room.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) client: ClientId,
    rank: u8,
    priority: i8,
    presence: Stanza,
    /// The highest of all is the presence that came last.
    since: u64,
    /// Grows with what it sends: the highest of all was heard last.
    heard: u64,
    /// The id of its presence, as far as the room has shown it: each presence of the own occupant bears it.
    id: Option<String>,
    /// Of its presences that the room has not shown yet: the id that each bears there, and its own.
    under_way: VecDeque<(String, Option<String>)>,
}

impl Attached {
    /// A client that has joined with `presence`, the latest of all (`since`).
    pub(super) fn new(client: ClientId, presence: &Stanza, since: u64) -> Self {
        let id = presence.id().map(|id| id.into_owned());
        let (rank, priority, presence, under_way) = (0, 0, presence.clone(), VecDeque::new());
        let mut attached = Attached { client, rank, priority, presence, since, heard: 0, id, under_way };
        attached.update(&attached.presence.clone(), since);
        attached
    }

    /// Presence of the own occupant, under the id of this client's own.
    pub(super) fn with_its_id(&self, stanza: &Stanza) -> Stanza {
        match &self.id {
            Some(id) => stanza.edit().set("id", id.clone()).finish(),
            None => stanza.edit().remove("id").finish(),
        }
    }

    /// What makes the one that is shown: the lowest is the best.
    fn rank(&self) -> impl Ord + use<> {
        (self.rank, Reverse(self.priority), Reverse(self.since))
    }

    /// Whether it is to be shown rather than `other`.
    pub(super) fn is_better_than(&self, other: &Attached) -> bool {
        self.rank() < other.rank()
    }

    fn update(&mut self, presence: &Stanza, since: u64) {
        self.since = since;
        let tree = presence.tree().ok();
        let text = |name| tree.as_ref().and_then(|t| t.root().child_text(name, ns::CLIENT));
        self.rank = match text("show").as_deref().map(str::trim) {
            Some("chat") => 0,
            Some("away") => 2,
            Some("xa") => 3,
            Some("dnd") => 4,
            _ => 1,
        };
        self.priority = text("priority").and_then(|p| p.trim().parse().ok()).unwrap_or(0);
        self.presence = presence.clone();
    }
}

/// What the room is shown of the account.
#[derive(Debug, Default)]
pub(super) struct Shown {
    content: Option<String>,
    reconsider_at: Option<Instant>,
    pace: Pace,
    renaming: Option<Renaming>,
    /// How many presences clients have sent.
    updates: u64,
}

/// A client's request for another nick, and what was true before it: if it is refused, its presence counts for nothing.
#[derive(Debug)]
pub(super) struct Renaming {
    id: String,
    content: Option<String>,
    client: ClientId,
    presence: Stanza,
    since: u64,
}

impl Shown {
    /// The account joined with this presence.
    pub(super) fn joined_with(&mut self, presence: &Stanza) {
        self.content = Some(presence.content().to_owned());
    }

    /// The account has got another nick.
    pub(super) fn renamed(&mut self) {
        self.renaming = None;
    }

    /// The presence of a client that was cut off stays until then: it may be back.
    fn reconsider(&mut self, at: Instant) {
        self.reconsider_at.get_or_insert(at);
    }

    pub(super) fn reconsider_at_once(&mut self, now: Instant) {
        self.reconsider_at = Some(now);
    }

    /// Counts a client's presence.
    pub(super) fn next(&mut self) -> u64 {
        self.updates += 1;
        self.updates
    }

    /// Whether the room is shown this presence.
    pub(super) fn is(&self, presence: &Stanza) -> bool {
        self.content.as_deref() == Some(presence.content())
    }

    /// Whether another presence may be shown now.
    pub(super) fn may_change(&mut self, now: Instant) -> bool {
        self.pace.take(now).is_ok()
    }

    /// What is shown stays so.
    pub(super) fn settle(&mut self) {
        self.reconsider_at = None;
    }

    pub(super) fn reconsider_at(&self) -> Option<Instant> {
        self.reconsider_at
    }
}

/// The presence that is to be shown, of several.
fn best_of<'a>(all: impl Iterator<Item = &'a Attached>) -> Option<&'a Attached> {
    all.min_by_key(|attached| attached.rank())
}

impl Room {
    /// The presence that the room is to be shown.
    pub(super) fn best_presence(&self) -> Option<&Stanza> {
        self.best().map(|best| &best.presence)
    }

    /// Also that of a client that is only just entering.
    pub(super) fn best(&self) -> Option<&Attached> {
        best_of(self.attached.iter().chain(self.entrance.as_ref().map(Entrance::client)))
    }

    /// The client whose presence the room is shown.
    pub fn shown_client(&self) -> Option<ClientId> {
        let shown = |a: &&Attached| self.shown.content.as_deref() == Some(a.presence.content());
        let shown = self.attached.iter().filter(shown).max_by_key(|a| a.since);
        shown.or_else(|| best_of(self.attached.iter())).map(|shown| shown.client)
    }

    /// The attached client that has last sent something to the room.
    pub fn active_client(&self) -> Option<ClientId> {
        self.attached.iter().max_by_key(|a| a.heard).map(|a| a.client)
    }

    /// The node of the capabilities that an attached client has announced in the room (XEP-0115).
    pub fn caps_of(&self, client: ClientId) -> Option<String> {
        caps::node(&self.attached.iter().find(|a| a.client == client)?.presence)
    }

    /// An attached client with these capabilities.
    pub fn client_with_caps(&self, node: &str) -> Option<ClientId> {
        let found = self.attached.iter().find(|a| caps::node(&a.presence).is_some_and(|own| own == node));
        found.map(|a| a.client)
    }

    /// The client has sent something to the room.
    pub(super) fn heard(&mut self, client: ClientId) {
        let latest = self.attached.iter().map(|a| a.heard).max().unwrap_or_default() + 1;
        if let Some(attached) = self.attached.iter_mut().find(|a| a.client == client) {
            attached.heard = latest;
        }
    }

    /// What the room is shown of the account now, as a presence without address.
    pub(super) fn shown_presence(&self) -> Stanza {
        let content = self.shown.content.as_deref().unwrap_or_default();
        let of_client = self.best().into_iter().chain(&self.attached).find(|a| a.presence.content() == content);
        of_client.map_or_else(|| Stanza::own(format!("<presence>{content}</presence>")), |a| a.presence.clone())
    }

    /// Presence of an attached client to the room: an update, a nick change, a leave, or a join again.
    pub(super) fn client_presence(&mut self, now: Now, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        match stanza.type_().as_deref() {
            Some("unavailable") => return self.client_leaves(now, client, &stanza, out),
            // Servers kick for an error in a room, and this one would be the account's.
            Some("error") => return,
            Some("probe") => return self.client_probes(now, client, stanza, out),
            Some(_) => return out.push(Out::Relay(client, stanza)),
            None => {}
        }
        let asked = stanza.to().and_then(|to| to.split_once('/').map(|(_, nick)| nick.to_owned()));
        let other_nick = asked.as_deref().is_some_and(|asked| !nick::same(asked, &self.nick));
        let since = self.shown.next();
        let Some(attached) = self.attached.iter_mut().find(|a| a.client == client) else { return };
        let (before, since_before) = (attached.presence.clone(), attached.since);
        attached.update(&payload(&stanza), since);
        if other_nick {
            let id = stanza.id().unwrap_or_default().into_owned();
            let content = self.shown.content.clone();
            self.shown.renaming = Some(Renaming { id, content, client, presence: before, since: since_before });
            self.ask_nick(client, &stanza, out);
        }
        if let Some(join) = Join::read(&stanza) {
            // It has lost its view of the room. Upstream a join again would be shown to everybody (Prosody).
            match self.asks_for_jids(now, out) {
                true => self.replay_later(client, join),
                false => self.replay(now, client, &join, false, out),
            }
            self.present_best(now, None, out);
        } else if !other_nick {
            self.present_best(now, Some((client, &stanza)), out);
        }
    }

    /// Sends the best presence up if it is not what the room is shown already. An update is reflected to its sender
    /// also when nothing goes up.
    pub(super) fn present_best(&mut self, now: Now, update: Option<(ClientId, &Stanza)>, out: &mut Vec<Out>) {
        self.shown.reconsider_at = None;
        let Some(best) = self.best() else {
            self.shown.reconsider(now.at + self.settings.leave_grace);
            return;
        };
        if self.shown.content.as_deref() != Some(best.presence.content()) {
            let (best_client, presence) = (best.client, best.presence.clone());
            match self.shown.pace.take(now.at) {
                Ok(()) => {
                    let own = update.filter(|(client, _)| *client == best_client);
                    self.present(&presence, own, out);
                    if own.is_some() {
                        // The room reflects it.
                        return;
                    }
                }
                // What is the best then goes up then.
                Err(later) => self.shown.reconsider_at = Some(later),
            }
        }
        if let (Some((client, stanza)), Some(own)) = (update, &self.own) {
            let reflection = own.reflected(&self.session, stanza.id().as_deref());
            out.push(Out::One(client, Arc::new(reflection)));
            self.is_known_by(client, stanza);
        }
    }

    /// What bore this id was refused. If it asked for another nick, its presence was refused with it.
    pub(super) fn nick_refused(&mut self, now: Now, id: &str, out: &mut Vec<Out>) {
        let Some(refused) = self.shown.renaming.take_if(|renaming| renaming.id == id) else { return };
        self.shown.content = refused.content;
        if let Some(attached) = self.attached.iter_mut().find(|a| a.client == refused.client) {
            attached.update(&refused.presence, refused.since);
        }
        self.present_best(now, None, out);
    }

    /// Sends a client's presence up: as `update`, if the room is to reflect it to that client under its own id.
    fn present(&mut self, presence: &Stanza, update: Option<(ClientId, &Stanza)>, out: &mut Vec<Out>) {
        let id = match update.and_then(|(_, stanza)| stanza.id()) {
            Some(id) => id.into_owned(),
            None => self.next_id(),
        };
        if let Some((client, stanza)) = update {
            self.authors.remember(stanza, client);
            self.goes_up(client, &id, stanza);
        }
        self.present_as(presence, id, out);
    }

    /// The same, under that id.
    pub(super) fn present_as(&mut self, presence: &Stanza, id: String, out: &mut Vec<Out>) {
        self.shown.content = Some(presence.content().to_owned());
        out.push(Out::Up(presence.edit().set("to", self.own_jid()).set("id", id).remove("from").finish()));
    }

    /// A client's presence goes up under that id.
    pub(super) fn goes_up(&mut self, client: ClientId, id: &str, presence: &Stanza) {
        let Some(attached) = self.attached.iter_mut().find(|a| a.client == client) else { return };
        if attached.under_way.len() == MOST_UNDER_WAY {
            attached.under_way.pop_front();
        }
        attached.under_way.push_back((id.to_owned(), presence.id().map(|id| id.into_owned())));
    }

    /// The client has been shown its presence: what it sees of itself from now on bears the id of that.
    pub(super) fn is_known_by(&mut self, client: ClientId, presence: &Stanza) {
        if let Some(attached) = self.attached.iter_mut().find(|a| a.client == client) {
            attached.id = presence.id().map(|id| id.into_owned());
        }
    }

    /// The own occupant's presence, to every attached client. Servers repeat the id of the presence that the account
    /// has sent last, so each client is shown the id of its own.
    pub(super) fn show_own(&mut self, stanza: &Stanza, out: &mut Vec<Out>) {
        let Some(shown) = stanza.id() else { return self.show_all(with_own_jid(stanza, &self.session), out) };
        for attached in &mut self.attached {
            if let Some(at) = attached.under_way.iter().position(|(id, _)| *id == shown) {
                attached.id = attached.under_way.drain(..=at).next_back().and_then(|(_, own)| own);
            }
        }
        if self.attached.iter().all(|a| a.id.as_deref() == Some(&*shown)) {
            return self.show_all(with_own_jid(stanza, &self.session), out);
        }
        for attached in &self.attached {
            let own = with_own_jid(&attached.with_its_id(stanza), &self.session);
            out.push(Out::One(attached.client, Arc::new(own)));
        }
    }

    /// The presence of a client that left or was cut off is shown for a while, for it may be back.
    pub(super) fn presence_gone(&mut self, now: Now) {
        self.shown.reconsider(now.at + self.settings.leave_grace);
    }

    pub(super) fn tick_presence(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.shown.reconsider_at.is_none_or(|at| now.at < at) {
            return;
        }
        self.shown.reconsider_at = None;
        if !self.is_joined() {
            return;
        }
        if !self.attached.is_empty() || self.entrance.is_some() {
            return self.present_best(now, None, out);
        }
        let content = self.settings.shown_detached();
        if self.shown.content.as_deref() == Some(&content) {
            return;
        }
        if let Err(later) = self.shown.pace.take(now.at) {
            self.shown.reconsider_at = Some(later);
        } else {
            let id = self.next_id();
            let to = self.own_jid();
            out.push(Out::Up(Stanza::own(format!("<presence to='{}' id='{id}'>{content}</presence>", escape(&to)))));
            self.shown.content = Some(content);
        }
    }
}
