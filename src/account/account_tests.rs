//! An account, its clients and its rooms.
