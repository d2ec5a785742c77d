//! Search embedded in the process, on tantivy: one directory for each generation's index.
//!
//! Only one process writes, because it locks its data directory. Writing blocks the caller's thread, so indexing runs at
//! the caller's priority. A crash loses writes that were not refreshed; the runner repeats them.

mod best;
mod counts;
mod excluded;
mod identity;
mod link;
mod parents;
mod prefixes;
mod queries;
mod ranked;
mod revisions;
mod scan;
mod schema;
mod times;

use std::{
    collections::HashMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use daybook_ingest::log::BoxFuture;
use sha2::{Digest, Sha256};
use tantivy::{
    DocAddress, Index, IndexReader, IndexWriter, Order, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term,
    collector::{
        TopDocs,
        sort_key::{SortByStaticFastValue, SortByString},
    },
    query::{BooleanQuery, Occur, Query},
    schema::Value,
};
use tokio::sync::Semaphore;

use self::{
    best::{best, first},
    counts::Counts,
    identity::{IDENTITY, bound, identity, make, remove, usable},
    prefixes::Prefixes,
    queries::{Memory, Queries},
    ranked::RankedQuery,
    revisions::Revisions,
    schema::{APPLIED, Fields, KEY},
    times::{TimeQuery, Times},
};
use super::{
    Refused, SearchError, SearchIndex, SearchStore, Writes,
    binding::Binding,
    document::{Document, Stored},
    request::{Found, Hit, ParentsFound, ParentsRequest, Request, Sort, SortValue, Start},
    shape::{IndexShape, Kind},
    source::{Sink, SourceError},
};
use crate::space::{self, Space};

/// Memory for documents that are not yet in a segment.
const WRITER_BYTES: usize = 16 * 1024 * 1024;
/// How much of time a page by time is first looked for in, in milliseconds.
const WINDOW_MS_MIN: i64 = 10;
/// Documents that are sorted without looking at a part of them first, at most.
const SORTED_MAX: u64 = 20_000;
/// Concurrent searches, at most; more have to wait, so that other work is not starved.
const SEARCHES_MAX: usize = 4;
/// Indexes in the directories of one folder.
#[derive(Debug, Clone)]
pub struct TantivyStore {
    folder: PathBuf,
}

impl TantivyStore {
    /// Indexes under this folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

impl SearchStore for TantivyStore {
    fn describe(&self) -> String {
        format!("tantivy in {}", self.folder.display())
    }

    fn check<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), SearchError>> {
        Box::pin(async move {
            let (folder, fields) = (self.folder.join(&binding.index), Fields::new(&binding.shape));
            usable(&folder, &bound(binding, &fields)).map(|_| ())
        })
    }

    fn check_shape<'a>(&'a self, shape: &'a IndexShape) -> BoxFuture<'a, Result<(), SearchError>> {
        Box::pin(async move { refuse_literal(shape) })
    }

    fn open<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<Arc<dyn SearchIndex>, SearchError>> {
        Box::pin(async move {
            let (folder, binding) = (self.folder.join(&binding.index), binding.clone());
            let opened = tokio::task::spawn_blocking(move || TantivyIndex::open(&folder, &binding)).await;
            let opened =
                opened.map_err(|error| SearchError::Unavailable(format!("opening the index ended: {error}")))?;
            Ok(Arc::new(opened?) as Arc<dyn SearchIndex>)
        })
    }

    fn space<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<Space, SearchError>> {
        let used = space::of_files(&self.folder.join(&binding.index), &|_| true);
        let free = space::free(&self.folder);
        Box::pin(async move { Ok(Space { used, free }) })
    }

    fn point<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), SearchError>> {
        Box::pin(async move { link::point(&self.folder, &binding.domain, &binding.index) })
    }

    fn delete<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), SearchError>> {
        Box::pin(async move {
            self.check(binding).await?;
            remove(&self.folder.join(&binding.index))
        })
    }
}

/// An index in a directory.
pub struct TantivyIndex {
    id: String,
    parts: Arc<Parts>,
    writing: Mutex<Writing>,
}

/// Hits with their scores, in order.
type Page = Vec<(Option<f32>, DocAddress)>;

struct Parts {
    folder: PathBuf,
    shape: Arc<IndexShape>,
    fields: Fields,
    index: Index,
    reader: IndexReader,
    searches: Arc<Semaphore>,
    counts: Counts,
    memory: Memory,
}

