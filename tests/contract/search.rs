//! The search port, on every engine, against a model that knows nothing of indexes.

mod binding;
mod finish;
mod literal;
mod model;
mod unicode;

use std::{collections::BTreeMap, sync::Arc};

use daybook_books::projection::Books;
use daybook_ingest::log::BoxFuture;
use daybook_metaflow::projection::Metaflow;
use daybook_projector::search::{
    SearchError, SearchIndex, SearchStore,
    binding::Binding,
    document::{Document, Stored},
    elasticsearch::{self, Address, ElasticsearchStore},
    inherited::{self, Bounds},
    query::{Expression, parse},
    request::{Counts, Facet, Request, Sort, Start},
    shape::{Field, FieldId, IndexShape},
    source::{Documents, Sink, SourceError},
    tantivy::{self, TantivyStore},
};
use daybook_tests::{
    random::Random,
    services::{self, Folder},
    wait,
};
use serde_json::json;

use self::model::{World, expected, filter, query, shapes};

/// An engine with a place of the test's own.
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn SearchStore>,
    index: Arc<dyn SearchIndex>,
    /// Removed with the engine.
    _folder: Option<Folder>,
}

pub(crate) async fn engines(test: &str, shape: &Arc<IndexShape>) -> Vec<Engine> {
    let folder = Folder::new(&format!("search-{test}"));
    let embedded: Arc<dyn SearchStore> = Arc::new(TantivyStore::new(folder.0.clone()));
    let (address, _) = address(test);
    let elasticsearch = ElasticsearchStore::new(address).unwrap_or_else(|error| panic!("{error}"));
    vec![
        Engine::open("tantivy", embedded, shape, Some(folder)).await,
        Engine::open("elasticsearch", Arc::new(elasticsearch), shape, None).await,
    ]
}

/// An address on Elasticsearch with a prefix of its own, and that prefix.
fn address(test: &str) -> (Address, String) {
    let prefix = services::unique(test).to_lowercase();
    let address = Address::parse(&format!("{}/{prefix}", services::elasticsearch()));
    (address.unwrap_or_else(|error| panic!("{error}")), prefix)
}

fn binding(shape: &Arc<IndexShape>) -> Binding {
    let [log_id, domain, index, fingerprint] = ["log-a", "domain", "domain_g0001", "fold"].map(str::to_owned);
    Binding { log_id, domain, index, fingerprint, shape: Arc::clone(shape) }
}

/// The index of a binding, once the engine has answered in time.
async fn opened(store: &dyn SearchStore, binding: &Binding) -> Arc<dyn SearchIndex> {
    let mut index = None;
    wait::until("the engine answers in time", async || {
        index = match store.open(binding).await {
            Ok(index) => Some(index),
            Err(SearchError::Unavailable(_)) => None,
            Err(error) => panic!("{error}"),
        };
        index.is_some()
    })
    .await;
    index.unwrap_or_else(|| panic!("it was never opened"))
}

impl Engine {
    async fn open(
        name: &'static str,
        store: Arc<dyn SearchStore>,
        shape: &Arc<IndexShape>,
        folder: Option<Folder>,
    ) -> Self {
        let index = opened(store.as_ref(), &binding(shape)).await;
        Self { name, store, index, _folder: folder }
    }

