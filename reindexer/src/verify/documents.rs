//! Compares an index with the documents that its tables make: ids, revisions and contents.
//!
//! Neither side can be asked for a range of ids, so documents are counted and hashed by buckets of ids on both sides.
//! Only the ids of buckets that differ are kept, a bounded number at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use daybook_ingest::log::BoxFuture;
use daybook_projector::{
    bookkeeping::checkpoints,
    generation::Generation,
    search::{
        SearchError, SearchIndex, bookkeeping,
        document::Stored,
        ranges::{KeyRange, RANGE_KEYS},
        request::Request,
        source::{Documents, Sink, SourceError},
    },
    tables::TablesError,
    throttle::Throttle,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::{
    ATTEMPTS, Canary, IndexReport, LISTED_MAX, Steps, VerifyError,
    ranges::{Comparison, judge},
    wait::wait_for_index,
};

/// Buckets of ids.
const BUCKETS: usize = 1 << 16;
/// Ids that are kept at a time, as far as a single bucket has no more.
const IDS_MAX: u64 = 100_000;
/// Ranges of rows that are read concurrently: PostgreSQL reads for one connection on one processor.
const RANGES_READ: usize = 2;
/// Documents that count as one step of the progress.
const STEP: u64 = 8192;
/// Refused documents that are known of.
const REFUSED_MAX: i64 = 100_000;

/// The documents of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket {
    count: u64,
    sum: u64,
}

/// A document without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    revision: i64,
    content: u64,
}

impl State {
    fn of(document: &Stored) -> Self {
        Self { revision: document.revision, content: hash(&document.text) }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn bucket_of(id: &str) -> usize {
    usize::try_from(hash(id) % BUCKETS as u64).unwrap_or(0)
}

/// Sees documents.
type Visit<'a> = &'a mut (dyn FnMut(Stored) + Send);

/// Hands each document on.
struct Each<'a, 'v> {
    visit: &'a Mutex<Visit<'v>>,
    throttle: &'a Throttle,
    since: Instant,
}

impl<D: Into<Stored> + Send> Sink<D> for Each<'_, '_> {
    fn take(&mut self, documents: Vec<D>) -> BoxFuture<'_, Result<(), SourceError>> {
        let mut visit = self.visit.lock().unwrap_or_else(PoisonError::into_inner);
        documents.into_iter().map(Into::into).for_each(&mut **visit);
        drop(visit);
        Box::pin(async move {
            self.throttle.rest(&mut self.since).await;
            Ok(())
        })
    }
}

/// The index of a candidate, and what is compared with it.
#[derive(Clone, Copy)]
pub struct Indexed<'a> {
    /// The index.
    pub index: &'a dyn SearchIndex,
    /// How rows become documents.
    pub documents: &'a dyn Documents,
    /// The index of the live generation, if this process has it open.
    pub live: Option<&'a dyn SearchIndex>,
    /// Searches that are run on both indexes.
    pub canaries: &'a [Canary],
}

impl<'a> Indexed<'a> {
    pub(super) fn canaries_of(&self, domain: &str) -> impl Iterator<Item = &'a Canary> {
        self.canaries.iter().filter(move |canary| canary.domain == domain)
    }
}

/// The live generation, with its index if this process has it open.
#[derive(Clone, Copy)]
struct Live<'a> {
    generation: &'a Generation,
    index: Option<&'a dyn SearchIndex>,
}

/// The index of a generation, and how its rows become documents.
struct Compared<'a> {
    generation: &'a Generation,
    index: &'a dyn SearchIndex,
    documents: &'a dyn Documents,
    throttle: &'a Throttle,
}

