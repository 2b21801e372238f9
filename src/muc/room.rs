//! One room as one account is in it (XEP-0045): the phases of its membership, and the ordered dispatch of all that
//! comes from the room and from the clients. Each feature's doing is in its own file.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::muc::authors::Authors;
use crate::muc::autojoin::Autojoin;
use crate::muc::budget::Footprint;
use crate::muc::challenge::Challenge;
use crate::muc::entrance::Entrance;
use crate::muc::history::History;
use crate::muc::invitations::Invitations;
use crate::muc::join::{Join, Waiter};
use crate::muc::membership::FIRST_RETRY;
use crate::muc::occupant::Occupants;
use crate::muc::presence::{Attached, Shown};
use crate::muc::probe::Probes;
use crate::muc::repair::Repair;
use crate::muc::resend::Resend;
use crate::muc::self_presence::SelfPresence;
use crate::muc::subject::Subject;
use crate::muc::verify::Verified;
use crate::muc::visibility::Visibility;
use crate::muc::{Audience, ClientId, Now, Out, Settings};
use crate::xmpp::conditions::{StanzaCondition, error_reply};
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::{Kind, Stanza};

/// What a client may send to a room whose join is not answered yet, in stanzas.
pub(super) const MOST_HELD: usize = 256;

/// Where the account's membership stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not in the room; nothing asked.
    Out,
    /// The account's join is under way. `keep`: the account was in the room before and stays, wanted or not.
    Joining { deadline: Instant, id: String, keep: bool, asker: Option<ClientId> },
    /// Our own presence came; history and subject are coming.
    Entering { deadline: Instant, keep: bool },
    /// In the room.
    Joined,
    /// The account's leave is under way; `join`: the id of a join that is not answered, either.
    Leaving { deadline: Instant, join: Option<String> },
    /// Lost the room without anybody's will; goes back when it is its turn, after that time.
    Lost { retry_at: Option<Instant> },
}

/// One room of one account.
#[derive(Debug)]
pub struct Room {
    /// The room's bare JID, normalised.
    pub(super) jid: String,
    /// The account session's full JID.
    pub(super) session: String,
    pub(super) settings: Arc<Settings>,
    pub(super) nick: String,
    /// The nick to go back with, if another one is not to be had.
    pub(super) usual_nick: Option<String>,
    pub(super) phase: Phase,
    pub(super) waiting: VecDeque<Waiter>,
    pub(super) attached: Vec<Attached>,
    pub(super) audience: Audience,
    pub(super) occupants: Occupants,
    /// Presence of the room itself (ejabberd sends one before the first occupant's).
    pub(super) room_presence: Option<Arc<Shared>>,
    pub(super) own: Option<SelfPresence>,
    pub(super) subject: Subject,
    pub(super) history: History,
    /// Who sent what: errors go to the author alone.
    pub(super) authors: Authors,
    pub(super) invitations: Invitations,
    /// What the room has asked before it answers the join.
    pub(super) challenge: Option<Challenge>,
    /// The room was created by our join and is not configured yet (201).
    pub(super) unconfigured: bool,
    /// The client that was told so.
    pub(super) creator: Option<ClientId>,
    pub(super) shown: Shown,
    pub(super) entrance: Option<Entrance>,
    pub(super) probes: Probes,
    pub(super) visibility: Visibility,
    pub(super) verified: Verified,
    pub(super) resend: Resend,
    /// The account goes back to the room, and its clients do not know that it was away.
    pub(super) repair: Option<Repair>,
    /// The account leaves then, if that client is still online.
    pub(super) leave_at: Option<(Instant, ClientId)>,
    /// What that client said at its leave.
    pub(super) parting: Option<Stanza>,
    /// Nobody is attached since then.
    pub(super) empty_since: Option<Instant>,
    /// The person wants the account to be here, with or without clients.
    pub(super) autojoin: Option<Autojoin>,
    /// The room has put the account out, or not let it in, and no client has joined since.
    pub(super) put_out: bool,
    /// The wait before the next attempt to go back.
    pub(super) retry_wait: Duration,
    pub(super) footprint: Footprint,
    id_prefix: String,
    ids_made: u64,
}

