//! Floor 4, the account: one bare JID with its rooms, its clients and its account session.

pub mod handle;
