//! The conservation laws of a collection: what is lost or added between its log, its tables and its index blocks a
//! promotion and is named, on every engine.

use std::{pin::pin, sync::Arc, time::Duration};

use daybook_catalogue::{
    definition::Definition,
    records::{self as of_records, events::topic},
};
use daybook_ingest::log::BoxFuture;
use daybook_projector::{
    bookkeeping::checkpoints,
    search::{
        document::Document,
        ranges::RANGE_KEYS,
        runner::SearchRunner,
        shape::IndexShape,
        source::{Documents, Sink, SourceError},
        state::Search,
    },
    throttle::Throttle,
};
use daybook_query_api::app::DomainParts;
use daybook_reindexer::verify::{
    Report,
    inspect::{Inspect, Inspected, Side},
};
use daybook_schemas::{Envelope, topics};
use serde_json::json;
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use super::{
    documents::setting,
    pair::{Pair, sql},
};
use crate::{
    records,
    search::{Engine, engines},
    tables::{Place, places},
};

/// Three of its records are left out by the filtered search, and each holds a row of the further table.
const DEFINITION: &str = r#"
collection = "folded"
key = "id"
[fields]
id = "text"
title = "text"
tags = "json"
[filtered]
terms = ["bird"]
fields = ["title"]
[[tables]]
name = "sets"
from = "tags"
key = ["a"]
"#;
const NAMED: &str = "records ever named = rows + removed + taken down + without content";
const ROWS: &str = "rows = records that readers should see";
const DOCUMENTS: &str = "documents = rows - excluded";
const FILTERED: &str = "documents that are filtered out";
const FURTHER: &str = "records with a row of table sets";

/// Changes of the candidate's tables, how to take each back, and the laws that it violates.
const FAULTS: [(&str, &str, &[&str]); 4] = [
    (
        "DELETE FROM records WHERE record_id = 'r5'",
        "INSERT INTO records (record_id, revision, flags, record_partition, record_offset) VALUES ('r5', 1, '{}', 0, 4)",
        &[NAMED, ROWS],
    ),
    (
        "INSERT INTO records (record_id, revision, flags, record_partition, record_offset) VALUES ('x', 1, '{}', 0, 4)",
        "DELETE FROM records WHERE record_id = 'x'",
        &[NAMED, ROWS],
    ),
    (
        "DELETE FROM further_rows WHERE record_id = 'r6'",
        "INSERT INTO further_rows (table_name, record_id, row_key, content) VALUES ('sets', 'r6', 'key', '{}')",
        &[FURTHER],
    ),
    (
        "INSERT INTO further_rows (table_name, record_id, row_key, content) VALUES ('sets', 'x', 'key', '{}')",
        "DELETE FROM further_rows WHERE record_id = 'x'",
        &[FURTHER],
    ),
];

/// Takes documents.
#[derive(Default)]
struct Taken(Vec<Document>);

impl Sink for Taken {
    fn take(&mut self, documents: Vec<Document>) -> BoxFuture<'_, Result<(), SourceError>> {
        self.0.extend(documents);
        Box::pin(async { Ok(()) })
    }
}

/// A collection whose candidate is inspected.
struct Inspecting {
    pair: Pair,
    documents: Arc<dyn Documents>,
    inspector: Arc<dyn Inspect>,
    search: Arc<Search>,
    /// While it is closed, the index is not complete.
    gate: watch::Sender<bool>,
    _runner: SearchRunner,
}

impl Inspecting {
    async fn start(
        place: &Place,
        engine: &Engine,
        definition: &Definition,
        parts: &DomainParts,
        is_open: bool,
    ) -> Self {
        let projection = || Arc::clone(&parts.projection);
        let pair = Pair::start(place, projection(), projection(), &[topic("folded")]).await;
        let record = |number: i64| {
            let title = if number <= 3 { "a bird" } else { "a pier" };
            let given = json!({"id": format!("r{number}"), "title": title, "tags": {"a": number}});
            Envelope::new(1_700_000_000_000, records::upserted(definition, &given))
        };
        pair.append(&(1..=9).map(record).collect::<Vec<_>>()).await;
        let documents = parts.documents.clone().unwrap_or_else(|| panic!("the collection has no documents"));
        let inspector = parts.inspector.clone().unwrap_or_else(|| panic!("the collection has no inspector"));
        let search = Arc::new(Search::new(documents.topics()));
        let gate = watch::Sender::new(is_open);
        let of_runner = gate.subscribe();
        let mut setting = setting(&pair, &pair.candidate, engine, &documents, &search);
        setting.gate = Arc::new(move || {
            let is_open = *of_runner.borrow();
            Box::pin(async move { Ok(is_open) })
        });
        let runner = SearchRunner::start(setting).unwrap_or_else(|error| panic!("{error}"));
        let end = pair.caught_up().await;
        if is_open {
            search.wait(&end).await;
        }
        Self { pair, documents, inspector, search, gate, _runner: runner }
    }

