//! Floor 3, sockets: [`listen`] takes clients, [`dial`] reaches servers, [`tls`] secures both, [`link`] frames what
//! passes, and [`login`] speaks the client's part of a login (RFC 6120 §4 to §7) on a dialled link.
//!
//! Nothing here knows of accounts, rooms or sessions; [`binding`] is what SASL is told about the TLS below it, and
//! [`proxy_protocol`] who a client is behind a load balancer.

pub mod background;
pub mod binding;
pub mod bucket;
pub mod budget;
pub mod dev_certs;
pub mod dial;
pub mod link;
pub mod listen;
pub mod login;
pub mod network;
pub mod proxy_protocol;
pub mod seldom;
pub mod tls;
