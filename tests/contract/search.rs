//! The search port's promises, on every engine, against a model that knows nothing of indexes: a list of documents.

use std::{collections::BTreeMap, sync::Arc};

use daybook_projector::{
    run_status::Status,
    search::{
        SearchIndex, SearchStore,
        document::{Document, Entry, Kind},
        elasticsearch::{Address, ElasticsearchStore},
        query::{Expression, Field, parse},
        request::{Facet, FacetField, Filter, Request, Sort, SortField, SortValue, Start},
        tantivy::TantivyStore,
        words::words,
    },
};
use daybook_tests::{
    random::Random,
    services::{self, Folder},
};

/// An engine with a place of the test's own.
struct Engine {
    name: &'static str,
    store: Arc<dyn SearchStore>,
    index: Arc<dyn SearchIndex>,
    /// Removed with the engine.
    _folder: Option<Folder>,
}

async fn engines(test: &str) -> Vec<Engine> {
    let folder = Folder::new(&format!("search-{test}"));
    let embedded: Arc<dyn SearchStore> = Arc::new(TantivyStore::new(folder.0.clone()));
    let address = format!("{}/{}", services::elasticsearch(), services::unique(test).to_lowercase());
    let address = Address::parse(&address).unwrap_or_else(|error| panic!("{error}"));
    let elasticsearch = ElasticsearchStore::new(address).unwrap_or_else(|error| panic!("{error}"));
    vec![
        Engine::open("tantivy", embedded, Some(folder)).await,
        Engine::open("elasticsearch", Arc::new(elasticsearch), None).await,
    ]
}

impl Engine {
    async fn open(name: &'static str, store: Arc<dyn SearchStore>, folder: Option<Folder>) -> Self {
        let index = store.open("metaflow_g0001").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, store, index, _folder: folder }
    }

    async fn write(&self, documents: &[Document]) {
        let refused = self.index.write(documents).await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        assert!(refused.is_empty(), "{}: {refused:?}", self.name);
    }

    async fn refresh(&self) {
        self.index.refresh().await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Ids of all hits, page by page, with total and facets of the first.
    async fn search(&self, request: &Request, page: usize) -> (Vec<String>, u64, Vec<Vec<(String, u64)>>) {
        let (mut request, mut ids) = (Request { hits_max: page, ..request.clone() }, Vec::new());
        let mut first = None;
        loop {
            let found = self.index.search(request.clone()).await;
            let found = found.unwrap_or_else(|error| panic!("{}: {error}: {request:?}", self.name));
            ids.extend(found.hits.iter().map(|hit| hit.document.id()));
            first.get_or_insert((found.total, found.facets));
            let Some(last) = found.hits.last().filter(|_| found.hits.len() == page) else { break };
            request.start = match request.sort.field.value_of(&last.document) {
                Some(value) => Start::After { value, key: Document::key(&last.document.id()) },
                None => Start::Skip(ids.len()),
            };
        }
        let (total, facets) = first.unwrap_or_default();
        (ids, total, facets)
    }
}

fn document(random: &mut Random, number: i64) -> Document {
    let flows = ["Train", "train_v2", "Etl.Daily", "ÉcoleFlow"];
    let mut document = Document::new(random.pick(&Kind::ALL), random.pick(&flows).to_owned(), 1, 0);
    document.created_at = 1_700_000_000_000 + random.below(40) as i64 * 1000;
    document.run = (document.kind != Kind::Flow).then_some(1 + number);
    if document.kind == Kind::Flow {
        document.flow = format!("{}{number}", document.flow);
    }
    let users = [None, Some("ann"), Some("Bob Smith"), Some("carl@x.org")];
    document.user = random.pick(&users).map(str::to_owned);
    let tags = ["team:ml-ops", "exp.42", "nightly", "user:ann", "a multi, word tag!", "日本", "---", "Team:ML"];
    document.tags = tags.iter().filter(|_| random.below(4) == 0).map(|tag| (*tag).to_owned()).collect();
    if matches!(document.kind, Kind::Run | Kind::Task) {
        document.status = Some(random.pick(&[Status::Running, Status::Completed, Status::Failed]));
    }
    if document.kind == Kind::Task {
        (document.step, document.task) = (Some("start".to_owned()), Some(number));
        document.metadata = vec![Entry { field: "gpu-type".to_owned(), value: format!("A{}", random.below(3) * 50) }];
        document.artifacts = vec!["model".to_owned(), "loss_curve".to_owned()];
    }
    if document.kind == Kind::Artifact {
        (document.artifact, document.attempt) = (Some("model".to_owned()), Some(0));
    }
    document
}

