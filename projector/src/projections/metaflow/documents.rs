//! Documents of Metaflow's objects: which of them events touch, and how rows become documents.
//!
//! Steps, tasks and artifacts show their run's tags, so an event that changes these touches every document of the run.
//! A document's revision is 1 and how often its run's tags changed, plus, for a run, the events that told its outcome, and,
//! for a task, its artifacts and metadata: none of these is ever less than before.

use std::collections::BTreeSet;

use daybook_ingest::log::BoxFuture;
use daybook_schemas::Event;

use super::Metaflow;
use crate::{
    run_status::{Status, outcome_of},
    search::{
        document::{Document, Entry, Kind},
        source::{Documents, Group, Sink, SourceError},
    },
    statement,
    tables::{Cell, Column, Params, Row, Statement, Tables, TablesError},
};

const READ_FLOWS: Statement = statement!("documents/read_flows", split);
const READ_RUNS: Statement = statement!("documents/read_runs", split);
const READ_STEPS: Statement = statement!("documents/read_steps", split);
const READ_TASKS: Statement = statement!("documents/read_tasks", split);
const READ_ARTIFACTS: Statement = statement!("documents/read_artifacts", split);
const STEPS_OF_RUNS: Statement = statement!("documents/steps_of_runs", split);
const ARTIFACTS_OF_TASKS: Statement = statement!("documents/artifacts_of_tasks", split);
const FLOWS_AFTER: Statement = statement!("documents/flows_after");
const RUNS_AFTER: Statement = statement!("documents/runs_after");
const TASKS_AFTER: Statement = statement!("documents/tasks_after");
const TASKS_OF_RUN_AFTER: Statement = statement!("documents/tasks_of_run_after");

pub(super) const STATEMENTS: [&Statement; 11] = [
    &READ_FLOWS,
    &READ_RUNS,
    &READ_STEPS,
    &READ_TASKS,
    &READ_ARTIFACTS,
    &STEPS_OF_RUNS,
    &ARTIFACTS_OF_TASKS,
    &FLOWS_AFTER,
    &RUNS_AFTER,
    &TASKS_AFTER,
    &TASKS_OF_RUN_AFTER,
];

/// Keys that are read with one statement, at most.
const KEYS_MAX: usize = 1000;

type RunKey = (i64, String);
type StepKey = (i64, String, String);
type TaskKey = (i64, String);
type ArtifactKey = (i64, i64, String, String);

/// Documents that are to be written.
#[derive(Debug, Default)]
struct Keys {
    flows: BTreeSet<String>,
    runs: BTreeSet<RunKey>,
    steps: BTreeSet<StepKey>,
    tasks: BTreeSet<TaskKey>,
    artifacts: BTreeSet<ArtifactKey>,
}

impl Keys {
    /// Notes what an event touches; runs of which that is every document, their own too, in `whole_runs`.
    fn touch(&mut self, event: &Event, whole_runs: &mut BTreeSet<RunKey>) {
        match event {
            Event::LogCreated(_) | Event::HeartbeatRecorded(_) => {}
            Event::FlowRegistered(event) => drop(self.flows.insert(event.flow_id.as_str().to_owned())),
            Event::RunStarted(event) => drop(self.runs.insert((event.run_number.0, event.flow_id.as_str().to_owned()))),
            Event::RunTagsMutated(event) => {
                whole_runs.insert((event.run_number.0, event.flow_id.as_str().to_owned()));
            }
            Event::StepRegistered(event) => {
                let (step, flow) = (event.step_name.as_str().to_owned(), event.flow_id.as_str().to_owned());
                self.steps.insert((event.run_number.0, step, flow));
            }
            Event::TaskRegistered(event) => {
                self.tasks.insert((event.task_id.0, event.flow_id.as_str().to_owned()));
            }
            Event::ArtifactsRegistered(event) => {
                let (task, flow) = (event.task_id.0, event.flow_id.as_str());
                self.tasks.insert((task, flow.to_owned()));
                for entry in &event.entries {
                    let attempt = i64::from(entry.attempt_id);
                    self.artifacts.insert((task, attempt, entry.name.as_str().to_owned(), flow.to_owned()));
                }
            }
            Event::MetadataRegistered(event) => {
                let flow = event.flow_id.as_str();
                self.tasks.insert((event.task_id.0, flow.to_owned()));
                if super::fold::tells_outcome(event) {
                    self.runs.insert((event.run_number.0, flow.to_owned()));
                }
            }
        }
    }
}