impl Compared<'_> {
    async fn each_made(&self, visit: Visit<'_>) -> Result<(), SourceError> {
        let (visit, tables) = (Mutex::new(visit), self.generation.tables.as_ref());
        let ranges = self.documents.ranges(tables, RANGE_KEYS).await?;
        let read = async |range: KeyRange| {
            let mut each = Each { visit: &visit, throttle: self.throttle, since: Instant::now() };
            self.documents.of_range(tables, &range, &mut each).await
        };
        stream::iter(ranges.into_iter().map(read)).buffer_unordered(RANGES_READ).try_collect().await
    }

    async fn each_indexed(&self, visit: Visit<'_>) -> Result<(), VerifyError> {
        let mut each = Each { visit: &Mutex::new(visit), throttle: self.throttle, since: Instant::now() };
        // An index that is gone is a result.
        self.index.scan(&mut each).await.map_err(|error| match error {
            SourceError::Search(error) => error.into(),
            error => error.into(),
        })
    }

    /// The states of the documents of some buckets, as the tables make them.
    async fn made(&self, buckets: &BTreeSet<usize>) -> Result<BTreeMap<String, State>, VerifyError> {
        let mut states = BTreeMap::new();
        self.each_made(&mut |document| keep(document, buckets, &mut states)).await?;
        Ok(states)
    }

    /// The same as the index shows them.
    async fn indexed(&self, buckets: &BTreeSet<usize>) -> Result<BTreeMap<String, State>, VerifyError> {
        let mut states = BTreeMap::new();
        self.each_indexed(&mut |document| keep(document, buckets, &mut states)).await?;
        Ok(states)
    }
}

fn keep(document: Stored, buckets: &BTreeSet<usize>, states: &mut BTreeMap<String, State>) {
    if buckets.contains(&bucket_of(&document.id)) {
        let state = State::of(&document);
        states.insert(document.id, state);
    }
}

/// Readies an index for searches by everybody; what is short of that. One that is gone is found so later.
pub(super) async fn finish(index: &dyn SearchIndex) -> Result<Option<String>, SearchError> {
    match index.finish().await {
        Err(SearchError::Gone(_)) => Ok(None),
        finished => finished,
    }
}

/// Steps of the progress that an index is expected to take.
pub(super) async fn expected(index: &dyn SearchIndex) -> Result<u64, SearchError> {
    match index.search(Request::all(index.shape(), 0)).await {
        Ok(found) => Ok(2 * (found.total / STEP + 1)),
        Err(SearchError::Gone(_)) => Ok(1),
        Err(error) => Err(error),
    }
}

/// Compares the candidate's index with its tables.
pub(super) async fn compare(
    comparison: &mut Comparison<'_>,
    indexed: &Indexed<'_>,
) -> Result<IndexReport, VerifyError> {
    let Indexed { index, documents, .. } = *indexed;
    let mut report = IndexReport::default();
    let live = Live { generation: comparison.live, index: indexed.live };
    let compared = Compared { generation: comparison.candidate, index, documents, throttle: comparison.throttle };
    let outcome = match index.newest().await {
        Ok(_) => compare_buckets(&compared, live, &comparison.steps, &mut report).await,
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => Ok(report),
        Err(VerifyError::Search(SearchError::Gone(reason))) => {
            report.gone = Some(reason);
            Ok(report)
        }
        Err(error) => Err(error),
    }
}

async fn compare_buckets(
    compared: &Compared<'_>,
    live: Live<'_>,
    steps: &Steps<'_>,
    report: &mut IndexReport,
) -> Result<(), VerifyError> {
    let (mut made, mut indexed) = (Tally::new(steps), Tally::new(steps));
    let from_tables = async { Ok(compared.each_made(&mut |document| made.add(&document)).await?) };
    let from_index = async { compared.each_indexed(&mut |document| indexed.add(&document)).await };
    tokio::try_join!(from_tables, from_index)?;
    (report.documents, report.counts.indexed) = (made.count, indexed.count);
    let mut suspects: Vec<(usize, u64)> = Vec::new();
    let both = made.buckets.iter().zip(&indexed.buckets).enumerate();
    for (place, (one, other)) in both.filter(|(_, (one, other))| one != other) {
        suspects.push((place, one.count.max(other.count)));
    }
    let mut rest = suspects.as_slice();
    // Once there are faults, what is left would only add to their number.
    while !rest.is_empty() && !report.has_faults() {
        let mut ids = 0;
        let fitting = rest.iter().take_while(|(_, count)| {
            ids += count;
            ids <= IDS_MAX
        });
        let (part, left) = rest.split_at(fitting.count().max(1));
        rest = left;
        let part = part.iter().map(|(place, _)| *place).collect();
        compare_ids(compared, live, &part, report).await?;
    }
    report.complete = rest.is_empty();
    Ok(())
}

