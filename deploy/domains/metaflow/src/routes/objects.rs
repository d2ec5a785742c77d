//! The objects of Metaflow's API, written straight from rows.

use daybook_query_api::json::{ObjectWriter, write_text};

use super::rows::{Artifact, Flow, Metadata, Run, Step, Task};

/// Writes a flow.
pub(super) fn write_flow(flow: &Flow<'_>, out: &mut Vec<u8>) {
    let mut object = ObjectWriter::open(out);
    object.text("flow_id", flow.flow_id);
    object.optional_text("user_name", flow.user_name);
    object.int("ts_epoch", flow.ts_epoch);
    object.raw("tags", flow.tags);
    object.raw("system_tags", flow.system_tags);
    object.close();
}

/// The owner by the system tags: `user_name`, if they hold `user:<user_name>`.
pub(super) fn owner<'a>(user_name: Option<&'a str>, system_tags: &str) -> Option<&'a str> {
    let name = user_name?;
    let mut tag = Vec::new();
    write_text(&mut tag, &format!("user:{name}"));
    // System tags are a JSON array of strings: a tag in it is between quotes, and escaped like this one.
    let found = system_tags.as_bytes().windows(tag.len()).any(|window| window == tag);
    found.then_some(name)
}

/// Writes a run. Reads show the owner; the status is shown if the request filters by it.
pub(super) fn write_run(run: &Run<'_>, shows_owner: bool, status: Option<&str>, out: &mut Vec<u8>) {
    let mut object = ObjectWriter::open(out);
    object.text("flow_id", run.flow_id);
    object.number_or_name("run_number", run.run_number, run.run_id);
    object.optional_text("user_name", run.user_name);
    object.int("ts_epoch", run.ts_epoch);
    object.raw("tags", run.tags);
    object.raw("system_tags", run.system_tags);
    object.optional_int("last_heartbeat_ts", run.heartbeat());
    if let Some(owner) = owner(run.user_name, run.system_tags).filter(|_| shows_owner) {
        object.text("user", owner);
    }
    if let Some(status) = status {
        object.text("status", status);
    }
    object.close();
}

/// Writes a step. The run is always a string here.
pub(super) fn write_step(step: &Step<'_>, out: &mut Vec<u8>) {
    let mut object = ObjectWriter::open(out);
    object.text("flow_id", step.flow_id);
    match step.run_id {
        Some(name) => object.text("run_number", name),
        None => object.text("run_number", &step.run_number.to_string()),
    }
    object.text("step_name", step.step_name);
    object.optional_text("user_name", step.user_name);
    object.int("ts_epoch", step.ts_epoch);
    object.raw("tags", step.tags);
    object.raw("system_tags", step.system_tags);
    object.close();
}

/// Writes a task.
pub(super) fn write_task(task: &Task<'_>, out: &mut Vec<u8>) {
    let mut object = ObjectWriter::open(out);
    object.text("flow_id", task.flow_id);
    object.number_or_name("run_number", task.run_number, task.run_id);
    object.text("step_name", task.step_name);
    object.number_or_name("task_id", task.task_id, task.task_name);
    object.optional_text("user_name", task.user_name);
    object.int("ts_epoch", task.ts_epoch);
    object.raw("tags", task.tags);
    object.raw("system_tags", task.system_tags);
    object.optional_int("last_heartbeat_ts", task.heartbeat());
    object.close();
}

/// Writes an artifact.
pub(super) fn write_artifact(artifact: &Artifact<'_>, out: &mut Vec<u8>) {
    let mut object = ObjectWriter::open(out);
    object.text("flow_id", artifact.flow_id);
    object.number_or_name("run_number", artifact.run_number, artifact.run_id);
    object.text("step_name", artifact.step_name);
    object.number_or_name("task_id", artifact.task_id, artifact.task_name);
    object.text("name", artifact.name);
    object.text("location", artifact.location);
    object.text("ds_type", artifact.ds_type);
    object.optional_text("sha", artifact.sha);
    object.optional_text("type", artifact.r#type);
    object.optional_text("content_type", artifact.content_type);
    object.optional_text("user_name", artifact.user_name);
    object.int("attempt_id", artifact.attempt_id);
    object.int("ts_epoch", artifact.ts_epoch);
    object.raw("tags", artifact.tags);
    object.raw("system_tags", artifact.system_tags);
    object.close();
}

/// Writes a metadata entry.
pub(super) fn write_metadata(entry: &Metadata<'_>, out: &mut Vec<u8>) {
    let mut object = ObjectWriter::open(out);
    object.int("id", entry.id);
    object.text("flow_id", entry.flow_id);
    object.number_or_name("run_number", entry.run_number, entry.run_id);
    object.text("step_name", entry.step_name);
    object.number_or_name("task_id", entry.task_id, entry.task_name);
    object.text("field_name", entry.field_name);
    object.text("value", entry.value);
    object.text("type", entry.r#type);
    object.optional_text("user_name", entry.user_name);
    object.int("ts_epoch", entry.ts_epoch);
    object.raw("tags", entry.tags);
    object.raw("system_tags", entry.system_tags);
    object.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_whom_a_whole_system_tag_names() {
        assert_eq!(owner(Some("ann"), r#"["user:ann"]"#), Some("ann"));
        assert_eq!(owner(Some("ann"), r#"["user:anna","xuser:ann"]"#), None);
        assert_eq!(owner(Some("a\"b"), r#"["user:a\"b"]"#), Some("a\"b"));
        assert_eq!(owner(None, r#"["user:ann"]"#), None);
    }
}
