//! Floor 0, bytes: cutting a stream into frames ([`framer`]), looking inside a complete frame ([`element`]),
//! and writing text so that it stays text ([`writer`]).

pub mod element;
pub mod framer;
pub mod writer;