/// Whether a document matches, by the meaning of queries alone.
fn matches(document: &Document, query: &Expression) -> bool {
    let values = |field: Field| -> Vec<Vec<String>> {
        document.texts(field).iter().map(|text| words(text).map(|word| word.term).collect()).collect()
    };
    match query {
        Expression::Nothing => false,
        Expression::All(parts) => parts.iter().all(|part| matches(document, part)),
        Expression::Any(parts) => parts.iter().any(|part| matches(document, part)),
        Expression::Not(inner) => !matches(document, inner),
        Expression::Words { field, terms, prefix: false } => {
            values(*field).iter().any(|value| value.windows(terms.len()).any(|window| window == terms))
        }
        Expression::Words { field, terms, prefix: true } => {
            let (last, before) = terms.split_last().unwrap_or_else(|| panic!("no terms"));
            let begins = values(*field).iter().flatten().any(|term| term.starts_with(last));
            let before = Expression::Words { field: *field, terms: before.to_vec(), prefix: false };
            begins && (terms.len() == 1 || matches(document, &before))
        }
    }
}

fn passes(document: &Document, filter: &Filter) -> bool {
    let any = |empty: bool, holds: bool| empty || holds;
    any(filter.kinds.is_empty(), filter.kinds.contains(&document.kind))
        && any(filter.flows.is_empty(), filter.flows.contains(&document.flow))
        && any(filter.users.is_empty(), document.user.as_ref().is_some_and(|user| filter.users.contains(user)))
        && any(filter.statuses.is_empty(), document.status.is_some_and(|status| filter.statuses.contains(&status)))
        && filter.tags.iter().all(|tag| document.tags.contains(tag))
        && filter.from.is_none_or(|from| document.created_at >= from)
        && filter.to.is_none_or(|to| document.created_at < to)
}

