//! The fold: a batch of events into rows, kind by kind, parents before children.
//!
//! Invariant: the result is that of applying the records one by one. Working kind by kind keeps to it because a child
//! looks only at parents of a lower offset; where a batch holds two registrations of one name, that kind is applied one
//! by one, so that "the first one wins" needs no second definition.

mod artifacts;
mod at_once;
mod columns;
mod outcomes;
mod requests;

use std::collections::{BTreeMap, HashMap, HashSet};

use daybook_schemas::{
    events::{FlowRegistered, HeartbeatRecorded, RunStarted, RunTagsMutated, StepRegistered, TaskRegistered},
    ids::{FlowId, RunNumber, StepName, TaskId},
    position::Position,
};

pub(super) use self::{at_once::at_once, outcomes::tells as tells_outcome};
use super::items::{Item, Sorted, ints, lists, offsets, optional_texts, positions, repeats, texts, times};
use crate::{
    projection::{Decoded, Report, Unapplied},
    run_tags::json_array,
    statement,
    tables::{Column, Params, Row, Statement, TablesError, Transaction},
};

const INSERT_FLOWS: Statement = statement!("insert_flows", split);
const INSERT_RUNS: Statement = statement!("insert_runs", split);
const INSERT_STEPS: Statement = statement!("insert_steps", split);
const INSERT_TASKS: Statement = statement!("insert_tasks", split);
const INSERT_ARTIFACTS: Statement = statement!("insert_artifacts", split);
const INSERT_METADATA: Statement = statement!("insert_metadata", split);
const INSERT_SKIPS: Statement = statement!("insert_skips", split);
const INSERT_REQUESTS: Statement = statement!("insert_requests", split);
const MISSING_FLOWS: Statement = statement!("missing_flows", split);
const MISSING_RUNS: Statement = statement!("missing_runs", split);
const MISSING_STEPS: Statement = statement!("missing_steps", split);
const MISSING_TASKS: Statement = statement!("missing_tasks", split);
const COUNT_ARTIFACTS: Statement = statement!("count_artifacts", split);
const RAISE_ATTEMPTS: Statement = statement!("raise_attempts", split);
const RAISE_NUMBERS: Statement = statement!("raise_numbers", split);
const BEAT_RUNS: Statement = statement!("beat_runs", split);
const BEAT_TASKS: Statement = statement!("beat_tasks", split);
const READ_TAGS: Statement = statement!("read_tags", split);
const WRITE_TAGS: Statement = statement!("write_tags", split);
const READ_OUTCOMES: Statement = statement!("read_outcomes", split);
const WRITE_OUTCOMES: Statement = statement!("write_outcomes", split);
const READ_REQUESTS: Statement = statement!("read_requests", split);

pub(super) const STATEMENTS: [&Statement; 22] = [
    &INSERT_FLOWS,
    &INSERT_RUNS,
    &INSERT_STEPS,
    &INSERT_TASKS,
    &INSERT_ARTIFACTS,
    &INSERT_METADATA,
    &INSERT_SKIPS,
    &INSERT_REQUESTS,
    &MISSING_FLOWS,
    &MISSING_RUNS,
    &MISSING_STEPS,
    &MISSING_TASKS,
    &COUNT_ARTIFACTS,
    &RAISE_ATTEMPTS,
    &RAISE_NUMBERS,
    &BEAT_RUNS,
    &BEAT_TASKS,
    &READ_TAGS,
    &WRITE_TAGS,
    &READ_OUTCOMES,
    &WRITE_OUTCOMES,
    &READ_REQUESTS,
];

/// Makes the columns of items.
type ColumnsOf<'f, E> = &'f dyn for<'i> Fn(&[Item<'i, E>]) -> Vec<Column>;

/// A fold under way.
struct Fold<'t> {
    transaction: &'t mut dyn Transaction,
    report: Report,
}

pub(super) fn apply(transaction: &mut dyn Transaction, batch: &[Decoded]) -> Result<Report, TablesError> {
    let mut fold = Fold { transaction, report: Report::default() };
    let repeated = fold.requests(batch)?;
    let sorted = Sorted::new(batch, &repeated);
    fold.report.doubtful = repeated;
    fold.flows(&sorted)?;
    fold.runs(&sorted)?;
    fold.steps(&sorted)?;
    fold.tasks(&sorted)?;
    fold.artifacts(&sorted)?;
    fold.metadata(&sorted)?;
    fold.outcomes(&sorted.metadata)?;
    fold.tags(&sorted.tags)?;
    fold.heartbeats(&sorted.tasks, &sorted.heartbeats)?;
    fold.execute(&RAISE_NUMBERS, columns::numbers(&sorted))?;
    Ok(fold.report)
}

