//! Texts in other canonical forms than the query's are found and marked, on every engine.

use std::{collections::BTreeMap, sync::Arc};

use daybook_metaflow::projection::Metaflow;
use daybook_projector::search::{
    document::{Document, cut},
    highlight::highlights,
    query::{Expression, parse},
    request::{Facet, Request, Sort},
    shape::{Field, IndexShape},
    source::Documents,
    words::{canonical::WHOLE_BYTES_MAX, terms},
};
use daybook_tests::random::Random;
use serde_json::json;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::engines;

/// Letters and marks of several scripts, some of which compose or change with their case.
const LETTERS: &str = "aeiouAEIOUsSßẞcCñÅşİıŉǆﬁΣσςάΐᾳᾴЙйёЁאבםابیहिनகொ한ᄒㅏกำ東京かがパｶ𐐀𐐨ẖỆ漢\u{f900}ǰŐK";
const MARKS: &str = "\u{300}\u{301}\u{302}\u{303}\u{304}\u{307}\u{308}\u{30a}\u{323}\u{327}\u{328}\u{331}\u{345}\u{338}\u{5b0}\u{5bc}\u{651}\u{93c}\u{94d}\u{3099}\u{309a}\u{fe0f}";

/// A text of letters and marks at random, some from anywhere in Unicode.
fn text(random: &mut Random) -> String {
    let (letters, marks): (Vec<char>, Vec<char>) = (LETTERS.chars().collect(), MARKS.chars().collect());
    let mut text = String::new();
    for _ in 0..2 + random.below(8) {
        match random.below(10) {
            0..6 => text.push(random.pick(&letters)),
            6..9 => text.push(random.pick(&marks)),
            _ => {
                let any = u32::try_from(random.below(0x3_0000)).ok().and_then(char::from_u32);
                text.extend(any.filter(|c| c.is_alphanumeric() || is_combining_mark(*c)));
            }
        }
    }
    // One letter at least: a text of marks that are not seen has no word.
    text.push(random.pick(&letters));
    text
}

fn nfc(text: &str) -> String {
    text.nfc().collect()
}

fn nfd(text: &str) -> String {
    text.nfd().collect()
}

/// The beginning of a text, up to a letter's last mark.
fn beginning(random: &mut Random, text: &str) -> String {
    let composed = nfc(text);
    let ends = composed.char_indices().skip(1).filter(|(_, c)| !is_combining_mark(*c)).map(|(at, _)| at);
    let ends: Vec<usize> = ends.chain([composed.len()]).collect();
    let end = ends[random.below(ends.len())];
    // Marks that are not seen are the beginning of no word.
    if terms(&composed[..end]).is_empty() { composed } else { composed[..end].to_owned() }
}

fn document(number: usize, tags: &[String]) -> Document {
    let mut document = Document::new(format!("run/F/{number}"), 1);
    document.set("type", "run");
    document.set("created_at", i64::try_from(number).unwrap_or(0));
    document.set("flow", tags[0].as_str());
    document.set("tags", json!(tags));
    document.set("user_tags", json!(tags));
    document
}

fn field(shape: &IndexShape, name: &str) -> Field {
    Field::Named(shape.find(name, |_| true).unwrap_or_else(|| panic!("no {name}")))
}

