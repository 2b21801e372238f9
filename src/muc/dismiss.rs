//! The operator's view of a room, and its end by the operator's word.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::muc::room::{Phase, Room};
use crate::muc::{Now, Out};

/// Where the account's membership of a room stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Not in the room.
    Out,
    /// Its join is not answered yet, or not to its end.
    Joining,
    /// In the room.
    Joined,
    /// Its leave is not answered yet.
    Leaving,
    /// Put out by an accident; it goes back.
    Lost,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Standing::Out => "out",
            Standing::Joining => "joining",
            Standing::Joined => "joined",
            Standing::Leaving => "leaving",
            Standing::Lost => "lost",
        })
    }
}

impl Room {
    /// Where the membership stands.
    pub fn standing(&self) -> Standing {
        match self.phase {
            Phase::Out => Standing::Out,
            Phase::Joining { .. } | Phase::Entering { .. } => Standing::Joining,
            Phase::Joined => Standing::Joined,
            Phase::Leaving { .. } => Standing::Leaving,
            Phase::Lost { .. } => Standing::Lost,
        }
    }

    /// The account leaves at once, whoever is attached: each client sees its own leave. Whose join is not answered yet
    /// is a client that asks for the room again: it gets in afterwards.
    pub fn dismiss(&mut self, now: Now, out: &mut Vec<Out>) {
        let gone = self.own_as_shown().map(|own| Arc::new(own.unavailable(&self.session, None, &[])));
        let held = self.end_repair();
        if let Some(gone) = gone {
            self.show_shared(gone, out);
        }
        self.detach_all(out);
        // Its bookmark does not take it back, either.
        self.put_out = true;
        match self.phase {
            Phase::Joining { .. } | Phase::Entering { .. } | Phase::Joined => {
                // Until the room has answered, what it says of others is nobody's.
                self.start_leave(now, out);
            }
            Phase::Lost { .. } | Phase::Out => {
                self.phase = Phase::Out;
                if self.waiting.is_empty() {
                    self.forget();
                    out.push(Out::Ended);
                }
            }
            Phase::Leaving { .. } => {}
        }
        for (client, stanza) in held {
            self.from_client(now, client, stanza, out);
        }
    }
}
