//! Words that begin alike, as a query that remembers what it found in a segment: they may be many words, each a look-up, and
//! the words of a segment never change.

use std::{fmt, sync::Arc, time::Duration};

use moka::sync::Cache;
use tantivy::{
    BitSet, DocId, DocSet, Score, SegmentReader, TERMINATED, TantivyError, Term,
    index::SegmentId,
    query::{BitSetDocSet, ConstScorer, EnableScoring, Explanation, FuzzyTermQuery, Query, Scorer, Weight},
};

/// Bytes that are remembered, at most.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What nobody asked for as long as this is forgotten.
const KEPT: Duration = Duration::from_secs(300);

/// Documents that have a word of some beginning, by segment; deleted ones among them.
pub(super) struct Prefixes(Cache<(SegmentId, Term), Arc<BitSet>>);

impl Default for Prefixes {
    fn default() -> Self {
        let weigher = |_: &(SegmentId, Term), documents: &Arc<BitSet>| documents.max_value() / 8 + 256;
        Self(Cache::builder().max_capacity(BYTES_MAX).weigher(weigher).time_to_idle(KEPT).build())
    }
}

/// Documents that have a word which begins as a term does.
#[derive(Clone)]
pub(super) struct PrefixQuery {
    beginning: Term,
    known: Arc<Prefixes>,
}

impl PrefixQuery {
    pub(super) fn new(beginning: Term, known: Arc<Prefixes>) -> Self {
        Self { beginning, known }
    }

    fn find(&self, reader: &SegmentReader) -> tantivy::Result<Arc<BitSet>> {
        let query = FuzzyTermQuery::new_prefix(self.beginning.clone(), 0, false);
        let weight = query.weight(EnableScoring::disabled_from_schema(reader.schema()))?;
        let (mut found, mut documents) = (BitSet::with_max_value(reader.max_doc()), weight.scorer(reader, 1.0)?);
        while documents.doc() != TERMINATED {
            found.insert(documents.doc());
            documents.advance();
        }
        Ok(Arc::new(found))
    }
}

impl fmt::Debug for PrefixQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrefixQuery({:?})", self.beginning)
    }
}

impl Query for PrefixQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(self.clone()))
    }
}

impl Weight for PrefixQuery {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let key = (reader.segment_id(), self.beginning.clone());
        let found = self.known.0.try_get_with(key, || self.find(reader));
        let found = found.map_err(|error| TantivyError::clone(&error))?;
        Ok(Box::new(ConstScorer::new(BitSetDocSet::from(BitSet::clone(&found)), boost)))
    }

    fn explain(&self, reader: &SegmentReader, document: DocId) -> tantivy::Result<Explanation> {
        let found = self.scorer(reader, 1.0)?.seek(document) == document;
        Ok(Explanation::new("PrefixQuery", if found { 1.0 } else { 0.0 }))
    }
}
