//! Ranges of keys: all documents of a generation in parts of about the same size, which can be written independently.
//!
//! Invariant: the ranges of one split hold every key that there was at the split, each in one range. A key that is added
//! later may be missed: its record is in the log.

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

/// The statement of one kind of keys.
pub struct KeyOrder<K> {
    /// The kind.
    pub kind: &'static str,
    /// Reads the keys after the key of its first parameters, in order: its last parameters say how many at most, and how
    /// many are left out first.
    pub after: &'static Statement,
    /// The key's type.
    pub key: PhantomData<K>,
}

impl<K: PagedKey> KeyOrder<K> {
    /// The statement of a kind.
    pub const fn new(kind: &'static str, after: &'static Statement) -> Self {
        Self { kind, after, key: PhantomData }
    }

    /// Splits all keys of the kind into ranges of so many keys.
    pub async fn split(&self, tables: &dyn Tables, keys: i64) -> Result<Vec<KeyRange>, TablesError> {
        let (mut ranges, mut last) = (Vec::new(), K::lowest());
        let mut after = None;
        // Each statement reads one range's keys in the index, however many there are in all.
        while let Some(row) = read(self.after, tables, &last, 1, keys - 1).await?.first() {
            last = K::read(row)?;
            let until = Some(text(&last)?);
            ranges.push(KeyRange { kind: self.kind.to_owned(), after: after.take(), until: until.clone() });
            after = until;
        }
        ranges.push(KeyRange { kind: self.kind.to_owned(), after, until: None });
        Ok(ranges)
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
        let rows = read(self.statement, tables, &self.after, PAGE_KEYS, 0).await?;
        let mut page: BTreeSet<K> = rows.iter().map(|row: &Row| K::read(row)).collect::<Result<_, _>>()?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = last.clone();
        if let Some(until) = &self.until {
            page.retain(|key| key <= until);
        }
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

async fn read<K: PagedKey>(
    statement: &'static Statement,
    tables: &dyn Tables,
    after: &K,
    count_max: i64,
    left_out: i64,
) -> Result<Vec<Row>, TablesError> {
    let mut params = after.cells();
    params.extend([count_max.into(), left_out.into()]);
    tables.read_background(statement, Params::One(params)).await
}

fn text<K: Serialize>(key: &K) -> Result<String, TablesError> {
    serde_json::to_string(key).map_err(|_| TablesError::Shape { column: "of a key" })
}

fn parse<K: DeserializeOwned>(text: &str) -> Result<K, TablesError> {
    serde_json::from_str(text).map_err(|_| TablesError::Shape { column: "of a key" })
}
