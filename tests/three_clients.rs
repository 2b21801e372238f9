//! Three clients of one account in a room at once, on slixmpp and on tokio-xmpp, in front of each real server: what a
//! person does in rooms by the library's own means works, the library understands all that it is shown, each client is
//! shown all, and the others see one occupant.

mod support;
#[path = "three_clients/mod.rs"]
mod three_clients;
