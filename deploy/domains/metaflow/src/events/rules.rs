//! The rules of Metaflow's events.

use daybook_schemas::rules::{
    NAME_BYTES_MAX, VALUE_BYTES_MAX, Violation, in_entry, name, not_empty, number, optional, tags, text,
};

use super::{
    Artifact, Event, MetadataEntry,
    ids::{RUN_NUMBER_MAX, is_numeric},
};

/// Least attempt of an artifact, inclusive: the original takes what fits its column.
pub const ATTEMPT_MIN: i32 = -32_768;
/// Greatest attempt of an artifact, inclusive.
pub const ATTEMPT_MAX: i32 = 32_767;

/// Checks every rule on one event; the first violation is returned.
pub(super) fn check(event: &Event) -> Result<(), Violation> {
    match event {
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
            not_empty("entries", &event.entries)?;
            event.entries.iter().enumerate().try_for_each(|(index, entry)| artifact(index, entry))
        }
        Event::MetadataRegistered(event) => {
            in_step(event.flow_id.as_str(), event.run_number.0, event.step_name.as_str())?;
            let last_id_max = i64::MAX - i64::try_from(event.entries.len()).unwrap_or(i64::MAX - 1);
            number("first_id", event.first_id.0, 1, last_id_max)?;
            not_empty("entries", &event.entries)?;
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

fn in_step(flow: &str, run: i64, step: &str) -> Result<(), Violation> {
    name("flow_id", flow)?;
    number("run_number", run, 1, RUN_NUMBER_MAX)?;
    name("step_name", step)
}

fn described(user: Option<&str>, user_tags: &[String], system_tags: &[String]) -> Result<(), Violation> {
    optional("user_name", user)?;
    tags("tags", user_tags)?;
    tags("system_tags", system_tags)
}

fn artifact(index: usize, entry: &Artifact) -> Result<(), Violation> {
    let check = || {
        text("name", &entry.name, NAME_BYTES_MAX)?;
        text("location", &entry.location, VALUE_BYTES_MAX)?;
        text("ds_type", &entry.ds_type, NAME_BYTES_MAX)?;
        optional("sha", entry.sha.as_deref())?;
        optional("type", entry.r#type.as_deref())?;
        optional("content_type", entry.content_type.as_deref())?;
        number("attempt_id", i64::from(entry.attempt_id), i64::from(ATTEMPT_MIN), i64::from(ATTEMPT_MAX))?;
        described(entry.user_name.as_deref(), &entry.tags, &entry.system_tags)
    };
    check().map_err(|violation| in_entry(index, violation))
}

fn metadata(index: usize, entry: &MetadataEntry) -> Result<(), Violation> {
    let check = || {
        text("field_name", &entry.field_name, NAME_BYTES_MAX)?;
        text("value", &entry.value, VALUE_BYTES_MAX)?;
        text("type", &entry.r#type, NAME_BYTES_MAX)?;
        described(entry.user_name.as_deref(), &entry.tags, &entry.system_tags)
    };
    check().map_err(|violation| in_entry(index, violation))
}

impl Artifact {
    /// Checks the rules on one artifact of an event; `index` is its place there.
    pub fn check(&self, index: usize) -> Result<(), Violation> {
        artifact(index, self)
    }
}

impl MetadataEntry {
    /// Checks the rules on one entry of an event; `index` is its place there.
    pub fn check(&self, index: usize) -> Result<(), Violation> {
        metadata(index, self)
    }
}

/// A name that the client chose for a run or a task. Empty is allowed, as it is in Metaflow's own service.
fn client_name(field: &str, value: Option<&str>) -> Result<(), Violation> {
    match value {
        Some(value) if is_numeric(value) => Err(Violation::Numeric { field: field.to_owned() }),
        value => optional(field, value),
    }
}
