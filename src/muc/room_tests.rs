//! Conversations between a room, an account and its clients.