impl Room {
    /// A room nobody has joined yet. `session` is the account session's full JID; `id_prefix` makes the ids of what
    /// this room sends by itself unguessable.
    pub fn new(jid: &str, session: &str, id_prefix: String, settings: Arc<Settings>) -> Self {
        Room {
            jid: jid.to_owned(),
            session: session.to_owned(),
            nick: String::new(),
            usual_nick: None,
            phase: Phase::Out,
            waiting: VecDeque::new(),
            attached: Vec::new(),
            audience: Arc::new([]),
            occupants: Occupants::new(settings.kept.clone(), domain(session)),
            room_presence: None,
            own: None,
            subject: Subject::default(),
            history: History::sharing(settings.history, settings.kept.clone(), domain(session)),
            authors: Authors::default(),
            invitations: Invitations::default(),
            challenge: None,
            unconfigured: false,
            creator: None,
            shown: Shown::default(),
            entrance: None,
            probes: Probes::default(),
            visibility: Visibility::default(),
            verified: Verified::default(),
            resend: Resend::default(),
            repair: None,
            leave_at: None,
            parting: None,
            empty_since: None,
            autojoin: None,
            put_out: false,
            retry_wait: FIRST_RETRY,
            footprint: Footprint::new(settings.kept.memory()),
            id_prefix,
            ids_made: 0,
            settings,
        }
    }

    /// The room's JID.
    pub fn jid(&self) -> &str {
        &self.jid
    }

    /// The account's nick in the room.
    pub fn nick(&self) -> &str {
        &self.nick
    }

    /// Whether the account is in the room, as far as the room said.
    pub fn is_joined(&self) -> bool {
        matches!(self.phase, Phase::Joined | Phase::Entering { .. })
    }

    /// Whether the account is on its way into the room.
    pub fn is_entering(&self) -> bool {
        matches!(self.phase, Phase::Joining { .. } | Phase::Entering { .. })
    }

    /// The attached clients.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Whether that client is attached.
    pub fn is_attached(&self, client: ClientId) -> bool {
        self.attached.iter().any(|a| a.client == client)
    }

    /// Whether the room has business with that client: it is attached, or waits for the answer to its join.
    pub fn knows(&self, client: ClientId) -> bool {
        self.is_attached(client) || self.waiting.iter().any(|w| w.client == client)
    }

