//! Counts of the records of a generation.

use std::collections::BTreeMap;

use daybook_projector::{
    comparison, row, statements,
    tables::{FromRow, Params, Row, Statement, Tables, TablesError},
};

use crate::definition::fields::SOURCE;

statements! {
    /// The statements that count the records of every collection.
    pub(super) STATEMENTS;
    COUNT_NAMED = "sql/count_named", CountRow;
    COUNT_SHOWN = "sql/count_shown", CountRow;
}

statements! {
    /// The statements of collections whose records have a source.
    pub(super) STATEMENTS_OF_SOURCES;
    /// How many records readers see of each source.
    pub(super) COUNT_BY_SOURCE = "sql/count_by_source", SourceRow;
}

row! {
    struct CountRow {
        row_count: i64,
    }
}

row! {
    /// The records of one source.
    pub(super) struct SourceRow<'r> {
        pub(super) source: Option<&'r str>,
        pub(super) row_count: i64,
    }
}

/// Records by source; those that have none come first.
pub(super) type BySource = BTreeMap<Option<String>, u64>;

/// How many records were ever named.
pub(super) async fn named(tables: &dyn Tables) -> Result<u64, TablesError> {
    count(tables, &COUNT_NAMED).await
}

/// How many records readers see.
pub(super) async fn shown(tables: &dyn Tables) -> Result<u64, TablesError> {
    count(tables, &COUNT_SHOWN).await
}

/// How many records readers see, by source; `None` for tables without sources.
pub(super) async fn by_source(tables: &dyn Tables) -> Result<Option<BySource>, TablesError> {
    let has_source = comparison::columns(tables, "records").await?.iter().any(|column| column == SOURCE);
    if !has_source {
        return Ok(None);
    }
    let rows = tables.read_background(&COUNT_BY_SOURCE, Params::One(Vec::new())).await?;
    let counted = |row: &Row| {
        let SourceRow { source, row_count } = SourceRow::read(row)?;
        Ok((source.map(str::to_owned), unsigned(row_count)))
    };
    rows.iter().map(counted).collect::<Result<_, _>>().map(Some)
}

async fn count(tables: &dyn Tables, statement: &'static Statement) -> Result<u64, TablesError> {
    let rows = tables.read_background(statement, Params::One(Vec::new())).await?;
    Ok(rows.first().map(|row| CountRow::read(row)).transpose()?.map_or(0, |row| unsigned(row.row_count)))
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
