//! How parameters are bound and rows are read.

use sqlx::{
    Column as _, Postgres, Row as _, Type, TypeInfo,
    encode::{Encode, IsNull},
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgColumn, PgHasArrayType, PgRow, PgTypeInfo, types::Oid},
    query::Query,
};

use crate::tables::{
    Cell, Column, Cursor, Params, Row, Statement, TablesError, Timestamp,
    cell::{check_cells, check_columns},
    row::shape,
};

/// 2000-01-01, from which PostgreSQL counts, in milliseconds since 1970.
const POSTGRES_EPOCH_MS: i64 = 946_684_800_000;

pub(super) type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// A statement with its parameters.
pub(super) fn bind<'q>(statement: &Statement, params: &'q Params) -> Result<PgQuery<'q>, TablesError> {
    match params {
        Params::One(cells) => check_cells(statement, cells)?,
        Params::Many(columns) => check_columns(statement, columns)?,
    }
    let query = sqlx::query(statement.postgres);
    Ok(match params {
        Params::One(cells) => cells.iter().fold(query, |query, cell| match cell {
            Cell::Int(value) => query.bind(*value),
            Cell::Text(value) => query.bind(value.as_deref()),
            Cell::Bool(value) => query.bind(*value),
            Cell::Float(value) => query.bind(*value),
            Cell::Bytes(value) => query.bind(value.as_deref()),
            Cell::Timestamp(value) => query.bind(*value),
            Cell::Texts(value) => query.bind(value.as_deref()),
        }),
        Params::Many(columns) => columns.iter().fold(query, bind_column),
    })
}

/// Binds a column as an array. An empty one is bound as null, which the server need not parse; `UNNEST` and comparisons
/// of `CARDINALITY` treat both alike.
pub(super) fn bind_column<'q>(query: PgQuery<'q>, column: &'q Column) -> PgQuery<'q> {
    match column {
        Column::Ints(values) => query.bind(unless_empty(values)),
        Column::Texts(values) => query.bind(unless_empty(values)),
        Column::Bools(values) => query.bind(unless_empty(values)),
        Column::Floats(values) => query.bind(unless_empty(values)),
        Column::Bytes(values) => query.bind(unless_empty(values)),
        Column::Timestamps(values) => query.bind(unless_empty(values)),
    }
}

fn unless_empty<T>(values: &Vec<T>) -> Option<&Vec<T>> {
    Some(values).filter(|values| !values.is_empty())
}

/// A row as owned cells.
pub(super) fn cells(row: &PgRow) -> Result<Row, TablesError> {
    row.columns().iter().enumerate().map(|(index, column)| cell(row, index, column)).collect::<Result<_, _>>().map(Row)
}

fn cell(row: &PgRow, index: usize, column: &PgColumn) -> Result<Cell, TablesError> {
    let cell = match column.type_info().name() {
        "INT8" => row.try_get_unchecked(index).map(Cell::Int),
        "TEXT" | "JSON" => row.try_get_unchecked(index).map(Cell::Text),
        "BOOL" => row.try_get_unchecked(index).map(Cell::Bool),
        "FLOAT8" => row.try_get_unchecked(index).map(Cell::Float),
        "BYTEA" => row.try_get_unchecked(index).map(Cell::Bytes),
        "TIMESTAMPTZ" => row.try_get_unchecked(index).map(|micros| Cell::Timestamp(timestamp(micros))),
        "TEXT[]" => row.try_get_unchecked(index).map(Cell::Texts),
        _ => return Err(shape()),
    };
    cell.map_err(|_| shape())
}

/// The values of the row under a cursor.
pub(super) struct PgCursor<'a>(pub(super) &'a PgRow);

impl PgCursor<'_> {
    /// The value of a column whose type has this name. The name is checked because types can have the same binary form.
    fn of_type<'r, T: sqlx::Decode<'r, Postgres>>(
        &'r self,
        column: usize,
        name: &str,
    ) -> Result<Option<T>, TablesError> {
        let found = self.0.try_column(column).map_err(|_| shape())?.type_info().name();
        if found == name { self.0.try_get_unchecked(column).map_err(|_| shape()) } else { Err(shape()) }
    }
}

impl Cursor for PgCursor<'_> {
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError> {
        self.0.try_get_unchecked(column).map_err(|_| shape())
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError> {
        self.0.try_get_unchecked(column).map_err(|_| shape())
    }

    fn optional_bool(&self, column: usize) -> Result<Option<bool>, TablesError> {
        self.of_type(column, "BOOL").or_else(|_| Ok(self.of_type(column, "INT8")?.map(|value: i64| value != 0)))
    }

    fn optional_float(&self, column: usize) -> Result<Option<f64>, TablesError> {
        self.of_type(column, "FLOAT8")
    }

    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, TablesError> {
        self.of_type(column, "BYTEA")
    }

    fn optional_timestamp(&self, column: usize) -> Result<Option<Timestamp>, TablesError> {
        self.of_type(column, "TIMESTAMPTZ").map(timestamp)
    }

    fn optional_texts(&self, column: usize) -> Result<Option<Vec<String>>, TablesError> {
        self.of_type(column, "TEXT[]")
    }
}

/// A timestamp from its bytes: microseconds since 2000.
fn timestamp(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(|micros| Timestamp(micros.div_euclid(1000) + POSTGRES_EPOCH_MS))
}

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        // TIMESTAMPTZ, as in pg_type.dat of PostgreSQL.
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Timestamp {
    fn array_type_info() -> PgTypeInfo {
        // TIMESTAMPTZ[].
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // In bounds, as parameters are checked before they are bound.
        let micros = self.0.saturating_sub(POSTGRES_EPOCH_MS).saturating_mul(1000);
        Encode::<Postgres>::encode_by_ref(&micros, buffer)
    }
}
