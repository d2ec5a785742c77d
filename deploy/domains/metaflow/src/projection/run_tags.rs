//! User tags of runs: each event removes and adds some. Its run precedes it.

use std::collections::{BTreeMap, HashMap};

use daybook_projector::{
    row, statements,
    tables::{Column, FromRow, TablesError, json_array},
};
use daybook_schemas::position::Offset;

use super::{fold::Fold, items::Item, runs};
use crate::events::RunTagsMutated;

statements! {
    pub(super) STATEMENTS;
    READ = "sql/run_tags/read", split, keyed TagsRow;
    WRITE = "sql/run_tags/write", split;
}

row! {
    /// The tags of a run, as a JSON array, and the offset of the event that made it.
    struct TagsRow<'r> {
        tags: &'r str,
        record_offset: i64,
    }
}

/// A run whose tags are changed.
struct Tagged {
    tags: Vec<String>,
    made_at: Offset,
}

/// What is written of a run.
struct Written<'a> {
    run: (i64, &'a str),
    tags: String,
    changes: i64,
}

pub(super) fn apply(fold: &mut Fold<'_>, items: &[Item<'_, RunTagsMutated>]) -> Result<(), TablesError> {
    if items.is_empty() {
        return Ok(());
    }
    let mut changes: BTreeMap<(i64, &str), Vec<&Item<'_, RunTagsMutated>>> = BTreeMap::new();
    for item in items {
        changes.entry((item.event.run_number.0, item.event.flow_id.as_str())).or_default().push(item);
    }
    let mut found = read(fold, &changes.keys().copied().collect::<Vec<_>>())?;
    let mut written = Vec::new();
    for (run, items) in changes {
        let (run_number, flow_id) = run;
        let mut tagged = found.remove(&run);
        let mut changes = 0;
        for item in items {
            match &mut tagged {
                Some(tagged) if tagged.made_at < item.position.offset => {
                    tagged.tags = item.event.apply_to(&tagged.tags);
                    changes += 1;
                }
                _ => fold.reject_orphan(item.position, "run"),
            }
        }
        if let Some(tagged) = tagged {
            fold.report.changed.push(runs::entity(flow_id, run_number));
            written.push(Written { run, tags: json_array(&tagged.tags), changes });
        }
    }
    let mut columns = runs::key_columns(&written.iter().map(|it| it.run).collect::<Vec<_>>());
    columns.push(Column::texts(written.iter().map(|it| it.tags.as_str())));
    columns.push(Column::ints(written.iter().map(|it| it.changes)));
    fold.execute(&WRITE, columns).map(|_| ())
}

/// The runs of some keys, as far as they are there.
fn read<'a>(fold: &mut Fold<'_>, keys: &[(i64, &'a str)]) -> Result<HashMap<(i64, &'a str), Tagged>, TablesError> {
    let mut found = HashMap::new();
    for row in &fold.read(&READ, runs::key_columns(keys))? {
        let (index, TagsRow { tags, record_offset }) = TagsRow::read_keyed(row)?;
        let tags = serde_json::from_str(tags).map_err(|_| TablesError::Shape { column: "tags" })?;
        found.insert(keys[index], Tagged { tags, made_at: record_offset });
    }
    Ok(found)
}
