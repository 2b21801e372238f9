//! What the fuzz targets check, apart from libFuzzer: `fuzz_targets` runs it on what the fuzzer makes up, and
//! `tests/fuzz_seeds.rs` on the seeds, with the stable toolchain. Each `check` takes any bytes, and panics if a rule
//! is broken. `docs/fuzzing.md` tells the rest.

// Each target uses one of them.
#![allow(dead_code)]

pub mod framer;
pub mod negotiation;
mod oracle;
pub mod room;
mod script;
mod wire;
