//! Notes about generations: fingerprints of their parts, how long their rebuilds took, and the reasons that people give.

use std::collections::BTreeMap;

use daybook_projector::{
    row, statements,
    tables::{FromRow, TablesError},
};

use super::{Control, State};
use crate::control::Params;

statements! {
    /// The statements of this file, so that a test can run each on every engine.
    pub STATEMENTS;
    WRITE_NOTE = "write_note";
    LIST_NOTES = "list_notes", NoteRow;
    SET_REASON = "set_reason";
    FORGET_WORKERS = "forget_workers";
}

row! {
    struct NoteRow {
        generation: i64,
        name: String,
        value: String,
    }
}

/// The notes about one generation, by name.
pub type Notes = BTreeMap<String, String>;

impl Control {
    /// Notes something about a generation, in place of what was noted under the same name.
    pub async fn note(&self, domain: &str, generation: i64, name: &str, value: String) -> Result<(), TablesError> {
        self.write(&WRITE_NOTE, vec![domain.into(), generation.into(), name.into(), value.into()]).await
    }

    /// The notes about all generations of a domain, by number.
    pub async fn notes(&self, domain: &str) -> Result<BTreeMap<i64, Notes>, TablesError> {
        let mut all = BTreeMap::<i64, Notes>::new();
        for row in self.tables.read(&LIST_NOTES, Params::One(vec![domain.into()])).await? {
            let NoteRow { generation, name, value } = NoteRow::read(&row)?;
            all.entry(generation).or_default().insert(name, value);
        }
        Ok(all)
    }

    /// Forgets what processes have done for a generation.
    pub(crate) async fn forget_workers(&self, domain: &str, generation: i64) -> Result<(), TablesError> {
        self.write(&FORGET_WORKERS, vec![domain.into(), generation.into()]).await
    }

    /// Keeps why a generation has its state, if it still has that.
    pub async fn keep_reason(
        &self,
        domain: &str,
        generation: i64,
        state: State,
        reason: &str,
    ) -> Result<(), TablesError> {
        let (state, reason) = (state.as_str(), reason.replace('\0', "\u{fffd}"));
        self.write(&SET_REASON, vec![domain.into(), generation.into(), state.into(), reason.into()]).await
    }
}