#[derive(Default)]
struct Writing {
    /// Opened with the first write; dropped after a failure.
    writer: Option<IndexWriter>,
    /// Revisions that were written and are not visible yet.
    pending: HashMap<String, i64>,
}

impl TantivyIndex {
    /// Opens the index of a directory; recreates it if it is missing or has another fingerprint.
    pub fn open(folder: &Path, binding: &Binding) -> Result<Self, SearchError> {
        let shape = Arc::clone(&binding.shape);
        if let Some(fault) = shape.fault() {
            return Err(SearchError::Refused(fault));
        }
        refuse_literal(&shape)?;
        let fields = Fields::new(&shape);
        let bound = bound(binding, &fields);
        let opened = usable(folder, &bound)?.and_then(|id| {
            let index = Index::open_in_dir(folder);
            index
                .inspect_err(|e| tracing::warn!(error = %e, "the search index is damaged: {e}"))
                .ok()
                .map(|it| (id, it))
        });
        let (id, index) = match opened {
            Some(opened) => opened,
            None => make(folder, &fields, bound)?,
        };
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed)?;
        let (folder, searches) = (folder.to_owned(), Arc::new(Semaphore::new(SEARCHES_MAX)));
        let times = Arc::new(Times::new(fields.time.clone()));
        let memory = Memory { prefixes: Arc::new(Prefixes::default()), times };
        let parts = Parts { folder, shape, fields, index, reader, searches, counts: Counts::default(), memory };
        let parts = Arc::new(parts);
        Ok(Self { id, parts, writing: Mutex::default() })
    }

    /// Runs a search when it is its turn.
    fn with_permit<T: Send + 'static>(
        &self,
        search: impl FnOnce(&Parts) -> tantivy::Result<T> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, SearchError>> {
        let parts = Arc::clone(&self.parts);
        Box::pin(async move {
            let permit = Arc::clone(&parts.searches).acquire_owned().await;
            let permit = permit.map_err(|_| SearchError::Unavailable("the index is being closed".to_owned()))?;
            blocking(move || {
                // A search that nobody waits for any more holds its permit to its end.
                let _permit = permit;
                search(&parts)
            })
            .await
        })
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a change of the index; after a failure the writer is dropped with its pending writes.
    fn change<T>(
        &self,
        change: impl FnOnce(&Parts, &mut IndexWriter, &mut HashMap<String, i64>) -> tantivy::Result<T>,
    ) -> Result<T, SearchError> {
        if !self.parts.folder.join(IDENTITY).exists() {
            return Err(SearchError::Gone(self.describe()));
        }
        let mut writing = self.writing();
        let Writing { writer, pending } = &mut *writing;
        let outcome = match writer {
            Some(writer) => change(&self.parts, writer, pending),
            None => self.parts.index.writer_with_num_threads(1, WRITER_BYTES).and_then(|mut opened| {
                let outcome = change(&self.parts, &mut opened, pending);
                *writer = Some(opened);
                outcome
            }),
        };
        outcome.map_err(|error| {
            *writing = Writing::default();
            failed(error)
        })
    }
}

/// Refuses a shape with a literal mapping.
fn refuse_literal(shape: &IndexShape) -> Result<(), SearchError> {
    let text = "a literal mapping needs Elasticsearch (--search http://host:9200)";
    if shape.literal.is_none() { Ok(()) } else { Err(SearchError::Unsupported(text.to_owned())) }
}

/// The schema of an index of a shape.
pub fn definition(shape: &IndexShape) -> serde_json::Value {
    serde_json::to_value(&Fields::new(shape).schema).unwrap_or_default()
}

impl SearchIndex for TantivyIndex {
    fn id(&self) -> &str {
        &self.id
    }

    fn shape(&self) -> &Arc<IndexShape> {
        &self.parts.shape
    }

