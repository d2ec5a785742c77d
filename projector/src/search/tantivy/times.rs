//! A query for documents of a time span. It knows the oldest and the newest time of each block of documents.
//!
//! Documents are mostly written in the order in which they were registered, so that a short span lies in few blocks; the
//! index alone would look at each document's time.

use std::{fmt, ops::RangeInclusive, sync::Arc, time::Duration};

use moka::sync::Cache;
use tantivy::{
    DocId, DocSet, Score, Searcher, SegmentReader, TERMINATED, TantivyError,
    columnar::Column,
    index::SegmentId,
    query::{ConstScorer, EnableScoring, Explanation, Query, Scorer, Weight},
};

/// Documents of a block.
const BLOCK: u32 = 1024;
/// Segments whose times are known, at most.
const SEGMENTS_MAX: u64 = 256;
/// What nobody asked for as long as this is forgotten.
const KEPT: Duration = Duration::from_secs(300);

/// The times of segments.
pub(super) struct Times {
    /// Name of the column with the time.
    column: String,
    segments: Cache<SegmentId, Arc<OfSegment>>,
}

/// The times of a segment's documents, deleted ones among them.
struct OfSegment {
    times: Column<i64>,
    documents: DocId,
    /// Of each block, the oldest and the newest.
    blocks: Vec<RangeInclusive<i64>>,
}

impl Times {
    pub(super) fn new(column: String) -> Self {
        Self { column, segments: Cache::builder().max_capacity(SEGMENTS_MAX).time_to_idle(KEPT).build() }
    }

    fn of(&self, reader: &SegmentReader) -> tantivy::Result<Arc<OfSegment>> {
        let read = || OfSegment::read(reader, &self.column).map(Arc::new);
        let times = self.segments.try_get_with(reader.segment_id(), read);
        times.map_err(|error| TantivyError::clone(&error))
    }

    /// From the oldest to the newest of all; `None` without documents.
    pub(super) fn span(&self, searcher: &Searcher) -> tantivy::Result<Option<(i64, i64)>> {
        let mut span: Option<(i64, i64)> = None;
        for reader in searcher.segment_readers() {
            for block in &self.of(reader)?.blocks {
                let (oldest, newest) = span.unwrap_or((*block.start(), *block.end()));
                span = Some((oldest.min(*block.start()), newest.max(*block.end())));
            }
        }
        Ok(span)
    }
}

impl OfSegment {
    fn read(reader: &SegmentReader, column: &str) -> tantivy::Result<Self> {
        let (times, documents) = (reader.fast_fields().i64(column)?, reader.max_doc());
        let block = |first: DocId| {
            let times = (first..documents.min(first + BLOCK)).filter_map(|document| times.first(document));
            let (oldest, newest) =
                times.fold((i64::MAX, i64::MIN), |(oldest, newest), time| (time.min(oldest), time.max(newest)));
            oldest..=newest
        };
        let blocks = (0..documents).step_by(BLOCK as usize).map(block).collect();
        Ok(Self { times, documents, blocks })
    }

    /// The first document from `from` on whose time is in a span.
    fn find(&self, from: DocId, span: &RangeInclusive<i64>) -> DocId {
        let mut document = from;
        while document < self.documents {
            // There is a block for each document.
            let Some(block) = self.blocks.get((document / BLOCK) as usize) else { break };
            if block.end() < span.start() || span.end() < block.start() {
                document = (document / BLOCK + 1) * BLOCK;
            } else if self.times.first(document).is_some_and(|time| span.contains(&time)) {
                return document;
            } else {
                document += 1;
            }
        }
        TERMINATED
    }
}

/// Documents registered within a span, in milliseconds.
#[derive(Clone)]
pub(super) struct TimeQuery {
    span: RangeInclusive<i64>,
    known: Arc<Times>,
}

impl TimeQuery {
    pub(super) fn new(span: RangeInclusive<i64>, known: Arc<Times>) -> Self {
        Self { span, known }
    }
}

impl fmt::Debug for TimeQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimeQuery({:?})", self.span)
    }
}

impl Query for TimeQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for TimeQuery {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let times = self.known.of(reader)?;
        let document = times.find(0, &self.span);
        Ok(Box::new(ConstScorer::new(Documents { times, span: self.span.clone(), document }, boost)))
    }

    fn explain(&self, reader: &SegmentReader, document: DocId) -> tantivy::Result<Explanation> {
        let found = self.scorer(reader, 1.0)?.seek(document) == document;
        Ok(Explanation::new("TimeQuery", if found { 1.0 } else { 0.0 }))
    }
}

/// The documents of a segment that a query finds.
struct Documents {
    times: Arc<OfSegment>,
    span: RangeInclusive<i64>,
    document: DocId,
}

impl DocSet for Documents {
    fn advance(&mut self) -> DocId {
        if self.document != TERMINATED {
            self.document = self.times.find(self.document + 1, &self.span);
        }
        self.document
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if self.document < target {
            self.document = self.times.find(target, &self.span);
        }
        self.document
    }

    fn doc(&self) -> DocId {
        self.document
    }

    fn size_hint(&self) -> u32 {
        self.times.documents
    }
}
