//! What parsers hold for any input, corpora of input from outside, and mutations of them. What once broke a parser is added to its corpus, which every run
//! replays, and from which `tests/fuzz/run` starts.

use std::fs;

use daybook_ingest::log::kafka;
use daybook_metaflow::{
    events::{Event, TOPICS},
    projection::Metaflow,
};
use daybook_projector::search::{elasticsearch, query, source::Documents};
use daybook_schemas::{
    codec,
    position::{Position, Vector},
    topics,
};

use crate::random::Random;

/// A record is decoded, which this returns, or refused; what is decoded is written as it was.
///
/// # Panics
/// If it is not.
pub fn record(bytes: &[u8]) -> bool {
    let Ok(envelope) = codec::decode::<Event>(bytes) else { return false };
    let again = codec::encode(&envelope).unwrap_or_else(|error| panic!("{error}"));
    let read = codec::decode::<Event>(&again).unwrap_or_else(|error| panic!("{bytes:?}: {error}"));
    assert_eq!(read, envelope);
    true
}

/// A text is a position, a vector or an address, or refused; what is one of the first two is written as it was.
///
/// # Panics
/// If it is not.
pub fn text(text: &str) {
    topics::declare(&TOPICS);
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse::<Position>().ok(), Some(position));
    }
    if let Ok(vector) = text.parse::<Vector>() {
        assert_eq!(vector.to_string().parse::<Vector>().ok(), Some(vector));
    }
    if let Ok(address) = kafka::Address::parse(text, str::to_owned) {
        assert!(!address.brokers.is_empty() && !address.prefix.is_empty());
    }
    let _refused = elasticsearch::Address::parse(text);
}

/// A search is understood, which this returns, or refused with the column of the mistake.
///
/// # Panics
/// If the column is not in the text.
pub fn search(text: &str) -> bool {
    let Err(error) = query::parse(&Metaflow.shape(), text) else { return true };
    assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: {error}");
    false
}

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
