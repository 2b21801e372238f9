//! Floor 4, the account: one bare JID with its rooms, its clients and its account session.
//!
//! [`account`] is the pure machine; it routes between rooms and clients. Its shell, the actor, owns the socket.

pub mod access;
#[expect(clippy::module_inception)]
pub mod account;
mod actor;
pub mod admin;
mod archive;
mod autojoin;
pub mod bookmarks;
mod carbons;
pub mod connect;
mod discovered;
pub mod domain;
mod fair;
pub mod gauge;
pub mod guard;
pub mod handle;
mod incoming;
mod iq;
pub mod keys;
mod limits;
mod memory;
mod own;
mod owners;
mod pace;
pub mod registry;
pub mod rooms;
mod upkeep;
