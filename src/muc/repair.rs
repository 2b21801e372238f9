//! An occupancy that was lost and that nobody has spoken of (XEP-0410): the account goes back, and its attached clients
//! are shown what has changed meanwhile and what was said, as if they had been there. If that cannot be had, they are
//! told of the outage (110 and 333), and join again by themselves.

use std::sync::Arc;

use crate::muc::catch_up::CatchUp;
use crate::muc::codes::{self, MucUser};
use crate::muc::history::{History, Missed};
use crate::muc::join::rejoin;
use crate::muc::occupant::Occupants;
use crate::muc::room::{MOST_HELD, Phase, Room};
use crate::muc::self_presence::SelfPresence;
use crate::muc::subject::Subject;
use crate::muc::{ClientId, Now, Out, actor, item};
use crate::xml::element::Tree;
use crate::xml::writer::escape;
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

/// What clients have sent to a room, to be taken up later.
type Held = Vec<(ClientId, Stanza)>;

/// What the attached clients were shown last, while the account goes back.
#[derive(Debug)]
pub(super) struct Repair {
    own: SelfPresence,
    room_presence: Option<Arc<Shared>>,
    occupants: Occupants,
    subject: Subject,
    history: History,
    /// What they send meanwhile.
    held: Held,
    /// The archive is asked for what the history does not reach back to.
    pub(super) catch_up: Option<CatchUp>,
}

impl Repair {
    /// How many stanzas wait.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Bytes kept beside what accounts share.
    pub(super) fn bytes(&self) -> usize {
        let held: usize = self.held.iter().map(|(_, stanza)| stanza.bytes().len()).sum();
        held + self.catch_up.as_ref().map_or(0, CatchUp::bytes)
    }

    /// Bytes of the occupants and messages that accounts share.
    pub(super) fn shared_bytes(&self) -> usize {
        self.occupants.bytes() + self.history.bytes()
    }

    /// How many of those there are.
    pub(super) fn listed(&self) -> usize {
        self.occupants.len() + self.history.len()
    }

    /// The client is gone.
    pub(super) fn client_gone(&mut self, client: ClientId) {
        self.held.retain(|(sender, _)| *sender != client);
    }

    /// The room is another one now.
    pub(super) fn created(&mut self) {
        self.history.clear();
    }
}

impl Room {
    /// The account is not in the room, and nobody has said so: it goes back at once.
    pub(super) fn not_in(&mut self, now: Now, out: &mut Vec<Out>) {
        if self.can_repair() {
            return self.start_repair(now, out);
        }
        if self.phase != Phase::Joined || self.repair.is_some() {
            return;
        }
        self.tell_outage(out);
        self.lost(now, out);
        if matches!(self.phase, Phase::Lost { .. }) {
            self.start_rejoin(now, out);
        }
    }

    /// The account is in as far as it knows, somebody is attached, and what was said meanwhile can be told from what was said before.
    pub(super) fn can_repair(&self) -> bool {
        self.phase == Phase::Joined
            && self.repair.is_none()
            && !self.attached.is_empty()
            && self.own.is_some()
            && self.settings.history > 0
    }

    fn start_repair(&mut self, now: Now, out: &mut Vec<Out>) {
        let Some(own) = self.own.take() else { return };
        let shown = self.shown_presence();
        let repair = Repair {
            own,
            room_presence: self.room_presence.take(),
            occupants: self.occupants.take(),
            subject: std::mem::take(&mut self.subject),
            history: self.history.take(),
            held: self.visibility.take_replays().into_iter().map(|(client, join)| (client, join.stanza)).collect(),
            catch_up: None,
        };
        self.forget();
        let id = self.next_id();
        let password = self.autojoin.as_ref().and_then(|autojoin| autojoin.password.as_ref());
        out.push(Out::Up(rejoin(&self.jid, &self.nick, &id, self.settings.history, password, &shown)));
        self.shown.joined_with(&shown);
        self.phase = Phase::Joining { deadline: now.at + self.settings.join_timeout, id, keep: true, asker: None };
        self.repair = Some(repair);
    }

    /// A client sends something meanwhile; back if it is not kept for later.
    pub(super) fn hold_for_repair(&mut self, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) -> Option<Stanza> {
        let Some(repair) = &mut self.repair else { return Some(stanza) };
        if repair.held.len() < MOST_HELD {
            repair.held.push((client, stanza));
        } else if let Some(reply) = error_reply(&stanza, "", StanzaCondition::ResourceConstraint, "") {
            out.push(Out::One(client, Arc::new(Shared::new(&Stanza::own(reply), None))));
        }
        None
    }

    /// The own occupant as the clients know it.
    pub(super) fn own_as_shown(&self) -> Option<&SelfPresence> {
        self.own.as_ref().or_else(|| self.repair.as_ref().map(|repair| &repair.own))
    }

    /// The account is in the room again: what clients have sent meanwhile. None: what was said is asked for first.
    pub(super) fn reconcile(&mut self, now: Now, out: &mut Vec<Out>) -> Option<Held> {
        let Some(repair) = &mut self.repair else { return Some(Held::new()) };
        match self.history.go_on_from(&mut repair.history, &self.jid) {
            Missed::Messages(missed) => return Some(self.repaired(missed, out)),
            Missed::Gap(Some(last)) => {
                self.start_catch_up(now, &last, out);
                return None;
            }
            Missed::Gap(None) => {}
        }
        self.give_up_repair(now, out);
        Some(Held::new())
    }

