//! Rows of flows, runs, steps, tasks and artifacts, and the documents that are made of them.

use daybook_projector::{
    row,
    search::{
        document::{Document, id_of},
        words::beginning,
    },
    tables::{Cursor, FromColumn, FromRow, Row, TablesError},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::shape::{ARTIFACT, FLOW, RUN, STEP, TASK, USER_TAGS};
use crate::projection::run_status::{Status, outcome_of};

row! {
    /// A flow.
    pub(super) struct FlowRow<'r> {
        flow_id: &'r str,
        ts_epoch: i64,
        user_name: Option<&'r str>,
        system_tags: List<String>,
        tags: List<String>,
    }
}

row! {
    /// A run.
    pub(super) struct RunRow<'r> {
        flow_id: &'r str,
        ts_epoch: i64,
        user_name: Option<&'r str>,
        system_tags: List<String>,
        run_number: i64,
        run_id: Option<&'r str>,
        tags: List<String>,
        revision: i64,
        outcome: Option<&'r str>,
    }
}

row! {
    /// A step.
    pub(super) struct StepRow<'r> {
        flow_id: &'r str,
        ts_epoch: i64,
        user_name: Option<&'r str>,
        system_tags: List<String>,
        run_number: i64,
        run_id: Option<&'r str>,
        step_name: &'r str,
    }
}

row! {
    /// A task.
    pub(super) struct TaskRow<'r> {
        flow_id: &'r str,
        ts_epoch: i64,
        user_name: Option<&'r str>,
        system_tags: List<String>,
        run_number: i64,
        run_id: Option<&'r str>,
        step_name: &'r str,
        task_id: i64,
        task_name: Option<&'r str>,
        revision: i64,
        artifacts: List<String>,
        metadata: List<Entry>,
    }
}

row! {
    /// An artifact.
    pub(super) struct ArtifactRow<'r> {
        flow_id: &'r str,
        ts_epoch: i64,
        user_name: Option<&'r str>,
        system_tags: List<String>,
        run_number: i64,
        run_id: Option<&'r str>,
        step_name: &'r str,
        task_id: i64,
        task_name: Option<&'r str>,
        name: &'r str,
        attempt_id: i64,
    }
}

/// Characters of a metadata entry's value that are searched, at most. The statement reads one more: it shows whether the
/// last word goes on.
const VALUE_CHARACTERS_MAX: usize = 4096;

/// A JSON array; an empty one where it is null.
struct List<T>(Vec<T>);

impl<'r, T: DeserializeOwned> FromColumn<'r> for List<T> {
    fn from_column(row: &'r dyn Cursor, column: usize) -> Result<Self, TablesError> {
        let Some(text) = row.optional_text(column)? else { return Ok(Self(Vec::new())) };
        serde_json::from_str(text).map(Self).map_err(|_| TablesError::Shape { column: "of JSON" })
    }
}

/// A metadata entry of a task; in JSON an array of the three.
#[derive(Deserialize)]
struct Entry {
    field: String,
    value: String,
    at: i64,
}

/// The attributes that all documents have.
struct Head<'a> {
    flow: &'a str,
    created_at: i64,
    user: Option<&'a str>,
    system_tags: &'a [String],
}

/// The head of a row.
macro_rules! head {
    ($row:ident) => {
        Head { flow: $row.flow_id, created_at: $row.ts_epoch, user: $row.user_name, system_tags: &$row.system_tags.0 }
    };
}

impl Head<'_> {
    fn document(&self, kind: &str, path: &[&str], revision: i64, tags: &[String]) -> Document {
        let id = id_of([kind, self.flow].into_iter().chain(path.iter().copied()));
        let mut document = Document::new(id, revision);
        document.set("type", kind);
        document.set("flow", self.flow);
        document.set("created_at", self.created_at);
        // Clients without a user send a blank one, in several ways.
        document.set("user", self.user.filter(|user| !user.trim().is_empty()));
        let mut once: Vec<&String> = Vec::new();
        for tag in tags.iter().chain(self.system_tags) {
            if !once.contains(&tag) {
                once.push(tag);
            }
        }
        document.set("tags", json!(once));
        document
    }
}

/// The run of a row.
struct OfRun<'a> {
    number: i64,
    name: Option<&'a str>,
}

impl OfRun<'_> {
    fn set_in(&self, document: &mut Document) {
        document.set("run", self.number);
        document.set("run_name", self.name);
    }

    /// Makes a document the child of its run.
    fn adopt(&self, flow: &str, document: &mut Document) {
        self.set_in(document);
        document.parent = Some(id_of([RUN, flow, &self.number.to_string()]));
    }
}

/// The task of a row.
struct OfTask<'a> {
    step: &'a str,
    id: i64,
    name: Option<&'a str>,
}

impl OfTask<'_> {
    fn set_in(&self, document: &mut Document) {
        document.set("step", self.step);
        document.set("task", self.id);
        document.set("task_name", self.name);
    }
}

/// The document of a row of `read_flows`.
pub(super) fn flow(row: &Row) -> Result<Document, TablesError> {
    let row = FlowRow::read(row)?;
    Ok(head!(row).document(FLOW, &[], 1, &row.tags.0))
}

