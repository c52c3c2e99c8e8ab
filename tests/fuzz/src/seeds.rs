//! The first inputs of a fuzz run, generated instead of kept as files.

use std::fs;
use std::path::Path;

/// Writes a target's seeds into its corpus, if they do not exist yet.
///
/// # Panics
/// If they cannot be written: the run would start from nothing without a sign of it.
pub fn write(target: &str, input: impl Fn(u64) -> Vec<u8>) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&corpus).expect("a directory for the corpus");
    for seed in 0..SEEDS {
        let path = corpus.join(format!("seed-{seed:03}"));
        if !path.exists() {
            fs::write(path, input(seed)).expect("a seed");
        }
    }
}

const SEEDS: u64 = 256;
