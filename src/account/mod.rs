//! Floor 4, the account: one bare JID with its rooms, its clients and its account session.
//!
//! [`account`] is the pure machine; it routes between rooms and clients. Its shell, the actor, owns the socket.

#[expect(clippy::module_inception)]
pub mod account;
mod archive;
pub mod handle;
mod iq;
mod own;
