//! Does what an operator asks, in the running proxy or, where none runs, on the store itself.

use std::sync::Arc;
use std::time::SystemTime;

use clap::ValueEnum;
use jid::{BareJid, FullJid};

use super::answer::{AccountLine, AccountSessionLine, Answer, ClientLine, RoomLine};
use super::request::{Password, Request};
use crate::account::keys::Kept;
use crate::account::registry::Registry;
use crate::session::sessions::Sessions;
use crate::store::Summary;
use crate::stream::sasl::Mechanism;

/// What an operator can reach.
pub struct Operator {
    /// The accounts.
    pub registry: Arc<Registry>,
    /// The client sessions; `None` where no proxy runs.
    pub sessions: Option<Arc<Sessions>>,
}

type Outcome = Result<Answer, String>;

const NO_PROXY: &str = "no proxy runs over this data directory: there are no sessions";

impl Operator {
    /// Does what is asked.
    pub async fn perform(&self, request: Request) -> Answer {
        self.outcome(request).await.unwrap_or_else(Answer::failed)
    }

    async fn outcome(&self, request: Request) -> Outcome {
        match request {
            Request::AccountAdd { account, password } => self.add(&bare(&account)?, password).await,
            Request::AccountList => self.list().await,
            Request::AccountRemove { account, purge } => self.remove(&bare(&account)?, purge).await,
            Request::AccountDeny { account } => self.deny(&bare(&account)?).await,
            Request::AccountAllow { account } => self.allow(&bare(&account)?).await,
            Request::AccountRebind { account } => self.rebind(&bare(&account)?).await,
            Request::AccountRebindAll { domain } => self.rebind_all(&domain).await,
            Request::SessionList => self.sessions(),
            Request::SessionKill { session } => self.kill(&session).await,
            Request::RoomsList { account } => self.rooms(account.as_deref()).await,
            Request::RoomsLeave { account, room } => self.leave(&bare(&account)?, &room).await,
            Request::KeyRotate => self.rotate().await,
            Request::DomainReset { domain } => match self.registry.reset_mechanism(&domain).await {
                Ok(true) => Ok(Answer::done(format!("{domain}: whatever its server offers next is taken as its best"))),
                Ok(false) => Ok(Answer::done(format!("{domain}: nothing was remembered"))),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    async fn add(&self, account: &BareJid, password: Password) -> Outcome {
        match self.registry.enrol(account, password.0).await {
            Ok(Kept::Password) => Ok(Answer::done(format!("{account} is enrolled (its password is kept, encrypted)"))),
            Ok(_) => Ok(Answer::done(format!("{account} is enrolled"))),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn list(&self) -> Outcome {
        let enrolled = self.registry.enrolled().await.map_err(|e| e.to_string())?;
        let denied = self.registry.denied().await.map_err(|e| e.to_string())?;
        let kept = |enrolment: &Summary| match enrolment.keys_for {
            Some(hash) => Mechanism::Scram(hash).name().to_owned(),
            None => "password".to_owned(),
        };
        let enrolled = enrolled.iter().map(|enrolment| AccountLine {
            account: enrolment.account.to_string(),
            denied: false,
            kept: Some(kept(enrolment)),
            upstream: Some(enrolment.upstream.clone()),
            enrolled_at: Some(enrolment.enrolled_at),
            bound: self.registry.is_bound_here(enrolment),
        });
        let denied = denied.iter().map(|account| AccountLine {
            account: account.to_string(),
            denied: true,
            kept: None,
            upstream: None,
            enrolled_at: None,
            bound: None,
        });
        let mut accounts: Vec<AccountLine> = enrolled.chain(denied).collect();
        accounts.sort_by(|a, b| a.account.cmp(&b.account));
        Ok(Answer { ok: true, accounts: Some(accounts), ..Answer::default() })
    }

    async fn remove(&self, account: &BareJid, purge: bool) -> Outcome {
        let known = self.registry.unenrol(account, purge).await.map_err(|e| e.to_string())?;
        if !known {
            return Err(format!("{account} is not enrolled; `minimix-proxy account list` shows who is"));
        }
        let what = if purge { "all that was kept of it is wiped" } else { "it is no longer enrolled" };
        let denied = self.registry.is_denied(account).await.map_err(|e| e.to_string())?;
        let denied = if denied { "; it stays denied" } else { "" };
        Ok(Answer::done(format!("{account}: {what}, and its joins pass through{denied}")))
    }

    async fn deny(&self, account: &BareJid) -> Outcome {
        let new = self.registry.deny(account).await.map_err(|e| e.to_string())?;
        let already = if new { "" } else { " (it was already)" };
        Ok(Answer::done(format!(
            "{account} is denied{already}: nothing is kept of its logins, and its joins pass through"
        )))
    }

    async fn allow(&self, account: &BareJid) -> Outcome {
        match self.registry.allow(account).await {
            Ok(true) => Ok(Answer::done(format!("{account} is no longer denied: its next login may enrol it"))),
            Ok(false) => Err(format!("{account} is not denied; `minimix-proxy account list` shows who is")),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn rebind(&self, account: &BareJid) -> Outcome {
        match self.registry.rebind(account).await {
            Ok(true) => Ok(Answer::done(format!(
                "{account} is bound to the server that its domain has now; its clients are served by it from their next \
                 login"
            ))),
            Ok(false) => Err(format!("{account} is not enrolled; `minimix-proxy account list` shows who is")),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn rebind_all(&self, domain: &str) -> Outcome {
        let accounts = self.registry.rebind_domain(domain).await.map_err(|e| e.to_string())?;
        let count = accounts.len();
        Ok(Answer::done(format!(
            "{domain}: accounts that were bound elsewhere and are bound to its server now: {count}"
        )))
    }

    fn sessions(&self) -> Outcome {
        let sessions = self.sessions.as_ref().ok_or(NO_PROXY)?;
        let clients = sessions.list().into_iter().map(|told| ClientLine {
            id: told.id,
            jid: told.jid,
            peer: told.peer.to_string(),
            tls: told.tls.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default(),
            since: told.since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            attached: told.rooms.is_some(),
            rooms: told.rooms.unwrap_or(0),
        });
        let accounts = self.registry.account_sessions().into_iter().map(|(jid, gauge)| AccountSessionLine {
            jid,
            state: gauge.standing(),
            rooms: gauge.rooms(),
            clients: gauge.clients(),
        });
        let (clients, account_sessions) = (Some(clients.collect()), Some(accounts.collect()));
        Ok(Answer { ok: true, clients, account_sessions, ..Answer::default() })
    }

    async fn kill(&self, session: &str) -> Outcome {
        let sessions = self.sessions.as_ref().ok_or(NO_PROXY)?;
        let nobody = |what: &str| Err(format!("{what}; `minimix-proxy session list` shows who is there"));
        if let Ok(id) = session.parse() {
            return match sessions.kill(id) {
                true => Ok(Answer::done(format!("client session {id} is ended"))),
                false => nobody(&format!("there is no client session {id}")),
            };
        }
        if let Ok(jid) = FullJid::new(session) {
            let ended = sessions.kill_jid(&jid);
            let account = self.registry.account_sessions().iter().any(|(own, _)| own == jid.as_str());
            return match (ended, account) {
                (1.., _) => Ok(Answer::done(format!("the client session of {jid} is ended"))),
                (0, true) => self.kill_account(&jid.to_bare()).await,
                (0, false) => nobody(&format!("{jid} has no client session")),
            };
        }
        self.kill_account(&bare(session)?).await
    }

    async fn kill_account(&self, account: &BareJid) -> Outcome {
        if self.registry.kill(account).await {
            let until = "its clients' joins pass through until one of them logs in";
            return Ok(Answer::done(format!("the account session of {account} is ended: {until}")));
        }
        Err(format!("{account} has no account session; `minimix-proxy session list` shows who has"))
    }

    async fn rooms(&self, account: Option<&str>) -> Outcome {
        self.sessions.as_ref().ok_or(NO_PROXY)?;
        let account = account.map(bare).transpose()?;
        let all = self.registry.rooms(account.as_ref()).await.into_iter();
        let lines = all.flat_map(|(account, rooms)| {
            rooms.into_iter().map(move |room| RoomLine {
                account: account.to_string(),
                room: room.room,
                nick: room.nick,
                state: room.standing,
                clients: room.clients,
                occupants: room.occupants,
            })
        });
        Ok(Answer { ok: true, rooms: Some(lines.collect()), ..Answer::default() })
    }

    async fn leave(&self, account: &BareJid, room: &str) -> Outcome {
        self.sessions.as_ref().ok_or(NO_PROXY)?;
        let room =
            BareJid::new(room).map_err(|error| format!("{room} is no room ({error}); give it as room@service"))?;
        if self.registry.leave_room(account, &room).await {
            return Ok(Answer::done(format!(
                "{account} leaves {room}, and joins it again when one of its clients does"
            )));
        }
        Err(format!("{account} is not in {room}; `minimix-proxy rooms list` shows who is where"))
    }

    async fn rotate(&self) -> Outcome {
        let done = self.registry.rotate_key().await.map_err(|e| e.to_string())?;
        let lost = match done.unreadable {
            0 => String::new(),
            lost => format!("; values that had been altered and are lost: {lost}"),
        };
        Ok(Answer::done(format!("the store is encrypted with a new key{lost}")))
    }
}

fn bare(account: &str) -> Result<BareJid, String> {
    BareJid::new(account).map_err(|error| format!("{account} is no bare JID ({error}); give it as user@domain"))
}
