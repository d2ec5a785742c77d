//! Names in the code use the terms of the field. Names of more than four words are sentences, as tests have them, and
//! are left alone; so are comments and texts.

use std::collections::BTreeMap;

use crate::{
    expect_none,
    source::{Kind, sources},
};

/// Coined words, and what to say. Other forms of a word are listed too.
const COINED: [(&str, &str); 25] = [
    ("promise", "say what it is: a lease, a guarantee"),
    ("promises", "say what it is: leases, guarantees"),
    ("promised", "say what it is: leased, guaranteed"),
    ("spell", "term of a lease"),
    ("spells", "terms of a lease"),
    ("standing", "lease"),
    ("graft", "insert"),
    ("grafts", "inserts"),
    ("grafted", "inserted"),
    ("stock", "prefetched block"),
    ("stocks", "prefetched blocks"),
    ("lacking", "missing id"),
    ("doubtful", "to be read back"),
    ("follower", "commit listener"),
    ("followers", "commit listeners"),
    ("acceptor", "appender"),
    ("acceptors", "appenders"),
    ("at_once", "single round trip"),
    ("brought", "explicit id, or say where it comes from"),
    ("settle", "commit, or complete"),
    ("settles", "commits, or completes"),
    ("settled", "committed, or completed"),
    ("gather", "collect, or produce batch"),
    ("gathers", "collects, or produces a batch"),
    ("gathered", "collected, or produce batch"),
];

/// Coined words that tests may use in their plain sense: books have titles, faults come in rounds,
/// and a file is moved aside.
const COINED_OUTSIDE_OF_TESTS: [(&str, &str); 6] = [
    ("aside", "in the background"),
    ("books", "bookkeeping"),
    ("rounds", "round trips, or attempts"),
    ("told", "notified, or reported"),
    ("stay", "lease, or retained"),
    ("stays", "leases, or retained"),
];

/// Names that other crates gave.
const FOREIGN: [(&str, &str); 1] = [("query-api/src/routes/health.rs", "gather")];

/// The words of a name in small letters, between underscores: `_a_name_`.
fn words(name: &str) -> String {
    let is_constant = !name.contains(char::is_lowercase);
    let mut words = String::from("_");
    let mut before = '_';
    for letter in name.chars() {
        if !is_constant && letter.is_uppercase() && before != '_' && !before.is_uppercase() {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
        before = letter;
    }
    words + "_"
}

fn is_sentence(words: &str) -> bool {
    words.split('_').filter(|word| !word.is_empty()).count() > 4
}

/// The coined word in a name, with what to say in its place.
fn coined(name: &str, in_tests: bool) -> Option<(&'static str, &'static str)> {
    let words = words(name);
    let outside = COINED_OUTSIDE_OF_TESTS.iter().filter(|_| !in_tests);
    let mut coined = COINED.iter().chain(outside).filter(|(word, _)| words.contains(&format!("_{word}_")));
    coined.next().copied().filter(|_| !is_sentence(&words))
}

#[test]
fn names_use_the_terms_of_the_field() {
    let mut found = BTreeMap::new();
    for source in sources() {
        let is_own = |name: &str| !FOREIGN.contains(&(&source.name, name));
        for token in source.tokens.iter().filter(|token| token.kind == Kind::Name && is_own(&token.text)) {
            if let Some((word, better)) = coined(&token.text, token.in_tests) {
                let place = (source.name.clone(), token.text.clone());
                let message = format!("{}:{}: {} has {word}; rather: {better}", source.name, token.line, token.text);
                found.entry(place).or_insert(message);
            }
        }
    }
    expect_none("names use the terms of the field", &found.into_values().collect::<Vec<_>>());
}

#[test]
fn coined_words_are_found_as_whole_words_only() {
    for name in ["read_doubtful", "LACKING_MAX", "Acceptor", "FlowAcceptor", "seen_at_once"] {
        assert!(coined(name, true).is_some(), "{name} passes");
    }
    for name in ["stocking", "besides", "outstanding", "it_is_seen_by_others_at_once", "at", "onceAt", "books"] {
        assert_eq!(coined(name, true), None, "{name}");
    }
    assert!(coined("books", false).is_some() && coined("READ_ASIDE", false).is_some());
}
