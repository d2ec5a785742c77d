//! What is asked of an index, and what it answers.

use serde::{Deserialize, Serialize};

use super::{
    document::{Document, cut},
    query::Expression,
    shape::{Field, FieldId, Filter, IndexShape, Kind},
    words::canonical::{WHOLE_BYTES_MAX, composed},
};

/// Hits of a page, at most.
pub const HITS_MAX: usize = 500;
/// Hits that can be skipped by relevance, at most.
pub const SKIP_MAX: usize = 9_000;
/// Values of a facet that a client is shown, at most.
pub const VALUES_MAX: usize = 1_000;

/// A search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The query; without one, every document matches.
    pub query: Option<Expression>,
    /// Conditions that must all hold, and do not count for relevance.
    pub filter: Vec<Expression>,
    /// The order.
    pub sort: Sort,
    /// Where the page begins.
    pub start: Start,
    /// Hits wanted, at most; 0 for totals and facets alone.
    pub hits_max: usize,
    /// Counts wanted.
    pub facets: Vec<Facet>,
}

impl Request {
    /// Everything, newest first.
    pub fn all(shape: &IndexShape, hits_max: usize) -> Self {
        let sort = Sort::newest(shape);
        Self { query: None, filter: Vec::new(), sort, start: Start::First, hits_max, facets: Vec::new() }
    }
}

/// A filter that an index does not have, or a value that its field never has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not one of {known}")]
pub struct FilterError {
    /// The field that was given.
    pub field: String,
    /// The field, or the value.
    text: String,
    /// Those that there are.
    known: String,
}

/// The conditions that fields have some values. Each field and value is a pair; a field may be given several times.
pub fn conditions(shape: &IndexShape, given: &[(String, String)]) -> Result<Vec<Expression>, FilterError> {
    let check = |field: &str, text: &str, known: Vec<&str>| match known.contains(&text) {
        true => Ok(()),
        false => Err(FilterError { field: field.to_owned(), text: text.to_owned(), known: known.join(", ") }),
    };
    let names = shape.fields.iter().filter(|field| field.filter.is_some()).map(|field| &*field.name);
    let names: Vec<&str> = names.collect();
    given.iter().try_for_each(|(field, _)| check(field, field, names.clone()))?;
    let mut all = Vec::new();
    for (id, field) in shape.all() {
        let Some(rule) = field.filter else { continue };
        let of_field = given.iter().filter(|(name, _)| *name == *field.name);
        let values: Vec<&str> = of_field.map(|(_, value)| value.as_str()).collect();
        for value in values.iter().filter(|_| !field.allowed.is_empty()) {
            check(&field.name, value, field.allowed.iter().map(|allowed| &**allowed).collect())?;
        }
        let named = Field::Named(id);
        match rule {
            Filter::AnyOf if values.is_empty() => {}
            Filter::AnyOf => all.push(Expression::value(named, values)),
            Filter::AllOf => all.extend(values.into_iter().map(|value| Expression::value(named, [value]))),
        }
    }
    Ok(all)
}

/// An order. Documents that sort alike are in order of their keys, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what; `None` by relevance.
    pub field: Option<FieldId>,
    /// Greatest first. By relevance, the best is always first.
    pub descending: bool,
}

impl Sort {
    /// The newest first.
    pub const fn newest(shape: &IndexShape) -> Self {
        Self { field: Some(shape.time_field), descending: true }
    }

    /// The best first.
    pub const fn relevance() -> Self {
        Self { field: None, descending: true }
    }

    /// The page after a document; `None` by relevance.
    pub fn after(&self, shape: &IndexShape, document: &Document) -> Option<Start> {
        Some(Start::After { value: SortValue::of(shape, document, self.field?), key: document.key() })
    }
}

/// A value that is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SortValue {
    /// A number.
    Int(i64),
    /// A text, as far as whole values are kept; sorted by bytes.
    Text(String),
}

impl SortValue {
    /// What a document is sorted by in a field; 0 or nothing, where it has no value.
    pub fn of(shape: &IndexShape, document: &Document, field: FieldId) -> Self {
        match shape.field(field).kind {
            Kind::Integer => Self::Int(shape.number(document, field)),
            Kind::Text => {
                let first = shape.values(document, Field::Named(field)).into_iter().next();
                Self::Text(first.map(|text| cut(&text, WHOLE_BYTES_MAX).to_owned()).unwrap_or_default())
            }
        }
    }
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// With the first hit.
    #[serde(rename = "f")]
    First,
    /// After this document, whether or not it is there still. Not by relevance.
    #[serde(rename = "a")]
    After {
        /// What it was sorted by.
        #[serde(rename = "v")]
        value: SortValue,
        /// Its key.
        #[serde(rename = "k")]
        key: i64,
    },
    /// After so many hits. By relevance only, where scores change with every write.
    #[serde(rename = "s")]
    Skip(usize),
}

impl Start {
    /// After so many hits more; `None` where that is too many to skip.
    pub fn skip(&self, hits: usize) -> Option<Self> {
        let skipped = hits + if let Self::Skip(count) = self { *count } else { 0 };
        (skipped <= SKIP_MAX).then_some(Self::Skip(skipped))
    }
}

/// A count by value: the most frequent first, those alike by value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Facet {
    /// By what.
    pub field: Field,
    /// Values that begin with this.
    pub prefix: String,
    /// Values wanted, at most.
    pub values_max: usize,
}

impl Facet {
    /// Whether a value begins with the prefix, both in canonical composition: one that ends within a composed character
    /// is no beginning.
    pub fn takes(&self) -> impl Fn(&str) -> bool {
        let prefix = composed(&self.prefix);
        move |value| prefix.is_empty() || composed(value).starts_with(&*prefix)
    }
}

/// Values with their counts.
pub type Counts = Vec<(String, u64)>;

/// A document that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The document.
    pub document: Document,
    /// How well it fits; only by relevance.
    pub score: Option<f32>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// How many documents match, on all pages together.
    pub total: u64,
    /// The page.
    pub hits: Vec<Hit>,
    /// Values with their counts, for each facet that was asked for, in that order.
    pub facets: Vec<Counts>,
}

/// Which parents are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentsRequest {
    /// What they match.
    pub matching: Expression,
    /// How many are wanted, at most; the newest, where more match.
    pub parents_max: usize,
    /// Whether the values that their children inherit are wanted, too.
    pub values: bool,
}

/// A parent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub id: String,
    /// What its children inherit; empty if that was not asked for.
    pub values: Vec<String>,
}

/// Parents that were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParentsFound {
    /// How many match.
    pub total: u64,
    /// They, or the newest of them, in no order.
    pub parents: Vec<Parent>,
}
