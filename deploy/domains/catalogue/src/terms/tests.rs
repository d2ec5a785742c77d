//! Which records hold a sensitive term.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::{
    Fields,
    derive::{Options, image_document},
    terms::searched::SearchedTexts,
};

const TERMS: &str = "running\nwater\nbird\nGrand Union Canal\n";

fn compiled(terms: &str, compat: Compat) -> SensitiveTerms {
    SensitiveTerms::new(&TermList::parse(terms), compat)
}

/// The term that a text holds.
fn term_in<'t>(terms: &'t SensitiveTerms, text: &str) -> Option<&'t str> {
    terms.matches([text].into_iter()).map(|found| found.term)
}

/// The term that keeps a record out of the filtered index.
fn sensitive(row: serde_json::Value, match_full_text: bool) -> Option<String> {
    let serde_json::Value::Object(row) = row else { panic!("{row} is not an object") };
    let row: Fields = row;
    let document = image_document(row.clone(), &BTreeMap::new(), Options::default());
    let paths = ["title", "description", "tags.name"].map(str::to_owned);
    let searched = SearchedTexts::new(&paths, match_full_text);
    let terms = compiled(TERMS, Compat::Words);
    terms.matches(searched.of(&row, &document)).map(|found| found.term.to_owned())
}

#[test]
fn a_term_matches_whole_words_in_sequence() {
    let terms = compiled(TERMS, Compat::Words);
    for (text, expected) in [
        ("Running shoes", Some("running")),
        ("Waterfall", None),
        ("birdsong", None),
        ("Bird", Some("bird")),
        ("Along the grand union canal", Some("Grand Union Canal")),
        ("GRAND-UNION, canal", Some("Grand Union Canal")),
        ("the grand union", None),
        ("grand grand union canal", Some("Grand Union Canal")),
        ("grand old union canal", None),
        ("Union Canal, Grand", None),
        ("an été by the water", Some("water")),
        ("", None),
    ] {
        assert_eq!(term_in(&terms, text), expected, "{text}");
    }
}

#[test]
fn a_term_matches_in_every_case_and_canonical_form() {
    let list = "café noir\nstraße\nistanbul\npie\u{301}ce\nвоздух";
    let (words, strict) = (compiled(list, Compat::Words), compiled(list, Compat::Strict));
    for (text, expected) in [
        ("un café noir", Some("café noir")),
        ("un cafe\u{301} noir", Some("café noir")),
        ("CAFE\u{301} NOIR", Some("café noir")),
        ("Ca\u{ad}fé no\u{200d}ir", Some("café noir")),
        ("STRASSE", Some("straße")),
        ("Straße", Some("straße")),
        ("İSTANBUL", Some("istanbul")),
        ("I\u{307}stanbul", Some("istanbul")),
        ("PIÈCE pièce", None),
        ("PIÉCE", Some("pie\u{301}ce")),
        ("Воздух", Some("воздух")),
        ("cafe noir", None),
        ("strase", None),
    ] {
        assert_eq!(term_in(&words, text), expected, "{text}");
    }
    // As the tokenizer of search engines with lower case alone.
    for (text, expected) in [("STRASSE", None), ("Straße", Some("straße")), ("PIÉCE", None), ("ВОЗДУХ", Some("воздух"))]
    {
        assert_eq!(term_in(&strict, text), expected, "{text}");
    }
}

#[test]
fn title_description_and_tags_are_searched() {
    for (row, expected) in [
        (json!({"title": "Running shoes"}), Some("running")),
        (json!({"title": "Waterfall", "tags": [{"name": "birdsong"}]}), None),
        (json!({"title": "Waterfall", "tags": [{"name": "sea"}, {"name": "Bird"}]}), Some("bird")),
        (json!({"meta_data": {"description": "Along the grand union canal"}}), Some("Grand Union Canal")),
        (json!({"creator": "bird", "source": "water"}), None),
        (json!({"tags": [{"name": "grand"}, {"name": "union canal"}]}), None),
        (json!({"title": null, "tags": null, "meta_data": {"description": ["bird"]}}), None),
    ] {
        assert_eq!(sensitive(row.clone(), false).as_deref(), expected, "{row}");
    }
}

