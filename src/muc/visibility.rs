//! Whose real JIDs a join would show now (XEP-0045 §7.2.3, §7.2.4). Servers do not send presences again when that
//! changes, so what is no longer to be seen is hidden here (S18), and what may be seen since is asked for when a
//! client joins: a moderator by the lists of roles (§8.5, §9.8), which nobody else notices; anybody else, in a room that
//! has become non-anonymous, by a join again, for the lists are a moderator's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::muc::codes::{self, Item, MucUser};
use crate::muc::history::History;
use crate::muc::join::Join;
use crate::muc::message::is_delayed;
use crate::muc::room::{Phase, Room};
use crate::muc::{ClientId, Now, Out, item, subject};
use crate::xml::element::Tree;
use crate::xml::writer::escape;
use crate::xmpp::ns;
use crate::xmpp::stanza::Stanza;

/// How long a client's join waits for what is asked; then it is shown what is known.
const PATIENCE: Duration = Duration::from_secs(5);
/// All that an occupant can be.
const ROLES: [&str; 3] = ["moderator", "participant", "visitor"];

/// What the account may see of real JIDs, and what of it is known.
#[derive(Debug, Default)]
pub(super) struct Visibility {
    sees: bool,
    /// More may be seen than the room has shown.
    behind: bool,
    asking: Option<Asking>,
    /// The own nick has changed since.
    renamed: bool,
    /// Attached clients that have joined again meanwhile.
    replays: Vec<(ClientId, Join)>,
}

#[derive(Debug)]
struct Asking {
    what: Question,
    until: Instant,
}

#[derive(Debug)]
enum Question {
    /// The ids of the lists that have not come yet, and whether one was refused.
    Lists(Vec<String>, bool),
    /// The id of the join again, and whether our own presence has answered it.
    Rejoin(String, bool),
}

impl Visibility {
    /// When the room wants to be woken.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.asking.as_ref().map(|asking| asking.until)
    }

    /// How many clients wait for a replay.
    pub(super) fn waiting(&self) -> usize {
        self.replays.len()
    }

    /// The replays that clients wait for; none is left.
    pub(super) fn take_replays(&mut self) -> Vec<(ClientId, Join)> {
        std::mem::take(&mut self.replays)
    }

    /// The own nick has changed: the presence under the new one is news, whatever it answers.
    pub(super) fn renamed(&mut self) {
        self.renamed = true;
    }

    /// The client is gone.
    pub(super) fn forget_client(&mut self, client: ClientId) {
        self.replays.retain(|(waiting, _)| *waiting != client);
    }

    /// The id of a join again that the room has not answered.
    pub(super) fn unanswered_rejoin(&self) -> Option<String> {
        match &self.asking.as_ref()?.what {
            Question::Rejoin(id, false) => Some(id.clone()),
            Question::Rejoin(..) | Question::Lists(..) => None,
        }
    }

    fn rejoin(&mut self) -> Option<(&str, &mut bool)> {
        match &mut self.asking.as_mut()?.what {
            Question::Rejoin(id, answered) => Some((id, answered)),
            Question::Lists(..) => None,
        }
    }
}

impl Room {
    fn may_see_jids(&self) -> bool {
        let Some(own) = &self.own else { return false };
        !own.is_fully_anonymous()
            && (own.shows(codes::NON_ANONYMOUS) || own.role(&self.session).as_deref() == Some("moderator"))
    }

    /// The room has shown the occupants just now.
    pub(super) fn occupants_shown(&mut self) {
        self.visibility.sees = self.may_see_jids();
        self.visibility.behind = false;
    }

    /// The own role, or whether the room is anonymous, may have changed.
    pub(super) fn look_again(&mut self) {
        let sees = self.may_see_jids();
        if sees == self.visibility.sees {
            return;
        }
        self.visibility.sees = sees;
        self.visibility.behind = sees;
        if !sees {
            let own = self.session.split('/').next().unwrap_or_default();
            self.occupants.change(|_, presence| item::without_jids(presence, own));
        }
    }

