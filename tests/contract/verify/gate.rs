//! The index of a generation that instances are leaving gets no documents, on every engine.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use daybook_books::{events::BOOKS, projection::Books};
use daybook_projector::search::{
    SearchIndex,
    request::Request,
    runner::{Gate, SearchRunner},
    source::Documents,
    state::Search,
};
use daybook_tests::wait;

use super::{
    documents::setting,
    pair::{Pair, books},
};
use crate::{search::engines, tables::places};

/// Documents that an index shows after a refresh, as an engine may do one at any time.
async fn shown(index: &dyn SearchIndex) -> u64 {
    index.refresh().await.unwrap_or_else(|error| panic!("{error}"));
    let found = index.search(Request::all(index.shape(), 0)).await;
    found.unwrap_or_else(|error| panic!("{error}")).total
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_gets_no_documents_while_instances_leave_its_generation() {
    for place in places("gate") {
        for engine in engines("gate", &Books.shape()).await {
            let name = format!("{}, {}", place.store.describe(), engine.name);
            let pair = Pair::start(&place, Arc::new(Books), Arc::new(Books), &[BOOKS]).await;
            let documents: Arc<dyn Documents> = Arc::new(Books);
            let search = Arc::new(Search::new(documents.topics()));
            let (is_open, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
            let (of_gate, count) = (Arc::clone(&is_open), Arc::clone(&asked));
            let gate: Gate = Arc::new(move || {
                let answer = of_gate.load(Ordering::SeqCst);
                count.fetch_add(1, Ordering::SeqCst);
                Box::pin(async move { Ok(answer) })
            });
            let mut setting = setting(&pair, &pair.live, &engine, &documents, &search);
            setting.gate = gate;
            let _runner = SearchRunner::start(setting).unwrap_or_else(|error| panic!("{error}"));
            pair.append(&books(1..=3)).await;
            search.wait(&pair.caught_up().await).await;
            let index = search.opened().await.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(shown(index.as_ref()).await, 3, "{name}");
            is_open.store(false, Ordering::SeqCst);
            let before = asked.load(Ordering::SeqCst);
            pair.append(&books(4..=5)).await;
            wait::until(&format!("{name}: the gate is asked"), async || asked.load(Ordering::SeqCst) > before).await;
            assert_eq!(shown(index.as_ref()).await, 3, "{name}: documents were sent");
            is_open.store(true, Ordering::SeqCst);
            search.wait(&pair.caught_up().await).await;
            assert_eq!(shown(index.as_ref()).await, 5, "{name}");
        }
    }
}
