//! Corpora of input from outside, and mutations of them. What once broke a parser is added to its corpus, which every run
//! replays, and from which `tests/fuzz/run` starts.

use std::fs;

use crate::random::Random;

/// The lines of a corpus.
///
/// # Panics
/// If it is not there.
pub fn corpus(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/corpus/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines().map(|line| line.as_bytes().to_vec()).collect()
}

/// Cuts, repeats, swaps and overwrites parts of some bytes.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..1 + random.below(4) {
        let (at, length) = (random.below(bytes.len()), 1 + random.below(8));
        let end = (at + length).min(bytes.len());
        match random.below(4) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
            2 => bytes[at..end].reverse(),
            _ => {
                for byte in &mut bytes[at..end] {
                    *byte = u8::try_from(random.below(256)).unwrap_or(0);
                }
            }
        }
    }
}
