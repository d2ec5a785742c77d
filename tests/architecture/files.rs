//! Files: sizes, heads, ports, and words that must not stand in them. The words are put together, so that this file
//! does not find itself.

use crate::{expect_none, files_of, read};

const LINES_MAX: usize = 500;
const PORT_METHODS_MAX: usize = 12;

fn rust_files() -> Vec<(String, String)> {
    files_of(".rs").into_iter().map(|name| (name.clone(), read(&name))).collect()
}

/// Every line of some files that holds one of the words, as a message.
fn lines_with(files: &[(String, String)], words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in files {
        for (index, line) in text.lines().enumerate() {
            let held = words.iter().filter(|word| line.contains(word.as_str()));
            found.extend(held.map(|word| format!("{name}:{}: holds {word}", index + 1)));
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is() {
    let files = rust_files();
    let silent = files.iter().filter(|(_, text)| !text.starts_with("//! "));
    let found: Vec<_> = silent.map(|(name, _)| format!("{name}:1: does not begin with a //! line")).collect();
    expect_none("every file says what it is", &found);
}

#[test]
fn every_file_is_short_enough() {
    let mut found = Vec::new();
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            found.push(format!("{name}:{}: one of {lines} lines, over {LINES_MAX}", LINES_MAX + 1));
        }
    }
    expect_none("every file of Rust is short enough", &found);
}

#[test]
fn ports_stay_small() {
    let (mut ports, mut found) = (0, Vec::new());
    for (name, text) in rust_files() {
        for (at, _) in text.match_indices("\npub trait ") {
            let body = text[at..].split("\n}").next().unwrap_or_default();
            let methods = body.matches("\n    fn ").count();
            if methods > PORT_METHODS_MAX {
                let line = text[..at].lines().count() + 1;
                found.push(format!("{name}:{line}: a port of {methods} methods, over {PORT_METHODS_MAX}"));
            }
            ports += 1;
        }
    }
    expect_none("ports stay small", &found);
    assert!(ports >= 5, "only {ports} ports were found: this test looks in the wrong place");
}

#[test]
fn no_stub_is_left_and_no_test_is_switched_off() {
    let words =
        [["todo", "!("].concat(), ["unimplemented", "!("].concat(), ["#[ig", "nore"].concat(), ["FIX", "ME"].concat()];
    expect_none("no stub is left and no test is switched off", &lines_with(&rust_files(), &words));
    let silenced = ["#[al", "low("].concat();
    expect_none("a lint is silenced with expect and a reason", &lines_with(&rust_files(), &[silenced]));
}

#[test]
fn tests_wait_for_something_and_never_idle() {
    let tests: Vec<_> = rust_files().into_iter().filter(|(name, _)| name.starts_with("tests/")).collect();
    expect_none("tests never sleep", &lines_with(&tests, &[["slee", "p("].concat()]));
}

#[test]
fn statements_name_no_schema_and_list_their_columns() {
    let statements: Vec<_> = files_of(".sql").into_iter().map(|name| (name.clone(), read(&name))).collect();
    let mut found = lines_with(&statements, &["SELECT *".to_owned(), "_g0".to_owned()]);
    for (name, text) in statements {
        if !text.ends_with('\n') || text.ends_with("\n\n") {
            found.push(format!("{name}:{}: does not end with one line break", text.lines().count()));
        }
    }
    expect_none("statements name no generation and list their columns", &found);
}
