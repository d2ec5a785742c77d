//! Steps: by flow, run and name. Their run precedes them.

use daybook_projector::{
    statements,
    tables::{Column, PlanStatement},
};

use super::{
    fold::{Kind, NotInsertedRow},
    items::{Item, ints, optional_texts, positions, repeats, texts, times},
};
use crate::events::StepRegistered;

statements! {
    pub(super) STATEMENTS;
    INSERT = "sql/steps/insert", split;
    NOT_INSERTED = "sql/steps/not_inserted", split, keyed NotInsertedRow;
}

pub(super) const PLANNED: PlanStatement = PlanStatement::all(&INSERT);

pub(super) static KIND: Kind<StepRegistered> =
    Kind { insert: &INSERT, columns, repeat, not_inserted: &NOT_INSERTED, keys, parent: "run" };

fn columns(items: &[Item<'_, StepRegistered>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    vec![
        texts(items, |event| event.flow_id.as_str()),
        ints(items, |event| event.run_number.0),
        texts(items, |event| event.step_name.as_str()),
        optional_texts(items, |event| &event.user_name),
        times(items),
        partition,
        offset,
    ]
}

fn repeat(items: &[Item<'_, StepRegistered>]) -> bool {
    repeats(items, |event| [(event.flow_id.as_str(), event.run_number, event.step_name.as_str())])
}

fn keys(items: &[Item<'_, StepRegistered>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    vec![
        texts(items, |event| event.flow_id.as_str()),
        ints(items, |event| event.run_number.0),
        texts(items, |event| event.step_name.as_str()),
        partition,
        offset,
    ]
}
