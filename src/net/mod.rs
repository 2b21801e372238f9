//! Floor 3, sockets.

pub mod link;
