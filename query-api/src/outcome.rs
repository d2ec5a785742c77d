//! Outcomes of records that the tables did not apply completely: the reason, for those in quarantine.

use std::sync::Arc;

use daybook_projector::{
    generation::Generation,
    row, statements,
    tables::{FromRow, TablesError},
};
use daybook_schemas::position::Position;

use crate::{error::ApiError, loader::Loader};

statements! {
    pub(crate) STATEMENTS;
    REASON = "outcome/reason", split, keyed ReasonRow;
}

row! {
    struct ReasonRow<'r> {
        reason: &'r str,
    }
}

/// Looks up the quarantine, with one query for many requests.
pub(crate) struct Outcomes(Loader);

impl Outcomes {
    pub(crate) fn start(generation: &Arc<Generation>) -> Self {
        Self(Loader::start(&generation.tables, &REASON))
    }

    /// An error with the reason, if one of the records was quarantined.
    pub(crate) async fn check(&self, positions: &[Position]) -> Result<(), ApiError> {
        for position in positions {
            if let Some(reason) = self.reason(*position).await? {
                let message = format!("record {position} was not applied: {reason}");
                return Err(ApiError::Invalid { message, field: None });
            }
        }
        Ok(())
    }

    async fn reason(&self, position: Position) -> Result<Option<String>, TablesError> {
        let Position { partition, offset } = position;
        let key = vec![partition.topic.name().into(), i64::from(partition.id).into(), offset.into()];
        let row = self.0.load(key).await?;
        row.as_ref().map(|row| ReasonRow::read(row).map(|row| row.reason.to_owned())).transpose()
    }
}