    fn write<'a>(&'a self, documents: &'a [Document]) -> BoxFuture<'a, Result<Vec<Refused>, SearchError>> {
        Box::pin(async move {
            if documents.is_empty() {
                return Ok(Vec::new());
            }
            self.change(|parts, writer, pending| {
                let mut visible = Revisions::new(parts.reader.searcher(), parts.fields.id);
                for document in documents {
                    let known = match pending.get(&document.id) {
                        Some(revision) => Some(*revision),
                        None => visible.of(&document.id)?,
                    };
                    if known.is_some_and(|known| known > document.revision) {
                        continue;
                    }
                    if known.is_some() {
                        writer.delete_term(Term::from_field_text(parts.fields.id, &document.id));
                    }
                    writer.add_document(parts.fields.indexed(&parts.shape, document))?;
                    pending.insert(document.id.clone(), document.revision);
                }
                Ok(Vec::new())
            })
        })
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), SearchError>> {
        Box::pin(async move {
            if self.writing().pending.is_empty() {
                return Ok(());
            }
            self.change(|parts, writer, pending| {
                writer.commit()?;
                parts.reader.reload()?;
                pending.clear();
                Ok(())
            })
        })
    }

    fn newest(&self) -> BoxFuture<'_, Result<Option<i64>, SearchError>> {
        Box::pin(async move {
            if identity(&self.parts.folder).is_none_or(|found| found.id != self.id) {
                return Err(SearchError::Gone(self.describe()));
            }
            self.parts.newest().map_err(failed)
        })
    }

    fn search(&self, request: Request) -> BoxFuture<'_, Result<Found, SearchError>> {
        self.with_permit(move |parts| parts.search(&request))
    }

    fn scan<'a>(&'a self, sink: &'a mut dyn Sink<Stored>) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(scan::hand_on(self, sink))
    }

    fn parents(&self, requests: Vec<ParentsRequest>) -> BoxFuture<'_, Result<Vec<ParentsFound>, SearchError>> {
        self.with_permit(move |parts| requests.iter().map(|request| parts.parents(request)).collect())
    }

    fn writes(&self) -> Writes {
        // A failure takes along what the writer held.
        Writes { concurrent_max: 1, are_kept: false }
    }

    fn rest(&self) {
        let mut writing = self.writing();
        if writing.pending.is_empty() {
            // A writer holds its memory, and a thread, for as long as it is there.
            writing.writer = None;
        }
    }

    fn describe(&self) -> String {
        format!("tantivy in {}", self.parts.folder.display())
    }
}

