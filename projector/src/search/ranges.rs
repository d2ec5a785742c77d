//! Ranges of keys: all documents of a generation in parts of about the same size, which can be written independently.
//!
//! Invariant: the ranges of one split hold every key that there was once, and no other key twice. A key that is added
//! later is in the last range of its kind, or in none that was written already: its record is in the log.

use std::{collections::BTreeSet, marker::PhantomData};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::tables::{Cell, FromRow, Params, Row, Statement, Tables, TablesError};

/// Keys of a range, as an index is built.
pub const RANGE_KEYS: i64 = 20_000;
/// Keys that are read with one statement, at most.
const PAGE_KEYS: i64 = 1000;

/// A key that is read page by page, in its order. The order of Rust must be that of the statements.
pub trait PagedKey: Clone + Ord + Send + Serialize + DeserializeOwned + for<'r> FromRow<'r> {
    /// A key that precedes all others.
    fn lowest() -> Self;

    /// The key as the first parameters of the statement that reads those after it.
    fn cells(&self) -> Vec<Cell>;
}

/// A range of keys of one kind: after one key, up to another one, inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// The kind of the keys.
    pub kind: String,
    /// The key before the first one, in JSON; `None` at the beginning.
    pub after: Option<String>,
    /// The last key, in JSON; `None` at the end.
    pub until: Option<String>,
}

/// The statements of one kind of keys.
pub struct KeyOrder<K> {
    /// The kind.
    pub kind: &'static str,
    /// Reads the keys after the key of its first parameters, in order; at most as many as its last parameter says.
    pub after: &'static Statement,
    /// Reads every n-th key, in order.
    pub every: &'static Statement,
    /// The key's type.
    pub key: PhantomData<K>,
}

impl<K: PagedKey> KeyOrder<K> {
    /// The statements of a kind.
    pub const fn new(kind: &'static str, after: &'static Statement, every: &'static Statement) -> Self {
        Self { kind, after, every, key: PhantomData }
    }

    /// Splits all keys of the kind into ranges of so many keys.
    pub async fn split(&self, tables: &dyn Tables, keys: i64) -> Result<Vec<KeyRange>, TablesError> {
        let rows = tables.read_background(self.every, Params::One(vec![keys.into()])).await?;
        let bounds = rows.iter().map(|row| text(&K::read(row)?)).collect::<Result<Vec<_>, _>>()?;
        let ends = bounds.into_iter().map(Some).chain([None]);
        let range = |after: &mut Option<String>, until: Option<String>| {
            let after = std::mem::replace(after, until.clone());
            Some(KeyRange { kind: self.kind.to_owned(), after, until })
        };
        Ok(ends.scan(None, range).collect())
    }

    /// The pages of a range; none if it is of another kind.
    pub fn pages(&self, range: &KeyRange) -> Result<Option<Pages<K>>, TablesError> {
        if range.kind != self.kind {
            return Ok(None);
        }
        let bound = |key: &Option<String>| key.as_deref().map(parse::<K>).transpose();
        let (after, until) = (bound(&range.after)?.unwrap_or_else(K::lowest), bound(&range.until)?);
        Ok(Some(Pages { statement: self.after, after, until }))
    }
}

/// The keys of a range, page by page.
pub struct Pages<K> {
    statement: &'static Statement,
    after: K,
    until: Option<K>,
}

impl<K: PagedKey> Pages<K> {
    /// The next page; `None` after the last one.
    pub async fn next(&mut self, tables: &dyn Tables) -> Result<Option<BTreeSet<K>>, TablesError> {
        if self.until.as_ref().is_some_and(|until| self.after >= *until) {
            return Ok(None);
        }
        let mut params = self.after.cells();
        params.push(PAGE_KEYS.into());
        let rows = tables.read_background(self.statement, Params::One(params)).await?;
        let mut page: BTreeSet<K> = rows.iter().map(|row: &Row| K::read(row)).collect::<Result<_, _>>()?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = last.clone();
        if let Some(until) = &self.until {
            page.retain(|key| key <= until);
        }
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

fn text<K: Serialize>(key: &K) -> Result<String, TablesError> {
    serde_json::to_string(key).map_err(|_| TablesError::Shape { column: "of a key" })
}

fn parse<K: DeserializeOwned>(text: &str) -> Result<K, TablesError> {
    serde_json::from_str(text).map_err(|_| TablesError::Shape { column: "of a key" })
}
