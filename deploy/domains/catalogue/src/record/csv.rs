//! A CSV file, read from chunks of bytes as they come.
//!
//! Two formats: CSV with quotes as in RFC 4180, where an empty value is null and `""` is an empty text, as PostgreSQL
//! writes it; and PostgreSQL's text format with tabs, backslash escapes and `\N` for null. A record with a fault is
//! named with the line on which it begins, and reading goes on after it. No more than one record of bounded size is
//! kept.

mod row;
pub mod rows;
mod scan;
pub mod write;

use std::collections::HashSet;

use serde_json::{Map, Value};

use self::{
    row::build,
    scan::{Ended, Scanner},
};

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Values between commas, quoted where needed.
    Csv,
    /// Values between tabs, with backslash escapes.
    Tabs,
}

/// A record of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its values in the order of the columns; `None` is null.
    pub values: Vec<Option<String>>,
}

impl Row {
    /// The values by the names of their columns, as `record::read` takes them.
    pub fn into_fields(self, columns: &[String]) -> Map<String, Value> {
        let values = self.values.into_iter().map(|value| value.map_or(Value::Null, Value::String));
        columns.iter().cloned().zip(values).collect()
    }
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub struct RowFault {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The kind of fault, such as `unclosed-quote`.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// A file whose columns are unknown, so that none of its records can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// There is no header.
    #[error("the file has no header")]
    Missing,
    /// The header cannot be read.
    #[error("the header cannot be read")]
    Unreadable(#[source] RowFault),
    /// A column has no name.
    #[error("column {0} of the header has no name")]
    Unnamed(usize),
    /// Two columns have one name.
    #[error("the header names the column {0:?} twice")]
    Duplicate(String),
}

/// What a file holds, in order.
pub type Read = Result<Row, RowFault>;

/// Reads a file chunk by chunk.
#[derive(Debug)]
pub struct Reader {
    scanner: Scanner,
    columns: Option<Vec<String>>,
    failed: Option<HeaderFault>,
}

impl Reader {
    /// Reads a file that begins with a header.
    pub fn with_header(format: Format) -> Self {
        Self { scanner: Scanner::new(format), columns: None, failed: None }
    }

    /// Reads a file without a header, whose columns are these.
    pub fn with_columns(format: Format, columns: Vec<String>) -> Result<Self, HeaderFault> {
        check_columns(&columns)?;
        Ok(Self { scanner: Scanner::new(format), columns: Some(columns), failed: None })
    }

    /// The names of the columns; `None` before the header was read.
    pub fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    /// Reads the next bytes, and adds the records that end in them to `rows`.
    pub fn push(&mut self, chunk: &[u8], rows: &mut Vec<Read>) -> Result<(), HeaderFault> {
        let mut rest = chunk;
        while self.failed.is_none() {
            match self.scanner.scan(&mut rest) {
                Some(ended) => self.take(ended, rows),
                None => break,
            }
        }
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// Ends the file, and adds a record that no line feed ended.
    pub fn finish(mut self, rows: &mut Vec<Read>) -> Result<(), HeaderFault> {
        if self.failed.is_none()
            && let Some(ended) = self.scanner.finish()
        {
            self.take(ended, rows);
        }
        match self.failed {
            Some(fault) => Err(fault),
            None if self.columns.is_none() => Err(HeaderFault::Missing),
            None => Ok(()),
        }
    }

    /// Takes a record: the header, or a row.
    fn take(&mut self, ended: Ended, rows: &mut Vec<Read>) {
        // Nothing is lost with an empty line, unless it is the null of a lone column.
        let is_lone = self.columns.as_ref().is_some_and(|columns| columns.len() == 1);
        let is_passed_over = self.scanner.is_end_line() || self.scanner.is_blank() && !is_lone;
        if is_passed_over && ended == Ended::Whole {
            self.scanner.clear();
            return;
        }
        let row = build(&self.scanner, ended);
        self.scanner.clear();
        let Some(columns) = &self.columns else {
            match row.map_err(HeaderFault::Unreadable).and_then(header) {
                Ok(columns) => self.columns = Some(columns),
                Err(fault) => self.failed = Some(fault),
            }
            return;
        };
        rows.push(row.and_then(|row| match row.values.len() == columns.len() {
            true => Ok(row),
            false => {
                let detail = format!("{} values for {} columns", row.values.len(), columns.len());
                Err(RowFault { line: row.line, code: "column-count", detail })
            }
        }));
    }
}

fn header(row: Row) -> Result<Vec<String>, HeaderFault> {
    let columns: Vec<String> = row.values.into_iter().map(Option::unwrap_or_default).collect();
    check_columns(&columns).map(|()| columns)
}

fn check_columns(columns: &[String]) -> Result<(), HeaderFault> {
    if columns.is_empty() {
        return Err(HeaderFault::Missing);
    }
    let mut known = HashSet::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        if column.is_empty() {
            return Err(HeaderFault::Unnamed(index + 1));
        }
        if !known.insert(column) {
            return Err(HeaderFault::Duplicate(column.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
