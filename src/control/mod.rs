//! The control socket: how `minimix-proxy account …` and the like reach a running proxy. One request and one answer, a
//! line of JSON each, on a unix socket in the data directory that only its owner may open (S22, S25).
//!
//! [`request`] and [`answer`] are what is said, [`perform`] does it, [`socket`] is the way there.

pub mod answer;
pub mod perform;
pub mod request;
pub mod socket;

pub use answer::Answer;
pub use perform::Operator;
pub use request::Request;
pub use socket::{Control, ask, path};