impl Fold<'_> {
    fn execute(&mut self, statement: &Statement, columns: Vec<Column>) -> Result<u64, TablesError> {
        if columns.first().is_none_or(Column::is_empty) {
            return Ok(0);
        }
        self.transaction.execute(statement, &Params::Many(columns))
    }

    /// Rows of a statement that begin with the ordinal of the parameters' row, as an index from 0.
    fn read(&mut self, statement: &Statement, columns: Vec<Column>) -> Result<Vec<(usize, Row)>, TablesError> {
        let rows = self.transaction.read(statement, &Params::Many(columns))?;
        let index = |row: &Row| usize::try_from(row.int(0)? - 1).map_err(|_| TablesError::Shape { column: 0 });
        rows.into_iter().map(|row| Ok((index(&row)?, row))).collect()
    }

    /// Inserts items, all at once or, where two of them have a key in common, one by one. `missing` finds those whose
    /// parent does not stand before them: they are unapplied. Others that were not inserted came second.
    fn insert<E>(
        &mut self,
        items: &[Item<'_, E>],
        repeats: bool,
        insert: (&Statement, ColumnsOf<'_, E>),
        missing: Option<(&Statement, ColumnsOf<'_, E>, &str)>,
    ) -> Result<(), TablesError> {
        for part in items.chunks(if repeats { 1 } else { items.len().max(1) }) {
            let inserted = self.execute(insert.0, insert.1(part))?;
            if inserted == part.len() as u64 {
                continue;
            }
            self.report.doubtful.extend(part.iter().map(|item| item.position));
            if let Some((statement, columns, parent)) = missing {
                self.note_missing(part, statement, columns(part), parent)?;
            }
        }
        Ok(())
    }

    /// Notes the items without their parent as unapplied, and returns their indexes.
    fn note_missing<E>(
        &mut self,
        items: &[Item<'_, E>],
        statement: &Statement,
        columns: Vec<Column>,
        parent: &str,
    ) -> Result<HashSet<usize>, TablesError> {
        let missing: HashSet<usize> = self.read(statement, columns)?.into_iter().map(|(index, _)| index).collect();
        let unapplied = items.iter().enumerate().filter(|(index, _)| missing.contains(index));
        self.report.unapplied.extend(unapplied.map(|(_, item)| Unapplied {
            position: item.position,
            reason: format!("its {parent} does not stand before it in the log"),
        }));
        Ok(missing)
    }

    fn flows(&mut self, sorted: &Sorted<'_>) -> Result<(), TablesError> {
        let again = repeats(&sorted.flows, |event| vec![event.flow_id.as_str()]);
        let columns = |items: &[Item<'_, _>]| {
            let [partition, offset] = positions(items);
            let flow_id = texts(items, |event: &FlowRegistered| event.flow_id.as_str());
            let user = optional_texts(items, |event| &event.user_name);
            let (tags, system) = (lists(items, |event| &event.tags), lists(items, |event| &event.system_tags));
            vec![flow_id, user, times(items), tags, system, partition, offset]
        };
        self.insert(&sorted.flows, again, (&INSERT_FLOWS, &columns), None)
    }

    fn runs(&mut self, sorted: &Sorted<'_>) -> Result<(), TablesError> {
        let parents =
            |items: &[Item<'_, _>]| vec![texts(items, |event: &RunStarted| event.flow_id.as_str()), offsets(items)];
        let (again, insert) = (columns::runs_repeat(&sorted.runs), (&INSERT_RUNS, &columns::runs as ColumnsOf<'_, _>));
        self.insert(&sorted.runs, again, insert, Some((&MISSING_FLOWS, &parents, "flow")))
    }

    fn steps(&mut self, sorted: &Sorted<'_>) -> Result<(), TablesError> {
        let again =
            repeats(&sorted.steps, |event| vec![(event.flow_id.as_str(), event.run_number, event.step_name.as_str())]);
        let columns = |items: &[Item<'_, _>]| {
            let [partition, offset] = positions(items);
            vec![
                texts(items, |event: &StepRegistered| event.flow_id.as_str()),
                ints(items, |event| event.run_number.0),
                texts(items, |event| event.step_name.as_str()),
                optional_texts(items, |event| &event.user_name),
                times(items),
                partition,
                offset,
            ]
        };
        let parents = |items: &[Item<'_, _>]| {
            let flow_id = texts(items, |event: &StepRegistered| event.flow_id.as_str());
            vec![flow_id, ints(items, |event| event.run_number.0), offsets(items)]
        };
        self.insert(&sorted.steps, again, (&INSERT_STEPS, &columns), Some((&MISSING_RUNS, &parents, "run")))
    }

    fn tasks(&mut self, sorted: &Sorted<'_>) -> Result<(), TablesError> {
        let parents = |items: &[Item<'_, _>]| {
            let flow_id = texts(items, |event: &TaskRegistered| event.flow_id.as_str());
            let (run, step) = (ints(items, |event| event.run_number.0), texts(items, |event| event.step_name.as_str()));
            vec![flow_id, run, step, offsets(items)]
        };
        let again = columns::tasks_repeat(&sorted.tasks);
        let insert = (&INSERT_TASKS, &columns::tasks as ColumnsOf<'_, _>);
        self.insert(&sorted.tasks, again, insert, Some((&MISSING_STEPS, &parents, "step")))
    }

    fn metadata(&mut self, sorted: &Sorted<'_>) -> Result<(), TablesError> {
        let items = &sorted.metadata;
        let entries = items.iter().map(|item| item.event.entries.len() as u64).sum();
        if self.execute(&INSERT_METADATA, columns::metadata(items))? < entries {
            self.report.doubtful.extend(items.iter().map(|item| item.position));
            let parents =
                task_parents(items, |event| (&event.flow_id, event.run_number, &event.step_name, event.task_id));
            self.note_missing(items, &MISSING_TASKS, parents, "task")?;
        }
        Ok(())
    }

    fn tags(&mut self, items: &[Item<'_, RunTagsMutated>]) -> Result<(), TablesError> {
        if items.is_empty() {
            return Ok(());
        }
        let mut runs: BTreeMap<(i64, &str), Vec<&Item<'_, RunTagsMutated>>> = BTreeMap::new();
        for item in items {
            runs.entry((item.event.run_number.0, item.event.flow_id.as_str())).or_default().push(item);
        }
        let keys: Vec<_> = runs.keys().copied().collect();
        let mut found: HashMap<(i64, &str), (Vec<String>, i64)> = HashMap::new();
        for (index, row) in self.read(&READ_TAGS, run_keys(&keys))? {
            let tags = serde_json::from_str(row.text(1)?).map_err(|_| TablesError::Shape { column: 1 })?;
            found.insert(keys[index], (tags, row.int(2)?));
        }
        let (mut changed, mut written, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (key, changes) in runs {
            let (mut run, mut count) = (found.remove(&key), 0);
            for item in &changes {
                match &mut run {
                    Some((tags, offset)) if *offset < item.position.offset => {
                        *tags = item.event.apply_to(tags);
                        count += 1;
                    }
                    _ => self.report.unapplied.push(Unapplied {
                        position: item.position,
                        reason: "its run does not stand before it in the log".to_owned(),
                    }),
                }
            }
            if let Some((tags, _)) = run {
                self.report.retagged.push((key.0, key.1.to_owned()));
                changed.push(key);
                written.push(json_array(&tags));
                counts.push(count);
            }
        }
        let mut all = run_keys(&changed);
        all.extend([Column::texts(written), Column::ints(counts)]);
        self.execute(&WRITE_TAGS, all).map(|_| ())
    }

    /// Notes heartbeats, the newest of each heart. A registered task beats its run's heart too.
    fn heartbeats(
        &mut self,
        tasks: &[Item<'_, TaskRegistered>],
        items: &[Item<'_, HeartbeatRecorded>],
    ) -> Result<(), TablesError> {
        let unapplied: HashSet<Position> = self.report.unapplied.iter().map(|unapplied| unapplied.position).collect();
        let tasks = tasks.iter().filter(|item| !unapplied.contains(&item.position));
        let [of_runs, of_tasks] = columns::hearts(tasks, items);
        self.execute(&BEAT_RUNS, of_runs)?;
        self.execute(&BEAT_TASKS, of_tasks).map(|_| ())
    }
}

/// The columns by which the tasks of items are looked for; `task` tells flow, run, step and number.
fn task_parents<'a, E>(
    items: &[Item<'a, E>],
    task: impl Fn(&'a E) -> (&'a FlowId, RunNumber, &'a StepName, TaskId),
) -> Vec<Column> {
    vec![
        texts(items, |event| task(event).0.as_str()),
        ints(items, |event| task(event).1.0),
        texts(items, |event| task(event).2.as_str()),
        ints(items, |event| task(event).3.0),
        offsets(items),
    ]
}

/// The columns of runs' keys: number and flow.
fn run_keys(keys: &[(i64, &str)]) -> Vec<Column> {
    vec![Column::ints(keys.iter().map(|(run, _)| *run)), Column::texts(keys.iter().map(|(_, flow)| *flow))]
}

fn entries_count(entries: usize) -> i64 {
    i64::try_from(entries).unwrap_or(i64::MAX)
}
