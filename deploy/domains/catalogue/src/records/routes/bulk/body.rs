//! The records of a body, by its content type: a JSON object a line, or CSV with a header.

use axum::http::{HeaderMap, header::CONTENT_TYPE};
use daybook_query_api::error::ApiError;
use serde_json::{Map, Value, json};

use crate::record::{
    Source,
    csv::{Format, RowFault, rows::Rows},
    json_line,
};

/// The mark of UTF-8 with which some programs begin a file.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Ndjson,
    Csv(Format),
}

/// A line of a body.
pub(super) struct Given {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its fields, or what an answer says of the line.
    pub(super) fields: Result<Map<String, Value>, Value>,
}

impl Encoding {
    /// The encoding that a request names; NDJSON if it names none that is known.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "text/csv" => Self::Csv(Format::Csv),
            "text/tab-separated-values" => Self::Csv(Format::Tabs),
            _ => Self::Ndjson,
        }
    }

    /// How its values are written.
    pub(super) const fn source(self) -> Source {
        match self {
            Self::Ndjson => Source::Json,
            Self::Csv(_) => Source::Csv,
        }
    }

    /// The lines of a body, in order.
    pub(super) fn lines(self, body: &[u8]) -> Result<Box<dyn Iterator<Item = Given> + Send + '_>, ApiError> {
        match self {
            Self::Ndjson => {
                let body = body.strip_prefix(MARK).unwrap_or(body);
                let lines = body.split(|byte| *byte == b'\n').zip(1..);
                let lines = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
                Ok(Box::new(lines.map(|(line, number)| Given { number, fields: of_json(line, number) })))
            }
            Self::Csv(format) => rows(format, body),
        }
    }
}

fn of_json(line: &[u8], number: u64) -> Result<Map<String, Value>, Value> {
    let refused = |fault: json_line::LineFault| refusal(number, fault.field(), fault.code(), &fault.to_string());
    json_line::parse(line).map_err(refused)
}

fn rows(format: Format, body: &[u8]) -> Result<Box<dyn Iterator<Item = Given> + Send + '_>, ApiError> {
    let mut rows = Rows::new(body, format).map_err(|fault| ApiError::invalid("body", fault.to_string()))?;
    Ok(Box::new(std::iter::from_fn(move || {
        // After the header nothing fails: the body is in memory.
        Some(match rows.next_row().ok()?? {
            Ok(row) => Given { number: row.line, fields: Ok(row.into_fields(rows.columns())) },
            Err(RowFault { line, code, detail }) => {
                Given { number: line, fields: Err(refusal(line, None, code, &detail)) }
            }
        })
    })))
}

fn refusal(number: u64, field: Option<&str>, code: &str, detail: &str) -> Value {
    json!({"line": number, "record_id": null, "field": field, "code": code, "detail": detail})
}
