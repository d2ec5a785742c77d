//! Named rows: a struct for the rows of a statement, with its columns as fields, in their order.
//!
//! This is the only place that reads columns by their index. A struct borrows from the row, which is owned or under the
//! cursor of a stream; nothing is copied.

use super::{Cell, RowColumns, TablesError, Timestamp};

/// A row that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub Vec<Cell>);

/// The name of a column that is read by its number.
const UNNAMED: &str = "without a name";

/// A row's values, borrowed: until the next row, if it is under the cursor of a stream. Columns are counted from 0.
pub trait Cursor {
    /// A text that the statement never leaves null.
    fn text(&self, column: usize) -> Result<&str, TablesError> {
        self.optional_text(column)?.ok_or(TablesError::Shape { column: UNNAMED })
    }
    /// A text, or null.
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError>;
    /// An integer, or null.
    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError>;
    /// A boolean, or null.
    fn optional_bool(&self, column: usize) -> Result<Option<bool>, TablesError>;
    /// A float, or null.
    fn optional_float(&self, column: usize) -> Result<Option<f64>, TablesError>;
    /// Bytes, or null.
    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, TablesError>;
    /// A point in time, or null.
    fn optional_timestamp(&self, column: usize) -> Result<Option<Timestamp>, TablesError>;
    /// A text array, or null.
    fn optional_texts(&self, column: usize) -> Result<Option<Vec<String>>, TablesError>;
}

/// A column has another type than requested.
pub(super) const fn shape() -> TablesError {
    TablesError::Shape { column: UNNAMED }
}

/// The value of a cell of some kind, or null of any kind. SQLite has fewer kinds: those that represent others follow the
/// first.
macro_rules! value_of {
    ($row:expr, $column:expr, $($pattern:pat => $value:expr),+) => {
        match $row.0.get($column) {
            $(Some($pattern) => Ok($value),)+
            Some(cell) if cell.is_null() => Ok(None),
            _ => Err(shape()),
        }
    };
}

impl Cursor for Row {
    fn optional_text(&self, column: usize) -> Result<Option<&str>, TablesError> {
        value_of!(self, column, Cell::Text(value) => value.as_deref())
    }

    fn optional_int(&self, column: usize) -> Result<Option<i64>, TablesError> {
        value_of!(self, column, Cell::Int(value) => *value)
    }

    fn optional_bool(&self, column: usize) -> Result<Option<bool>, TablesError> {
        value_of!(self, column, Cell::Bool(value) => *value, Cell::Int(value) => value.map(|value| value != 0))
    }

    fn optional_float(&self, column: usize) -> Result<Option<f64>, TablesError> {
        value_of!(self, column, Cell::Float(value) => *value)
    }

    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, TablesError> {
        value_of!(self, column, Cell::Bytes(value) => value.as_deref())
    }

    fn optional_timestamp(&self, column: usize) -> Result<Option<Timestamp>, TablesError> {
        value_of!(self, column, Cell::Timestamp(value) => *value, Cell::Int(value) => value.map(Timestamp))
    }

    fn optional_texts(&self, column: usize) -> Result<Option<Vec<String>>, TablesError> {
        match self.0.get(column) {
            Some(Cell::Texts(value)) => Ok(value.clone()),
            Some(Cell::Text(value)) => value.as_deref().map(texts_of_json).transpose(),
            Some(cell) if cell.is_null() => Ok(None),
            _ => Err(shape()),
        }
    }
}

/// A text array from its JSON.
pub(super) fn texts_of_json(json: &str) -> Result<Vec<String>, TablesError> {
    serde_json::from_str(json).map_err(|_| shape())
}

/// A type that a column is read into. Types that borrow copy nothing.
pub trait FromColumn<'r>: Sized {
    /// Reads a column.
    fn from_column(row: &'r dyn Cursor, column: usize) -> Result<Self, TablesError>;
}

