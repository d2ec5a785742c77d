//! Fuzz targets for libFuzzer, led by coverage: `tests/fuzz/run TARGET [SECONDS]`.
//!
//! `DAYBOOK_FUZZ` names the target. What a target must hold for any input is asserted in it; a crash's input is written down.
//! The test suites replay the same corpora, and mutations of them that no coverage leads.
#![no_main]

mod requests;
mod service;

use std::sync::OnceLock;

use daybook_ingest::log::kafka::Address;
use daybook_projector::search::{elasticsearch, query};
use daybook_schemas::{
    codec,
    position::{Position, Vector},
};

type Target = fn(&[u8]);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(target)(input);
});

fn target() -> Target {
    match std::env::var("DAYBOOK_FUZZ").as_deref() {
        Ok("records") => records,
        Ok("texts") => texts,
        Ok("searches") => searches,
        Ok("requests") => requests::run,
        other => panic!("DAYBOOK_FUZZ is {other:?}, not records, texts, searches or requests"),
    }
}

/// A record is decoded or refused; what is decoded is written as it was.
fn records(input: &[u8]) {
    let Ok(envelope) = codec::decode(input) else { return };
    let again = codec::encode(&envelope).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(codec::decode(&again).ok().as_ref(), Some(&envelope));
}

/// A text is a position, a vector or an address, or refused; what is one is written as it was.
fn texts(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string().parse::<Position>().ok(), Some(position));
    }
    if let Ok(vector) = text.parse::<Vector>() {
        assert_eq!(vector.to_string().parse::<Vector>().ok(), Some(vector));
    }
    if let Ok(address) = Address::parse(text, str::to_owned) {
        assert!(!address.brokers.is_empty() && !address.prefix.is_empty());
    }
    let _refused = elasticsearch::Address::parse(text);
}

/// A search is understood, or refused with the column of the mistake.
fn searches(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Err(error) = query::parse(text) {
        assert!((1..=text.chars().count() + 1).contains(&error.column), "{error}");
    }
}
