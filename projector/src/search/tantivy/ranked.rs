//! A query whose scores grow with the rank of documents.

use std::sync::Arc;

use tantivy::{
    DocId, DocSet, Score, SegmentReader,
    columnar::Column,
    query::{EnableScoring, Explanation, Query, Scorer, Weight},
};

use crate::search::shape::RANK_MAX;

/// A query, and the column with the rank.
#[derive(Debug)]
pub(super) struct RankedQuery {
    query: Box<dyn Query>,
    column: Arc<str>,
}

impl RankedQuery {
    pub(super) fn new(query: Box<dyn Query>, column: &str) -> Self {
        Self { query, column: column.into() }
    }
}

impl Clone for RankedQuery {
    fn clone(&self) -> Self {
        Self { query: self.query.box_clone(), column: Arc::clone(&self.column) }
    }
}

impl Query for RankedQuery {
    fn weight(&self, scoring: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(RankedWeight { weight: self.query.weight(scoring)?, column: Arc::clone(&self.column) }))
    }
}

struct RankedWeight {
    weight: Box<dyn Weight>,
    column: Arc<str>,
}

impl Weight for RankedWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let ranks = reader.fast_fields().i64(&self.column)?;
        Ok(Box::new(Ranked { scorer: self.weight.scorer(reader, boost)?, ranks }))
    }

    fn explain(&self, reader: &SegmentReader, document: DocId) -> tantivy::Result<Explanation> {
        self.weight.explain(reader, document)
    }
}

struct Ranked {
    scorer: Box<dyn Scorer>,
    ranks: Column<i64>,
}

impl DocSet for Ranked {
    fn advance(&mut self) -> DocId {
        self.scorer.advance()
    }

    fn seek(&mut self, target: DocId) -> DocId {
        self.scorer.seek(target)
    }

    fn doc(&self) -> DocId {
        self.scorer.doc()
    }

    fn size_hint(&self) -> u32 {
        self.scorer.size_hint()
    }
}

impl Scorer for Ranked {
    fn score(&mut self) -> Score {
        let rank = self.ranks.first(self.doc()).unwrap_or(0);
        self.scorer.score() * (1.0 + rank as Score / RANK_MAX as Score)
    }
}
