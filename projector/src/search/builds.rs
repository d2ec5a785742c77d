//! Bookkeeping of indexes that are being built from rows, in the tables: where the log goes on, and which ranges of keys
//! are written.

use daybook_schemas::position::Vector;

use super::ranges::KeyRange;
use crate::{
    row, statements,
    tables::{Cell, Column, FromRow, Params, Tables, TablesError},
};

statements! {
    /// The statements of this file, so that a test can run each on every engine.
    pub STATEMENTS;
    READ_BUILD = "builds/read_build", BuildRow;
    ADD_BUILD = "builds/add_build";
    ADD_RANGES = "builds/add_ranges", split;
    READ_UNWRITTEN = "builds/read_unwritten", RangeRow;
    WRITE_RANGE = "builds/write_range";
}

row! {
    /// An index that is being built, or was.
    struct BuildRow {
        from_vector: String,
        ranges: i64,
        written: i64,
    }
}

row! {
    /// A range that is not written.
    struct RangeRow {
        range_number: i64,
        kind: String,
        after_key: Option<String>,
        until_key: Option<String>,
    }
}

/// An index that is being built, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The vector from which the log is followed afterwards.
    pub from: Vector,
    /// How many ranges there are.
    pub ranges: u64,
    /// How many of them are written.
    pub written: u64,
}

impl Build {
    /// Whether all ranges are written.
    pub fn is_complete(&self) -> bool {
        self.written == self.ranges
    }
}

/// A range with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberedRange {
    /// Its number.
    pub number: i64,
    /// The range.
    pub range: KeyRange,
}

/// The build of an index; `None` if none was begun.
pub async fn read(tables: &dyn Tables, index_id: &str) -> Result<Option<Build>, TablesError> {
    let rows = tables.read(&READ_BUILD, Params::One(vec![index_id.into()])).await?;
    let build = rows.first().map(|row| {
        let BuildRow { from_vector, ranges, written } = BuildRow::read(row)?;
        let from = from_vector.parse().map_err(|_| TablesError::Shape { column: "from_vector" })?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(Build { from, ranges: count(ranges), written: count(written) })
    });
    build.transpose()
}

/// Begins a build, unless another process did so before. Blocks its thread.
pub fn begin(tables: &dyn Tables, index_id: &str, from: &Vector, ranges: &[KeyRange]) -> Result<(), TablesError> {
    let mut transaction = tables.begin()?;
    let build: Vec<Cell> = vec![index_id.into(), from.to_string().into()];
    if transaction.execute(&ADD_BUILD, &Params::One(build))? == 0 {
        return Ok(());
    }
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let columns = vec![
        Column::texts(ranges.iter().map(|_| index_id)),
        Column::ints((0..ranges.len()).map(number)),
        Column::texts(ranges.iter().map(|range| range.kind.as_str())),
        Column::Texts(ranges.iter().map(|range| range.after.clone()).collect()),
        Column::Texts(ranges.iter().map(|range| range.until.clone()).collect()),
    ];
    transaction.execute(&ADD_RANGES, &Params::Many(columns))?;
    transaction.commit()
}

/// The ranges that are not written yet, in order.
pub async fn unwritten(tables: &dyn Tables, index_id: &str) -> Result<Vec<NumberedRange>, TablesError> {
    let rows = tables.read(&READ_UNWRITTEN, Params::One(vec![index_id.into()])).await?;
    let numbered = |row| {
        let RangeRow { range_number, kind, after_key, until_key } = RangeRow::read(row)?;
        Ok(NumberedRange { number: range_number, range: KeyRange { kind, after: after_key, until: until_key } })
    };
    rows.iter().map(|row| numbered(row)).collect()
}

/// Notes that the documents of a range are durable in the index.
pub async fn note_written(tables: &dyn Tables, index_id: &str, number: i64) -> Result<(), TablesError> {
    tables.write(&WRITE_RANGE, vec![index_id.into(), number.into()]).await.map(drop)
}
