//! minimix-proxy: a transparent XMPP c2s proxy that joins each group chat once per account.
//!
//! The house, floor by floor; a module uses only floors below its own, and `stream` and `muc` never meet:
//!
//! | floor | module | what lives there |
//! |---|---|---|
//! | 0 | [`xml`] | bytes: the framer, the element view, escaping |
//! | 1 | [`xmpp`] | words: stanzas, stream headers, namespaces, conditions |
//! | 2 | [`stream`] | pure: stream negotiation, SASL |
//! | 2 | [`muc`] | pure: rooms (XEP-0045) |
//! | 3 | [`net`] | sockets: listeners, TLS, dialling, the framed link |
//! | 3 | [`store`] | disk: enrolments |
//! | 4 | [`account`] | the account: routes its rooms to its clients; owns the account session |
//! | 5 | [`session`] | one client: relays its stream, diverts what belongs to a room |
//! | top | [`server`], [`config`], [`cli`], [`control`], [`failure`], [`hardening`] | wiring |
//!
//! The life of one groupchat message, two tasks and one channel hop:
//! 1. the account's actor reads from its upstream [`net::link::Link`]; the [`xml::framer`] cuts one frame;
//! 2. [`xmpp::stanza::Stanza`] indexes the start tag only; the room is found by the bare `from`;
//! 3. [`muc::room::Room`] emits one output, "to the attached clients, this stanza";
//! 4. the actor hands one `Arc` of the frame to each attached client's bounded queue, never waiting;
//! 5. the client's [`session`] writes it with its own JID as `to`, many frames to a write.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod account;
pub mod cli;
pub mod config;
pub mod control;
pub mod failure;
pub mod hardening;
pub mod muc;
pub mod net;
pub mod server;
pub mod session;
pub mod store;
pub mod stream;
pub mod xml;
pub mod xmpp;