impl Documents for Metaflow {
    fn touched<'a>(
        &'a self,
        tables: &'a dyn Tables,
        events: &'a [Event],
        groups: &'a mut BTreeSet<Group>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let mut keys = Keys::default();
            events.iter().for_each(|event| keys.touch(event, groups));
            let source = Source { tables };
            source.flows(&keys.flows, sink).await?;
            source.runs(&keys.runs, sink).await?;
            source.steps(&keys.steps, sink).await?;
            source.tasks(&keys.tasks, sink).await?;
            source.artifacts(&keys.artifacts, sink).await
        })
    }

    fn of_groups<'a>(
        &'a self,
        tables: &'a dyn Tables,
        groups: &'a BTreeSet<Group>,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move { Source { tables }.whole_runs(groups, sink).await })
    }

    fn all<'a>(&'a self, tables: &'a dyn Tables, sink: &'a mut dyn Sink) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let source = Source { tables };
            let mut flow = String::new();
            loop {
                let rows = source.page(&FLOWS_AFTER, vec![flow.as_str().into()]).await?;
                let flows: BTreeSet<String> = rows.iter().map(|row| owned(row, 0)).collect::<Result<_, _>>()?;
                source.flows(&flows, sink).await?;
                match flows.into_iter().next_back() {
                    Some(last) => flow = last,
                    None => break,
                }
            }
            let mut runs = Numbered::all(&RUNS_AFTER);
            while let Some(page) = runs.next(&source).await? {
                source.runs_and_steps(&page, sink).await?;
            }
            let mut tasks = Numbered::all(&TASKS_AFTER);
            while let Some(page) = tasks.next(&source).await? {
                source.tasks_and_artifacts(&page, sink).await?;
            }
            Ok(())
        })
    }
}

/// Keys with numbers, page by page.
struct Numbered {
    statement: &'static Statement,
    after: (i64, String),
}

impl Numbered {
    fn all(statement: &'static Statement) -> Self {
        Self { statement, after: (i64::MIN, String::new()) }
    }

    async fn next(&mut self, source: &Source<'_>) -> Result<Option<BTreeSet<(i64, String)>>, TablesError> {
        let params = vec![self.after.0.into(), self.after.1.as_str().into()];
        let page = source.numbered_page(self.statement, params).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = last.clone();
        Ok(Some(page))
    }
}

/// Reads documents from tables, and hands them on.
struct Source<'t> {
    tables: &'t dyn Tables,
}

impl Source<'_> {
    /// A page of keys; the statement's last parameter is how many.
    async fn page(&self, statement: &'static Statement, mut params: Vec<Cell>) -> Result<Vec<Row>, TablesError> {
        params.push((KEYS_MAX as i64).into());
        self.tables.read_aside(statement, Params::One(params)).await
    }

    async fn numbered_page(
        &self,
        statement: &'static Statement,
        params: Vec<Cell>,
    ) -> Result<BTreeSet<(i64, String)>, TablesError> {
        let rows = self.page(statement, params).await?;
        rows.iter().map(|row| Ok((row.int(0)?, owned(row, 1)?))).collect()
    }

    /// Reads the documents of keys and hands them on, a bounded number at a time.
    async fn each<K>(
        &self,
        keys: &BTreeSet<K>,
        statement: &'static Statement,
        columns: fn(&[&K]) -> Vec<Column>,
        kind: Kind,
        sink: &mut dyn Sink,
    ) -> Result<(), SourceError> {
        let keys: Vec<&K> = keys.iter().collect();
        for part in keys.chunks(KEYS_MAX) {
            let rows = self.tables.read_aside(statement, Params::Many(columns(part))).await?;
            sink.take(rows.iter().map(|row| document(kind, row)).collect::<Result<_, _>>()?).await?;
        }
        Ok(())
    }

    async fn flows(&self, keys: &BTreeSet<String>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let columns = |keys: &[&String]| vec![Column::texts(keys.iter().map(|flow| flow.as_str()))];
        self.each(keys, &READ_FLOWS, columns, Kind::Flow, sink).await
    }

    async fn runs(&self, keys: &BTreeSet<RunKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.each(keys, &READ_RUNS, numbered_columns, Kind::Run, sink).await
    }

    async fn steps(&self, keys: &BTreeSet<StepKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let columns = |keys: &[&StepKey]| {
            let run = Column::ints(keys.iter().map(|key| key.0));
            vec![run, Column::texts(keys.iter().map(|key| &*key.1)), Column::texts(keys.iter().map(|key| &*key.2))]
        };
        self.each(keys, &READ_STEPS, columns, Kind::Step, sink).await
    }

    async fn tasks(&self, keys: &BTreeSet<TaskKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.each(keys, &READ_TASKS, numbered_columns, Kind::Task, sink).await
    }

    async fn artifacts(&self, keys: &BTreeSet<ArtifactKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let columns = |keys: &[&ArtifactKey]| {
            let task = Column::ints(keys.iter().map(|key| key.0));
            let attempt = Column::ints(keys.iter().map(|key| key.1));
            let name = Column::texts(keys.iter().map(|key| &*key.2));
            vec![task, attempt, name, Column::texts(keys.iter().map(|key| &*key.3))]
        };
        self.each(keys, &READ_ARTIFACTS, columns, Kind::Artifact, sink).await
    }

    /// Every document of some runs.
    async fn whole_runs(&self, keys: &BTreeSet<RunKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.runs_and_steps(keys, sink).await?;
        for (run, flow) in keys {
            let mut after = i64::MIN;
            loop {
                let params = vec![(*run).into(), flow.as_str().into(), after.into()];
                let tasks = self.numbered_page(&TASKS_OF_RUN_AFTER, params).await?;
                let Some((last, _)) = tasks.last() else { break };
                after = *last;
                self.tasks_and_artifacts(&tasks, sink).await?;
            }
        }
        Ok(())
    }

    async fn runs_and_steps(&self, runs: &BTreeSet<RunKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.runs(runs, sink).await?;
        let runs: Vec<&RunKey> = runs.iter().collect();
        for part in runs.chunks(KEYS_MAX) {
            let rows = self.tables.read_aside(&STEPS_OF_RUNS, Params::Many(numbered_columns(part))).await?;
            let key = |row: &Row| Ok::<_, TablesError>((row.int(0)?, owned(row, 1)?, owned(row, 2)?));
            self.steps(&rows.iter().map(key).collect::<Result<_, _>>()?, sink).await?;
        }
        Ok(())
    }

    async fn tasks_and_artifacts(&self, tasks: &BTreeSet<TaskKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.tasks(tasks, sink).await?;
        let tasks: Vec<&TaskKey> = tasks.iter().collect();
        for part in tasks.chunks(KEYS_MAX) {
            let rows = self.tables.read_aside(&ARTIFACTS_OF_TASKS, Params::Many(numbered_columns(part))).await?;
            let key = |row: &Row| Ok::<_, TablesError>((row.int(0)?, row.int(1)?, owned(row, 2)?, owned(row, 3)?));
            self.artifacts(&rows.iter().map(key).collect::<Result<_, _>>()?, sink).await?;
        }
        Ok(())
    }
}

