//! Floor 2: streams as pure state machines, without sockets, clock or tokio.

pub mod sasl;
