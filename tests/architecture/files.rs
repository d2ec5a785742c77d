//! Files: sizes, heads, ports, and words that must not stand in them. The words are put together, so that this file does
//! not find itself.

use crate::{files, read};

const LINES_MAX: usize = 500;
const PORT_METHODS_MAX: usize = 12;

fn rust_files() -> Vec<(String, String)> {
    let names = files().into_iter().filter(|name| name.ends_with(".rs"));
    names.map(|name| (name.clone(), read(&name))).collect()
}

#[test]
fn every_file_says_what_it_is_and_is_short_enough() {
    for (name, text) in rust_files() {
        assert!(text.starts_with("//! "), "{name} does not begin with a //! line");
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines, over {LINES_MAX}");
    }
}

#[test]
fn ports_stay_small() {
    let mut ports = 0;
    for (name, text) in rust_files() {
        for port in text.split("\npub trait ").skip(1) {
            let body = port.split("\n}").next().unwrap_or_default();
            let methods = body.matches("\n    fn ").count();
            assert!(methods <= PORT_METHODS_MAX, "{name}: a port of {methods} methods");
            ports += 1;
        }
    }
    assert!(ports >= 5, "only {ports} ports were found: this test looks in the wrong place");
}

#[test]
fn no_stub_is_left_and_no_test_is_switched_off() {
    let words =
        [["todo", "!("].concat(), ["unimplemented", "!("].concat(), ["#[ig", "nore"].concat(), ["FIX", "ME"].concat()];
    for (name, text) in rust_files() {
        for word in &words {
            assert!(!text.contains(word.as_str()), "{name} holds {word}");
        }
        let silenced = ["#[al", "low("].concat();
        assert!(!text.contains(silenced.as_str()), "{name} silences a lint without a reason: use expect");
    }
}

#[test]
fn tests_wait_for_something_and_never_idle() {
    let sleep = ["slee", "p("].concat();
    for (name, text) in rust_files().into_iter().filter(|(name, _)| name.starts_with("tests/")) {
        assert!(!text.contains(&sleep), "{name} sleeps");
    }
}

#[test]
fn statements_name_no_schema_and_list_their_columns() {
    for name in files().into_iter().filter(|name| name.ends_with(".sql")) {
        let text = read(&name);
        assert!(!text.contains("SELECT *"), "{name} selects everything");
        assert!(!text.contains("_g0"), "{name} names a generation");
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{name} does not end with one line break");
    }
}
