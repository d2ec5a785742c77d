//! What is asked of an index, and what it answers.

use serde::{Deserialize, Serialize};

use super::{
    document::{Document, Kind},
    query::Expression,
};
use crate::run_status::Status;

/// Hits of a page, at most.
pub const HITS_MAX: usize = 500;
/// Hits that can be skipped by relevance, at most.
pub const SKIP_MAX: usize = 9_000;
/// Values of a facet, at most.
pub const VALUES_MAX: usize = 1_000;

/// A search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The query; without one, every document matches.
    pub query: Option<Expression>,
    /// What else must hold.
    pub filter: Filter,
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
    pub fn all(hits_max: usize) -> Self {
        let (filter, sort) = (Filter::default(), Sort { field: SortField::CreatedAt, descending: true });
        Self { query: None, filter, sort, start: Start::First, hits_max, facets: Vec::new() }
    }
}

/// Exact conditions, all of which must hold; an empty list holds always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Filter {
    /// One of these types.
    pub kinds: Vec<Kind>,
    /// One of these flows.
    pub flows: Vec<String>,
    /// One of these owners.
    pub users: Vec<String>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// One of these statuses.
    pub statuses: Vec<Status>,
    /// Registered at or after this, in milliseconds.
    pub from: Option<i64>,
    /// Registered before this, in milliseconds.
    pub to: Option<i64>,
}

/// What hits can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SortField {
    /// How well a document fits.
    Relevance,
    /// When it was registered.
    CreatedAt,
    /// The run's number; 0 for flows.
    Run,
    /// The flow.
    Flow,
    /// The owner; empty for none.
    User,
    /// The type.
    Type,
    /// The status; empty for none.
    Status,
}

impl SortField {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Relevance, Self::CreatedAt, Self::Run, Self::Flow, Self::User, Self::Type, Self::Status];

    /// Its name, in requests and in the engines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relevance => "relevance",
            Self::CreatedAt => "created_at",
            Self::Run => "run",
            Self::Flow => "flow",
            Self::User => "user",
            Self::Type => "type",
            Self::Status => "status",
        }
    }

    /// The field of a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == text)
    }

    /// What a document is sorted by; `None` by relevance.
    pub fn value_of(self, document: &Document) -> Option<SortValue> {
        let text = |text: Option<&str>| Some(SortValue::Text(text.unwrap_or_default().to_owned()));
        match self {
            Self::Relevance => None,
            Self::CreatedAt => Some(SortValue::Int(document.created_at)),
            Self::Run => Some(SortValue::Int(document.run.unwrap_or(0))),
            Self::Flow => text(Some(&document.flow)),
            Self::User => text(document.user.as_deref()),
            Self::Type => text(Some(document.kind.as_str())),
            Self::Status => text(document.status.map(Status::as_str)),
        }
    }
}

/// An order. Documents that sort alike are in order of their keys, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub field: SortField,
    /// Greatest first. By relevance, the best is always first.
    pub descending: bool,
}

/// A value that is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SortValue {
    /// A number.
    Int(i64),
    /// A text; sorted by bytes.
    Text(String),
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

/// What documents can be counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FacetField {
    /// Each tag.
    Tag,
    /// The owner.
    User,
    /// The flow.
    Flow,
    /// The type.
    Type,
    /// The status.
    Status,
}

impl FacetField {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Tag, Self::User, Self::Flow, Self::Type, Self::Status];

    /// Its name, in requests and in the engines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::User => "user",
            Self::Flow => "flow",
            Self::Type => "type",
            Self::Status => "status",
        }
    }

    /// The field of a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == text)
    }

    /// The whole values that a document is counted and filtered by.
    pub fn values_of(self, document: &Document) -> Vec<&str> {
        match self {
            Self::Tag => document.tags.iter().map(String::as_str).collect(),
            Self::User => document.user.iter().map(String::as_str).collect(),
            Self::Flow => vec![&document.flow],
            Self::Type => vec![document.kind.as_str()],
            Self::Status => document.status.iter().map(|status| status.as_str()).collect(),
        }
    }
}

/// A count by value: the most frequent first, those alike by value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Facet {
    /// By what.
    pub field: FacetField,
    /// Values that begin with this.
    pub prefix: String,
    /// Values wanted, at most.
    pub values_max: usize,
}

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
    pub facets: Vec<Vec<(String, u64)>>,
}
