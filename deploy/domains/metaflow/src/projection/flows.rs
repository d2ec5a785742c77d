//! Flows: by name. They have no parent.

use daybook_projector::{
    statements,
    tables::{Column, PlanStatement},
};

use super::{
    fold::{Kind, NotInsertedRow},
    items::{Item, lists, optional_texts, positions, repeats, texts, times},
};
use crate::events::FlowRegistered;

statements! {
    pub(super) STATEMENTS;
    INSERT = "sql/flows/insert", split;
    NOT_INSERTED = "sql/flows/not_inserted", split, keyed NotInsertedRow;
}

pub(super) const PLANNED: PlanStatement = PlanStatement::all(&INSERT);

pub(super) static KIND: Kind<FlowRegistered> =
    Kind { insert: &INSERT, columns, repeat, not_inserted: &NOT_INSERTED, keys, parent: "log" };

fn columns(items: &[Item<'_, FlowRegistered>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    vec![
        texts(items, |event| event.flow_id.as_str()),
        optional_texts(items, |event| &event.user_name),
        times(items),
        lists(items, |event| &event.tags),
        lists(items, |event| &event.system_tags),
        partition,
        offset,
    ]
}

fn repeat(items: &[Item<'_, FlowRegistered>]) -> bool {
    repeats(items, |event| [event.flow_id.as_str()])
}

fn keys(items: &[Item<'_, FlowRegistered>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    vec![texts(items, |event| event.flow_id.as_str()), partition, offset]
}