/// What the model finds: ids in order, and facets.
fn expected(documents: &BTreeMap<String, Document>, request: &Request) -> (Vec<String>, Vec<Vec<(String, u64)>>) {
    let query = request.query.as_ref();
    let mut found: Vec<(&String, &Document)> = documents
        .iter()
        .filter(|(_, it)| passes(it, &request.filter) && query.is_none_or(|query| matches(it, query)))
        .collect();
    let rank = |document: &Document| match request.sort.field.value_of(document) {
        Some(SortValue::Int(value)) => (value, String::new()),
        Some(SortValue::Text(value)) => (0, value),
        None => (0, String::new()),
    };
    found.sort_by(|(a_id, a), (b_id, b)| {
        let by_value = rank(a).cmp(&rank(b));
        let by_value = if request.sort.descending { by_value.reverse() } else { by_value };
        by_value.then_with(|| Document::key(a_id).cmp(&Document::key(b_id)))
    });
    let facets = request.facets.iter().map(|facet| {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for value in found.iter().flat_map(|(_, it)| facet.field.values_of(it)) {
            if value.starts_with(&facet.prefix) {
                *counts.entry(value).or_default() += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().map(|(value, count)| (value.to_owned(), count)).collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(facet.values_max);
        counts
    });
    let facets = facets.collect();
    (found.into_iter().map(|(id, _)| id.clone()).collect(), facets)
}

const QUERIES: [&str; 30] = [
    "",
    "train",
    "TRAIN",
    "train -nightly",
    "team:ml-ops",
    "tag:team:ml-ops",
    "tag:ml",
    "ml",
    "exp.42",
    "exp.4*",
    "exp*",
    "42",
    "\"word tag\"",
    "\"multi word\"",
    "\"tag multi\"",
    "user:bob",
    "user:\"bob smith\"",
    "user:carl@x.org",
    "status:failed",
    "type:task OR type:run",
    "-type:task",
    "(ann OR bob) -failed",
    "école*",
    "日本",
    "---",
    "gpu-type A50",
    "metadata:a1*",
    "artifact:loss_curve",
    "step:start flow:etl",
    "-(train OR nightly)",
];

fn filters() -> Vec<Filter> {
    let base = 1_700_000_000_000;
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    vec![
        Filter::default(),
        Filter { kinds: vec![Kind::Run, Kind::Task], ..Filter::default() },
        Filter { flows: strings(&["Train"]), from: Some(base + 5_000), ..Filter::default() },
        Filter { users: strings(&["ann", "Bob Smith"]), to: Some(base + 20_000), ..Filter::default() },
        Filter { tags: strings(&["team:ml-ops", "nightly"]), ..Filter::default() },
        Filter { statuses: vec![Status::Failed], from: Some(base), to: Some(base + 30_000), ..Filter::default() },
        Filter { tags: strings(&["ml"]), ..Filter::default() },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_engine_finds_what_the_model_finds() {
    let mut random = Random::seeded("search");
    let engines = engines("model").await;
    let mut documents: BTreeMap<String, Document> = BTreeMap::new();
    // Written in parts and over again, so that the index has several segments and documents that were replaced.
    for part in 0..4 {
        let batch: Vec<Document> = (0..120).map(|number| document(&mut random, number + part * 60)).collect();
        for engine in &engines {
            engine.write(&batch).await;
            engine.refresh().await;
        }
        documents.extend(batch.into_iter().map(|document| (document.id(), document)));
    }
    let facets: Vec<Facet> =
        FacetField::ALL.map(|field| Facet { field, prefix: String::new(), values_max: 5 }).into_iter().collect();
    for text in QUERIES {
        let query = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for filter in filters() {
            for _ in 0..2 {
                let field = random.pick(&SortField::ALL);
                let sort = Sort { field, descending: random.below(2) == 0 };
                let request = Request {
                    query: query.clone(),
                    filter: filter.clone(),
                    sort,
                    facets: facets.clone(),
                    ..Request::all(0)
                };
                let (mut ids, counts) = expected(&documents, &request);
                for engine in &engines {
                    let case = format!("{}: {text:?} {filter:?} {sort:?}", engine.name);
                    let (mut found, total, facets) = engine.search(&request, 37).await;
                    if field == SortField::Relevance {
                        found.sort();
                        ids.sort();
                    }
                    assert_eq!(found, ids, "{case}");
                    assert_eq!(total, ids.len() as u64, "{case}");
                    assert_eq!(facets, counts, "{case}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_revision_never_wins() {
    let mut random = Random::seeded("search revisions");
    for engine in engines("revisions").await {
        let mut newest: BTreeMap<String, i64> = BTreeMap::new();
        for _ in 0..20 {
            let mut batch: Vec<Document> = (0..30)
                .map(|_| {
                    let number = random.below(25) as i64;
                    document(&mut random, number)
                })
                .collect();
            for document in &mut batch {
                document.revision = random.below(50) as i64 + 1;
                let known = newest.entry(document.id()).or_default();
                *known = (*known).max(document.revision);
            }
            engine.write(&batch).await;
            if random.below(3) == 0 {
                engine.refresh().await;
            }
        }
        engine.refresh().await;
        assert_eq!(all_revisions(engine.index.as_ref()).await, newest, "{}", engine.name);
        let (found, total, _) = engine.search(&Request::all(0), 11).await;
        assert_eq!(
            (found.len(), total),
            (newest.len(), newest.len() as u64),
            "{}: a document is there twice",
            engine.name
        );
    }
}

/// Ids and revisions of all documents, page by page.
async fn all_revisions(index: &dyn SearchIndex) -> BTreeMap<String, i64> {
    let (mut all, mut request) = (BTreeMap::new(), Request::all(17));
    loop {
        let found = index.search(request.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        let Some(last) = found.hits.last() else { return all };
        let value = request.sort.field.value_of(&last.document).unwrap_or(SortValue::Int(0));
        request.start = Start::After { value, key: Document::key(&last.document.id()) };
        all.extend(found.hits.into_iter().map(|hit| (hit.document.id(), hit.document.revision)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refreshed_is_there_after_opening_again_and_an_index_keeps_its_id() {
    let mut random = Random::seeded("search durability");
    for engine in engines("durability").await {
        let batch: Vec<Document> = (0..50).map(|number| document(&mut random, number)).collect();
        engine.write(&batch).await;
        engine.refresh().await;
        let (id, name) = (engine.index.id().to_owned(), engine.name);
        let before = all_revisions(engine.index.as_ref()).await;
        let Engine { store, index, _folder, .. } = engine;
        drop(index);
        let again = store.open("metaflow_g0001").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again.id(), id, "{name}");
        assert_eq!(all_revisions(again.as_ref()).await, before, "{name}");
        let other = store.open("metaflow_g0002").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_ne!(other.id(), id, "{name}");
        assert!(all_revisions(other.as_ref()).await.is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_by_a_field_stay_put_while_documents_change() {
    let mut random = Random::seeded("search pages");
    for engine in engines("pages").await {
        let mut batch: Vec<Document> = (0..200).map(|number| document(&mut random, number)).collect();
        batch.sort_by_key(Document::id);
        batch.dedup_by_key(|document| document.id());
        engine.write(&batch).await;
        engine.refresh().await;
        let mut request = Request { hits_max: 13, ..Request::all(0) };
        let mut seen = Vec::new();
        loop {
            let found = engine.index.search(request.clone()).await.unwrap_or_else(|error| panic!("{error}"));
            seen.extend(found.hits.iter().map(|hit| hit.document.id()));
            let Some(last) = found.hits.last() else { break };
            let value = request.sort.field.value_of(&last.document).unwrap_or(SortValue::Int(0));
            request.start = Start::After { value, key: Document::key(&last.document.id()) };
            // Every document is written again between two pages, with other tags.
            for document in &mut batch {
                document.revision += 1;
                document.tags = vec![format!("r{}", document.revision)];
            }
            engine.write(&batch).await;
            engine.refresh().await;
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!((seen.len(), once.len()), (batch.len(), batch.len()), "{}: missed or doubled", engine.name);
    }
}
