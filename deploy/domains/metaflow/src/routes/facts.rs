//! Facts about flows, runs, steps and tasks that never change, looked up in the live tables and cached.
//!
//! Only objects that exist are cached: a missing one may be created at any time, by any process.

use std::sync::Arc;

use daybook_projector::tables::{Cell, FromRow, TablesError};
use moka::sync::Cache;
use quick_cache::{Equivalent, sync::Cache as QuickCache};

use super::{
    rows::{RunByNameRow, RunRow, TaskByNameRow, TaskRow},
    view::View,
};
use crate::{
    decisions::{RunFacts, TaskFacts},
    events::{
        RunStarted, TaskRegistered,
        ids::{NumberOrName, RUN_NUMBER_MAX, RunNumber, TASK_ID_MAX, TaskId},
    },
};

/// Entries of each cache, at most.
const ENTRIES_MAX: usize = 20_000;

/// A run by the number or name of a path. With borrowed texts it looks a run up, so that no text is copied.
#[derive(PartialEq, Eq, Hash)]
struct RunKey<T> {
    flow: T,
    run: T,
}

#[derive(PartialEq, Eq, Hash)]
struct StepKey<T> {
    flow: T,
    run: i64,
    step: T,
}

/// A task by the number or name of a path.
#[derive(PartialEq, Eq, Hash)]
struct TaskKey<T> {
    flow: T,
    run: i64,
    step: T,
    task: T,
}

impl Equivalent<RunKey<String>> for RunKey<&str> {
    fn equivalent(&self, key: &RunKey<String>) -> bool {
        self.flow == key.flow && self.run == key.run
    }
}

impl Equivalent<StepKey<String>> for StepKey<&str> {
    fn equivalent(&self, key: &StepKey<String>) -> bool {
        self.flow == key.flow && self.run == key.run && self.step == key.step
    }
}

impl Equivalent<TaskKey<String>> for TaskKey<&str> {
    fn equivalent(&self, key: &TaskKey<String>) -> bool {
        self.flow == key.flow && self.run == key.run && self.step == key.step && self.task == key.task
    }
}

/// Cached facts. Runs and tasks are added when they are created or looked up, flows and steps when they are looked up.
pub(super) struct Facts {
    flows: Cache<String, ()>,
    runs: QuickCache<RunKey<String>, Arc<RunFacts>>,
    steps: QuickCache<StepKey<String>, ()>,
    tasks: QuickCache<TaskKey<String>, Arc<TaskFacts>>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            flows: Cache::new(ENTRIES_MAX as u64),
            runs: QuickCache::new(ENTRIES_MAX),
            steps: QuickCache::new(ENTRIES_MAX),
            tasks: QuickCache::new(ENTRIES_MAX),
        }
    }
}

impl Facts {
    /// Whether a flow exists.
    pub(super) async fn flow_exists(&self, view: &View, flow: &str) -> Result<bool, TablesError> {
        if self.flows.contains_key(flow) {
            return Ok(true);
        }
        let found = view.flows.load(vec![flow.into()]).await?.is_some();
        if found {
            self.flows.insert(flow.to_owned(), ());
        }
        Ok(found)
    }

    /// The run that a path names by number or by name.
    pub(super) async fn run(&self, view: &View, flow: &str, run: &str) -> Result<Option<Arc<RunFacts>>, TablesError> {
        if let Some(facts) = self.runs.get(&RunKey { flow, run }) {
            return Ok(Some(facts));
        }
        let facts = match NumberOrName::parse(run, RUN_NUMBER_MAX) {
            NumberOrName::OutOfRange => None,
            NumberOrName::Number(number) => {
                let row = view.runs.load(vec![number.into(), flow.into()]).await?;
                let facts = |row| {
                    let run = RunRow::read(row)?.run;
                    let run_id = run.run_id.map(str::to_owned);
                    Ok(RunFacts { run_number: RunNumber(number), run_id, system_tags: tags(run.system_tags)? })
                };
                row.as_ref().map(|row| facts(row)).transpose()?
            }
            NumberOrName::Name(name) => {
                let row = view.runs_by_name.load(vec![name.as_str().into(), flow.into()]).await?;
                let facts = |row| {
                    let RunByNameRow { run_number, system_tags } = RunByNameRow::read(row)?;
                    let run_number = RunNumber(run_number);
                    Ok(RunFacts { run_number, run_id: Some(name.clone()), system_tags: tags(system_tags)? })
                };
                row.as_ref().map(|row| facts(row)).transpose()?
            }
        };
        let facts = facts.map(Arc::new);
        if let Some(facts) = &facts {
            let key = RunKey { flow: flow.to_owned(), run: run.to_owned() };
            self.runs.insert(key, Arc::clone(facts));
        }
        Ok(facts)
    }

