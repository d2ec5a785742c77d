//! Parsers of what comes from outside: whatever the bytes, they answer, and what they accept they write again as it was.

use std::fs;

use daybook_tests::{
    fuzz::{self, corpus, mutate},
    random::Random,
};

/// Rounds of each test.
const ROUNDS: usize = 20_000;

fn golden() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/events/metaflow/v1");
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let read = |file: fs::DirEntry| fs::read(file.path()).unwrap_or_else(|error| panic!("{error}"));
    files.flatten().map(read).collect()
}

#[test]
fn records_of_any_bytes_are_decoded_or_refused_and_what_is_decoded_is_written_as_it_was() {
    let (mut random, golden) = (Random::seeded("records"), golden());
    assert!(golden.len() >= 9, "golden files are missing");
    let mut decoded = 0;
    for _ in 0..ROUNDS {
        let mut bytes = golden[random.below(golden.len())].clone();
        mutate(&mut random, &mut bytes);
        decoded += usize::from(fuzz::record(&bytes));
    }
    assert!(decoded > ROUNDS / 100, "nearly everything was refused: {decoded} of {ROUNDS}");
}

#[test]
fn texts_of_any_kind_are_positions_vectors_and_addresses_or_refused() {
    let mut random = Random::seeded("texts");
    let corpus = corpus("texts");
    for round in 0..corpus.len() + ROUNDS {
        let mut bytes = corpus[round % corpus.len()].clone();
        if round >= corpus.len() {
            mutate(&mut random, &mut bytes);
        }
        fuzz::text(&String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn searches_of_any_kind_are_understood_or_refused_with_the_column_of_the_mistake() {
    let mut random = Random::seeded("searches");
    let corpus = corpus("searches");
    let mut understood = 0;
    for round in 0..corpus.len() + ROUNDS {
        let mut bytes = corpus[round % corpus.len()].clone();
        if round >= corpus.len() {
            mutate(&mut random, &mut bytes);
        }
        understood += usize::from(fuzz::search(&String::from_utf8_lossy(&bytes)));
    }
    assert!((ROUNDS / 10..ROUNDS).contains(&understood), "{understood} of {ROUNDS} were understood");
}
