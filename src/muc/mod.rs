//! Floor 2, rooms (XEP-0045): pure and synchronous. One account's view of its rooms, and what its clients are shown.

/// One client's session, unique in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);