fn parsed(shape: &IndexShape, query: &str) -> Option<Expression> {
    parse(shape, query).unwrap_or_else(|error| panic!("{query:?}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_canonical_form_of_a_text_finds_every_other() {
    let mut random = Random::seeded("search unicode");
    let shape = Metaflow.shape();
    let texts: Vec<(String, String)> = (0..150).map(|_| (text(&mut random), text(&mut random))).collect();
    let form = |number: usize, text: &str| if number.is_multiple_of(2) { nfc(text) } else { nfd(text) };
    let documents: Vec<Document> = (0..)
        .zip(&texts)
        .map(|(number, (one, two))| document(number, &[form(number, one), form(number, &format!("{one} {two}"))]))
        .collect();
    let engines = engines("unicode", &shape).await;
    for engine in &engines {
        engine.write(&documents).await;
    }
    for (number, (one, two)) in texts.iter().enumerate() {
        // The form that the document does not have.
        let other = |text: &str| form(number + 1, text);
        let stored = &documents[number].source["flow"];
        let begins = other(&beginning(&mut random, one));
        let asked = [
            other(one),
            format!("tag:{}", other(one)),
            format!("flow:{}", other(&one.to_lowercase())),
            format!("\"{} {}\"", other(one), other(two)),
            format!("{begins}*"),
            format!("tag:{begins}*"),
        ];
        let mut requests = Vec::new();
        for query in asked {
            let expression = parsed(&shape, &query);
            let marked = highlights(&shape, &documents[number], expression.as_ref().unwrap_or(&Expression::Nothing));
            assert!(!marked.is_empty(), "{query:?} marks nothing in {stored:?}");
            for fragment in marked {
                let plain = fragment.text.replace("<em>", "").replace("</em>", "");
                let shown = documents[number].source.values().any(|value| value.to_string().contains(&plain));
                assert!(shown, "{plain:?} is not in the text that {query:?} finds");
            }
            requests.push((query, Request { query: expression, ..Request::all(&shape, 0) }));
        }
        for name in ["tag", "flow"] {
            let filter = vec![Expression::value(field(&shape, name), [other(one)])];
            requests.push((format!("{name}={}", other(one)), Request { filter, ..Request::all(&shape, 0) }));
        }
        for engine in &engines {
            for (case, request) in &requests {
                let (found, ..) = engine.search(request, 200).await;
                let hit = found.iter().find(|hit| hit.id == documents[number].id);
                assert_eq!(hit, Some(&documents[number]), "{}: {case:?} does not find {stored:?}", engine.name);
            }
            // Counts show values as they are stored.
            let facet = Facet { field: field(&shape, "tag"), prefix: other(one), values_max: 200 };
            let request = Request { facets: vec![facet], ..Request::all(&shape, 0) };
            let (_, _, counts) = engine.search(&request, 1).await;
            assert!(counts[0].iter().any(|(value, _)| stored == value), "{}: {stored:?}", engine.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_cut_where_the_documentation_says() {
    let shape: Arc<IndexShape> = Metaflow.shape();
    let values = ["東京都庁", "ภาษาไทย", "हिन्दी", "co\u{ad}operate", "ΟΔΟΣ Straße", "x\u{337}y", "zero\u{200b}width"]
        .map(str::to_owned);
    for engine in engines("unicode_words", &shape).await {
        engine.write(&[document(1, &values)]).await;
        for (query, total) in [
            ("京都", 1),
            ("都京", 0),
            ("東京*", 1),
            ("tag:東都*", 0),
            ("ไทย", 1),
            ("हिन्*", 1),
            ("हि", 0),
            ("cooperate", 1),
            ("zerowidth", 0),
            ("\"zero width\"", 1),
            ("οδος STRASSE", 1),
            ("y", 0),
            ("x", 0),
            ("x\u{337}y", 1),
        ] {
            let request = Request { query: parsed(&shape, query), ..Request::all(&shape, 0) };
            let (_, found, _) = engine.search(&request, 10).await;
            assert_eq!(found, total, "{}: {query:?}", engine.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_and_values_are_compared_in_canonical_composition() {
    let shape: Arc<IndexShape> = Metaflow.shape();
    let (mixed, eins, zwei, drei) = ("ée\u{301}x", "cafe\u{301}-eins", "café-zwei", "cafe drei");
    let (decomposed, repeated, kelvin) = (nfd("한국"), "x.".repeat(3_000), "\u{212a}elvin");
    let (korean, long) = (decomposed.as_str(), repeated.as_str());
    let values = [mixed, eins, zwei, drei, korean, kelvin, long].map(str::to_owned);
    for engine in engines("unicode_prefixes", &shape).await {
        engine.write(&[document(1, &values)]).await;
        for (prefix, values_max, expected) in [
            ("éé", 9, vec![mixed]),
            ("e\u{301}e\u{301}x", 9, vec![mixed]),
            ("e", 9, vec![]),
            ("cafe", 9, vec![drei]),
            ("café", 9, vec![eins, zwei]),
            ("cafe\u{301}", 9, vec![eins, zwei]),
            ("caf", 9, vec![drei, eins, zwei]),
            ("caf", 2, vec![drei, eins]),
            ("ᄒ", 9, vec![]),
            ("하", 9, vec![]),
            ("한", 9, vec![korean]),
            (korean, 9, vec![korean]),
            ("Kel", 9, vec![kelvin]),
            ("k", 9, vec![]),
            (&long[..4_000], 9, vec![long]),
            (".*", 9, vec![]),
        ] {
            let facet = Facet { field: field(&shape, "tag"), prefix: prefix.to_owned(), values_max };
            let request = Request { facets: vec![facet], ..Request::all(&shape, 0) };
            let (_, _, counts) = engine.search(&request, 1).await;
            let found: Vec<&str> = counts[0].iter().map(|(value, _)| value.as_str()).collect();
            assert_eq!(found, expected, "{}: {prefix:?}", engine.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_values_are_found_and_counted_whatever_their_length() {
    let shape: Arc<IndexShape> = Metaflow.shape();
    let values = [
        // Longer than any that Metaflow takes; the others are as long as tags can be.
        "y".repeat(WHOLE_BYTES_MAX + 10),
        "x".repeat(16_384),
        "é".repeat(8_192),
        nfd(&"é".repeat(5_461)),
        "東".repeat(5_461),
        // Its composition is three times as long.
        "\u{1d160}".repeat(4_096),
    ];
    let run = document(1, &values);
    let mut step = Document::new("step/F/1/start".to_owned(), 1);
    step.set("type", "step");
    step.set("created_at", 1);
    step.set("flow", values[0].as_str());
    step.parent = Some(run.id.clone());
    let flow = shape.find("flow", |_| true);
    for engine in engines("unicode_long", &shape).await {
        engine.write(&[run.clone(), step.clone()]).await;
        for value in &values {
            for asked in [value.clone(), nfc(value), nfd(value)] {
                let filter = vec![Expression::value(field(&shape, "tag"), [asked])];
                let request = Request { filter, ..Request::all(&shape, 0) };
                let (_, found, _) = engine.search(&request, 10).await;
                assert_eq!(found, 2, "{}: {} bytes", engine.name, value.len());
            }
        }
        let facet = Facet { field: field(&shape, "tag"), prefix: String::new(), values_max: 10 };
        let filter = vec![Expression::value(field(&shape, "flow"), [values[0].clone()])];
        let sort = Sort { field: flow, descending: false };
        let request = Request { facets: vec![facet], filter, sort, ..Request::all(&shape, 0) };
        let (hits, _, counts) = engine.search(&request, 1).await;
        let ids: Vec<&str> = hits.iter().map(|hit| hit.id.as_str()).collect();
        assert!(ids.len() == 2 && ids[0] != ids[1], "{}: {ids:?}", engine.name);
        let counted: BTreeMap<&str, u64> = counts[0].iter().map(|(value, count)| (value.as_str(), *count)).collect();
        let expected: BTreeMap<&str, u64> = values.iter().map(|value| (cut(value, WHOLE_BYTES_MAX), 2)).collect();
        assert!(counted == expected, "{}: the counts of long tags differ", engine.name);
    }
}