/// The documents of one side.
struct Tally<'a> {
    buckets: Vec<Bucket>,
    count: u64,
    steps: &'a Steps<'a>,
}

impl<'a> Tally<'a> {
    fn new(steps: &'a Steps<'a>) -> Self {
        Self { buckets: vec![Bucket::default(); BUCKETS], count: 0, steps }
    }

    fn add(&mut self, document: &Stored) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(&document.id)) {
            bucket.count += 1;
            bucket.sum = bucket.sum.wrapping_add(hash(&document.text));
        }
        self.count += 1;
        if self.count.is_multiple_of(STEP) {
            self.steps.add(1);
        }
    }
}

/// Reads the documents of some buckets until each is known to be equal, to differ, or to change all the time.
async fn compare_ids(
    compared: &Compared<'_>,
    live: Live<'_>,
    buckets: &BTreeSet<usize>,
    report: &mut IndexReport,
) -> Result<(), VerifyError> {
    let mut changing = None;
    for _ in 0..ATTEMPTS {
        let before = compared.made(buckets).await?;
        let wanted = checkpoints::read(compared.generation.tables.as_ref()).await?;
        wait_for_index(compared.generation, compared.index, compared.documents, &wanted).await?;
        let indexed = compared.indexed(buckets).await?;
        // An index is never ahead of its tables.
        let after = compared.made(buckets).await?;
        let judged = judge(&before, &indexed, &after, changing.as_ref());
        let mut missing = Vec::new();
        for id in judged.differing {
            match (after.get(&id), indexed.get(&id)) {
                (Some(_), None) => missing.push(id),
                (None, _) => note(&mut report.extra, &mut report.counts.extra, id),
                (Some(is), Some(found)) if found.revision < is.revision => {
                    note(&mut report.stale, &mut report.counts.stale, id);
                }
                (Some(_), Some(_)) => note(&mut report.altered, &mut report.counts.altered, id),
            }
        }
        note_missing(missing, compared, live, report).await?;
        let is_done = judged.changing.is_empty();
        changing = Some(judged.changing);
        if is_done {
            break;
        }
    }
    report.counts.changing += changing.map_or(0, |ids| ids.len() as u64);
    Ok(())
}

pub(super) fn note(listed: &mut Vec<String>, count: &mut u64, id: String) {
    *count += 1;
    if listed.len() < LISTED_MAX {
        listed.push(id);
    }
}

/// Notes missing documents. One that the indexes of both generations refused is none of the candidate's faults.
async fn note_missing(
    missing: Vec<String>,
    compared: &Compared<'_>,
    live: Live<'_>,
    report: &mut IndexReport,
) -> Result<(), TablesError> {
    if missing.is_empty() {
        return Ok(());
    }
    let refused = async |generation: &Generation, index: Option<&dyn SearchIndex>| {
        let Some(index) = index else { return Ok(BTreeSet::new()) };
        let refused = bookkeeping::list_quarantine(generation.tables.as_ref(), index.id(), REFUSED_MAX).await?;
        Ok::<BTreeSet<String>, TablesError>(refused.into_iter().map(|one| one.id).collect())
    };
    let ours = refused(compared.generation, Some(compared.index)).await?;
    let of_live = refused(live.generation, live.index).await?;
    for id in missing {
        if ours.contains(&id) && of_live.contains(&id) {
            report.counts.refused += 1;
        } else {
            note(&mut report.missing, &mut report.counts.missing, id);
        }
    }
    Ok(())
}

impl IndexReport {
    fn has_faults(&self) -> bool {
        self.counts.faults() > 0
    }
}
