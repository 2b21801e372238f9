//! Floor 5, one client: [`session`] decides, purely, what is relayed and what goes to the account; [`task`] is its
//! shell and owns the sockets; [`accept`] brings a client from its first byte to a bound resource.

pub mod accept;
pub mod admission;
mod bookmarks;
mod carbons;
mod closing;
mod pace;
mod plaintext;
pub mod refusal;
mod secured;
#[expect(clippy::module_inception)]
pub mod session;
pub mod sessions;
pub mod task;
mod ways;
