//! A client's ways to its account and back, as its task waits on them.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::account::handle::{Allowance, ClientId, Inbox, ToAccount, ToClient};

/// The session's membership in its account: however the task ends, the account learns of it.
pub(super) struct Introduced {
    pub(super) client: ClientId,
    pub(super) sender: mpsc::Sender<ToAccount>,
}

impl Drop for Introduced {
    fn drop(&mut self) {
        let gone = ToAccount::Gone { client: self.client };
        if let Err(mpsc::error::TrySendError::Full(gone)) = self.sender.try_send(gone)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let sender = self.sender.clone();
            runtime.spawn(async move { sender.send(gone).await });
        }
    }
}

pub(super) async fn receive(inbox: &mut Option<Inbox>) -> Option<ToClient> {
    match inbox {
        Some(inbox) => inbox.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits until the account has room, or is gone.
pub(super) async fn room(way: Option<((&mpsc::Sender<ToAccount>, &Allowance), &ToAccount)>) {
    // What is got is given back at once: only this task's own turn matters, and `pump` tries again.
    match way {
        Some(((sender, allowance), message)) => tokio::select! {
            () = async {
                allowance.wait_for(message).await;
                drop(sender.reserve().await);
            } => {}
            () = sender.closed() => {}
        },
        None => std::future::pending().await,
    }
}

pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
