//! What each process does for a rebuild: noted in control storage, for those who ask any other process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use daybook_ingest::append::now_ms;
use daybook_projector::tables::TablesError;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    control::notes::Notes,
    running::{Platform, Running},
};

/// Between two notes of one process about one generation.
const PAUSE: Duration = Duration::from_secs(2);
/// Before the name of the process, in the name of a note.
const PREFIX: &str = "worker:";

/// What a process has done for a rebuild.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerProgress {
    /// The name of the process.
    pub instance: String,
    /// Records that it has applied.
    pub records: u64,
    /// Documents that it has written, while the index is built.
    pub documents: Option<u64>,
    /// Its last failure, until its next success.
    pub failure: Option<String>,
    /// When this was noted, in milliseconds since 1970.
    pub at: i64,
}

impl WorkerProgress {
    /// Those that are in a generation's notes, in order of name.
    pub(crate) fn of_notes(notes: &Notes) -> Vec<Self> {
        let of_workers = notes.iter().filter(|(name, _)| name.starts_with(PREFIX));
        of_workers.filter_map(|(_, value)| serde_json::from_str(value).ok()).collect()
    }
}

/// Notes what this process does for the generations of one domain.
#[derive(Default)]
pub(crate) struct WorkNotes(Mutex<BTreeMap<i64, (WorkerProgress, Instant)>>);

impl WorkNotes {
    /// Notes what a generation's runners have done, if that has changed and nothing was noted a moment ago.
    pub(crate) async fn note(
        &self,
        platform: &Platform,
        generation: i64,
        now: WorkerProgress,
    ) -> Result<(), TablesError> {
        {
            let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let before = noted.get(&generation);
            let is_due = before.is_none_or(|(before, at)| {
                at.elapsed() >= PAUSE && (WorkerProgress { at: before.at, ..now.clone() }) != *before
            });
            if !is_due {
                return Ok(());
            }
            noted.insert(generation, (now.clone(), Instant::now()));
        }
        let (name, text) = (format!("{PREFIX}{}", now.instance), serde_json::to_string(&now).unwrap_or_default());
        platform.control.note(platform.domain(), generation, &name, text).await
    }
}

/// What a generation's runners have done in this process.
pub(crate) fn progress(platform: &Platform, running: &Running) -> WorkerProgress {
    let search = running.open.search.as_ref().map(|search| search.health()).unwrap_or_default();
    WorkerProgress {
        instance: platform.instance.clone(),
        records: running.records(),
        documents: search.building.map(|building| building.documents),
        failure: running.failure().or(search.failure),
        at: now_ms(),
    }
}