macro_rules! from_column {
    ($($type:ty: $method:ident $(, $convert:expr)?;)+) => {$(
        impl<'r> FromColumn<'r> for Option<$type> {
            fn from_column(row: &'r dyn Cursor, column: usize) -> Result<Self, TablesError> {
                let value = row.$method(column)?;
                Ok(value$(.map($convert))?)
            }
        }

        impl<'r> FromColumn<'r> for $type {
            fn from_column(row: &'r dyn Cursor, column: usize) -> Result<Self, TablesError> {
                Option::<$type>::from_column(row, column)?.ok_or(shape())
            }
        }
    )+};
}

from_column! {
    &'r str: optional_text;
    String: optional_text, str::to_owned;
    i64: optional_int;
    bool: optional_bool;
    f64: optional_float;
    &'r [u8]: optional_bytes;
    Vec<u8>: optional_bytes, <[u8]>::to_vec;
    Timestamp: optional_timestamp;
    Vec<String>: optional_texts;
}

/// A struct that rows are read into; [`row!`](crate::row) declares it.
pub trait FromRow<'r>: Sized {
    /// Names of its columns, in order.
    const COLUMNS: &'static [&'static str];

    /// Reads a row whose columns begin with the one of this number.
    fn read_from(row: &'r dyn Cursor, first: usize) -> Result<Self, TablesError>;

    /// Reads a row.
    fn read(row: &'r dyn Cursor) -> Result<Self, TablesError> {
        Self::read_from(row, 0)
    }

    /// Reads a row of a keyed statement, and the index, from 0, of the parameters' row that it belongs to.
    fn read_keyed(row: &'r dyn Cursor) -> Result<(usize, Self), TablesError> {
        let ordinal = i64::from_column(row, 0).ok().and_then(|ordinal| usize::try_from(ordinal).ok()?.checked_sub(1));
        let index = ordinal.ok_or(TablesError::Shape { column: super::ORDINAL })?;
        Ok((index, Self::read_from(row, 1)?))
    }
}

/// A row of a keyed statement that has no column but its ordinal.
pub struct NoColumns;

impl<'r> FromRow<'r> for NoColumns {
    const COLUMNS: &'static [&'static str] = &[];

    fn read_from(_row: &'r dyn Cursor, _first: usize) -> Result<Self, TablesError> {
        Ok(Self)
    }
}

/// The columns of a statement whose rows are read into `R`.
pub const fn columns_of<R: FromRow<'static>>(keyed: bool) -> RowColumns {
    RowColumns { keyed, names: R::COLUMNS }
}

/// Reads the columns of a row one after another; for [`row!`](crate::row) alone.
#[doc(hidden)]
pub struct Columns<'r> {
    row: &'r dyn Cursor,
    next: usize,
}

impl<'r> Columns<'r> {
    /// From a column on.
    pub fn new(row: &'r dyn Cursor, first: usize) -> Self {
        Self { row, next: first }
    }

    /// The next column.
    pub fn next<T: FromColumn<'r>>(&mut self, name: &'static str) -> Result<T, TablesError> {
        let column = self.next;
        self.next += 1;
        T::from_column(self.row, column).map_err(|_| TablesError::Shape { column: name })
    }
}

/// A field's name as a column's: `r#type` is the column `type`.
#[doc(hidden)]
pub const fn column_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Two lists of names as one; `N` is how many they are together.
#[doc(hidden)]
pub const fn joined<const N: usize>(first: &[&'static str], second: &[&'static str]) -> [&'static str; N] {
    let mut all = [""; N];
    let mut index = 0;
    while index < N {
        all[index] = if index < first.len() { first[index] } else { second[index - first.len()] };
        index += 1;
    }
    all
}

