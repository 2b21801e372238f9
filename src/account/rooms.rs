//! What the operator asks about rooms, and does with them: the question goes to the account's task, which answers.

use std::time::Duration;

use jid::BareJid;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::account::account::{Account, Output};
use crate::account::handle::{Handle, ToAccount};
use crate::account::registry::Registry;
use crate::muc::Now;
use crate::muc::dismiss::Standing;

/// How long an account's task may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One room of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomState {
    /// The room.
    pub room: String,
    /// The account's nick there.
    pub nick: String,
    /// Where the membership stands.
    pub standing: Standing,
    /// The full JIDs of the clients that are attached.
    pub clients: Vec<String>,
    /// How many occupants the room has, the account's among them; 0 if it is not in the room.
    pub occupants: usize,
}

impl Account {
    /// The rooms, sorted by their JIDs.
    pub fn room_states(&self) -> Vec<RoomState> {
        let jid = |client| self.clients().find(|(id, _)| *id == client).map(|(_, jid)| jid.to_string());
        let mut all: Vec<RoomState> = self
            .rooms()
            .map(|room| RoomState {
                room: room.jid().to_owned(),
                nick: room.nick().to_owned(),
                standing: room.standing(),
                clients: room.audience().iter().filter_map(|client| jid(*client)).collect(),
                occupants: room.occupants() + usize::from(room.is_joined()),
            })
            .collect();
        all.sort_by(|a, b| a.room.cmp(&b.room));
        all
    }

    /// The operator has the account leave a room.
    pub(super) fn dismiss(&mut self, now: Now, jid: &str, out: &mut Vec<Output>) {
        let Some(room) = self.rooms.get_mut(jid) else { return };
        let mut outs = Vec::new();
        room.dismiss(now, &mut outs);
        self.spread(now, jid, outs, out);
    }
}

impl Registry {
    /// The rooms of one account, or of all that are live. An account whose task does not answer has none to show.
    pub async fn rooms(&self, account: Option<&BareJid>) -> Vec<(BareJid, Vec<RoomState>)> {
        let mut wanted = self.live();
        wanted.retain(|(live, _)| account.is_none_or(|account| account == live));
        wanted.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut all = Vec::with_capacity(wanted.len());
        for (account, handle) in wanted {
            let rooms = ask(&handle, |answer| ToAccount::Rooms { answer }).await;
            all.push((account, rooms.unwrap_or_default()));
        }
        all
    }

    /// The account leaves a room at once; whether it had that room.
    pub async fn leave_room(&self, account: &BareJid, room: &BareJid) -> bool {
        let Some((_, handle)) = self.live().into_iter().find(|(live, _)| live == account) else { return false };
        ask(&handle, |answer| ToAccount::LeaveRoom { room: room.clone(), answer }).await.unwrap_or(false)
    }
}

async fn ask<T>(handle: &Handle, question: impl FnOnce(oneshot::Sender<T>) -> ToAccount) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    timeout(PATIENCE, async {
        handle.sender().send(question(answer)).await.ok()?;
        answered.await.ok()
    })
    .await
    .ok()?
}
