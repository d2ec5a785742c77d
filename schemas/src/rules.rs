//! The rules that an event must keep by itself, whatever stands in the tables.
//!
//! Checked twice: before an event is appended (a client's mistake, answered with the field's name) and when a record is
//! applied (a record that somebody else appended is quarantined).

use crate::{
    Envelope,
    events::{Artifact, Event, MetadataEntry},
    ids::{RUN_NUMBER_MAX, is_numeric},
};

/// Longest name of anything, in bytes, inclusive.
pub const NAME_BYTES_MAX: usize = 1024;
/// Longest value or location, in bytes, inclusive.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Longest single tag, in bytes, inclusive.
pub const TAG_BYTES_MAX: usize = 16 * 1024;
/// Most bytes that all tags of one list hold together, inclusive.
pub const TAGS_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Greatest attempt of an artifact, inclusive.
pub const ATTEMPT_MAX: i32 = 32_767;

/// Longest idempotency key, in bytes, inclusive; a request of many events adds a suffix.
pub const KEY_BYTES_MAX: usize = 300;

/// Which rule a field breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The text is too long.
    #[error("{field} is {bytes} bytes long, over the limit of {bytes_max}")]
    TooLong {
        /// The field.
        field: String,
        /// Its length.
        bytes: usize,
        /// The limit, inclusive.
        bytes_max: usize,
    },
    /// The text holds a NUL character, which PostgreSQL cannot store.
    #[error("{field} holds a NUL character")]
    Nul {
        /// The field.
        field: String,
    },
    /// The field must not be empty.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: String,
    },
    /// A name made of digits alone would be taken for a number.
    #[error("{field} may not be a numeric")]
    Numeric {
        /// The field.
        field: String,
    },
    /// The number is out of its range.
    #[error("{field} is {value}, outside {min} to {max}")]
    OutOfRange {
        /// The field.
        field: String,
        /// Its value.
        value: i64,
        /// Least allowed, inclusive.
        min: i64,
        /// Greatest allowed, inclusive.
        max: i64,
    },
}

impl Broken {
    /// The field that breaks the rule.
    pub fn field(&self) -> &str {
        match self {
            Self::TooLong { field, .. }
            | Self::Nul { field }
            | Self::Empty { field }
            | Self::Numeric { field }
            | Self::OutOfRange { field, .. } => field,
        }
    }
}

/// Checks every rule on one event; the first broken one is returned.
pub fn check(event: &Event) -> Result<(), Broken> {
    match event {
        Event::LogCreated(event) => text("log_id", &event.log_id, NAME_BYTES_MAX),
        Event::FlowRegistered(event) => {
            name("flow_id", event.flow_id.as_str())?;
            described(event.user_name.as_deref(), &event.tags, &event.system_tags)
        }
        Event::RunStarted(event) => {
            name("flow_id", event.flow_id.as_str())?;
            number("run_number", event.run_number.0, 1, RUN_NUMBER_MAX)?;
            client_name("run_id", event.run_id.as_deref())?;
            described(event.user_name.as_deref(), &event.tags, &event.system_tags)
        }
        Event::StepRegistered(event) => {
            in_step(event.flow_id.as_str(), event.run_number.0, event.step_name.as_str())?;
            described(event.user_name.as_deref(), &event.tags, &event.system_tags)
        }
        Event::TaskRegistered(event) => {
            in_step(event.flow_id.as_str(), event.run_number.0, event.step_name.as_str())?;
            number("task_id", event.task_id.0, 1, i64::MAX)?;
            client_name("task_name", event.task_name.as_deref())?;
            described(event.user_name.as_deref(), &event.tags, &event.system_tags)
        }
        Event::ArtifactsRegistered(event) => {
            in_step(event.flow_id.as_str(), event.run_number.0, event.step_name.as_str())?;
            some("entries", &event.entries)?;
            event.entries.iter().enumerate().try_for_each(|(index, entry)| artifact(index, entry))
        }
        Event::MetadataRegistered(event) => {
            in_step(event.flow_id.as_str(), event.run_number.0, event.step_name.as_str())?;
            let last_id_max = i64::MAX - i64::try_from(event.entries.len()).unwrap_or(i64::MAX - 1);
            number("first_id", event.first_id.0, 1, last_id_max)?;
            some("entries", &event.entries)?;
            event.entries.iter().enumerate().try_for_each(|(index, entry)| metadata(index, entry))
        }
        Event::RunTagsMutated(event) => {
            name("flow_id", event.flow_id.as_str())?;
            tags("tags_to_add", &event.add)?;
            tags("tags_to_remove", &event.remove)
        }
        Event::HeartbeatRecorded(event) => name("flow_id", event.flow_id.as_str()),
    }
}