    /// The archive has said what is missing.
    pub(super) fn repaired_with(&mut self, archived: &[Stanza], out: &mut Vec<Out>) -> Held {
        let Some(repair) = &mut self.repair else { return Held::new() };
        let missed = self.history.go_on_with(&mut repair.history, archived, &self.jid);
        self.repaired(missed, out)
    }

    /// Shows what has changed; what clients have sent meanwhile.
    fn repaired(&mut self, missed: Vec<Arc<Shared>>, out: &mut Vec<Out>) -> Held {
        let Some(repair) = self.repair.take() else { return Held::new() };
        self.show_changed_occupants(&repair.occupants, out);
        self.show_changed_self(&repair.own, out);
        let known = |now: &Arc<Shared>| repair.room_presence.as_ref().is_some_and(|before| same(before, now));
        if let Some(presence) = self.room_presence.clone().filter(|now| !known(now)) {
            self.show_shared(presence, out);
        }
        for message in missed {
            self.show_shared(message, out);
        }
        let (before, subject) = (repair.subject.show(&self.jid), self.subject.show(&self.jid));
        if !same(&before, &subject) {
            self.show_shared(subject, out);
        }
        repair.held
    }

    fn show_changed_occupants(&mut self, before: &Occupants, out: &mut Vec<Out>) {
        let mut gone = Vec::new();
        for (nick, presence) in before.iter() {
            let now = self.occupants.get(nick);
            if !now.is_some_and(|now| is_certainly_same_person(presence, now)) {
                // Whoever has that nick now cannot take back what was written under it before.
                self.history.author_left(nick);
            }
            if now.is_none() {
                gone.extend(unavailable(presence));
            }
        }
        for presence in gone {
            self.show_all(actor::shared(&presence, &self.session), out);
        }
        let changed =
            self.occupants.iter().filter(|(nick, presence)| !before.get(nick).is_some_and(|b| same(b, presence)));
        for presence in changed.map(|(_, presence)| presence.clone()).collect::<Vec<_>>() {
            self.show_shared(presence, out);
        }
    }

    fn show_changed_self(&self, before: &SelfPresence, out: &mut Vec<Out>) {
        let Some(own) = &self.own else { return };
        let item = |own: &SelfPresence| own.item(&self.session).map(|item| (item.role, item.affiliation));
        if item(own) != item(before) {
            self.show_all(own.reflected(&self.session, None), out);
        }
        let told = [(codes::NON_ANONYMOUS, (172, 173)), (codes::LOGGED, (codes::LOGGED, codes::NOT_LOGGED))];
        for (code, (on, off)) in told {
            if own.shows(code) != before.shows(code) {
                let code = if own.shows(code) { on } else { off };
                let x = format!("<x xmlns='{}'><status code='{code}'/></x>", ns::MUC_USER);
                let text = format!("<message from='{}' to='' type='groupchat'>{x}</message>", escape(&self.jid));
                self.show_all(Shared::new(&Stanza::own(text), None), out);
            }
        }
    }

    /// What was missed cannot be had, or the account is not let in: the clients are told of the outage.
    pub(super) fn give_up_repair(&mut self, now: Now, out: &mut Vec<Out>) {
        let Some(repair) = self.repair.take() else { return };
        self.show_all(repair.own.unavailable(&self.session, None, &[codes::TECHNICAL]), out);
        self.detach_all(out);
        for (client, stanza) in repair.held {
            self.from_client(now, client, stanza, out);
        }
    }

    /// The account is out, and that is told the clients otherwise; what they have sent meanwhile.
    pub(super) fn end_repair(&mut self) -> Held {
        self.repair.take().map(|repair| repair.held).unwrap_or_default()
    }
}

/// Whether two stanzas say the same.
fn same(a: &Shared, b: &Shared) -> bool {
    a.bytes() == b.bytes() || item::same(&a.to_stanza(), &b.to_stanza())
}

fn is_certainly_same_person(a: &Shared, b: &Shared) -> bool {
    let jid = |shared: &Shared| {
        let tree = Tree::parse(shared.bytes()).ok()?;
        let (jid, _) = MucUser::read(&tree).items.into_iter().next()?.jid?;
        Some(jid.split('/').next().unwrap_or_default().to_owned())
    };
    matches!((jid(a), jid(b)), (Some(a), Some(b)) if a == b)
}

/// What the room would have sent when that occupant left.
fn unavailable(presence: &Shared) -> Option<Stanza> {
    let stanza = presence.to_stanza();
    let tree = stanza.tree().ok()?;
    let item = MucUser::read(&tree).items.into_iter().next();
    let attribute = |name: &str, value: Option<&str>| value.map(|v| format!(" {name}='{}'", escape(v)));
    let affiliation = item.as_ref().and_then(|i| i.affiliation.as_deref()).unwrap_or("none");
    let jid = attribute("jid", item.as_ref().and_then(|i| i.jid.as_ref()).map(|(jid, _)| jid.as_str()));
    Some(Stanza::own(format!(
        "<presence from='{}' to='' type='unavailable'><x xmlns='{}'><item affiliation='{}'{} role='none'/></x></presence>",
        escape(&stanza.from()?),
        ns::MUC_USER,
        escape(affiliation),
        jid.unwrap_or_default(),
    )))
}
