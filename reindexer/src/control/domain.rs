//! The control row of a domain in control storage.

use daybook_projector::{
    row,
    tables::{Cell, FromRow, Row, TablesError},
};

use crate::switch::{
    DatabaseTime, Epoch, GenerationId,
    control::{ControlRow, Phase},
};

row! {
    /// A row of the table of domains.
    pub(super) struct DomainRow {
        domain: String,
        epoch: i64,
        live: i64,
        previous: i64,
        phase: String,
        candidate: i64,
        deadline: i64,
    }
}

const IDLE: &str = "idle";
const ANNOUNCED: &str = "announced";
const FOLLOWING: &str = "following";
const RETIRING: &str = "retiring";

/// A domain and its control row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainControl {
    /// The domain.
    pub domain: String,
    /// Its control row.
    pub row: ControlRow,
}

impl DomainControl {
    pub(super) fn read(row: &Row) -> Result<Self, TablesError> {
        let DomainRow { domain, epoch, live, previous, phase, candidate, deadline } = DomainRow::read(row)?;
        let (candidate, deadline) = (GenerationId(candidate), DatabaseTime(deadline));
        let phase = match phase.as_str() {
            IDLE => Phase::Idle,
            ANNOUNCED => Phase::Announced { candidate, deadline },
            FOLLOWING => Phase::Following { deadline },
            RETIRING => Phase::Retiring { deadline },
            _ => return Err(TablesError::Shape { column: "phase" }),
        };
        let previous = (previous != 0).then_some(GenerationId(previous));
        Ok(Self { domain, row: ControlRow { epoch: Epoch(epoch), live: GenerationId(live), previous, phase } })
    }
}

/// The parameters of [`super::WRITE_DOMAIN`].
pub(super) fn written(domain: &str, row: &ControlRow) -> Vec<Cell> {
    let (phase, candidate, deadline) = match row.phase {
        Phase::Idle => (IDLE, 0, 0),
        Phase::Announced { candidate, deadline } => (ANNOUNCED, candidate.0, deadline.0),
        Phase::Following { deadline } => (FOLLOWING, 0, deadline.0),
        Phase::Retiring { deadline } => (RETIRING, 0, deadline.0),
    };
    let previous = row.previous.map_or(0, |generation| generation.0);
    vec![
        domain.into(),
        row.epoch.0.into(),
        row.live.0.into(),
        previous.into(),
        phase.into(),
        candidate.into(),
        deadline.into(),
    ]
}