    async fn write(&self, documents: &[Document]) {
        let refused = self.index.write(documents).await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        assert!(refused.is_empty(), "{}: {refused:?}", self.name);
        self.index.refresh().await.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// All hits, page by page, with total and facets of the first page.
    async fn search(&self, request: &Request, page: usize) -> (Vec<Document>, u64, Vec<Counts>) {
        let (mut request, mut hits) = (Request { hits_max: page, ..request.clone() }, Vec::new());
        let mut first = None;
        loop {
            let answer = inherited::search(self.index.as_ref(), request.clone()).await;
            let answer = answer.unwrap_or_else(|error| panic!("{}: {error}: {request:?}", self.name));
            assert_eq!(answer.warnings, Vec::<String>::new());
            let found = answer.found;
            let is_last = found.hits.len() < page;
            hits.extend(found.hits.into_iter().map(|hit| hit.document));
            first.get_or_insert((found.total, found.facets));
            let Some(last) = hits.last().filter(|_| !is_last) else { break };
            let after = request.sort.after(self.index.shape(), last);
            request.start = after.unwrap_or(Start::Skip(hits.len()));
        }
        let (total, facets) = first.unwrap_or_default();
        (hits, total, facets)
    }

    /// Holds a search against the model.
    async fn compare(&self, carried: &BTreeMap<String, Document>, request: &Request, case: &str) {
        let case = format!("{}: {case}", self.name);
        let (mut ids, counts) = expected(self.index.shape(), carried, request);
        let is_sorted = request.sort.field.is_some();
        if !is_sorted {
            ids.sort();
        }
        let mut tries = 1..=MERGES_MAX;
        let (hits, total, facets, found) = loop {
            let (hits, total, facets) = self.search(request, 37).await;
            let mut found: Vec<String> = hits.iter().map(|hit| hit.id.clone()).collect();
            if !is_sorted {
                found.sort();
            }
            // Scores count documents that were replaced until a merge removes them: one between two pages changes the order.
            let may_have_changed = !is_sorted && found != ids && tries.next().is_some();
            if !may_have_changed {
                break (hits, total, facets, found);
            }
        };
        assert_eq!(found, ids, "{case}");
        assert_eq!(total, ids.len() as u64, "{case}");
        assert_eq!(facets, counts, "{case}");
        for hit in hits {
            assert_eq!(hit.source, carried[&hit.id].source, "{case}: {} shows something else", hit.id);
        }
    }
}

/// Merges of an index while its pages are read, at most.
const MERGES_MAX: usize = 5;

const QUERIES: [&str; 24] = [
    "",
    "train",
    "TRAIN",
    "train -nightly",
    "team:ml-ops",
    "ml",
    "exp.42",
    "exp.4*",
    "exp*",
    "42",
    "\"word tag\"",
    "\"multi word\"",
    "\"tag multi\"",
    "(ann OR bob) -failed",
    "-nightly",
    "-(nightly OR ml)",
    "nightly OR ml",
    "école*",
    "日本",
    "---",
    "gpu-type A50",
    "fixed:one",
    "gpu-t*",
    "-(train OR nightly)",
];

/// Facets by all fields that are counted.
fn facets(random: &mut Random, shape: &IndexShape) -> Vec<Facet> {
    let counted = shape.all().filter(|(_, field)| field.facet).map(|(id, _)| Field::Named(id));
    counted
        .map(|field| {
            let prefix = random.pick(&["", "", "team:", "a", "fixed:"]).to_owned();
            Facet { field, prefix, values_max: 1 + random.below(6) }
        })
        .collect()
}

fn sort(random: &mut Random, shape: &IndexShape) -> Sort {
    let fields: Vec<FieldId> = shape.all().filter(|(_, field)| field.sort).map(|(id, _)| id).collect();
    match random.below(fields.len() + 1) {
        0 => Sort::relevance(),
        place => Sort { field: Some(fields[place - 1]), descending: random.below(2) == 0 },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_engine_finds_what_the_model_finds() {
    let mut random = Random::seeded("search");
    for (name, shape) in shapes() {
        let engines = engines(&format!("model-{name}"), &shape).await;
        let mut world = World::new(Arc::clone(&shape));
        // Written in parts and over again, so that the index has several segments and documents that were replaced.
        for part in 0..4 {
            let batch = world.grow(&mut random, part * 10);
            for engine in &engines {
                engine.write(&batch).await;
            }
        }
        let of_tags = ["tag:ml", "tag:exp.4*", "-tag:nightly", "genre:ml", "genre:team:m*", "tag:ml OR genre:nightly"];
        for round in 0..3 {
            let carried = world.carried();
            let fixed = QUERIES.into_iter().chain(of_tags).map(str::to_owned);
            let at_random: Vec<String> = (0..120).map(|_| query(&mut random, &shape, 3)).collect();
            for text in fixed.chain(at_random) {
                let parsed = parse(&shape, &text).unwrap_or_else(|error| panic!("{text}: {error}"));
                let (filter, sort) = (filter(&mut random, &shape), sort(&mut random, &shape));
                let case = format!("{name}, round {round}: {text:?} {filter:?} {sort:?}");
                let facets = facets(&mut random, &shape);
                let request = Request { query: parsed, filter, sort, facets, ..Request::all(&shape, 0) };
                for engine in &engines {
                    engine.compare(&carried, &request, &case).await;
                }
            }
            let changed = world.change_parents(&mut random);
            for engine in &engines {
                engine.write(&changed).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_matches_too_many_parents_looks_at_the_newest_and_says_so() {
    let shape = Metaflow.shape();
    let tag = Field::Named(shape.find("tag", |_| true).unwrap_or_else(|| panic!("no tags")));
    let mut documents = Vec::new();
    for number in 0..20_i64 {
        let parent = format!("run/F/{number}");
        let mut run = Document::new(parent.clone(), 1);
        run.set("type", "run");
        run.set("created_at", number);
        run.set("tags", json!(["all", format!("only:{number}")]));
        run.set("user_tags", json!(["all", format!("only:{number}")]));
        let mut task = Document::new(format!("task/F/{number}"), 1);
        task.set("type", "task");
        task.set("created_at", 100 + number);
        task.parent = Some(parent);
        documents.extend([run, task]);
    }
    for engine in engines("bounds", &shape).await {
        engine.write(&documents).await;
        let bounds = Bounds { parents_max: 8, parents_of_all_max: 12, own_values_max: 100 };
        let search = async |query: &str, filter: Vec<Expression>, facets: Vec<Facet>| {
            let query = parse(&shape, query).unwrap_or_else(|error| panic!("{error}"));
            let request = Request { query, filter, facets, ..Request::all(&shape, 100) };
            let answer = inherited::search_within(engine.index.as_ref(), request, bounds).await;
            answer.unwrap_or_else(|error| panic!("{}: {error}", engine.name))
        };
        let answer = search("type:task tag:all", vec![], vec![]).await;
        let ids: Vec<&str> = answer.found.hits.iter().map(|hit| hit.document.id.as_str()).collect();
        let newest: Vec<String> = (12..20).rev().map(|number| format!("task/F/{number}")).collect();
        assert_eq!(ids, newest, "{}", engine.name);
        assert!(answer.warnings.len() == 1 && answer.warnings[0].contains("20 documents"), "{:?}", answer.warnings);
        // Two conditions share what all of them may hold.
        let two = search("type:task tag:all", vec![Expression::value(tag, ["all"])], vec![]).await;
        assert_eq!((two.found.total, two.warnings.len()), (6, 2), "{}", engine.name);
        let few = search("type:task tag:only:7", vec![], vec![]).await;
        assert_eq!((few.found.total, few.warnings.len()), (1, 0), "{}", engine.name);
        // The runs themselves are all found, and nothing is asked of parents where only they can match.
        let field = Field::Named(shape.type_field);
        let runs = search("tag:all", vec![Expression::value(field, ["run"])], vec![]).await;
        assert_eq!((runs.found.total, runs.warnings.len()), (20, 0), "{}", engine.name);
        let facet = Facet { field: tag, prefix: String::new(), values_max: 1 };
        let counted = search("type:task", vec![], vec![facet]).await;
        assert_eq!(counted.found.facets, [[("all".to_owned(), 8)]], "{}", engine.name);
        assert_eq!(counted.warnings.len(), 1, "{}", engine.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_revision_never_wins() {
    let mut random = Random::seeded("search revisions");
    let (_, shape) = &shapes()[1];
    for engine in engines("revisions", shape).await {
        let mut newest: BTreeMap<String, i64> = BTreeMap::new();
        for _ in 0..20 {
            let mut world = World::new(Arc::clone(shape));
            let mut batch = world.grow(&mut random, 0);
            for document in &mut batch {
                document.revision = random.below(50) as i64 + 1;
                let known = newest.entry(document.id.clone()).or_default();
                *known = (*known).max(document.revision);
            }
            let refused = engine.index.write(&batch).await.unwrap_or_else(|error| panic!("{error}"));
            assert!(refused.is_empty());
            if random.below(3) == 0 {
                engine.index.refresh().await.unwrap_or_else(|error| panic!("{error}"));
            }
        }
        engine.index.refresh().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(all_revisions(engine.index.as_ref()).await, newest, "{}", engine.name);
        let (found, total, _) = engine.search(&Request::all(shape, 0), 11).await;
        assert_eq!(
            (found.len(), total),
            (newest.len(), newest.len() as u64),
            "{}: a document is there twice",
            engine.name
        );
    }
}

/// Ids and revisions of all visible documents.
async fn all_revisions(index: &dyn SearchIndex) -> BTreeMap<String, i64> {
    let mut all = Revisions::default();
    index.scan(&mut all).await.unwrap_or_else(|error| panic!("{error}"));
    all.0
}

/// Ids of documents, with their revisions.
#[derive(Default)]
struct Revisions(BTreeMap<String, i64>);

impl Sink<Stored> for Revisions {
    fn take(&mut self, documents: Vec<Stored>) -> BoxFuture<'_, Result<(), SourceError>> {
        for Stored { id, revision, .. } in documents {
            let before = self.0.insert(id.clone(), revision);
            assert_eq!(before, None, "{id} is handed on twice");
        }
        Box::pin(async { Ok(()) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_of_several_pages_hands_on_every_visible_document_once() {
    let (_, shape) = &shapes()[1];
    for engine in engines("scan", shape).await {
        let documents = |ids: std::ops::Range<i64>, revision| {
            ids.map(|id| Document::new(format!("d{id:05}"), revision)).collect::<Vec<_>>()
        };
        engine.write(&documents(0..2000, 1)).await;
        engine.write(&documents(1900..3500, 2)).await;
        let found = all_revisions(engine.index.as_ref()).await;
        let expected = (0..3500).map(|id| (format!("d{id:05}"), if id < 1900 { 1 } else { 2 }));
        assert!(found.into_iter().eq(expected), "{}", engine.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refreshed_is_there_after_opening_again_and_another_shape_makes_another_index() {
    let mut random = Random::seeded("search durability");
    let [(_, shape), (_, other_shape), _] = shapes();
    for engine in engines("durability", &shape).await {
        engine.write(&World::new(Arc::clone(&shape)).grow(&mut random, 0)).await;
        let (id, name) = (engine.index.id().to_owned(), engine.name);
        let before = all_revisions(engine.index.as_ref()).await;
        let Engine { store, index, _folder, .. } = engine;
        drop(index);
        let again = opened(store.as_ref(), &binding(&shape)).await;
        assert_eq!(again.id(), id, "{name}");
        assert_eq!(all_revisions(again.as_ref()).await, before, "{name}");
        let second = Binding { index: "domain_g0002".to_owned(), ..binding(&shape) };
        let other = opened(store.as_ref(), &second).await;
        assert_ne!(other.id(), id, "{name}");
        assert!(all_revisions(other.as_ref()).await.is_empty(), "{name}");
        drop(again);
        let newer = Arc::new(IndexShape { version: shape.version + 1, ..IndexShape::clone(&shape) });
        for shape in [&newer, &other_shape] {
            let made = opened(store.as_ref(), &binding(shape)).await;
            assert_ne!(made.id(), id, "{name}: an index of another shape is used on");
            assert!(all_revisions(made.as_ref()).await.is_empty(), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_by_a_field_stay_put_while_documents_change() {
    let mut random = Random::seeded("search pages");
    let (_, shape) = &shapes()[1];
    for engine in engines("pages", shape).await {
        let mut world = World::new(Arc::clone(shape));
        let mut batch = [world.grow(&mut random, 0), world.grow(&mut random, 15)].concat();
        engine.write(&batch).await;
        let mut request = Request { hits_max: 13, ..Request::all(shape, 0) };
        let mut seen = Vec::new();
        loop {
            let found = engine.index.search(request.clone()).await.unwrap_or_else(|error| panic!("{error}"));
            seen.extend(found.hits.iter().map(|hit| hit.document.id.clone()));
            let Some(last) = found.hits.last() else { break };
            request.start = request.sort.after(shape, &last.document).unwrap_or(Start::First);
            // Every document is written again between two pages, with other values.
            for document in &mut batch {
                document.revision += 1;
                document.set("genres", json!([format!("r{}", document.revision)]));
            }
            engine.write(&batch).await;
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!((seen.len(), once.len()), (batch.len(), batch.len()), "{}: missed or doubled", engine.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_equal_scores_hold_each_document_once() {
    let mut random = Random::seeded("equal scores");
    let shape = Metaflow.shape();
    let query = parse(&shape, "ml OR nightly").unwrap_or_else(|error| panic!("{error}"));
    for engine in engines("ties", &shape).await {
        let mut ids = Vec::new();
        // Each part is a segment of its own. Some documents fit better than others.
        for part in 0..6 {
            let documents = (0..20 + random.below(60)).map(|number| {
                let mut run = Document::new(format!("run/F{part}/{number}"), 1);
                run.set("type", "run");
                run.set("created_at", part * 100);
                run.set("tags", if random.below(3) == 0 { json!(["ml"]) } else { json!(["ml", "nightly"]) });
                run
            });
            let documents: Vec<Document> = documents.collect();
            ids.extend(documents.iter().map(|document| document.id.clone()));
            engine.write(&documents).await;
        }
        ids.sort();
        for page in (3..90).step_by(10) {
            let request = Request { query: query.clone(), sort: Sort::relevance(), ..Request::all(&shape, 0) };
            let (hits, ..) = engine.search(&request, page).await;
            let mut found: Vec<String> = hits.into_iter().map(|hit| hit.id).collect();
            found.sort();
            assert_eq!(found, ids, "{}: pages of {page}", engine.name);
        }
    }
}

#[test]
fn the_engines_schemas_are_those_of_the_golden_files() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/search");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, shape) in shapes().into_iter().chain([("books", Books.shape())]) {
        assert_eq!(shape.fault(), None, "{name}");
        let definitions =
            [("elasticsearch", elasticsearch::definition(&shape)), ("tantivy", tantivy::definition(&shape))];
        for (engine, definition) in definitions {
            let path = folder.join(format!("{name}.{engine}.json"));
            let text = format!("{definition:#}\n");
            if update {
                std::fs::write(&path, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(text, golden, "{} changed: UPDATE_GOLDEN=1 writes it", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_room_that_an_index_takes_is_told_and_one_that_is_not_there_takes_none() {
    let shape = Documents::shape(&Metaflow);
    for engine in engines("space", &shape).await {
        let mut document = Document::new("flow-1".to_owned(), 1);
        document.set("type", "flow");
        document.set("flow", "F");
        engine.write(&[document]).await;
        let space = async |binding: Binding| {
            engine.store.space(&binding).await.unwrap_or_else(|error| panic!("{}: {error}", engine.name))
        };
        let other = Binding { index: "domain_g0002".to_owned(), ..binding(&shape) };
        let (here, nowhere) = (space(binding(&shape)).await, space(other).await);
        assert!(here.used > 0 && here.free.is_some_and(|free| free > 0), "{}: {here:?}", engine.name);
        assert_eq!(nowhere.used, 0, "{}", engine.name);
    }
}
