//! Totals and facets, counted segment by segment and remembered: a segment changes by nothing but its deletes.
//!
//! So a count over everything is made once, and again only for the segments that were written since.

use std::{collections::HashMap, hash::Hash, sync::Arc, time::Duration};

use moka::sync::Cache;
use tantivy::{
    DocId, Searcher, SegmentReader, TantivyError,
    columnar::StrColumn,
    index::SegmentId,
    query::{EnableScoring, Query, Weight},
};

use super::schema::Fields;
use crate::search::{
    query::Expression,
    request::{Facet, Request},
};

/// Cached bytes of counts of whole indexes, at most.
const WHOLE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Cached bytes of counts of segments, at most.
const SEGMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Counts that were not used for this long are evicted.
const KEPT: Duration = Duration::from_secs(300);
/// What a remembered count takes beside its values, in bytes, about.
const OVERHEAD: usize = 512;

/// What is counted: two requests that are alike in this have the same counts.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Asked {
    query: Option<Expression>,
    filter: Vec<Expression>,
    facets: Vec<Facet>,
}

impl Asked {
    /// What it takes in memory, in bytes, about: an expression may hold many ids.
    fn bytes(&self) -> usize {
        self.query.iter().chain(&self.filter).map(Expression::bytes).sum()
    }
}

/// The current state of a segment, and what is counted in it.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    segment: SegmentId,
    deletes: Option<u64>,
    asked: Arc<Asked>,
}

/// What one segment holds.
struct OfSegment {
    total: u32,
    /// How often each value is there, for each facet.
    values: Vec<Vec<(String, u64)>>,
}

