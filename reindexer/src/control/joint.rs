//! The part of a switch that is in control storage.

use daybook_projector::tables::{JointTransaction, Params, TablesError};

use super::{CHANGED, LOCK_DOMAIN, NewState, READ_NOW, SET_STATE, WRITE_DOMAIN, domain, now_of, row_of};
use crate::switch::{DatabaseTime, control::ControlRow};

/// Control storage within a joint transaction.
pub(crate) struct JointControl<'j> {
    pub(crate) joint: &'j mut dyn JointTransaction,
    /// The schema of control storage.
    pub(crate) schema: String,
    pub(crate) domain: &'static str,
}

impl JointControl<'_> {
    /// Locks the control row, and reads the time afterwards.
    pub(crate) fn lock(&mut self) -> Result<(ControlRow, DatabaseTime), TablesError> {
        let rows = self.joint.read(&self.schema, &LOCK_DOMAIN, &Params::One(vec![self.domain.into()]))?;
        let now = self.joint.read(&self.schema, &READ_NOW, &Params::One(Vec::new()))?;
        Ok((row_of(self.domain, &rows)?, now_of(&now)?))
    }

    /// Writes the row and the states of generations.
    pub(crate) fn write(&mut self, row: &ControlRow, states: &[NewState]) -> Result<(), TablesError> {
        self.joint.execute(&self.schema, &WRITE_DOMAIN, &Params::One(domain::written(self.domain, row)))?;
        for state in states {
            self.joint.execute(&self.schema, &SET_STATE, &state.params(self.domain))?;
        }
        self.joint.notify(&self.schema, CHANGED)
    }
}
