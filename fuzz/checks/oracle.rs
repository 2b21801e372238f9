//! The readers that the differential test of the framer compares with, as far as they need no other process.

#[path = "../../tests/oracle/events.rs"]
pub mod events;
#[path = "../../tests/oracle/quick.rs"]
pub mod quick;
#[path = "../../tests/oracle/rxml.rs"]
pub mod rxml;
