//! A request as queries of the embedded index.

use std::{ops::Bound, sync::Arc};

use tantivy::{
    Term,
    query::{AllQuery, BooleanQuery, ConstScoreQuery, EmptyQuery, Occur, PhraseQuery, Query, RangeQuery, TermQuery},
    schema::{Field as Handle, IndexRecordOption},
};

use super::{
    prefixes::{PrefixQuery, Prefixes},
    schema::Fields,
    times::{TimeQuery, Times},
};
use crate::{
    run_status::Status,
    search::{
        document::Kind,
        query::{Expression, Field},
        request::{FacetField, Filter, Request, Sort, SortValue, Start},
    },
};

type Part = (Occur, Box<dyn Query>);

/// What queries remember of segments.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) prefixes: Arc<Prefixes>,
    pub(super) times: Arc<Times>,
}

/// What a request matches, on all pages.
pub(super) fn matching(fields: &Fields, memory: &Memory, request: &Request) -> Box<dyn Query> {
    let words = Words { fields, prefixes: &memory.prefixes };
    let mut parts: Vec<Box<dyn Query>> = request.query.iter().map(|query| words.expression(query)).collect();
    parts.extend(conditions(fields, memory, &request.filter).into_iter().map(unscored));
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

/// Whether a query finds some documents better than others.
pub(super) fn is_scored(query: &Expression) -> bool {
    match query {
        Expression::Words { terms, prefix, .. } => terms.len() > 1 || !prefix,
        Expression::All(parts) => parts.iter().any(is_scored),
        Expression::Any(_) => true,
        Expression::Not(_) | Expression::Nothing => false,
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

/// Makes queries of words.
struct Words<'a> {
    fields: &'a Fields,
    prefixes: &'a Arc<Prefixes>,
}

impl Words<'_> {
    fn expression(&self, query: &Expression) -> Box<dyn Query> {
        let of = |parts: &[Expression], occur: Occur| {
            Box::new(BooleanQuery::new(parts.iter().map(|part| (occur, self.expression(part))).collect()))
        };
        match query {
            Expression::Words { field, terms, prefix } => self.words(*field, terms, *prefix),
            Expression::All(parts) => of(parts, Occur::Must),
            Expression::Any(parts) => of(parts, Occur::Should),
            Expression::Not(inner) => Box::new(BooleanQuery::new(vec![
                (Occur::Must, unscored(Box::new(AllQuery))),
                (Occur::MustNot, self.expression(inner)),
            ])),
            Expression::Nothing => Box::new(EmptyQuery),
        }
    }

    fn words(&self, field: Field, terms: &[String], prefix: bool) -> Box<dyn Query> {
        let term = |text: &String| Term::from_field_text(self.fields.terms(field), text);
        match terms {
            [] => Box::new(EmptyQuery),
            [one] if prefix => Box::new(PrefixQuery::new(term(one), Arc::clone(self.prefixes))),
            [one] => Box::new(TermQuery::new(term(one), IndexRecordOption::WithFreqs)),
            [before @ .., last] if prefix => Box::new(BooleanQuery::new(vec![
                (Occur::Must, self.words(field, before, false)),
                (Occur::Must, self.words(field, std::slice::from_ref(last), true)),
            ])),
            several => Box::new(PhraseQuery::new(several.iter().map(term).collect())),
        }
    }
}

fn conditions(fields: &Fields, memory: &Memory, filter: &Filter) -> Vec<Box<dyn Query>> {
    let kinds: Vec<&str> = filter.kinds.iter().copied().map(Kind::as_str).collect();
    let statuses: Vec<&str> = filter.statuses.iter().copied().map(Status::as_str).collect();
    let any_of = [
        (FacetField::Type, kinds),
        (FacetField::Status, statuses),
        (FacetField::Flow, filter.flows.iter().map(String::as_str).collect()),
        (FacetField::User, filter.users.iter().map(String::as_str).collect()),
    ];
    let wanted = any_of.into_iter().filter(|(_, values)| !values.is_empty());
    let mut conditions: Vec<Box<dyn Query>> =
        wanted.map(|(field, values)| one_of(fields.whole(field), &values)).collect();
    conditions.extend(filter.tags.iter().map(|tag| one_of(fields.whole(FacetField::Tag), &[tag])));
    if filter.from.is_some() || filter.to.is_some() {
        let last = filter.to.map_or(i64::MAX, |to| to.saturating_sub(1));
        conditions.push(Box::new(TimeQuery::new(filter.from.unwrap_or(i64::MIN)..=last, Arc::clone(&memory.times))));
    }
    conditions
}

fn one_of(handle: Handle, values: &[&str]) -> Box<dyn Query> {
    let query = |value: &&str| -> Part {
        (Occur::Should, Box::new(TermQuery::new(Term::from_field_text(handle, value), IndexRecordOption::Basic)))
    };
    Box::new(BooleanQuery::new(values.iter().map(query).collect()))
}
