//! The seeds of the fuzz targets, and what was once wrong, without a fuzzer (docs/fuzzing.md).

#[path = "../fuzz/checks/mod.rs"]
mod checks;

use std::path::Path;

/// Runs every seed of a target, named in the message if one breaks a rule.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let seeds = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut count = 0;
    for seed in seeds {
        let path = seed.expect("the directory can be read").path();
        let data = std::fs::read(&path).expect("a seed can be read");
        println!("{}", path.display());
        check(&data);
        // All that is cut short is a seed, too.
        for end in (0..data.len()).step_by(1 + data.len() / 16) {
            check(&data[..end]);
        }
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", dir.display());
}

#[test]
fn s10_framer_seeds() {
    replay("framer", checks::framer::check);
}

#[test]
fn s09_negotiation_seeds() {
    replay("negotiation", checks::negotiation::check);
}

#[test]
fn s14_room_seeds() {
    replay("room", checks::room::check);
}
