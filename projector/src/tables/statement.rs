//! Statements: static texts beside their callers, and the names of the columns that their rows have.

use std::borrow::Cow;

/// A static statement with its text for each engine. Parameters are `$1`, `$2`, … on both.
#[derive(Debug)]
pub struct Statement {
    /// Its name, for errors and tests.
    pub name: &'static str,
    /// The text for PostgreSQL.
    pub postgres: &'static str,
    /// The text for SQLite.
    pub sqlite: &'static str,
    /// The columns of its rows, by the struct that they are read into; `None` for a statement without rows.
    pub columns: Option<RowColumns>,
}

/// A script that creates tables, with its text for each engine. It can be run repeatedly. Texts are static, or generated
/// at run time from a definition.
#[derive(Debug, Clone)]
pub struct Ddl {
    /// The text for PostgreSQL.
    pub postgres: Cow<'static, str>,
    /// The text for SQLite.
    pub sqlite: Cow<'static, str>,
}

impl Ddl {
    /// A script for both engines. SQLite compares texts by bytes by default, as PostgreSQL does with
    /// `COLLATE "C"`, and does not know that name.
    pub fn shared(text: &'static str) -> Self {
        Self { postgres: Cow::Borrowed(text), sqlite: Cow::Owned(text.replace(" COLLATE \"C\"", "")) }
    }
}

/// Declares a [`Ddl`](crate::tables::Ddl) from `.sql` files beside the caller, like [`statement!`](crate::statement).
#[macro_export]
macro_rules! ddl {
    ($name:literal) => {
        $crate::tables::Ddl::shared(include_str!(concat!($name, ".sql")))
    };
    ($name:literal, split) => {
        $crate::tables::Ddl {
            postgres: std::borrow::Cow::Borrowed(include_str!(concat!($name, ".postgres.sql"))),
            sqlite: std::borrow::Cow::Borrowed(include_str!(concat!($name, ".sqlite.sql"))),
        }
    };
}

/// The columns of a statement's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowColumns {
    /// Whether `ordinal` is the first column: the row of the parameters that a row belongs to, from 1.
    pub keyed: bool,
    /// The names of the struct's fields, in order.
    pub names: &'static [&'static str],
}

impl RowColumns {
    /// All names, in order.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        self.keyed.then_some(ORDINAL).into_iter().chain(self.names.iter().copied())
    }
}

/// The first column of a keyed statement.
pub const ORDINAL: &str = "ordinal";

/// Declares a [`Statement`](crate::tables::Statement) from `.sql` files beside the caller: `statement!("name")` reads
/// `name.sql` for both engines, `statement!("name", split)` reads `name.postgres.sql` and `name.sqlite.sql`.
///
/// A statement with rows names their struct, declared by [`row!`](crate::row): `statement!("name", split, RunRow)`. If
/// the first column is the ordinal of the parameters' row, it is `keyed RunRow`.
#[macro_export]
macro_rules! statement {
    ($name:literal, split $($columns:tt)*) => {
        $crate::tables::Statement {
            name: $name,
            postgres: include_str!(concat!($name, ".postgres.sql")),
            sqlite: include_str!(concat!($name, ".sqlite.sql")),
            columns: $crate::row_columns!($($columns)*),
        }
    };
    ($name:literal $($columns:tt)*) => {
        $crate::tables::Statement {
            name: $name,
            postgres: include_str!(concat!($name, ".sql")),
            sqlite: include_str!(concat!($name, ".sql")),
            columns: $crate::row_columns!($($columns)*),
        }
    };
}

/// The columns named at the end of a [`statement!`](crate::statement).
#[doc(hidden)]
#[macro_export]
macro_rules! row_columns {
    () => {
        None
    };
    (, keyed $row:ident) => {
        Some($crate::tables::columns_of::<$row>(true))
    };
    (, $row:ident) => {
        Some($crate::tables::columns_of::<$row>(false))
    };
}

/// Declares the statements of a file, each like [`statement!`](crate::statement), and a list of all, so that a test can
/// run each on every engine:
///
/// ```ignore
/// statements! {
///     pub(super) STATEMENTS;
///     INSERT_RUNS = "sql/runs/insert", split;
///     READ_TAGS = "sql/run_tags/read", split, keyed TagsRow;
/// }
/// ```
#[macro_export]
macro_rules! statements {
    (
        $(#[$list_meta:meta])* $list_vis:vis $list:ident;
        $($(#[$meta:meta])* $vis:vis $name:ident = $path:literal $(, $($argument:ident)+)*;)+
    ) => {
        $(#[$list_meta])*
        $list_vis const $list: &[&$crate::tables::Statement] = &[$(&$name),+];
        $(
            $(#[$meta])*
            $vis const $name: $crate::tables::Statement = $crate::statement!($path $(, $($argument)+)*);
        )+
    };
}