    /// What a report says after the inspection.
    async fn inspect(&self) -> Report {
        let index = self.search.opened().await.unwrap_or_else(|error| panic!("{error}"));
        let since = checkpoints::read(self.pair.candidate.tables.as_ref()).await;
        let since = since.unwrap_or_else(|error| panic!("{error}"));
        let (tell_refused, refused) = oneshot::channel();
        assert_eq!(tell_refused.send(0), Ok(()));
        let live = Side { generation: &self.pair.live, index: None };
        let candidate = Side { generation: &self.pair.candidate, index: Some(index.as_ref()) };
        let throttle = Throttle::default();
        let documents = Some(self.documents.as_ref());
        let inspected = Inspected { live, candidate, documents, since, refused, throttle: &throttle };
        let inspection = self.inspector.inspect(inspected).await.unwrap_or_else(|error| panic!("{error}"));
        let mut report = Report { passed: true, ..Report::default() };
        report.add(inspection);
        report
    }

    /// Fails unless exactly these laws are violated, and block a promotion.
    async fn expect(&self, laws: &[&str], case: &str) {
        let report = self.inspect().await;
        let violated = report.reasons.iter().filter_map(|reason| reason.split_once(": this does not hold: "));
        assert_eq!(violated.map(|(law, _)| law).collect::<Vec<_>>(), laws, "{case}: {report:#?}");
        assert_eq!(report.passed, laws.is_empty(), "{case}: {:?}", report.reasons);
        let inspection = report.inspection.unwrap_or_default();
        assert_eq!(inspection["conservation"]["holds"], laws.is_empty(), "{case}: {inspection}");
    }

    /// The document that the candidate's tables make of a record.
    async fn document(&self, id: &str) -> Document {
        let (tables, mut taken) = (self.pair.candidate.tables.as_ref(), Taken::default());
        let ranges = self.documents.ranges(tables, RANGE_KEYS).await.unwrap_or_else(|error| panic!("{error}"));
        for range in &ranges {
            let read = self.documents.of_range(tables, range, &mut taken).await;
            read.unwrap_or_else(|error| panic!("{error}"));
        }
        let found = taken.0.into_iter().find(|document| document.id == id);
        found.unwrap_or_else(|| panic!("there is no document {id}"))
    }

    /// Writes a document as no event does.
    async fn write(&self, document: Document) {
        let index = self.search.opened().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(index.write(&[document]).await.ok(), Some(Vec::new()));
        index.refresh().await.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A document that searches leave out, as that of a record which is removed.
fn hidden(document: &Document) -> Document {
    Document::new(document.id.clone(), document.revision + 1)
}

fn with_sensitive(document: &Document, is_sensitive: bool) -> Document {
    let mut changed = Document { revision: document.revision + 1, ..document.clone() };
    changed.set("sensitive", is_sensitive);
    changed
}

/// The collection of these tests.
fn collection() -> (Arc<Definition>, DomainParts, Arc<IndexShape>) {
    topics::declare(&[topic("folded")]);
    let definition = Definition::parse(DEFINITION).unwrap_or_else(|faults| panic!("{faults:?}"));
    let definition = Arc::new(definition);
    let parts = of_records::parts(1, Arc::clone(&definition)).unwrap_or_else(|error| panic!("{error}"));
    let shape = parts.documents.as_ref().map(|documents| documents.shape());
    let shape = shape.unwrap_or_else(|| panic!("the collection has no documents"));
    (definition, parts, shape)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_index_does_not_have_yet_is_waited_for_before_it_is_counted() {
    let (definition, parts, shape) = collection();
    for place in places("counted_late") {
        for engine in engines("counted_late", &shape).await {
            let name = format!("{}, {}", place.store.describe(), engine.name);
            let inspecting = Inspecting::start(&place, &engine, &definition, &parts, false).await;
            let mut inspection = pin!(inspecting.expect(&[], &name));
            let early = timeout(Duration::from_millis(300), &mut inspection).await;
            assert!(early.is_err(), "{name}: an index without its documents was counted");
            inspecting.gate.send_replace(true);
            inspection.await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_law_that_does_not_hold_is_named_and_blocks_a_promotion() {
    let (definition, parts, shape) = collection();
    for place in places("conservation") {
        for engine in engines("conservation", &shape).await {
            let name = format!("{}, {}", place.store.describe(), engine.name);
            let inspecting = Inspecting::start(&place, &engine, &definition, &parts, true).await;
            inspecting.expect(&[], &name).await;
            for (change, back, laws) in FAULTS {
                sql(&inspecting.pair.candidate, change).await;
                inspecting.expect(laws, &format!("{name}: {change}")).await;
                sql(&inspecting.pair.candidate, back).await;
            }
            let (sensitive, other) = (inspecting.document("r1").await, inspecting.document("r7").await);
            let extra = Document { id: "x".to_owned(), ..other.clone() };
            let restored = |document: &Document| Document { revision: document.revision + 2, ..document.clone() };
            for (case, written, back, law) in [
                ("a document is missing", hidden(&other), restored(&other), DOCUMENTS),
                ("a document is of no record", extra.clone(), hidden(&extra), DOCUMENTS),
                ("a sensitive document shows", with_sensitive(&sensitive, false), restored(&sensitive), FILTERED),
            ] {
                inspecting.write(written).await;
                inspecting.expect(&[law], &format!("{name}: {case}")).await;
                inspecting.write(back).await;
            }
            inspecting.expect(&[], &name).await;
        }
    }
}