/// Declares a struct for the rows of a statement: each field is the column of its name, in the statement's order. It
/// implements [`FromRow`](crate::tables::FromRow); a contract test compares its fields with the statement's columns.
///
/// ```ignore
/// row! {
///     /// A run as answers show it.
///     pub(crate) struct RunRow<'r> {
///         pub(crate) flow_id: &'r str,
///         pub(crate) run_number: i64,
///         pub(crate) run_id: Option<&'r str>,
///     }
/// }
/// ```
///
/// A row that begins with the columns of another one holds it: `struct PlacedRun<'r>: run: Run { … }`.
#[macro_export]
macro_rules! row {
    ($(#[$meta:meta])* $vis:vis struct $name:ident<$life:lifetime>: $base:ident: $of:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),+ $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name<$life> { $vis $base: $of<$life>, $($(#[$field_meta])* $field_vis $field: $type),+ }

        impl<$life> $crate::tables::FromRow<$life> for $name<$life> {
            const COLUMNS: &'static [&'static str] = {
                const BASE: &[&str] = <$of<'static> as $crate::tables::FromRow<'static>>::COLUMNS;
                const OWN: &[&str] = &[$($crate::tables::column_name(stringify!($field))),+];
                &$crate::tables::joined::<{ BASE.len() + OWN.len() }>(BASE, OWN)
            };

            fn read_from(
                row: &$life dyn $crate::tables::Cursor,
                first: usize,
            ) -> Result<Self, $crate::tables::TablesError> {
                let $base = $of::read_from(row, first)?;
                let mut columns = $crate::tables::Columns::new(row, first + $of::COLUMNS.len());
                Ok(Self {
                    $base,
                    $($field: columns.next($crate::tables::column_name(stringify!($field)))?),+
                })
            }
        }
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident<$life:lifetime> {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),+ $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name<$life> { $($(#[$field_meta])* $field_vis $field: $type),+ }
        $crate::row!(@read $name<$life>, $life, $($field),+);
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty),+ $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name { $($(#[$field_meta])* $field_vis $field: $type),+ }
        $crate::row!(@read $name, 'r, $($field),+);
    };
    (@read $name:ty, $life:lifetime, $($field:ident),+) => {
        impl<$life> $crate::tables::FromRow<$life> for $name {
            const COLUMNS: &'static [&'static str] = &[$($crate::tables::column_name(stringify!($field))),+];

            fn read_from(
                row: &$life dyn $crate::tables::Cursor,
                first: usize,
            ) -> Result<Self, $crate::tables::TablesError> {
                let mut columns = $crate::tables::Columns::new(row, first);
                Ok(Self { $($field: columns.next($crate::tables::column_name(stringify!($field)))?),+ })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    row! {
        /// A row.
        #[derive(Debug, PartialEq, Eq)]
        struct Named<'r> {
            r#type: &'r str,
            at: Option<i64>,
            live: bool,
        }
    }

    row! {
        /// A row with one column more.
        struct Longer<'r>: named: Named {
            more: i64,
        }
    }

    #[test]
    fn a_row_that_begins_with_another_one_has_the_columns_of_both() {
        assert_eq!(Longer::COLUMNS, ["type", "at", "live", "more"]);
        let row = Row(vec![2.into(), "a".into(), 3.into(), 1.into(), 7.into()]);
        let longer = Longer::read_from(&row, 1).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((longer.named, longer.more), (Named { r#type: "a", at: Some(3), live: true }, 7));
    }

    #[test]
    fn a_row_is_read_by_name_and_an_error_tells_the_column() {
        assert_eq!(Named::COLUMNS, ["type", "at", "live"]);
        let row = Row(vec![2.into(), "a".into(), Cell::Int(None), 1.into()]);
        let named = Named { r#type: "a", at: None, live: true };
        assert_eq!(Named::read_from(&row, 1).ok(), Some(Named { ..named }));
        assert_eq!(Named::read_keyed(&row).ok().map(|(index, _)| index), Some(1));
        let shifted = Named::read(&row).map_err(|error| error.to_string());
        assert_eq!(shifted.err().as_deref(), Some("column type has another type than expected"));
        let short = Row(vec!["a".into(), 5.into()]);
        assert!(matches!(Named::read(&short), Err(TablesError::Shape { column: "live" })));
        let unkeyed = Row(vec![0.into(), "a".into(), 5.into(), 0.into()]);
        assert!(matches!(Named::read_keyed(&unkeyed), Err(TablesError::Shape { column: "ordinal" })));
    }
}