/// The document of a row of `read_runs`.
pub(super) fn run(row: &Row) -> Result<Document, TablesError> {
    let row = RunRow::read(row)?;
    let of_run = OfRun { number: row.run_number, name: row.run_id };
    let status = row.outcome.and_then(Status::parse).unwrap_or(Status::Running);
    let mut document = head!(row).document(RUN, &[&row.run_number.to_string()], row.revision, &row.tags.0);
    of_run.set_in(&mut document);
    document.set("status", status.as_str());
    let of_user: Vec<&String> = row.tags.0.iter().filter(|tag| !row.system_tags.0.contains(tag)).collect();
    document.set(USER_TAGS, json!(of_user));
    Ok(document)
}

/// The document of a row of `read_steps`.
pub(super) fn step(row: &Row) -> Result<Document, TablesError> {
    let row = StepRow::read(row)?;
    let of_run = OfRun { number: row.run_number, name: row.run_id };
    let mut document = head!(row).document(STEP, &[&row.run_number.to_string(), row.step_name], 1, &[]);
    of_run.adopt(row.flow_id, &mut document);
    document.set("step", row.step_name);
    Ok(document)
}

/// The document of a row of `read_tasks`.
pub(super) fn task(row: &Row) -> Result<Document, TablesError> {
    let row = TaskRow::read(row)?;
    let of_run = OfRun { number: row.run_number, name: row.run_id };
    let of_task = OfTask { step: row.step_name, id: row.task_id, name: row.task_name };
    let path = [&*row.run_number.to_string(), row.step_name, &*row.task_id.to_string()];
    let mut document = head!(row).document(TASK, &path, row.revision, &[]);
    of_run.adopt(row.flow_id, &mut document);
    of_task.set_in(&mut document);
    let (mut artifacts, metadata) = (row.artifacts.0, row.metadata.0);
    artifacts.dedup();
    document.set("artifacts", artifacts);
    document.set("status", task_status(&metadata).as_str());
    let entry =
        |Entry { field, value, .. }: &Entry| json!({"field": field, "value": beginning(value, VALUE_CHARACTERS_MAX)});
    document.set("metadata", metadata.iter().map(entry).collect::<Vec<_>>());
    Ok(document)
}

/// The document of a row of `read_artifacts`.
pub(super) fn artifact(row: &Row) -> Result<Document, TablesError> {
    let row = ArtifactRow::read(row)?;
    let of_run = OfRun { number: row.run_number, name: row.run_id };
    let of_task = OfTask { step: row.step_name, id: row.task_id, name: row.task_name };
    let [run, task, attempt] = [row.run_number, row.task_id, row.attempt_id].map(|number| number.to_string());
    let path = [&*run, row.step_name, &*task, row.name, &*attempt];
    let mut document = head!(row).document(ARTIFACT, &path, 1, &[]);
    of_run.adopt(row.flow_id, &mut document);
    of_task.set_in(&mut document);
    document.set("artifact", row.name);
    document.set("attempt", row.attempt_id);
    Ok(document)
}

/// The status of a task, from its newest metadata; `metadata` are ascending by time.
fn task_status(metadata: &[Entry]) -> Status {
    let newest = |field: &str| metadata.iter().rev().find(|entry| entry.field == field);
    let ok = newest("attempt_ok").map(|entry| (entry.value.as_str(), entry.at));
    outcome_of(ok, newest("attempt").map(|entry| entry.at)).unwrap_or(Status::Running)
}

#[cfg(test)]
mod tests {
    use daybook_projector::tables::Cell;

    use super::*;

    #[test]
    fn the_newest_metadata_say_how_a_task_went() {
        let entry = |field: &str, value: &str, at| Entry { field: field.to_owned(), value: value.to_owned(), at };
        assert_eq!(task_status(&[]), Status::Running);
        assert_eq!(task_status(&[entry("attempt_ok", "False", 1)]), Status::Failed);
        assert_eq!(task_status(&[entry("attempt_ok", "False", 1), entry("attempt", "1", 2)]), Status::Running);
        assert_eq!(task_status(&[entry("attempt_ok", "False", 1), entry("attempt_ok", "True", 2)]), Status::Completed);
    }

    #[test]
    fn a_value_that_is_cut_has_no_part_of_a_word() {
        // As the statement reads it.
        let before = "a ".repeat(VALUE_CHARACTERS_MAX / 2 - 2);
        for (value, expected) in [
            (format!("{before}cafe\u{301}"), before.clone()),
            (format!("{before}cafés"), before.clone()),
            (format!("{before}cafe "), format!("{before}cafe")),
            (format!("{before}café"), format!("{before}café")),
        ] {
            let metadata = json!([["note", value, 1]]).to_string();
            let (none, number) = (|| Cell::Text(None), || Cell::from(1_i64));
            let mut cells = vec!["F".into(), number(), none(), none(), number(), none(), "start".into(), number()];
            cells.extend([none(), number(), none(), metadata.as_str().into()]);
            let document = task(&Row(cells)).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(document.source["metadata"], json!([{"field": "note", "value": expected}]));
        }
    }

    #[test]
    fn a_list_is_read_from_json_and_is_empty_where_it_is_null() {
        let row = Row(vec![r#"[["attempt", "1", 2]]"#.into(), Cell::Text(None), "[1]".into()]);
        let entries = List::<Entry>::from_column(&row, 0).map(|list| list.0).unwrap_or_default();
        let read: Vec<_> = entries.iter().map(|entry| (&*entry.field, &*entry.value, entry.at)).collect();
        assert_eq!(read, [("attempt", "1", 2)]);
        assert!(List::<Entry>::from_column(&row, 1).is_ok_and(|list| list.0.is_empty()));
        assert!(List::<Entry>::from_column(&row, 2).is_err());
    }
}
