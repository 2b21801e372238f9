//! Floor 1, words: what the bytes of a stream mean, as far as RFC 6120 says it.

pub mod caps;
pub mod conditions;
pub mod header;
pub mod ids;
pub mod ns;
pub mod shared;
pub mod stanza;
