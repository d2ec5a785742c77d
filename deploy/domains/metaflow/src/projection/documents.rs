//! Documents of Metaflow's objects: which documents an event changes, and the rows that they are built from.
//!
//! An event changes the document of its own object, and of the parent that counts it: a bounded number. Steps, tasks
//! and artifacts inherit the user tags of their run at search time. A document's revision is 1, plus, for a run, the
//! number of events that changed its tags or its outcome, and, for a task, the number of its artifacts and metadata. It
//! never decreases.

mod keys;
mod rows;
mod shape;

use std::{collections::BTreeSet, sync::Arc};

use daybook_ingest::log::{BoxFuture, Record};
use daybook_projector::{
    search::{
        document::Document,
        ranges::{KeyOrder, KeyRange},
        shape::IndexShape,
        source::{Documents, Sink, SourceError},
    },
    statements,
    tables::{Column, Params, Row, Statement, Tables, TablesError},
};
use daybook_schemas::{Topic, codec};

use self::{
    keys::{ArtifactKey, FlowKey, Keys, RunKey, StepKey, TaskKey},
    rows::{ArtifactRow, FlowRow, RunRow, StepRow, TaskRow},
};
use super::Metaflow;
use crate::events::{EVENTS, Event};

statements! {
    pub(super) STATEMENTS;
    READ_FLOWS = "documents/read_flows", split, FlowRow;
    READ_RUNS = "documents/read_runs", split, RunRow;
    READ_STEPS = "documents/read_steps", split, StepRow;
    READ_TASKS = "documents/read_tasks", split, TaskRow;
    READ_ARTIFACTS = "documents/read_artifacts", split, ArtifactRow;
    STEPS_OF_RUNS = "documents/steps_of_runs", split, StepKey;
    ARTIFACTS_OF_TASKS = "documents/artifacts_of_tasks", split, ArtifactKey;
    FLOWS_AFTER = "documents/flows_after", FlowKey;
    RUNS_AFTER = "documents/runs_after", RunKey;
    TASKS_AFTER = "documents/tasks_after", TaskKey;
}

const BY_FLOW: KeyOrder<FlowKey> = KeyOrder::new("flow", &FLOWS_AFTER);
const BY_RUN: KeyOrder<RunKey> = KeyOrder::new("run", &RUNS_AFTER);
const BY_TASK: KeyOrder<TaskKey> = KeyOrder::new("task", &TASKS_AFTER);

/// Keys that are read with one statement, at most.
const KEYS_MAX: usize = 1000;

impl Documents for Metaflow {
    fn topics(&self) -> Vec<Topic> {
        vec![EVENTS]
    }

    fn shape(&self) -> Arc<IndexShape> {
        Arc::new(shape::shape())
    }

    fn touched<'a>(
        &'a self,
        tables: &'a dyn Tables,
        records: &'a [Record],
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let mut keys = Keys::default();
            // What cannot be decoded is in the tables' quarantine, and touches no row.
            let envelopes = records.iter().filter_map(|record| codec::decode::<Event>(&record.value).ok());
            envelopes.for_each(|envelope| keys.touch(&envelope.event));
            let source = Source { tables };
            source.flows(&keys.flows, sink).await?;
            source.runs(&keys.runs, sink).await?;
            source.steps(&keys.steps, sink).await?;
            source.tasks(&keys.tasks, sink).await?;
            source.artifacts(&keys.artifacts, sink).await
        })
    }

    fn ranges<'a>(&'a self, tables: &'a dyn Tables, keys: i64) -> BoxFuture<'a, Result<Vec<KeyRange>, TablesError>> {
        Box::pin(async move {
            let (flows, runs) = (BY_FLOW.split(tables, keys).await?, BY_RUN.split(tables, keys).await?);
            Ok([flows, runs, BY_TASK.split(tables, keys).await?].concat())
        })
    }

    fn of_range<'a>(
        &'a self,
        tables: &'a dyn Tables,
        range: &'a KeyRange,
        sink: &'a mut dyn Sink,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let source = Source { tables };
            if let Some(mut flows) = BY_FLOW.pages(range)? {
                while let Some(page) = flows.next(tables).await? {
                    source.flows(&page, sink).await?;
                }
            }
            if let Some(mut runs) = BY_RUN.pages(range)? {
                while let Some(page) = runs.next(tables).await? {
                    source.runs_and_steps(&page, sink).await?;
                }
            }
            if let Some(mut tasks) = BY_TASK.pages(range)? {
                while let Some(page) = tasks.next(tables).await? {
                    source.tasks_and_artifacts(&page, sink).await?;
                }
            }
            Ok(())
        })
    }
}

/// Reads documents from tables, and hands them on.
struct Source<'t> {
    tables: &'t dyn Tables,
}

impl Source<'_> {
    /// Reads the documents of keys and hands them on, a bounded number at a time.
    async fn each<K>(
        &self,
        keys: &BTreeSet<K>,
        statement: &'static Statement,
        columns: fn(&[&K]) -> Vec<Column>,
        document: fn(&Row) -> Result<Document, TablesError>,
        sink: &mut dyn Sink,
    ) -> Result<(), SourceError> {
        let keys: Vec<&K> = keys.iter().collect();
        for part in keys.chunks(KEYS_MAX) {
            let rows = self.tables.read_background(statement, Params::Many(columns(part))).await?;
            sink.take(rows.iter().map(document).collect::<Result<_, _>>()?).await?;
        }
        Ok(())
    }

    async fn flows(&self, keys: &BTreeSet<FlowKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.each(keys, &READ_FLOWS, FlowKey::columns, rows::flow, sink).await
    }

    async fn runs(&self, keys: &BTreeSet<RunKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.each(keys, &READ_RUNS, RunKey::columns, rows::run, sink).await
    }

    async fn steps(&self, keys: &BTreeSet<StepKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.each(keys, &READ_STEPS, StepKey::columns, rows::step, sink).await
    }

    async fn tasks(&self, keys: &BTreeSet<TaskKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.each(keys, &READ_TASKS, TaskKey::columns, rows::task, sink).await
    }

    async fn artifacts(&self, keys: &BTreeSet<ArtifactKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.each(keys, &READ_ARTIFACTS, ArtifactKey::columns, rows::artifact, sink).await
    }

    async fn runs_and_steps(&self, runs: &BTreeSet<RunKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.runs(runs, sink).await?;
        let runs: Vec<&RunKey> = runs.iter().collect();
        for part in runs.chunks(KEYS_MAX) {
            let params = Params::Many(RunKey::columns(part));
            let rows = self.tables.read_background(&STEPS_OF_RUNS, params).await?;
            self.steps(&keys::read(&rows)?, sink).await?;
        }
        Ok(())
    }

    async fn tasks_and_artifacts(&self, tasks: &BTreeSet<TaskKey>, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.tasks(tasks, sink).await?;
        let tasks: Vec<&TaskKey> = tasks.iter().collect();
        for part in tasks.chunks(KEYS_MAX) {
            let params = Params::Many(TaskKey::columns(part));
            let rows = self.tables.read_background(&ARTIFACTS_OF_TASKS, params).await?;
            self.artifacts(&keys::read(&rows)?, sink).await?;
        }
        Ok(())
    }
}
