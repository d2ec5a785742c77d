//! Pages by relevance.

use tantivy::{
    DocAddress, DocSet, Searcher, TERMINATED,
    collector::{SortKeyComputer, sort_key::SortBySimilarityScore},
    query::{EnableScoring, Query},
};

use super::Page;

/// A page of documents none of which fits better than another, in the order that all of them would have by score.
pub(super) fn first(searcher: &Searcher, query: &dyn Query, skipped: usize, hits_max: usize) -> tantivy::Result<Page> {
    let weight = query.weight(EnableScoring::enabled_from_searcher(searcher))?;
    let mut found = Page::new();
    for (segment, reader) in (0..).zip(searcher.segment_readers()) {
        let mut documents = weight.scorer(reader, 1.0)?;
        while documents.doc() != TERMINATED && found.len() < skipped + hits_max {
            let document = documents.doc();
            if reader.alive_bitset().is_none_or(|alive| alive.is_alive(document)) {
                found.push((Some(documents.score()), DocAddress::new(segment, document)));
            }
            documents.advance();
        }
    }
    found.drain(..skipped.min(found.len()));
    Ok(found)
}

/// A page of the documents that fit best. Equal scores are ordered by address, so that pages do not overlap; the library's
/// own merge of segments (tantivy 0.27, `order_by_score`) drops any of them.
pub(super) fn best(searcher: &Searcher, query: &dyn Query, skipped: usize, hits_max: usize) -> tantivy::Result<Page> {
    let weight = query.weight(EnableScoring::enabled_from_searcher(searcher))?;
    let mut found = Vec::new();
    for (segment, reader) in (0..).zip(searcher.segment_readers()) {
        let wanted = skipped + hits_max;
        found.extend(SortBySimilarityScore.collect_segment_top_k(wanted, weight.as_ref(), reader, segment)?);
    }
    found.sort_unstable_by(|(score, address), (other_score, other)| {
        other_score.total_cmp(score).then_with(|| address.cmp(other))
    });
    let page = found.into_iter().skip(skipped).take(hits_max);
    Ok(page.map(|(score, address)| (Some(score), address)).collect())
}
