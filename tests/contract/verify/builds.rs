//! Building an index from rows, in ranges of keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use daybook_books::projection::Books;
use daybook_catalogue::records::events as of_records;
use daybook_ingest::log::{self, BoxFuture};
use daybook_metaflow::{events::TOPICS, projection::Metaflow};
use daybook_projector::{
    projection::Projection,
    search::{
        document::Document,
        ranges::{KeyRange, RANGE_KEYS},
        request::Request,
        runner::SearchRunner,
        source::{Documents, Sink, SourceError},
        state::Search,
    },
};
use daybook_schemas::{Envelope, Topic, topics};
use daybook_tests::wait;
use serde_json::json;
use tokio::sync::watch;

use super::{
    documents::setting,
    pair::{Pair, books, flow},
};
use crate::{
    records,
    search::engines,
    tables::{Place, places},
};

/// Counts documents by id.
#[derive(Default)]
struct Counted(BTreeMap<String, usize>);

impl Sink for Counted {
    fn take(&mut self, documents: Vec<Document>) -> BoxFuture<'_, Result<(), SourceError>> {
        documents.into_iter().for_each(|document| *self.0.entry(document.id).or_default() += 1);
        Box::pin(async { Ok(()) })
    }
}

async fn counted(pair: &Pair, documents: &dyn Documents, ranges: &[KeyRange]) -> BTreeMap<String, usize> {
    let mut counted = Counted::default();
    for range in ranges {
        let read = documents.of_range(pair.candidate.tables.as_ref(), range, &mut counted).await;
        read.unwrap_or_else(|error| panic!("{range:?}: {error}"));
    }
    counted.0
}

async fn split(pair: &Pair, documents: &dyn Documents, keys: i64) -> Vec<KeyRange> {
    let ranges = documents.ranges(pair.candidate.tables.as_ref(), keys).await;
    ranges.unwrap_or_else(|error| panic!("{error}"))
}

async fn filled(place: &Place, projection: Arc<dyn Projection>, topics: &[Topic]) -> Pair {
    Pair::start(place, Arc::clone(&projection), projection, topics).await
}

/// A collection with records.
async fn collection(place: &Place) -> (Pair, Arc<dyn Documents>) {
    let (definition, topic) = (records::definition(), of_records::topic("folded"));
    topics::declare(&[topic]);
    let parts = daybook_catalogue::records::parts(1, Arc::clone(&definition));
    let parts = parts.unwrap_or_else(|error| panic!("{error}"));
    let pair = filled(place, parts.projection, &[topic]).await;
    let events = (1..=29).map(|number| records::upserted(&definition, &json!({"id": format!("r{number}")})));
    pair.append(&events.map(|event| Envelope::new(1_700_000_000_000, event)).collect::<Vec<_>>()).await;
    (pair, parts.documents.unwrap_or_else(|| panic!("the collection has no documents")))
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_any_size_hold_every_document_once() {
    for place in places("ranges") {
        let metaflow = filled(&place, Arc::new(Metaflow), &TOPICS).await;
        for name in ["A", "Ä", "a-b", "z"] {
            metaflow.append(&flow(name, 1..=3, None)).await;
        }
        let toy = filled(&place, Arc::new(Books), &[daybook_books::events::BOOKS]).await;
        toy.append(&books(1..=29)).await;
        let (collection, of_records) = collection(&place).await;
        let all = [(&metaflow, &Metaflow as &dyn Documents), (&toy, &Books), (&collection, of_records.as_ref())];
        for (pair, documents) in all {
            let name = format!("{}, {}", place.store.describe(), pair.candidate.domain);
            let whole = counted(pair, documents, &split(pair, documents, RANGE_KEYS).await).await;
            assert!(whole.len() > 28, "{name}: {}", whole.len());
            let mut before = usize::MAX;
            for keys in [1, 2, 3, 5, 7, 29, 1000] {
                let ranges = split(pair, documents, keys).await;
                let parts = counted(pair, documents, &ranges).await;
                assert!(parts.values().all(|count| *count == 1), "{name}, {keys}: {parts:?}");
                assert_eq!(parts.keys().collect::<BTreeSet<_>>(), whole.keys().collect(), "{name}, {keys}");
                assert!(ranges.len() <= before, "{name}: {keys} keys make {} ranges", ranges.len());
                before = ranges.len();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_divide_a_build_and_another_goes_on_with_what_one_has_left() {
    for place in places("builds") {
        for engine in engines("builds", &Metaflow.shape()).await {
            let name = format!("{}, {}", place.store.describe(), engine.name);
            let pair = filled(&place, Arc::new(Metaflow), &TOPICS).await;
            pair.append(&flow("F", 1..=9, None)).await;
            let all = log::partitions(pair.log.as_ref());
            let (first, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|partition| partition.id == 0);
            // While it is closed, nobody completes the build.
            let gate = watch::Sender::new(false);
            let start = |partitions: Vec<_>| {
                let documents: Arc<dyn Documents> = Arc::new(Metaflow);
                let search = Arc::new(Search::new(documents.topics()));
                let assignment = watch::Sender::new(partitions);
                let mut setting = setting(&pair, &pair.candidate, &engine, &documents, &search);
                setting.assignment = assignment.subscribe();
                let gate = gate.subscribe();
                setting.gate = Arc::new(move || {
                    let is_open = *gate.borrow();
                    Box::pin(async move { Ok(is_open) })
                });
                let runner = SearchRunner::start(setting).unwrap_or_else(|error| panic!("{error}"));
                (runner, search, assignment)
            };
            let building = |search: &Search| search.health().building;
            // The first one gets no further than to its end.
            let (_one, search, assignment) = start(first.clone());
            let is_planned = || building(&search).is_some_and(|building| building.ranges == 3);
            wait::until(&format!("{name}: the build is planned"), async || is_planned()).await;
            assert!(search.visible().0.is_empty(), "{name}: it has a checkpoint before it is complete");
            // It gets all partitions.
            assignment.send_replace([first, others].concat());
            gate.send_replace(true);
            let end = pair.caught_up().await;
            search.wait(&end).await;
            let index = search.opened().await.unwrap_or_else(|error| panic!("{error}"));
            let found = index.search(Request::all(index.shape(), 0)).await;
            let total = found.unwrap_or_else(|error| panic!("{error}")).total;
            let ranges = split(&pair, &Metaflow, RANGE_KEYS).await;
            assert_eq!(total, counted(&pair, &Metaflow, &ranges).await.len() as u64, "{name}");
            assert_eq!(building(&search), None, "{name}");
        }
    }
}