impl Parts {
    fn queries(&self) -> Queries<'_> {
        Queries { fields: &self.fields, memory: &self.memory }
    }

    fn newest(&self) -> tantivy::Result<Option<i64>> {
        let mut newest = None;
        for segment in self.reader.searcher().segment_readers() {
            let applied = segment.fast_fields().i64(APPLIED)?.max_value();
            newest = newest.max((segment.max_doc() > 0).then_some(applied));
        }
        Ok(newest)
    }

    fn search(&self, request: &Request) -> tantivy::Result<Found> {
        let searcher = self.reader.searcher();
        let matching = self.queries().matching(request);
        let counted = self.counts.count(&self.fields, &searcher, matching.as_ref(), request)?;
        let total = counted.total;
        let page = if request.hits_max == 0 { Vec::new() } else { self.page(&searcher, matching, request, total)? };
        let hits: tantivy::Result<_> = page
            .into_iter()
            .map(|(score, address)| Ok(Hit { document: self.source(&searcher, address)?, score }))
            .collect();
        Ok(Found { total, hits: hits?, facets: counted.facets.clone() })
    }

    /// The page of a request which `total` documents match on all pages.
    fn page(
        &self,
        searcher: &Searcher,
        matching: Box<dyn Query>,
        request: &Request,
        total: u64,
    ) -> tantivy::Result<Page> {
        let query = queries::on_page(&self.fields, matching, request.sort, &request.start);
        if request.sort.field.is_none() {
            let skipped = if let Start::Skip(count) = request.start { count } else { 0 };
            if let Some((rank, _)) = self.fields.sorted(self.shape.rank)
                && request.query.as_ref().is_some_and(queries::has_score)
            {
                let ranked = RankedQuery::new(query, rank);
                return best(searcher, &ranked, skipped, request.hits_max);
            }
            if !request.query.as_ref().is_some_and(queries::is_scored) {
                return first(searcher, query.as_ref(), skipped, request.hits_max);
            }
            return best(searcher, query.as_ref(), skipped, request.hits_max);
        }
        if request.sort.field == Some(self.shape.time_field)
            && total > SORTED_MAX
            && let Some(found) = self.page_by_time(searcher, query.as_ref(), request, total)?
        {
            return Ok(found);
        }
        self.sorted_page(searcher, query.as_ref(), request.sort, request.hits_max)
    }

    /// A page by time, if it lies within the first or last part of it that holds enough: a scan of the times finds those
    /// documents faster than sorting all does.
    fn page_by_time(
        &self,
        searcher: &Searcher,
        query: &dyn Query,
        request: &Request,
        total: u64,
    ) -> tantivy::Result<Option<Page>> {
        let Some((mut oldest, mut newest)) = self.memory.times.span(searcher)? else { return Ok(None) };
        if let Start::After { value: SortValue::Int(value), .. } = request.start {
            if request.sort.descending { newest = newest.min(value) } else { oldest = oldest.max(value) }
        }
        // As wide as to hold enough, were they spread evenly.
        let wanted = i64::try_from(request.hits_max * 8).unwrap_or(i64::MAX);
        let each = newest.saturating_sub(oldest) / i64::try_from(total).unwrap_or(i64::MAX).max(1);
        let mut width = each.saturating_mul(wanted).max(WINDOW_MS_MIN);
        while newest.saturating_sub(oldest) > width {
            let window = if request.sort.descending { newest - width..=i64::MAX } else { i64::MIN..=oldest + width };
            let window: Box<dyn Query> = Box::new(TimeQuery::new(window, Arc::clone(&self.memory.times)));
            let within = BooleanQuery::new(vec![(Occur::Must, query.box_clone()), (Occur::Must, window)]);
            let found = self.sorted_page(searcher, &within, request.sort, request.hits_max)?;
            if found.len() == request.hits_max {
                return Ok(Some(found));
            }
            width = width.saturating_mul(32);
        }
        Ok(None)
    }

    /// The first documents in order of a column.
    fn sorted_page(
        &self,
        searcher: &Searcher,
        query: &dyn Query,
        sort: Sort,
        hits_max: usize,
    ) -> tantivy::Result<Page> {
        let (Some(field), Some((column, _))) = (sort.field, self.fields.sorted(sort.field)) else {
            return Err(TantivyError::InvalidArgument("hits are not sorted by this field".to_owned()));
        };
        let top = TopDocs::with_limit(hits_max);
        let order = if sort.descending { Order::Desc } else { Order::Asc };
        let by_key = (SortByStaticFastValue::<i64>::for_field(KEY), Order::Asc);
        let unscored = |address| (None, address);
        Ok(match self.shape.field(field).kind {
            Kind::Integer => {
                let by = (SortByStaticFastValue::<i64>::for_field(column), order);
                let found = searcher.search(query, &top.order_by((by, by_key)))?;
                found.into_iter().map(|(_, address)| unscored(address)).collect()
            }
            Kind::Text => {
                let by = (SortByString::for_field(column), order);
                let found = searcher.search(query, &top.order_by((by, by_key)))?;
                found.into_iter().map(|(_, address)| unscored(address)).collect()
            }
        })
    }

    fn source(&self, searcher: &Searcher, address: DocAddress) -> tantivy::Result<Document> {
        serde_json::from_str(&self.text(searcher, address)?).map_err(unreadable)
    }

    fn stored(&self, searcher: &Searcher, address: DocAddress) -> tantivy::Result<Stored> {
        Stored::read(self.text(searcher, address)?).map_err(unreadable)
    }

    fn text(&self, searcher: &Searcher, address: DocAddress) -> tantivy::Result<String> {
        let document: TantivyDocument = searcher.doc(address)?;
        let text = document.get_first(self.fields.source).and_then(|value| value.as_str());
        Ok(text.unwrap_or_default().to_owned())
    }
}

fn unreadable(error: serde_json::Error) -> TantivyError {
    TantivyError::InternalError(format!("stored document: {error}"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> tantivy::Result<T> + Send + 'static,
) -> Result<T, SearchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| SearchError::Unavailable(format!("the search ended: {error}")))?.map_err(failed)
}

fn failed(error: TantivyError) -> SearchError {
    match error {
        TantivyError::InvalidArgument(_) | TantivyError::SchemaError(_) | TantivyError::FieldNotFound(_) => {
            SearchError::Refused(error.to_string())
        }
        TantivyError::IoError(error) if error.kind() == ErrorKind::StorageFull => SearchError::Full(error.to_string()),
        error => SearchError::Unavailable(error.to_string()),
    }
}

/// A digest of texts, in hexadecimal.
fn digest(texts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text);
        hash.update([0]);
    }
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}
