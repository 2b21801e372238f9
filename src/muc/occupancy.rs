//! Presence from the room (XEP-0045 §7.2, §7.7, §7.14): who comes, changes and goes, and what becomes of the account.

use std::sync::Arc;

use crate::muc::codes::{self, Departure, MucUser};
use crate::muc::history::Keeping;
use crate::muc::room::{Phase, Room};
use crate::muc::self_presence::with_own_jid;
use crate::muc::{Now, Out, actor, item};
use crate::xmpp::ns;
use crate::xmpp::shared::Shared;
use crate::xmpp::stanza::Stanza;

impl Room {
    /// Presence of the room or of an occupant of it.
    pub(super) fn room_presence(&mut self, now: Now, nick: Option<String>, stanza: Stanza, out: &mut Vec<Out>) {
        match stanza.type_().as_deref() {
            None => match nick {
                Some(nick) => self.occupant_available(now, &nick, stanza, out),
                None => self.room_itself(stanza, out),
            },
            Some("unavailable") => match nick {
                Some(nick) => self.occupant_unavailable(now, &nick, stanza, out),
                // ejabberd says farewell with this at a leave.
                None => self.show_all(Shared::new(&stanza, None), out),
            },
            Some("error") => self.presence_error(now, stanza, out),
            Some(_) => self.show_all(Shared::new(&stanza, None), out),
        }
    }

    fn room_itself(&mut self, stanza: Stanza, out: &mut Vec<Out>) {
        if stanza.tree().is_ok_and(|tree| tree.root().child("c", ns::CAPS).is_some()) {
            // ejabberd says so what the room can do.
            *self.history.keeping() = Keeping::Queue;
        }
        let shared = Arc::new(Shared::new(&stanza.edit().finish(), None));
        self.room_presence = Some(shared.clone());
        if !self.room_is_shown_again() {
            self.show_shared(shared, out);
        }
    }

    fn occupant_available(&mut self, now: Now, nick: &str, stanza: Stanza, out: &mut Vec<Out>) {
        let user = stanza.tree().map(|tree| MucUser::read(&tree)).unwrap_or_default();
        if self.is_shown_again(nick, &stanza) || self.answers_probe(now, nick, &stanza, out) {
            return;
        }
        self.leaves_nick_to_sibling(nick, &user);
        match self.phase.clone() {
            Phase::Joining { keep, asker, .. } if user.has(codes::SELF) => {
                // Kept for as long as the account stays: a copy, so that it does not pin the read buffer.
                self.entered(now, nick, stanza.edit().finish(), &user, keep, asker, out);
            }
            Phase::Entering { .. } | Phase::Joined | Phase::Leaving { .. } if nick == self.nick => {
                if let Some(own) = &mut self.own {
                    own.update(item::settled(&stanza, false).unwrap_or_else(|| stanza.edit().finish()));
                }
                self.look_again();
                self.show_own(&stanza, out);
                if let Some(id) = stanza.id() {
                    self.presence_answered(now, &id, out);
                }
            }
            _ => {
                let shared = Arc::new(actor::shared(&stanza, &self.session));
                let settled = item::settled(&stanza, true);
                self.occupants.available(nick, settled.as_ref().unwrap_or(&stanza));
                self.keep_to_budget(Some(nick));
                self.show_shared(shared, out);
            }
        }
    }

    fn occupant_unavailable(&mut self, now: Now, nick: &str, stanza: Stanza, out: &mut Vec<Out>) {
        let own = nick == self.nick && !matches!(self.phase, Phase::Joining { .. } | Phase::Out);
        if self.answers_probe(now, nick, &stanza, out) {
            return;
        }
        if !own {
            self.occupants.unavailable(nick);
            self.history.author_left(nick);
            return self.show_all(actor::shared(&stanza, &self.session), out);
        }
        let user = stanza.tree().map(|tree| MucUser::read(&tree)).unwrap_or_default();
        if self.is_siblings_end(now, &user, out) {
            return;
        }
        let shared = with_own_jid(&stanza, &self.session);
        if user.has(codes::NEW_NICK) {
            self.shown.renamed();
            self.visibility.renamed();
            if let Some(new) = user.items.iter().find_map(|i| i.nick.clone()) {
                self.history.author_left(nick);
                self.nick = new;
                let own_jid = self.own_jid();
                if let Some(own) = &mut self.own {
                    own.rename(&own_jid);
                }
            }
            self.show_all(shared, out);
            self.present_best(now, None, out);
            return self.ask_next_nick(now, out);
        }
        let leaving = matches!(self.phase, Phase::Leaving { .. });
        let held = self.end_repair();
        self.show_all(shared, out);
        self.detach_all(out);
        let departure = Departure::read(&user);
        self.put_out |= departure == Departure::Removed;
        let technical = departure == Departure::Technical || departure == Departure::Unmarked && !leaving;
        match self.visibility.unanswered_rejoin().filter(|_| !leaving) {
            Some(id) => self.crossed_by_rejoin(now, id, technical, out),
            None if technical => self.lost(now, out),
            None => self.left(now, out),
        }
        for (client, stanza) in held {
            self.from_client(now, client, stanza, out);
        }
    }

    /// The account was put out while a join again was on its way, which lets it in once more: where it would go back,
    /// it stays; else it leaves.
    fn crossed_by_rejoin(&mut self, now: Now, id: String, stays: bool, out: &mut Vec<Out>) {
        if !stays {
            self.start_leave(now, out);
        }
        self.forget();
        self.give_up_resends(out);
        let deadline = now.at + self.settings.join_timeout;
        self.phase = match stays {
            true => Phase::Joining { deadline, id, keep: true, asker: None },
            false => Phase::Leaving { deadline, join: Some(id) },
        };
    }

    fn presence_error(&mut self, now: Now, stanza: Stanza, out: &mut Vec<Out>) {
        let answers = stanza.id().map(|id| id.into_owned());
        if let Phase::Joining { id, keep, asker, .. } = self.phase.clone()
            && answers.as_deref().is_none_or(|answer| answer == id)
        {
            return self.join_failed(now, stanza, keep, asker, out);
        }
        if let (Phase::Leaving { join: Some(join), .. }, Some(refused)) = (&self.phase, &answers)
            && join == refused
        {
            // There is nothing to leave.
            return self.left(now, out);
        }
        if answers.as_deref().is_some_and(|id| self.rejoin_refused(now, id, out)) {
            return;
        }
        if let Some(client) = self.authors.answered(&stanza) {
            out.push(Out::One(client, Arc::new(Shared::new(&stanza, None))));
        }
        if let Some(id) = answers {
            self.nick_refused(now, &id, out);
            self.presence_answered(now, &id, out);
        }
    }
}