/// What counts, and what they were asked by, take in memory.
fn bytes(asked: &Asked, values: &[Vec<(String, u64)>]) -> u32 {
    let bytes = |(value, _): &(String, u64)| value.len() + size_of::<(String, u64)>();
    let bytes = OVERHEAD + asked.bytes() + values.iter().flatten().map(bytes).sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// What was counted.
pub(super) struct Counted {
    pub(super) total: u64,
    /// For each facet, its most frequent values.
    pub(super) facets: Vec<Vec<(String, u64)>>,
}

/// A searcher by its generation, which is another one with every change, and what was asked of it.
#[derive(PartialEq, Eq, Hash)]
struct WholeKey {
    generation: u64,
    asked: Arc<Asked>,
}

/// Counts that were made.
pub(super) struct Counts {
    whole: Cache<WholeKey, Arc<Counted>>,
    segments: Cache<Key, Arc<OfSegment>>,
}

impl Default for Counts {
    fn default() -> Self {
        let of_whole = |key: &WholeKey, counted: &Arc<Counted>| bytes(&key.asked, &counted.facets);
        let of_segment = |key: &Key, counted: &Arc<OfSegment>| bytes(&key.asked, &counted.values);
        Self {
            whole: Cache::builder().max_capacity(WHOLE_BYTES_MAX).weigher(of_whole).time_to_idle(KEPT).build(),
            segments: Cache::builder().max_capacity(SEGMENT_BYTES_MAX).weigher(of_segment).time_to_idle(KEPT).build(),
        }
    }
}

impl Counts {
    /// Counts what a request matches, which is `matching`. Of concurrent requests that are alike, one counts.
    pub(super) fn count(
        &self,
        fields: &Fields,
        searcher: &Searcher,
        matching: &dyn Query,
        request: &Request,
    ) -> tantivy::Result<Arc<Counted>> {
        let asked = Arc::new(Asked {
            query: request.query.clone(),
            filter: request.filter.clone(),
            facets: request.facets.clone(),
        });
        let key = WholeKey { generation: searcher.generation().generation_id(), asked: Arc::clone(&asked) };
        let counted =
            self.whole.try_get_with(key, || self.count_segments(fields, searcher, matching, &asked).map(Arc::new));
        counted.map_err(|error| TantivyError::clone(&error))
    }

    fn count_segments(
        &self,
        fields: &Fields,
        searcher: &Searcher,
        matching: &dyn Query,
        asked: &Arc<Asked>,
    ) -> tantivy::Result<Counted> {
        let weight = matching.weight(EnableScoring::disabled_from_searcher(searcher))?;
        let of_segment = |reader: &SegmentReader| {
            let key = Key { segment: reader.segment_id(), deletes: reader.delete_opstamp(), asked: Arc::clone(asked) };
            let counted =
                self.segments.try_get_with(key, || count(fields, weight.as_ref(), reader, &asked.facets).map(Arc::new));
            counted.map_err(|error| TantivyError::clone(&error))
        };
        let segments: Vec<_> = searcher.segment_readers().iter().map(of_segment).collect::<tantivy::Result<_>>()?;
        let total = segments.iter().map(|counted| u64::from(counted.total)).sum();
        let facet = |(index, facet): (usize, &Facet)| {
            let mut values: HashMap<&str, u64> = HashMap::new();
            for (value, count) in segments.iter().flat_map(|counted| &counted.values[index]) {
                *values.entry(value).or_default() += count;
            }
            top(values, facet.values_max)
        };
        Ok(Counted { total, facets: asked.facets.iter().enumerate().map(facet).collect() })
    }
}

/// The most frequent values; those alike in order of value.
fn top(values: HashMap<&str, u64>, values_max: usize) -> Vec<(String, u64)> {
    let mut values: Vec<(&str, u64)> = values.into_iter().collect();
    values.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
    values.into_iter().take(values_max).map(|(value, count)| (value.to_owned(), count)).collect()
}

fn count(fields: &Fields, weight: &dyn Weight, reader: &SegmentReader, facets: &[Facet]) -> tantivy::Result<OfSegment> {
    if facets.is_empty() {
        return Ok(OfSegment { total: weight.count(reader)?, values: Vec::new() });
    }
    let columns = facets.iter().map(|facet| OfColumn::new(fields, reader, facet)).collect::<tantivy::Result<Vec<_>>>();
    let (mut columns, mut total) = (columns?, 0);
    let mut take = |documents: &[DocId]| {
        total += documents.len();
        columns.iter_mut().for_each(|column| column.count(documents));
    };
    match reader.alive_bitset() {
        None => weight.for_each_no_score(reader, &mut take)?,
        Some(alive) => {
            let mut living = Vec::new();
            weight.for_each_no_score(reader, &mut |documents| {
                living.clear();
                living.extend(documents.iter().copied().filter(|document| alive.is_alive(*document)));
                take(&living);
            })?;
        }
    }
    let values = columns.into_iter().zip(facets).map(|(column, facet)| column.values(facet.takes()));
    Ok(OfSegment { total: u32::try_from(total).unwrap_or(u32::MAX), values: values.collect::<tantivy::Result<_>>()? })
}

/// Counts the values of one column, by their ordinals.
struct OfColumn {
    column: Option<StrColumn>,
    counts: Vec<u64>,
}

impl OfColumn {
    fn new(fields: &Fields, reader: &SegmentReader, facet: &Facet) -> tantivy::Result<Self> {
        let column = match fields.whole_column(facet.field) {
            Some(name) => reader.fast_fields().str(name)?,
            None => None,
        };
        let counts = vec![0; column.as_ref().map_or(0, |column| column.num_terms())];
        Ok(Self { column, counts })
    }

    fn count(&mut self, documents: &[DocId]) {
        let Some(column) = &self.column else { return };
        for document in documents {
            for ordinal in column.term_ords(*document) {
                // Ordinals are those of the column.
                if let Some(count) = usize::try_from(ordinal).ok().and_then(|ordinal| self.counts.get_mut(ordinal)) {
                    *count += 1;
                }
            }
        }
    }

    /// Those of the counted values that a facet takes.
    fn values(self, takes: impl Fn(&str) -> bool) -> tantivy::Result<Vec<(String, u64)>> {
        let Some(column) = self.column else { return Ok(Vec::new()) };
        let counted = (0_u64..).zip(self.counts).filter(|(_, count)| *count > 0);
        let (ordinals, counts): (Vec<u64>, Vec<u64>) = counted.unzip();
        let (mut values, mut counts) = (Vec::new(), counts.into_iter());
        // Read together: each block of the dictionary holds many values.
        column.dictionary().sorted_ords_to_term_cb(&ordinals, |term| {
            let count = counts.next().unwrap_or(0);
            let value = String::from_utf8_lossy(term);
            if takes(&value) {
                values.push((value.into_owned(), count));
            }
        })?;
        Ok(values)
    }
}
