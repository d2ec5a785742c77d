//! The highest number of each sequence that any event held, so that sequences go on where the log ends.

use std::collections::HashMap;

use daybook_schemas::EventSet;

use crate::{
    projection::Decoded,
    row, statements,
    tables::{Column, FromRow, Params, PlanStatement, Step, Tables, TablesError},
};

statements! {
    pub(super) STATEMENTS;
    RAISE = "numbers/raise", split;
    READ = "numbers/read", NumberRow;
}

/// Raising the highest numbers in a plan.
pub(super) const PLANNED: PlanStatement = PlanStatement::any(&RAISE);

row! {
    struct NumberRow {
        sequence: String,
        highest: i64,
    }
}

/// The highest numbers by sequence, of the applied records.
pub async fn highest(tables: &dyn Tables) -> Result<HashMap<String, i64>, TablesError> {
    let rows = tables.read(&READ, Params::One(Vec::new())).await?;
    let highest = |row| {
        let NumberRow { sequence, highest } = NumberRow::read(row)?;
        Ok((sequence, highest))
    };
    rows.iter().map(|row| highest(row)).collect()
}

/// Raises the highest numbers to those of a batch, except for numbers that no import may give explicitly.
pub(crate) fn step<E: EventSet>(batch: &[Decoded<E>]) -> Step {
    // There are few sequences: a list is faster than a map, and keeps its order.
    let mut highest: Vec<(&str, i64)> = Vec::new();
    let numbers = batch.iter().filter_map(|decoded| decoded.envelope.event.numbers());
    for numbers in numbers.filter(|numbers| numbers.last <= numbers.explicit_max) {
        match highest.iter_mut().find(|(name, _)| *name == numbers.sequence) {
            Some((_, highest)) => *highest = numbers.last.max(*highest),
            None => highest.push((numbers.sequence, numbers.last)),
        }
    }
    let sequences = Column::texts(highest.iter().map(|(sequence, _)| *sequence));
    let numbers = Column::ints(highest.iter().map(|(_, number)| *number));
    Step { statement: &RAISE, columns: vec![sequences, numbers] }
}
