//! Fuzz targets for libFuzzer, led by coverage: `tests/fuzz/run TARGET [SECONDS]`.
//!
//! `DAYBOOK_FUZZ` names the target. What must hold for any input is asserted, as in the test suites, which replay the
//! same corpora and mutations of them that no coverage leads.
#![no_main]

mod requests;
mod service;

use std::sync::OnceLock;

use daybook_tests::fuzz;

type Target = fn(&[u8]);

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(target)(input);
});

fn target() -> Target {
    match std::env::var("DAYBOOK_FUZZ").as_deref() {
        Ok("records") => |input| {
            fuzz::record(input);
        },
        Ok("texts") => |input| of_text(input, fuzz::text),
        Ok("searches") => |input| of_text(input, fuzz::search),
        Ok("requests") => requests::run,
        other => panic!("DAYBOOK_FUZZ is {other:?}, not records, texts, searches or requests"),
    }
}

/// What is no text at all is of no interest.
fn of_text<T>(input: &[u8], hold: fn(&str) -> T) {
    if let Ok(text) = str::from_utf8(input) {
        hold(text);
    }
}
