//! A request as queries of the embedded index.

use std::{ops::Bound, sync::Arc};

use tantivy::{
    Term,
    query::{
        AllQuery, BooleanQuery, ConstScoreQuery, EmptyQuery, Occur, PhraseQuery, Query, RangeQuery, TermQuery,
        TermSetQuery,
    },
    schema::IndexRecordOption,
};

use super::{
    excluded::ExcludedQuery,
    prefixes::{PrefixQuery, Prefixes},
    schema::Fields,
    times::{TimeQuery, Times},
};
use crate::search::{
    query::Expression,
    request::{Request, Sort, SortValue, Start},
    shape::Field,
    words::canonical::comparable,
};

/// Values that are each a query of their own, at most; more are looked up together, which reads all terms of a segment.
const TERMS_APART_MAX: usize = 64;

type Part = (Occur, Box<dyn Query>);

/// What queries remember of segments.
pub(super) struct Memory {
    pub(super) prefixes: Arc<Prefixes>,
    pub(super) times: Arc<Times>,
}

/// Makes queries of expressions.
pub(super) struct Queries<'a> {
    pub(super) fields: &'a Fields,
    pub(super) memory: &'a Memory,
}

/// Whether a query finds some documents better than others.
pub(super) fn is_scored(query: &Expression) -> bool {
    match query {
        Expression::Words { terms, prefix, .. } => terms.len() > 1 || !prefix,
        Expression::All(parts) => parts.iter().any(is_scored),
        Expression::Any(_) => true,
        Expression::Value { .. } | Expression::Time { .. } | Expression::Not(_) | Expression::Nothing => false,
    }
}

/// Whether a query gives documents a score at all.
pub(super) fn has_score(query: &Expression) -> bool {
    match query {
        Expression::Words { .. } => true,
        Expression::All(parts) | Expression::Any(parts) => parts.iter().any(has_score),
        Expression::Value { .. } | Expression::Time { .. } | Expression::Not(_) | Expression::Nothing => false,
    }
}

/// What is matched and comes after where a page begins.
pub(super) fn on_page(fields: &Fields, matching: Box<dyn Query>, sort: Sort, start: &Start) -> Box<dyn Query> {
    let (Start::After { value, key }, Some((_, handle))) = (start, fields.sorted(sort.field)) else { return matching };
    let value = match value {
        SortValue::Int(value) => Term::from_field_i64(handle, *value),
        SortValue::Text(value) => Term::from_field_text(handle, value),
    };
    let beyond = if sort.descending {
        RangeQuery::new(Bound::Unbounded, Bound::Excluded(value.clone()))
    } else {
        RangeQuery::new(Bound::Excluded(value.clone()), Bound::Unbounded)
    };
    let alike = RangeQuery::new(Bound::Included(value.clone()), Bound::Included(value));
    let later = RangeQuery::new(Bound::Excluded(Term::from_field_i64(fields.key, *key)), Bound::Unbounded);
    let alike = BooleanQuery::new(vec![must(alike), must(later)]);
    let after = BooleanQuery::new(vec![(Occur::Should, Box::new(beyond)), (Occur::Should, Box::new(alike))]);
    Box::new(BooleanQuery::new(vec![(Occur::Must, matching), must(after)]))
}

fn must(query: impl Query) -> Part {
    (Occur::Must, Box::new(query))
}

fn unscored(query: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(query, 0.0))
}

impl Queries<'_> {
    /// What a request matches, on all pages.
    pub(super) fn matching(&self, request: &Request) -> Box<dyn Query> {
        let mut parts: Vec<Box<dyn Query>> = request.query.iter().map(|query| self.expression(query)).collect();
        parts.extend(request.filter.iter().map(|condition| unscored(self.expression(condition))));
        match parts.pop() {
            None => Box::new(AllQuery),
            // Alone, a query knows better than within another how many documents match, and which cannot be among the best.
            Some(only) if parts.is_empty() => only,
            Some(last) => {
                parts.push(last);
                Box::new(BooleanQuery::new(parts.into_iter().map(|part| (Occur::Must, part)).collect()))
            }
        }
    }

    /// What an expression matches.
    pub(super) fn expression(&self, query: &Expression) -> Box<dyn Query> {
        let of = |parts: &[Expression], occur: Occur| {
            Box::new(BooleanQuery::new(parts.iter().map(|part| (occur, self.expression(part))).collect()))
        };
        match query {
            Expression::Words { field, terms, prefix } => self.words(*field, terms, *prefix),
            Expression::Value { field, one_of } => self.value(*field, one_of),
            Expression::Time { from, to } => {
                let last = to.map_or(i64::MAX, |to| to.saturating_sub(1));
                Box::new(TimeQuery::new(from.unwrap_or(i64::MIN)..=last, Arc::clone(&self.memory.times)))
            }
            Expression::All(parts) => of(parts, Occur::Must),
            Expression::Any(parts) => of(parts, Occur::Should),
            Expression::Not(inner) => Box::new(BooleanQuery::new(vec![
                (Occur::Must, unscored(Box::new(AllQuery))),
                (Occur::MustNot, Box::new(ExcludedQuery(self.expression(inner)))),
            ])),
            Expression::Nothing => Box::new(EmptyQuery),
        }
    }

    fn words(&self, field: Field, terms: &[String], prefix: bool) -> Box<dyn Query> {
        let Some(handle) = self.fields.terms(field) else { return Box::new(EmptyQuery) };
        let term = |text: &String| Term::from_field_text(handle, text);
        match terms {
            [] => Box::new(EmptyQuery),
            [one] if prefix => Box::new(PrefixQuery::new(term(one), Arc::clone(&self.memory.prefixes))),
            [one] => Box::new(TermQuery::new(term(one), IndexRecordOption::WithFreqs)),
            [before @ .., last] if prefix => Box::new(BooleanQuery::new(vec![
                (Occur::Must, self.words(field, before, false)),
                (Occur::Must, self.words(field, std::slice::from_ref(last), true)),
            ])),
            several => Box::new(PhraseQuery::new(several.iter().map(term).collect())),
        }
    }

    fn value(&self, field: Field, one_of: &[String]) -> Box<dyn Query> {
        let Some(handle) = self.fields.whole(field) else { return Box::new(EmptyQuery) };
        let terms: Vec<Term> = match self.fields.composed(field) {
            None => one_of.iter().map(|value| Term::from_field_text(handle, value)).collect(),
            Some(other) => {
                let both = |value: &String| {
                    let compared = comparable(value);
                    [handle, other].map(|handle| Term::from_field_text(handle, &compared))
                };
                one_of.iter().flat_map(both).collect()
            }
        };
        if terms.len() > TERMS_APART_MAX {
            return Box::new(ConstScoreQuery::new(Box::new(TermSetQuery::new(terms)), 1.0));
        }
        let query = |term: Term| -> Part { (Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::Basic))) };
        let any = BooleanQuery::new(terms.into_iter().map(query).collect());
        Box::new(ConstScoreQuery::new(Box::new(any), 1.0))
    }
}