#[test]
fn a_description_is_searched_as_far_as_it_is_indexed() {
    let row = |before: usize| json!({"title": "x", "meta_data": {"description": "é ".repeat(before / 2) + "bird"}});
    assert_eq!(sensitive(row(2_100), false), None);
    assert_eq!(sensitive(row(2_100), true).as_deref(), Some("bird"));
    assert_eq!(sensitive(row(1_996), false).as_deref(), Some("bird"));
    // Cut to `bir`.
    assert_eq!(sensitive(row(1_998), false), None);
}

#[test]
fn strict_takes_one_word_in_lower_case_only() {
    let terms = "bird\nWater\nby-nc\ngrand union\n padded\ntide.example\n🙂\n!!";
    let (strict, words) = (compiled(terms, Compat::Strict), compiled(terms, Compat::Words));
    for (text, in_strict, in_words) in [
        ("A Bird", Some("bird"), Some("bird")),
        ("water", None, Some("Water")),
        ("by nc", None, Some("by-nc")),
        ("grand union", None, Some("grand union")),
        ("padded", None, Some(" padded")),
        ("see Tide.example/a", Some("tide.example"), Some("tide.example")),
        ("yes 🙂", Some("🙂"), Some("🙂")),
        ("!!", None, None),
    ] {
        assert_eq!(term_in(&strict, text), in_strict, "{text}");
        assert_eq!(term_in(&words, text), in_words, "{text}");
    }
}

#[test]
fn a_match_says_where_it_is() {
    let terms = compiled("canal\nunion canal\ngrand union canal\nunion", Compat::Words);
    let texts = ["no", "über Grand Union Canal"];
    let found = terms.matches(texts.into_iter());
    assert_eq!(found, Some(Match { term: "grand union canal", index: 2, text: 1, from: 6, to: 23 }));
    let found = terms.matches(["a union canal"].into_iter());
    assert_eq!(found, Some(Match { term: "union canal", index: 1, text: 0, from: 2, to: 13 }), "first in the list");
}

#[test]
fn every_term_is_counted_once_a_record() {
    let terms = compiled(TERMS, Compat::Words);
    let (mut one, mut other) = (TermHits::default(), TermHits::default());
    let first = terms.count(["bird water bird", "bird"].into_iter(), &mut one);
    assert_eq!(first.map(|found| found.term), Some("bird"));
    terms.count(["water"].into_iter(), &mut other);
    assert_eq!(terms.count(["nothing"].into_iter(), &mut other), None);
    let mut merged = one.clone();
    merged.merge(&other);
    other.merge(&one);
    assert_eq!(merged, other);
    assert_eq!([0, 1, 2, 3].map(|index| merged.of(index)), [0, 2, 1, 0]);
    assert_eq!(terms.without_hit(&merged), ["running", "Grand Union Canal"]);
    assert_eq!(terms.without_hit(&TermHits::default()).len(), 4);
}

#[test]
fn many_terms_match_as_each_alone_does() {
    let mut state: u64 = 11;
    let mut next = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut phrase = |words: u64| -> String {
        (0..=next(words)).map(|_| format!("w{} ", next(12))).collect::<String>().trim_end().to_owned()
    };
    let list: Vec<String> = (0..40).map(|_| phrase(3)).collect();
    let all = compiled(&list.join("\n"), Compat::Words);
    for _ in 0..200 {
        let text = phrase(8);
        let expected = list.iter().any(|term| format!(" {text} ").contains(&format!(" {term} ")));
        assert_eq!(all.matches([text.as_str()].into_iter()).is_some(), expected, "{text}");
    }
}
