//! The books that tables keep of their indexes: how far each has come, and which documents it refused for good.

use daybook_schemas::position::Vector;

use super::Refused;
use crate::{
    generation::vector,
    statement,
    tables::{Column, Params, Statement, Tables, TablesError},
};

const READ_CHECKPOINTS: Statement = statement!("books/read_checkpoints");
const WRITE_CHECKPOINTS: Statement = statement!("books/write_checkpoints", split);
const QUARANTINE: Statement = statement!("books/quarantine", split);
const LIST_QUARANTINE: Statement = statement!("books/list_quarantine");

/// The statements of this file, so that a test can run each on every engine.
pub const STATEMENTS: [&Statement; 4] = [&READ_CHECKPOINTS, &WRITE_CHECKPOINTS, &QUARANTINE, &LIST_QUARANTINE];

/// How far an index has come; empty for one that was never built.
pub async fn checkpoints(tables: &dyn Tables, index_id: &str) -> Result<Vector, TablesError> {
    vector(&tables.read(&READ_CHECKPOINTS, Params::One(vec![index_id.into()])).await?)
}

/// Notes that an index has come to `reached`, and what it refused on the way. Blocks its thread. A checkpoint never goes back.
pub fn settle(tables: &dyn Tables, index_id: &str, reached: &Vector, refused: &[Refused]) -> Result<(), TablesError> {
    let mut transaction = tables.begin()?;
    if !refused.is_empty() {
        let columns = vec![
            Column::texts(refused.iter().map(|it| it.id.as_str())),
            Column::ints(refused.iter().map(|it| it.revision)),
            Column::texts(refused.iter().map(|it| it.reason.replace('\0', "\u{fffd}"))),
        ];
        transaction.execute(&QUARANTINE, &Params::Many(columns))?;
    }
    let columns = vec![
        Column::texts(reached.0.keys().map(|_| index_id)),
        Column::texts(reached.0.keys().map(|partition| partition.topic.as_str())),
        Column::ints(reached.0.keys().map(|partition| i64::from(partition.id))),
        Column::ints(reached.0.values().copied()),
    ];
    transaction.execute(&WRITE_CHECKPOINTS, &Params::Many(columns))?;
    transaction.commit()
}

/// Documents that an index refused for good, in order of id, at most `count_max`.
pub async fn list_quarantine(tables: &dyn Tables, count_max: i64) -> Result<Vec<Refused>, TablesError> {
    let rows = tables.read(&LIST_QUARANTINE, Params::One(vec![count_max.into()])).await?;
    let refused = |row: &crate::tables::Row| {
        Ok(Refused { id: row.text(0)?.to_owned(), revision: row.int(1)?, reason: row.text(2)?.to_owned() })
    };
    rows.iter().map(refused).collect()
}