    /// Whether a client waits for the answer to its join.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How many things are kept for clients: their joins and what they sent behind them, who sent what, who invited whom.
    pub fn kept_for_clients(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|waiter| 1 + waiter.held.len()).sum();
        let held = self.repair.as_ref().map_or(0, Repair::held);
        let sent = self.authors.len() + self.invitations.len() + self.probes.len() + self.shown.nicks_wanted.len();
        waiting + held + self.visibility.waiting() + self.verified.waiting() + self.attached.len() + sent
    }

    /// How many others are in the room.
    pub fn occupants(&self) -> usize {
        self.occupants.len()
    }

    pub(super) fn next_id(&mut self) -> String {
        self.ids_made += 1;
        format!("{}-{}", self.id_prefix, self.ids_made)
    }

    pub(super) fn own_jid(&self) -> String {
        format!("{}/{}", self.jid, self.nick)
    }

    // ---- from the clients

    /// A client's stanza to this room or to an occupant of it.
    pub fn from_client(&mut self, now: Now, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        if self.is_attached(client) {
            let Some(stanza) = self.hold_for_repair(client, stanza, out) else { return };
            return self.from_attached(now, client, stanza, out);
        }
        if self.answers_challenge(client, &stanza) {
            return out.push(Out::Ask(client, stanza));
        }
        if let Some(waiter) = self.waiting.iter_mut().find(|w| w.client == client) {
            if waiter.held.len() < MOST_HELD {
                waiter.held.push(stanza);
            } else if let Some(reply) = error_reply(&stanza, "", StanzaCondition::ResourceConstraint, "") {
                out.push(Out::One(client, Arc::new(Shared::new(&Stanza::own(reply), None))));
            }
            return;
        }
        self.from_unattached(now, client, stanza, out);
    }

    pub(super) fn from_unattached(&mut self, now: Now, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        if let Some(join) = Join::read(&stanza) {
            return self.join(now, client, join, out);
        }
        if stanza.is_presence() && stanza.is_type("unavailable") && self.phase != Phase::Out {
            // Not attached, so there is nothing to leave and nothing to answer.
            return;
        }
        if stanza.is_presence() && stanza.type_().is_none() && self.is_joined() {
            // ejabberd would let a second session of the account in by this.
            let text = "join this room first";
            if let Some(reply) = error_reply(&stanza, "", StanzaCondition::ItemNotFound, text) {
                out.push(Out::One(client, Arc::new(Shared::new(&Stanza::own(reply), None))));
            }
            return;
        }
        out.push(Out::Relay(client, stanza));
    }

    fn from_attached(&mut self, now: Now, client: ClientId, stanza: Stanza, out: &mut Vec<Out>) {
        self.heard(client);
        match stanza.kind() {
            Kind::Presence => self.client_presence(now, client, stanza, out),
            Kind::Message => self.client_message(now, client, stanza, out),
            _ => self.client_iq(client, stanza, out),
        }
    }

    fn join(&mut self, now: Now, client: ClientId, join: Join, out: &mut Vec<Out>) {
        if self.attached.len() + self.waiting.len() >= self.settings.max_attached {
            let text = "too many clients of this account are in the room";
            let error = join.error(&self.jid, StanzaCondition::ResourceConstraint, text);
            out.push(Out::One(client, Arc::new(Shared::new(&error, None))));
            out.push(Out::Limited(client, "rooms.max_attached: a join is refused"));
            return;
        }
        if self.phase == Phase::Joined && self.repair.is_none() {
            self.waiting.push_back(Waiter::new(client, join));
            if !self.asks_for_jids(now, out) {
                return self.serve_waiting(now, out);
            }
            self.leave_at = None;
            self.empty_since = None;
            return;
        }
        self.waiting.push_back(Waiter::new(client, join));
        if matches!(self.phase, Phase::Out | Phase::Lost { .. }) {
            self.start_join(now, out);
        }
    }

    /// What is known of the room holds no longer.
    pub(super) fn forget(&mut self) {
        self.occupants.clear();
        self.room_presence = None;
        self.own = None;
        self.subject = Subject::default();
        self.history.clear();
        self.authors.clear();
        self.invitations.clear();
        self.challenge = None;
        self.unconfigured = false;
        self.creator = None;
        self.shown = Shown::default();
        self.entrance = None;
        self.probes = Probes::default();
        self.visibility = Visibility::default();
        self.verified = Verified::default();
        self.resend.forget_sent();
        self.leave_at = None;
        self.parting = None;
        self.recount();
    }

    // ---- from the room

    /// A stanza from the room or from an occupant of it, received by the account session.
    pub fn from_room(&mut self, now: Now, stanza: Stanza, out: &mut Vec<Out>) {
        let from = stanza.from().map(|f| f.into_owned()).unwrap_or_default();
        let nick = from.split_once('/').map(|(_, nick)| nick.to_owned());
        if !stanza.is_type("error") {
            self.hears(now);
        }
        let Some(stanza) = self.while_catching_up(now, stanza, out) else { return };
        match stanza.kind() {
            Kind::Presence => self.room_presence(now, nick, stanza, out),
            Kind::Message => self.room_message(now, nick, stanza, out),
            _ => {}
        }
        self.keep_nothing_if_outside();
    }

    // ---- the account session and the clock

    /// When the room wants to be woken.
    pub fn deadline(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Joining { deadline, .. } | Phase::Entering { deadline, .. } | Phase::Leaving { deadline, .. } => {
                Some(*deadline)
            }
            Phase::Lost { retry_at } => *retry_at,
            Phase::Out | Phase::Joined => None,
        };
        let joined = self.phase == Phase::Joined;
        // Nobody leaves a room that a client is entering.
        let may_leave = joined && self.waiting.is_empty() && !self.stays();
        let empty = self.empty_since.filter(|_| may_leave).map(|since| since + self.settings.offline_ttl);
        let leave = self.leave_at.filter(|_| may_leave).map(|(at, _)| at);
        let resend = self.resend.deadline().filter(|_| joined);
        let seen = self.visibility.deadline();
        let entrance = self.entrance.as_ref().map(Entrance::deadline);
        let shown = [self.shown.reconsider_at(), self.shown.next_nick_at(), seen, entrance];
        let waits = [phase, leave, empty, self.verify_at(), resend, self.catch_up_until()];
        let waits = waits.into_iter().chain(shown);
        waits.flatten().min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Out>) {
        match self.phase.clone() {
            Phase::Joining { deadline, keep, asker, .. } if now.at >= deadline => {
                self.join_timed_out(now, keep, asker, out);
            }
            Phase::Entering { deadline, .. } if now.at >= deadline => self.joined(now, out),
            Phase::Leaving { deadline, .. } if now.at >= deadline => self.left(now, out),
            Phase::Lost { retry_at: Some(at) } if now.at >= at => {
                self.phase = Phase::Lost { retry_at: None };
                out.push(Out::Lost);
            }
            _ => {}
        }
        self.tick_catch_up(now, out);
        self.tick_visibility(now, out);
        self.tick_entrance(now, out);
        self.tick_leave(now, out);
        self.tick_presence(now, out);
        self.tick_nick(now, out);
        self.tick_verify(now, out);
        self.tick_resend(now, out);
    }
}

/// Of a full JID.
fn domain(jid: &str) -> &str {
    let bare = jid.split('/').next().unwrap_or_default();
    bare.split_once('@').map_or(bare, |(_, domain)| domain)
}
