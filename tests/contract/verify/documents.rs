//! An index against the tables that it was made of, on every engine.

use std::sync::Arc;

use daybook_books::projection::Books;
use daybook_ingest::log;
use daybook_metaflow::{events::TOPICS, projection::Metaflow};
use daybook_projector::{
    generation::Generation,
    projection::Projection,
    search::{
        document::Document,
        runner::{SearchRunner, Setting},
        source::Documents,
        state::Search,
    },
    throttle::Throttle,
};
use daybook_reindexer::verify::{self, IndexReport, Limits, Report};
use daybook_schemas::Topic;
use tokio::sync::watch;

use super::pair::{Pair, books, flow, retag, sql};
use crate::{
    search::{Engine, engines},
    tables::{Place, places},
};

/// The candidate's index, with its runner.
struct Indexed {
    pair: Pair,
    documents: Arc<dyn Documents>,
    search: Arc<Search>,
    setting: Setting,
    runner: SearchRunner,
}

pub(super) fn setting(
    pair: &Pair,
    generation: &Arc<Generation>,
    engine: &Engine,
    documents: &Arc<dyn Documents>,
    search: &Arc<Search>,
) -> Setting {
    let (_, assignment) = watch::channel(log::partitions(pair.log.as_ref()));
    Setting {
        generation: Arc::clone(generation),
        documents: Arc::clone(documents),
        log: Arc::clone(&pair.log),
        store: Arc::clone(&engine.store),
        assignment,
        search: Arc::clone(search),
        gate: Arc::new(|| Box::pin(async { Ok(true) })),
    }
}

impl Indexed {
    async fn start<P: Projection + Documents + 'static>(
        place: &Place,
        engine: &Engine,
        projection: Arc<P>,
        topics: &[Topic],
    ) -> Self {
        let pair = Pair::start(place, Arc::clone(&projection) as _, Arc::clone(&projection) as _, topics).await;
        let documents: Arc<dyn Documents> = projection;
        let search = Arc::new(Search::new(documents.topics()));
        let setting = || setting(&pair, &pair.candidate, engine, &documents, &search);
        let (setting, runner) = (setting(), SearchRunner::start(setting()));
        let runner = runner.unwrap_or_else(|error| panic!("{error}"));
        Self { pair, documents, search, setting, runner }
    }

    async fn caught_up(&self) {
        let end = self.pair.caught_up().await;
        self.search.wait(&end).await;
    }

    async fn check(&self) -> Report {
        let index = self.search.opened().await.unwrap_or_else(|error| panic!("{error}"));
        let (documents, live) = (Arc::clone(&self.documents), Arc::clone(&self.pair.live));
        let (candidate, projection) = (Arc::clone(&self.pair.candidate), Arc::clone(&self.pair.projection));
        let verified = tokio::spawn(async move {
            let (index, documents) = (index.as_ref(), documents.as_ref());
            let indexed = Some(verify::Indexed { index, documents, live: None, canaries: &[] });
            verify::verify(
                &live,
                &candidate,
                &projection,
                indexed,
                &Limits::default(),
                &|_, _| {},
                &Throttle::default(),
            )
            .await
        });
        verified
            .await
            .unwrap_or_else(|error| panic!("{error}"))
            .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
    }

    async fn index(&self) -> IndexReport {
        let report = self.check().await;
        assert!(!report.passed, "{report:#?}");
        report.index.unwrap_or_else(|| panic!("no report of the index"))
    }

    async fn write(&self, document: Document) {
        let index = self.search.opened().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(index.write(&[document]).await.ok(), Some(Vec::new()));
        index.refresh().await.unwrap_or_else(|error| panic!("{error}"));
    }
}

