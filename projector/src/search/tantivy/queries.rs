//! A request as queries of the embedded index.

use std::ops::Bound;

use tantivy::{
    Term,
    query::{
        AllQuery, BooleanQuery, ConstScoreQuery, EmptyQuery, FuzzyTermQuery, Occur, PhraseQuery, Query, RangeQuery,
        TermQuery,
    },
    schema::{Field as Handle, IndexRecordOption},
};

use super::schema::Fields;
use crate::{
    run_status::Status,
    search::{
        document::Kind,
        query::{Expression, Field},
        request::{FacetField, Filter, Sort, SortValue, Start},
    },
};

type Part = (Occur, Box<dyn Query>);

/// What a request matches, on all pages.
pub(super) fn matching(fields: &Fields, query: Option<&Expression>, filter: &Filter) -> Box<dyn Query> {
    let mut parts: Vec<Part> = Vec::new();
    if let Some(query) = query {
        parts.push((Occur::Must, expression(fields, query)));
    }
    parts.extend(conditions(fields, filter).into_iter().map(|query| (Occur::Must, unscored(query))));
    if parts.is_empty() { Box::new(AllQuery) } else { Box::new(BooleanQuery::new(parts)) }
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

fn expression(fields: &Fields, query: &Expression) -> Box<dyn Query> {
    let of = |parts: &[Expression], occur: Occur| {
        Box::new(BooleanQuery::new(parts.iter().map(|part| (occur, expression(fields, part))).collect()))
    };
    match query {
        Expression::Words { field, terms, prefix } => words(fields, *field, terms, *prefix),
        Expression::All(parts) => of(parts, Occur::Must),
        Expression::Any(parts) => of(parts, Occur::Should),
        Expression::Not(inner) => Box::new(BooleanQuery::new(vec![
            (Occur::Must, unscored(Box::new(AllQuery))),
            (Occur::MustNot, expression(fields, inner)),
        ])),
        Expression::Nothing => Box::new(EmptyQuery),
    }
}

fn words(fields: &Fields, field: Field, terms: &[String], prefix: bool) -> Box<dyn Query> {
    let handle = fields.terms(field);
    let term = |text: &String| Term::from_field_text(handle, text);
    match terms {
        [] => Box::new(EmptyQuery),
        [one] if prefix => Box::new(FuzzyTermQuery::new_prefix(term(one), 0, false)),
        [one] => Box::new(TermQuery::new(term(one), IndexRecordOption::WithFreqs)),
        [before @ .., last] if prefix => Box::new(BooleanQuery::new(vec![
            (Occur::Must, words(fields, field, before, false)),
            (Occur::Must, words(fields, field, std::slice::from_ref(last), true)),
        ])),
        several => Box::new(PhraseQuery::new(several.iter().map(term).collect())),
    }
}

fn conditions(fields: &Fields, filter: &Filter) -> Vec<Box<dyn Query>> {
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
    let at = |time: i64| Term::from_field_i64(fields.created_at, time);
    if filter.from.is_some() || filter.to.is_some() {
        let from = filter.from.map_or(Bound::Unbounded, |from| Bound::Included(at(from)));
        let to = filter.to.map_or(Bound::Unbounded, |to| Bound::Excluded(at(to)));
        conditions.push(Box::new(RangeQuery::new(from, to)));
    }
    conditions
}

fn one_of(handle: Handle, values: &[&str]) -> Box<dyn Query> {
    let query = |value: &&str| -> Part {
        (Occur::Should, Box::new(TermQuery::new(Term::from_field_text(handle, value), IndexRecordOption::Basic)))
    };
    Box::new(BooleanQuery::new(values.iter().map(query).collect()))
}
