//! Readers to compare with, each telling what it sees in the same words (see `expat_oracle.py`).

pub mod events;
pub mod expat;
pub mod generate;
pub mod quick;
pub mod rxml;