    /// The room told of a change of its configuration (XEP-0045 §10.2.1).
    pub(super) fn configured(&mut self, user: &MucUser) {
        let before = self.is_non_anonymous();
        if let Some(own) = &mut self.own {
            own.configuration_changed(user);
        }
        if user.has(codes::NOT_LOGGED) {
            self.history.archive_ends();
        }
        self.look_again();
        match self.is_non_anonymous() {
            now if now == before => {}
            true => self.name_senders(),
            false => self.history.hide_senders(),
        }
    }

    fn name_senders(&mut self) {
        let mut history = std::mem::replace(&mut self.history, History::new(0));
        history.name_senders(|nick| self.sender(nick));
        self.history = history;
    }

    fn is_non_anonymous(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.shows(codes::NON_ANONYMOUS))
    }

    /// Who has that nick, where everybody may know it.
    pub(super) fn sender(&self, nick: &str) -> Option<Item> {
        if !self.is_non_anonymous() {
            return None;
        }
        if nick == self.nick {
            return self.own.as_ref()?.item(&self.session);
        }
        let tree = Tree::parse(self.occupants.get(nick)?.bytes()).ok()?;
        MucUser::read(&tree).items.into_iter().next()
    }

    /// Whether a join has to wait for JIDs that are asked for; asks, if there are any to ask for.
    pub(super) fn asks_for_jids(&mut self, now: Now, out: &mut Vec<Out>) -> bool {
        if self.visibility.asking.is_some() {
            return true;
        }
        if !self.visibility.behind || self.occupants.all(item::shows_jid) {
            self.visibility.behind = false;
            return false;
        }
        let moderator = self.is_moderator();
        if !moderator && self.shown.is_renaming(now.at) {
            // A join under the old nick would take the new one back; the next join asks.
            return false;
        }
        let what = if moderator { self.ask_for_lists(out) } else { self.ask_by_rejoin(out) };
        self.visibility.asking = Some(Asking { what, until: now.at + PATIENCE });
        self.visibility.renamed = false;
        true
    }

    fn ask_for_lists(&mut self, out: &mut Vec<Out>) -> Question {
        let ids: Vec<String> = ROLES.iter().map(|_| self.next_id()).collect();
        for (role, id) in ROLES.iter().zip(&ids) {
            out.push(Out::Up(Stanza::own(format!(
                "<iq to='{}' type='get' id='{id}'><query xmlns='{}'><item role='{role}'/></query></iq>",
                escape(&self.jid),
                ns::MUC_ADMIN
            ))));
        }
        Question::Lists(ids, false)
    }

    fn ask_by_rejoin(&mut self, out: &mut Vec<Out>) -> Question {
        let id = self.next_id();
        let x = format!("<x xmlns='{}'><history maxstanzas='0'/></x>", ns::MUC);
        let presence = self.shown_presence();
        let edit = presence.edit().set("to", self.own_jid()).set("id", id.clone()).remove("from");
        out.push(Out::Up(edit.append(&x).finish()));
        Question::Rejoin(id, false)
    }

    /// Remembers that an attached client has joined again.
    pub(super) fn replay_later(&mut self, client: ClientId, join: Join) {
        self.visibility.forget_client(client);
        self.visibility.replays.push((client, join));
    }

    /// An answer to an IQ that no client has asked; from that very room, or it is not for us (S15).
    pub fn answered(&mut self, now: Now, stanza: &Stanza, out: &mut Vec<Out>) {
        if self.ping_answered(now, stanza, out) || self.archive_answered(now, stanza, out) {
            return;
        }
        let from_room = stanza.from().is_some_and(|from| from == self.jid);
        let (Some(Asking { what: Question::Lists(ids, refused), .. }), Some(id)) =
            (&mut self.visibility.asking, stanza.id())
        else {
            return;
        };
        let Some(at) = ids.iter().position(|asked| *asked == id).filter(|_| from_room) else { return };
        ids.remove(at);
        *refused |= !stanza.is_type("result");
        let (last, refused) = (ids.is_empty(), *refused);
        if self.visibility.sees && stanza.is_type("result") {
            let jids = stanza.tree().map(|tree| listed(&tree)).unwrap_or_default();
            self.occupants.change(|nick, presence| item::with_jids(presence, jids.get(nick)?));
        }
        if last {
            self.jids_asked(now, out);
            // To who was no moderator just then; the next join asks again.
            self.visibility.behind = self.visibility.sees && refused;
        }
    }

    fn is_moderator(&self) -> bool {
        self.own.as_ref().and_then(|own| own.role(&self.session)).as_deref() == Some("moderator")
    }

    /// Whatever could be learnt is: who waits is served.
    fn jids_asked(&mut self, now: Now, out: &mut Vec<Out>) {
        self.visibility.asking = None;
        self.visibility.behind = false;
        self.name_senders();
        for (client, join) in std::mem::take(&mut self.visibility.replays) {
            if self.is_attached(client) {
                self.replay(now, client, &join, false, out);
            }
        }
        self.serve_waiting(now, out);
        if self.phase == Phase::Joined && self.attached.is_empty() {
            self.empty_since = self.empty_since.or(Some(now.at));
        }
    }

    pub(super) fn tick_visibility(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.visibility.deadline().is_some_and(|until| now.at >= until) {
            let behind = self.visibility.behind;
            self.jids_asked(now, out);
            // The next join asks again.
            self.visibility.behind = behind;
        }
    }

    // ---- the answer to a join again, of which the clients see nothing

    /// An occupant's presence; true if it only says again what is known.
    pub(super) fn is_shown_again(&mut self, nick: &str, stanza: &Stanza) -> bool {
        let Some((id, answered)) = self.visibility.rejoin() else { return false };
        if nick == self.nick {
            if *answered || stanza.id().as_deref() != Some(id) {
                return false;
            }
            *answered = true;
            if let Some(own) = &mut self.own {
                // Prosody does not repeat the codes about the room.
                own.update(item::settled(stanza, false).unwrap_or(stanza.clone()));
            }
            self.look_again();
            return !self.visibility.renamed;
        }
        let known = self.occupants.get(nick).map(|known| known.to_stanza());
        if *answered || !known.is_some_and(|known| item::same_but_jids(&known, stanza)) {
            return false;
        }
        self.occupants.available(nick, stanza);
        true
    }

    /// The room's own presence, before the occupants' (ejabberd).
    pub(super) fn room_is_shown_again(&mut self) -> bool {
        self.visibility.rejoin().is_some_and(|(_, answered)| !*answered)
    }

    /// A groupchat message: true if it is the subject, which ends the answer, or history, which nobody had asked for.
    pub(super) fn is_told_again(&mut self, now: Now, stanza: &Stanza, tree: &Tree<'_>, out: &mut Vec<Out>) -> bool {
        if !self.visibility.rejoin().is_some_and(|(_, answered)| *answered) {
            return false;
        }
        let is_subject = subject::is_subject(tree);
        if is_subject {
            self.subject.at_join(stanza, tree);
            self.jids_asked(now, out);
        }
        is_subject || is_delayed(tree, &self.jid)
    }

    /// The room refuses the join again.
    pub(super) fn rejoin_refused(&mut self, now: Now, id: &str, out: &mut Vec<Out>) -> bool {
        let refused = self.visibility.rejoin().is_some_and(|(asked, _)| asked == id);
        if refused {
            self.jids_asked(now, out);
        }
        refused
    }
}

/// Nick and real JIDs of a list.
fn listed(tree: &Tree<'_>) -> HashMap<String, Vec<String>> {
    let mut jids: HashMap<String, Vec<String>> = HashMap::new();
    let Some(query) = tree.root().child("query", ns::MUC_ADMIN) else { return jids };
    for item in query.children().filter(|c| c.is("item", ns::MUC_ADMIN)) {
        if let (Some(nick), Some(jid)) = (item.attr("nick"), item.attr("jid")) {
            jids.entry(nick.into_owned()).or_default().push(jid.into_owned());
        }
    }
    jids
}

#[cfg(test)]
#[path = "visibility/tests.rs"]
mod tests;
