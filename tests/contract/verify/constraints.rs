//! The indexes and constraints of the tables of two generations, on every engine.

use std::sync::Arc;

use daybook_books::{events::BOOKS, projection::Books};
use daybook_projector::comparison::{self, Constraint};
use daybook_reindexer::verify::{ConstraintsReport, Limits};

use super::{
    check,
    pair::{Pair, books, execute, sql, wider},
};
use crate::tables::places;

const BY_TITLE: &str = "CREATE INDEX by_title ON books (title)";

/// Whether one text was found, which contains another.
fn is_one(found: &[String], part: &str) -> bool {
    found.len() == 1 && found[0].contains(part)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_one_generation_alone_is_a_warning_and_one_that_could_not_be_built_blocks() {
    for place in places("constraints") {
        let name = place.store.describe();
        let pair = Pair::start(&place, Arc::new(Books), Arc::new(Books), &[BOOKS]).await;
        pair.append(&books(1..=3)).await;
        let listed = comparison::constraints(pair.live.tables.as_ref()).await;
        let listed = listed.unwrap_or_else(|error| panic!("{name}: {error}"));
        let is_key = |it: &&Constraint| it.table_name == "books" && it.definition == "PRIMARY KEY (book_id)";
        assert_eq!(listed.iter().filter(is_key).count(), 1, "{name}: {listed:#?}");
        let report = check(&pair, &Limits::default()).await;
        assert!(report.passed && report.warnings.is_empty(), "{name}: {report:#?}");
        assert_eq!(report.constraints, ConstraintsReport::default(), "{name}");
        // Somebody has added one to the live tables.
        execute(&pair.live, BY_TITLE).await;
        let report = check(&pair, &Limits::default()).await;
        let ConstraintsReport { only_live, only_candidate, invalid } = &report.constraints;
        assert!(is_one(only_live, "books: by_title: "), "{name}: {report:#?}");
        assert!(only_candidate.is_empty() && invalid.is_empty(), "{name}: {report:#?}");
        assert!(report.passed && is_one(&report.warnings, "only the live tables have books: by_title: "), "{name}");
        // One of the same name that is another.
        execute(&pair.candidate, "CREATE UNIQUE INDEX by_title ON books (title)").await;
        let report = check(&pair, &Limits::default()).await;
        let ConstraintsReport { only_live, only_candidate, .. } = &report.constraints;
        assert!(is_one(only_live, "by_title") && is_one(only_candidate, "UNIQUE INDEX"), "{name}: {report:#?}");
        // Somebody has dropped it from the live tables.
        execute(&pair.live, "DROP INDEX by_title").await;
        let report = check(&pair, &Limits::default()).await;
        assert!(report.constraints.only_live.is_empty(), "{name}: {report:#?}");
        assert!(report.passed && is_one(&report.warnings, "only the new tables have books: by_title: "), "{name}");
        if place.store.shared() {
            let change = "UPDATE pg_index SET indisvalid = FALSE WHERE indexrelid = 'by_title'::REGCLASS";
            sql(&pair.candidate, change).await;
            let report = check(&pair, &Limits::default()).await;
            assert!(is_one(&report.constraints.invalid, "books: by_title: "), "{name}: {report:#?}");
            assert!(!report.passed && is_one(&report.reasons, "could not be built: books: by_title: "), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_between_two_definitions_is_listed_without_a_warning() {
    for place in places("redefined") {
        let name = place.store.describe();
        let pair = Pair::start(&place, Arc::new(Books), wider(), &[BOOKS]).await;
        pair.append(&books(1..=3)).await;
        execute(&pair.live, BY_TITLE).await;
        let report = check(&pair, &Limits::default()).await;
        let ConstraintsReport { only_live, only_candidate, .. } = &report.constraints;
        assert!(is_one(only_live, "books: by_title: "), "{name}: {report:#?}");
        let is_key = |it: &String| it.starts_with("notes: ") && it.ends_with("PRIMARY KEY (note_id)");
        assert!(only_candidate.iter().any(is_key), "{name}: {report:#?}");
        assert!(report.passed && report.warnings.is_empty(), "{name}: {report:#?}");
    }
}
