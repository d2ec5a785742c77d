//! Bodies that are lists of entries, which are taken entry by entry, as Metaflow's service takes them.
//!
//! An entry that cannot be stored is left out, and the others are stored: clients post some such entries on purpose. What
//! was left out is counted, logged and named in the answer's headers. Only a body that is no list of objects, and
//! what is over a limit, is refused as a whole.

use std::sync::LazyLock;

use axum::{
    http::{HeaderName, HeaderValue},
    response::Response,
};
use daybook_query_api::{
    error::ApiError,
    json::{self, Object},
};
use prometheus::{IntCounterVec, register_int_counter_vec};

/// Entries that were left out, by kind.
static SKIPPED_ENTRIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let name = "daybook_query_api_skipped_entries_total";
    let help = "Entries of lists that were left out because they cannot be stored";
    register_int_counter_vec!(name, help, &["kind"]).expect("each metric is registered once, under a legal name")
});
/// How many entries were left out.
const SKIPPED: HeaderName = HeaderName::from_static("daybook-skipped");
/// The fields because of which they were.
const SKIPPED_FIELDS: HeaderName = HeaderName::from_static("daybook-skipped-fields");
/// Fields that an answer names, at most.
const NAMED_MAX: usize = 20;

/// The entries of a body.
pub(super) struct Entries<T> {
    /// Those that can be stored.
    pub(super) kept: Vec<T>,
    pub(super) skipped: Skipped,
}

/// The entries that cannot be stored.
pub(super) struct Skipped {
    kind: &'static str,
    count: usize,
    /// The first fields, such as `[3].value`.
    fields: Vec<String>,
    /// Why the first entry was left out.
    reason: String,
}

/// Reads a body; `entry` reads the entry at an index.
pub(super) fn read<T>(
    kind: &'static str,
    body: &[u8],
    entry: fn(usize, &Object<'_>) -> Result<T, ApiError>,
) -> Result<Entries<T>, ApiError> {
    let objects = json::array(body)?;
    let mut kept = Vec::with_capacity(objects.len());
    let mut skipped = Skipped { kind, count: 0, fields: Vec::new(), reason: String::new() };
    for (index, object) in objects.iter().enumerate() {
        match entry(index, object) {
            Ok(entry) => kept.push(entry),
            Err(ApiError::Invalid { message, field }) => skipped.add(message, field),
            Err(error) => return Err(error),
        }
    }
    Ok(Entries { kept, skipped })
}

impl Skipped {
    fn add(&mut self, message: String, field: Option<String>) {
        if self.count == 0 {
            self.reason = message;
        }
        self.count += 1;
        if self.fields.len() < NAMED_MAX {
            self.fields.extend(field);
        }
    }

    /// Counts and logs what was left out, and names it in the answer's headers.
    pub(super) fn report(self, mut response: Response) -> Response {
        let Self { kind, count, fields, reason } = self;
        if count == 0 {
            return response;
        }
        SKIPPED_ENTRIES.with_label_values(&[kind]).inc_by(count as u64);
        tracing::warn!(kind, count, reason, "left out {count} entries of {kind} that cannot be stored: {reason}");
        response.headers_mut().insert(SKIPPED, HeaderValue::from(count));
        if let Ok(named) = HeaderValue::from_str(&fields.join(",")) {
            response.headers_mut().insert(SKIPPED_FIELDS, named);
        }
        response
    }
}