fn owned(row: &Row, column: usize) -> Result<String, TablesError> {
    row.text(column).map(str::to_owned)
}

fn numbered_columns(keys: &[&(i64, String)]) -> Vec<Column> {
    vec![Column::ints(keys.iter().map(|key| key.0)), Column::texts(keys.iter().map(|key| key.1.as_str()))]
}

/// A row as a document. Columns: `flow_id ts_epoch user_name tags system_tags`, for all but flows `run_number run_id
/// revision`, then those of the kind.
fn document(kind: Kind, row: &Row) -> Result<Document, TablesError> {
    let mut document = Document::new(kind, owned(row, 0)?, 1, row.int(1)?);
    let system_tags = list(row.text(4)?)?;
    // Clients that tell no user send a blank one, in several ways.
    document.user = row.optional_text(2)?.filter(|user| !user.trim().is_empty()).map(str::to_owned);
    for tag in list(row.text(3)?)?.into_iter().chain(system_tags) {
        if !document.tags.contains(&tag) {
            document.tags.push(tag);
        }
    }
    if kind == Kind::Flow {
        return Ok(document);
    }
    document.run = Some(row.int(5)?);
    document.run_name = row.optional_text(6)?.map(str::to_owned);
    document.revision = row.int(7)?;
    if kind == Kind::Run {
        document.status = Some(row.optional_text(8)?.and_then(Status::parse).unwrap_or(Status::Running));
        return Ok(document);
    }
    document.step = Some(owned(row, 8)?);
    if kind == Kind::Step {
        return Ok(document);
    }
    document.task = Some(row.int(9)?);
    document.task_name = row.optional_text(10)?.map(str::to_owned);
    if kind == Kind::Artifact {
        (document.artifact, document.attempt) = (Some(owned(row, 11)?), Some(row.int(12)?));
        return Ok(document);
    }
    document.artifacts = row.optional_text(11)?.map_or(Ok(Vec::new()), list)?;
    document.artifacts.dedup();
    let metadata: Vec<(String, String, i64)> = row.optional_text(12)?.map_or(Ok(Vec::new()), json)?;
    document.status = Some(task_status(&metadata));
    document.metadata = metadata.into_iter().map(|(field, value, _)| Entry { field, value }).collect();
    Ok(document)
}

/// How a task went, by its newest metadata; `metadata` are ascending by time.
fn task_status(metadata: &[(String, String, i64)]) -> Status {
    let newest = |field: &str| metadata.iter().rev().find(|(name, _, _)| name == field);
    let ok = newest("attempt_ok").map(|(_, value, at)| (value.as_str(), *at));
    outcome_of(ok, newest("attempt").map(|(_, _, at)| *at)).unwrap_or(Status::Running)
}

fn list(text: &str) -> Result<Vec<String>, TablesError> {
    json(text)
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, TablesError> {
    serde_json::from_str(text).map_err(|_| TablesError::Shape { column: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_metadata_say_how_a_task_went() {
        let entry = |field: &str, value: &str, at| (field.to_owned(), value.to_owned(), at);
        assert_eq!(task_status(&[]), Status::Running);
        assert_eq!(task_status(&[entry("attempt_ok", "False", 1)]), Status::Failed);
        assert_eq!(task_status(&[entry("attempt_ok", "False", 1), entry("attempt", "1", 2)]), Status::Running);
        assert_eq!(task_status(&[entry("attempt_ok", "False", 1), entry("attempt_ok", "True", 2)]), Status::Completed);
    }
}