/// Checks what surrounds an event.
pub fn check_envelope(envelope: &Envelope) -> Result<(), Broken> {
    if let Some(key) = &envelope.idempotency_key {
        name("idempotency_key", key)?;
        text("idempotency_key", key, KEY_BYTES_MAX)?;
    }
    Ok(())
}

fn in_step(flow: &str, run: i64, step: &str) -> Result<(), Broken> {
    name("flow_id", flow)?;
    number("run_number", run, 1, RUN_NUMBER_MAX)?;
    name("step_name", step)
}

fn described(user: Option<&str>, user_tags: &[String], system_tags: &[String]) -> Result<(), Broken> {
    optional("user_name", user)?;
    tags("tags", user_tags)?;
    tags("system_tags", system_tags)
}

fn artifact(index: usize, entry: &Artifact) -> Result<(), Broken> {
    let check = || {
        text("name", &entry.name, NAME_BYTES_MAX)?;
        text("location", &entry.location, VALUE_BYTES_MAX)?;
        text("ds_type", &entry.ds_type, NAME_BYTES_MAX)?;
        optional("sha", entry.sha.as_deref())?;
        optional("type", entry.r#type.as_deref())?;
        optional("content_type", entry.content_type.as_deref())?;
        number("attempt_id", i64::from(entry.attempt_id), 0, i64::from(ATTEMPT_MAX))?;
        described(entry.user_name.as_deref(), &entry.tags, &entry.system_tags)
    };
    check().map_err(|broken| in_entry(index, broken))
}

fn metadata(index: usize, entry: &MetadataEntry) -> Result<(), Broken> {
    let check = || {
        text("field_name", &entry.field_name, NAME_BYTES_MAX)?;
        text("value", &entry.value, VALUE_BYTES_MAX)?;
        text("type", &entry.r#type, NAME_BYTES_MAX)?;
        described(entry.user_name.as_deref(), &entry.tags, &entry.system_tags)
    };
    check().map_err(|broken| in_entry(index, broken))
}

/// Names the entry in the field, as in `[3].name`.
fn in_entry(index: usize, mut broken: Broken) -> Broken {
    match &mut broken {
        Broken::TooLong { field, .. }
        | Broken::Nul { field }
        | Broken::Empty { field }
        | Broken::Numeric { field }
        | Broken::OutOfRange { field, .. } => *field = format!("[{index}].{field}"),
    }
    broken
}

fn text(field: &str, text: &str, bytes_max: usize) -> Result<(), Broken> {
    if text.len() > bytes_max {
        return Err(Broken::TooLong { field: field.to_owned(), bytes: text.len(), bytes_max });
    }
    if text.contains('\0') {
        return Err(Broken::Nul { field: field.to_owned() });
    }
    Ok(())
}

fn optional(field: &str, value: Option<&str>) -> Result<(), Broken> {
    value.map_or(Ok(()), |value| text(field, value, NAME_BYTES_MAX))
}

/// A name that stands in a path: never empty.
fn name(field: &str, value: &str) -> Result<(), Broken> {
    if value.is_empty() {
        return Err(Broken::Empty { field: field.to_owned() });
    }
    text(field, value, NAME_BYTES_MAX)
}

/// A name that the client chose for a run or a task. Empty is allowed, as it is in Metaflow's own service.
fn client_name(field: &str, value: Option<&str>) -> Result<(), Broken> {
    match value {
        Some(value) if is_numeric(value) => Err(Broken::Numeric { field: field.to_owned() }),
        value => optional(field, value),
    }
}

/// A list that says nothing when it is empty.
fn some<T>(field: &str, entries: &[T]) -> Result<(), Broken> {
    if entries.is_empty() { Err(Broken::Empty { field: field.to_owned() }) } else { Ok(()) }
}

fn number(field: &str, value: i64, min: i64, max: i64) -> Result<(), Broken> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Broken::OutOfRange { field: field.to_owned(), value, min, max })
}

fn tags(field: &str, tags: &[String]) -> Result<(), Broken> {
    tags.iter().try_for_each(|tag| text(field, tag, TAG_BYTES_MAX))?;
    let bytes = tags.iter().map(String::len).sum();
    if bytes > TAGS_BYTES_MAX {
        return Err(Broken::TooLong { field: field.to_owned(), bytes, bytes_max: TAGS_BYTES_MAX });
    }
    Ok(())
}
