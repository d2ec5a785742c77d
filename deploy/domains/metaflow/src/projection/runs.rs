//! Runs: by flow and number, or by flow and name. Their flow precedes them.

use daybook_projector::{
    projection::EntityKey,
    statements,
    tables::{Column, PlanStatement},
};

use super::{
    fold::{Kind, NotInsertedRow},
    items::{Item, first_beats, ints, lists, optional_texts, positions, repeats, texts, times},
};
use crate::events::RunStarted;

statements! {
    pub(super) STATEMENTS;
    INSERT = "sql/runs/insert", split;
    NOT_INSERTED = "sql/runs/not_inserted", split, keyed NotInsertedRow;
}

pub(super) const PLANNED: PlanStatement = PlanStatement::all(&INSERT);

pub(super) static KIND: Kind<RunStarted> =
    Kind { insert: &INSERT, columns, repeat, not_inserted: &NOT_INSERTED, keys, parent: "flow" };

fn columns(items: &[Item<'_, RunStarted>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    vec![
        texts(items, |event| event.flow_id.as_str()),
        ints(items, |event| event.run_number.0),
        optional_texts(items, |event| &event.run_id),
        optional_texts(items, |event| &event.user_name),
        times(items),
        lists(items, |event| &event.tags),
        lists(items, |event| &event.system_tags),
        first_beats(items, |event| event.heartbeat),
        partition,
        offset,
    ]
}

fn repeat(items: &[Item<'_, RunStarted>]) -> bool {
    repeats(items, |event| {
        let number = (event.flow_id.as_str(), event.run_number.0, None);
        let name = event.run_id.as_deref().map(|name| (event.flow_id.as_str(), 0, Some(name)));
        std::iter::once(number).chain(name)
    })
}

fn keys(items: &[Item<'_, RunStarted>]) -> Vec<Column> {
    let [partition, offset] = positions(items);
    let flow_id = texts(items, |event| event.flow_id.as_str());
    vec![flow_id, ints(items, |event| event.run_number.0), partition, offset]
}

/// The kind of a run's [`EntityKey`].
const ENTITY: &str = "run";

/// Names a run.
pub(crate) fn entity(flow: &str, number: i64) -> EntityKey {
    EntityKey { kind: ENTITY, key: format!("{number}/{flow}") }
}

/// The number and the flow of the run that a key names; `None` for an entity of another kind.
pub(crate) fn of_entity(entity: &EntityKey) -> Option<(i64, &str)> {
    let (number, flow) = entity.key.split_once('/').filter(|_| entity.kind == ENTITY)?;
    Some((number.parse().ok()?, flow))
}

/// The columns of runs' keys: number and flow.
pub(super) fn key_columns(keys: &[(i64, &str)]) -> Vec<Column> {
    vec![Column::ints(keys.iter().map(|(run, _)| *run)), Column::texts(keys.iter().map(|(_, flow)| *flow))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_s_key_tells_its_number_and_flow() {
        assert_eq!(of_entity(&entity("a/b", 7)), Some((7, "a/b")));
        assert_eq!(of_entity(&EntityKey { kind: "task", key: "7/a".to_owned() }), None);
    }
}
