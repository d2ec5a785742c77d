//! Counts documents by value.

use std::collections::HashMap;

use tantivy::{
    DocId, Score, SegmentOrdinal, SegmentReader, TantivyError,
    collector::{Collector, SegmentCollector},
    columnar::StrColumn,
};

use super::schema::whole_name;
use crate::search::request::Facet;

/// Counts of every value, for each facet.
pub(super) type Counts = Vec<HashMap<String, u64>>;

/// Counts all values of some facets.
pub(super) struct FacetCollector(pub(super) Vec<Facet>);

/// What is counted in one segment.
pub(super) struct OfSegment {
    columns: Vec<(Option<StrColumn>, String)>,
    /// By ordinal of the value.
    counts: Vec<Vec<u64>>,
}

impl Collector for FacetCollector {
    type Fruit = Counts;
    type Child = OfSegment;

    fn for_segment(&self, _segment: SegmentOrdinal, reader: &SegmentReader) -> tantivy::Result<OfSegment> {
        let mut columns = Vec::with_capacity(self.0.len());
        let mut counts = Vec::with_capacity(self.0.len());
        for facet in &self.0 {
            let column = reader.fast_fields().str(&whole_name(facet.field))?;
            counts.push(vec![0; column.as_ref().map_or(0, |column| column.num_terms())]);
            columns.push((column, facet.prefix.clone()));
        }
        Ok(OfSegment { columns, counts })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, segments: Vec<tantivy::Result<Counts>>) -> tantivy::Result<Counts> {
        let mut all: Counts = self.0.iter().map(|_| HashMap::new()).collect();
        for segment in segments {
            for (all, one) in all.iter_mut().zip(segment?) {
                for (value, count) in one {
                    *all.entry(value).or_default() += count;
                }
            }
        }
        Ok(all)
    }
}

impl SegmentCollector for OfSegment {
    type Fruit = tantivy::Result<Counts>;

    fn collect(&mut self, document: DocId, _score: Score) {
        for ((column, _), counts) in self.columns.iter().zip(&mut self.counts) {
            for ordinal in column.iter().flat_map(|column| column.term_ords(document)) {
                // Ordinals are those of the column.
                if let Some(count) = usize::try_from(ordinal).ok().and_then(|ordinal| counts.get_mut(ordinal)) {
                    *count += 1;
                }
            }
        }
    }

    fn harvest(self) -> tantivy::Result<Counts> {
        let mut found = Counts::new();
        for ((column, prefix), counts) in self.columns.iter().zip(self.counts) {
            let mut values = HashMap::new();
            let mut value = String::new();
            for (ordinal, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
                let Some(column) = column else { continue };
                value.clear();
                column.ord_to_str(ordinal as u64, &mut value).map_err(TantivyError::from)?;
                if value.starts_with(prefix.as_str()) {
                    values.insert(value.clone(), count);
                }
            }
            found.push(values);
        }
        Ok(found)
    }
}

/// The most frequent values of each facet; those alike in order of value.
pub(super) fn top(counts: Counts, facets: &[Facet]) -> Vec<Vec<(String, u64)>> {
    let top = |(values, facet): (HashMap<String, u64>, &Facet)| {
        let mut values: Vec<(String, u64)> = values.into_iter().collect();
        values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        values.truncate(facet.values_max);
        values
    };
    counts.into_iter().zip(facets).map(top).collect()
}
