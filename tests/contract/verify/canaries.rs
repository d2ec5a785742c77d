//! Searches that are run on both generations, on every engine.

use std::sync::Arc;

use daybook_books::{events::BOOKS, projection::Books};
use daybook_projector::{
    generation::Generation,
    search::{SearchIndex, document::Document, runner::SearchRunner, source::Documents, state::Search},
    throttle::Throttle,
};
use daybook_reindexer::verify::{self, Canary, CanaryReport, Limits, Report};

use super::{
    documents::{book, setting},
    pair::{Pair, books},
};
use crate::{
    search::{Engine, engines},
    tables::places,
};

/// An index with its runner.
struct Written {
    search: Arc<Search>,
    _runner: SearchRunner,
}

impl Written {
    fn start(pair: &Pair, generation: &Arc<Generation>, engine: &Engine, documents: &Arc<dyn Documents>) -> Self {
        let search = Arc::new(Search::new(documents.topics()));
        let runner = SearchRunner::start(setting(pair, generation, engine, documents, &search));
        Self { search, _runner: runner.unwrap_or_else(|error| panic!("{error}")) }
    }

    async fn index(&self) -> Arc<dyn SearchIndex> {
        self.search.opened().await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn write(&self, document: Document) {
        let index = self.index().await;
        assert_eq!(index.write(&[document]).await.ok(), Some(Vec::new()));
        index.refresh().await.unwrap_or_else(|error| panic!("{error}"));
    }
}

fn canary(domain: &str, query: &str, filters: &[(&str, &str)]) -> Canary {
    let filters = filters.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect();
    Canary { domain: domain.to_owned(), query: query.to_owned(), filters }
}

async fn check(
    pair: &Pair,
    live: Option<&Written>,
    candidate: &Written,
    canaries: &[Canary],
    max: Option<u64>,
) -> Report {
    let index = candidate.index().await;
    let live = match live {
        Some(live) => Some(live.index().await),
        None => None,
    };
    let indexed = verify::Indexed { index: index.as_ref(), documents: &Books, live: live.as_deref(), canaries };
    let limits = Limits { canaries: max, documents: 9, ..Limits::default() };
    let report = verify::verify(
        &pair.live,
        &pair.candidate,
        &pair.projection,
        Some(indexed),
        &limits,
        &|_, _| {},
        &Throttle::default(),
    )
    .await;
    report.unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_name_the_documents_that_one_generation_alone_finds() {
    for place in places("canaries") {
        for engine in engines("verify-canaries", &Books.shape()).await {
            let name = format!("{}, {}", place.store.describe(), engine.name);
            let pair = Pair::start(&place, Arc::new(Books), Arc::new(Books), &[BOOKS]).await;
            let documents: Arc<dyn Documents> = Arc::new(Books);
            let [live, candidate] =
                [&pair.live, &pair.candidate].map(|of| Written::start(&pair, of, &engine, &documents));
            pair.append(&books(1..=5)).await;
            let canaries = [
                canary("books", "", &[]),
                canary("books", "title:sorting", &[]),
                canary("books", "", &[("shelf", "shelf3"), ("shelf", "shelf4")]),
                canary("others", "", &[]),
            ];
            let report = check(&pair, Some(&live), &candidate, &canaries, Some(0)).await;
            let found: Vec<_> = report.canaries.iter().map(|it| (it.live_total, it.candidate_total)).collect();
            assert_eq!(found, [(5, 5), (0, 0), (2, 2)], "{name}: {report:#?}");
            assert!(report.passed, "{name}: {:?}", report.reasons);
            candidate.write(book(99, 1, "Sorting")).await;
            live.write(book(98, 1, "Sorting and searching")).await;
            let report = check(&pair, Some(&live), &candidate, &canaries, None).await;
            assert!(report.passed, "{name}: {:?}", report.reasons);
            let expected = |live_total, candidate_total| CanaryReport {
                live_total,
                candidate_total,
                only_live_count: 1,
                only_candidate_count: 1,
                only_live: vec!["book/98".to_owned()],
                only_candidate: vec!["book/99".to_owned()],
                ..CanaryReport::default()
            };
            let sorting = CanaryReport { query: "title:sorting".to_owned(), ..expected(1, 1) };
            assert_eq!(report.canaries[..2], [expected(6, 6), sorting], "{name}");
            assert_eq!(report.canaries[2].filters, ["shelf=shelf3", "shelf=shelf4"], "{name}");
            let report = check(&pair, Some(&live), &candidate, &canaries, Some(3)).await;
            let because = "documents that canaries find in one generation only: 4";
            assert!(!report.passed && report.reasons[0].starts_with(because), "{name}: {:?}", report.reasons);
            // Another version of the program serves the live one.
            let report = check(&pair, None, &candidate, &canaries, Some(0)).await;
            assert!(report.passed, "{name}: {:?}", report.reasons);
            assert!(report.canaries.iter().all(|it| it.not_compared.is_some()), "{name}: {report:#?}");
        }
    }
}