    /// Whether a step of a run exists.
    pub(super) async fn step_exists(
        &self,
        view: &View,
        flow: &str,
        run: RunNumber,
        step: &str,
    ) -> Result<bool, TablesError> {
        if self.steps.get(&StepKey { flow, run: run.0, step }).is_some() {
            return Ok(true);
        }
        let found = view.steps.load(vec![run.0.into(), step.into(), flow.into()]).await?.is_some();
        if found {
            self.steps.insert(StepKey { flow: flow.to_owned(), run: run.0, step: step.to_owned() }, ());
        }
        Ok(found)
    }

    /// The task that a path names by number or by name.
    pub(super) async fn task(
        &self,
        view: &View,
        flow: &str,
        run: RunNumber,
        step: &str,
        task: &str,
    ) -> Result<Option<Arc<TaskFacts>>, TablesError> {
        if let Some(facts) = self.tasks.get(&TaskKey { flow, run: run.0, step, task }) {
            return Ok(Some(facts));
        }
        let facts = match NumberOrName::parse(task, TASK_ID_MAX) {
            NumberOrName::OutOfRange => None,
            NumberOrName::Number(number) => {
                let row = view.tasks.load(vec![number.into(), flow.into(), run.0.into(), step.into()]).await?;
                let facts = |row| {
                    let task_name = TaskRow::read(row)?.task.task_name.map(str::to_owned);
                    Ok(TaskFacts { task_id: TaskId(number), task_name })
                };
                row.as_ref().map(|row| facts(row)).transpose()?
            }
            NumberOrName::Name(name) => {
                let key: Vec<Cell> = vec![run.0.into(), step.into(), name.as_str().into(), flow.into()];
                let row = view.tasks_by_name.load(key).await?;
                let facts = |row| {
                    let TaskByNameRow { task_id } = TaskByNameRow::read(row)?;
                    Ok(TaskFacts { task_id: TaskId(task_id), task_name: Some(name.clone()) })
                };
                row.as_ref().map(|row| facts(row)).transpose()?
            }
        };
        let facts = facts.map(Arc::new);
        if let Some(facts) = &facts {
            let (flow, step, task) = (flow.to_owned(), step.to_owned(), task.to_owned());
            let key = TaskKey { flow, run: run.0, step, task };
            self.tasks.insert(key, Arc::clone(facts));
        }
        Ok(facts)
    }

    /// Caches a run that was applied as its event says: its children usually follow.
    pub(super) fn add_run(&self, event: &RunStarted) {
        let RunStarted { flow_id, run_number, run_id, system_tags, .. } = event;
        let run = run_id.clone().unwrap_or_else(|| run_number.to_string());
        let facts = RunFacts { run_number: *run_number, run_id: run_id.clone(), system_tags: system_tags.clone() };
        self.runs.insert(RunKey { flow: flow_id.0.clone(), run }, Arc::new(facts));
    }

    /// Caches a task that was applied as its event says.
    pub(super) fn add_task(&self, event: &TaskRegistered) {
        let TaskRegistered { flow_id, run_number, step_name, task_id, task_name, .. } = event;
        let task = task_name.clone().unwrap_or_else(|| task_id.to_string());
        let key = TaskKey { flow: flow_id.0.clone(), run: run_number.0, step: step_name.0.clone(), task };
        self.tasks.insert(key, Arc::new(TaskFacts { task_id: *task_id, task_name: task_name.clone() }));
    }

    /// The task that a path names, with its run; `None` if either does not exist.
    pub(super) async fn run_and_task(
        &self,
        view: &View,
        path: (&str, &str, &str, &str),
    ) -> Result<Option<(Arc<RunFacts>, Arc<TaskFacts>)>, TablesError> {
        let (flow, run, step, task) = path;
        let Some(run) = self.run(view, flow, run).await? else { return Ok(None) };
        let task = self.task(view, flow, run.run_number, step, task).await?;
        Ok(task.map(|task| (run, task)))
    }
}

/// Reads a list of tags as the tables store it.
pub(super) fn tags(json: &str) -> Result<Vec<String>, TablesError> {
    serde_json::from_str(json).map_err(|_| TablesError::Shape { column: "tags" })
}