pub(super) fn book(id: i64, revision: i64, title: &str) -> Document {
    let mut document = Document::new(format!("book/{id}"), revision);
    document.set("type", "book");
    document.set("book", id);
    document.set("shelf", format!("shelf{id}"));
    document.set("title", title);
    document.set("added_at", 1_700_000_000_000 + id);
    document
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_an_index_is_named_by_the_document() {
    for place in places("index_faults") {
        for engine in engines("verify-faults", &Books.shape()).await {
            let name = format!("{}, {}", place.store.describe(), engine.name);
            let mut indexed = Indexed::start(&place, &engine, Arc::new(Books), &[daybook_books::events::BOOKS]).await;
            indexed.pair.append(&books(1..=5)).await;
            indexed.caught_up().await;
            let report = indexed.check().await;
            assert!(report.passed, "{name}: {report:#?}");
            let index = report.index.unwrap_or_default();
            assert_eq!((index.documents, index.counts.indexed, index.complete), (5, 5, true), "{name}");
            // Another content under the same revision.
            indexed.write(book(2, 1, "Other")).await;
            let found = indexed.index().await;
            assert_eq!((found.altered, found.counts.altered), (vec!["book/2".to_owned()], 1), "{name}");
            indexed.write(book(2, 1, "Title 2")).await;
            assert!(indexed.check().await.passed, "{name}");
            // A document of no row.
            indexed.write(book(77, 1, "Title 77")).await;
            let found = indexed.index().await;
            assert_eq!((found.extra, found.counts.extra), (vec!["book/77".to_owned()], 1), "{name}");
            // A row without a document.
            for generation in [&indexed.pair.live, &indexed.pair.candidate] {
                let row = "INSERT INTO books (book_id, shelf, title, added_at, record_partition, record_offset)
                    VALUES (88, 's', 't', 1, 0, 1)";
                sql(generation, row).await;
            }
            let found = indexed.index().await;
            assert_eq!((found.missing, found.counts.missing), (vec!["book/88".to_owned()], 1), "{name}");
            // A newer revision than that of the row is none of it.
            indexed.write(book(3, 9, "Title 3")).await;
            assert_eq!(indexed.index().await.altered, ["book/3"], "{name}");
            let index = indexed.search.opened().await.unwrap_or_else(|error| panic!("{error}"));
            // It would make the index anew.
            indexed.runner.stop();
            engine.store.delete(&indexed.setting.binding()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            let (index, documents) = (index.as_ref(), indexed.documents.as_ref());
            let both = Some(verify::Indexed { index, documents, live: None, canaries: &[] });
            let Pair { live, candidate, projection, .. } = &indexed.pair;
            let report =
                verify::verify(live, candidate, projection, both, &Limits::default(), &|_, _| {}, &Throttle::default())
                    .await;
            let report = report.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(report.index.is_some_and(|index| index.gone.is_some()), "{name}: {:?}", report.reasons);
            assert!(!report.passed && report.reasons.iter().any(|reason| reason.contains("gone")), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_of_an_older_revision_is_stale_and_one_that_lags_is_not() {
    for place in places("index_stale") {
        for engine in engines("verify-stale", &Metaflow.shape()).await {
            let name = format!("{}, {}", place.store.describe(), engine.name);
            let indexed = Indexed::start(&place, &engine, Arc::new(Metaflow), &TOPICS).await;
            indexed.pair.append(&flow("F", 1..=3, None)).await;
            // Verified at once, while the index is behind its tables.
            for round in 0..20 {
                let tag = format!("tag{round}");
                indexed.pair.append(&[retag("F", 1, &tag), retag("F", 2, &tag)]).await;
                if round % 5 == 0 {
                    let report = indexed.check().await;
                    assert!(report.passed, "{name}: {report:#?}");
                }
            }
            indexed.caught_up().await;
            assert!(indexed.check().await.passed, "{name}");
            for generation in [&indexed.pair.live, &indexed.pair.candidate] {
                sql(generation, "UPDATE runs SET tags_revision = tags_revision + 1 WHERE run_number = 2").await;
            }
            let found = indexed.index().await;
            assert_eq!((found.stale, found.counts.stale), (vec!["run/F/2".to_owned()], 1), "{name}");
        }
    }
}
