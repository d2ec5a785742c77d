//! What each process does for a rebuild: noted in control storage, for those who ask any other process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use daybook_ingest::append::now_ms;
use daybook_projector::tables::TablesError;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    control::{Entry, NewState, State, notes::Notes},
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
    /// What it has no room for.
    pub shortage: Option<String>,
    /// Why the log cannot fill the generation: the rebuild fails with it.
    #[serde(skip)]
    pub refusal: Option<String>,
    /// When this was noted, in milliseconds since 1970.
    pub at: i64,
}

impl WorkerProgress {
    /// What a generation's runners have done in this process.
    pub(crate) fn of(platform: &Platform, running: &Running) -> Self {
        let search = running.open.search.as_ref().map(|search| search.health()).unwrap_or_default();
        Self {
            instance: platform.instance.clone(),
            records: running.records(),
            documents: search.building.map(|building| building.documents),
            failure: running.failure().or(search.failure),
            shortage: running.open.shortage().map(str::to_owned),
            refusal: running.open.generation.refusal().map(str::to_owned),
            at: now_ms(),
        }
    }

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
    /// Notes what this process has done for a generation that is being filled or indexed, and fails the rebuild if the
    /// log cannot fill it, or there is no room for it here.
    pub(crate) async fn note(&self, platform: &Platform, entry: &Entry, now: &WorkerProgress) {
        let (domain, number) = (platform.domain(), entry.generation);
        let reason = now.refusal.clone().or_else(|| now.shortage.clone());
        if let Some(reason) = reason.filter(|_| entry.is_under_way()) {
            let failed = NewState { generation: number, state: State::Failed, reason };
            log_failure(domain, platform.control.move_state(domain, entry.state, failed).await.map(drop));
        }
        if !matches!(entry.state, State::Loading | State::Indexing) {
            self.lock().remove(&number);
            return;
        }
        if self.is_due(number, now) {
            let (name, text) = (format!("{PREFIX}{}", now.instance), serde_json::to_string(now).unwrap_or_default());
            log_failure(domain, platform.control.note(domain, number, &name, text).await);
        }
    }

    /// Whether it differs from what was noted a moment ago; a failure is noted again and again.
    fn is_due(&self, generation: i64, now: &WorkerProgress) -> bool {
        let mut noted = self.lock();
        let is_news = |before: &WorkerProgress| {
            now.failure.is_some() || WorkerProgress { at: before.at, ..now.clone() } != *before
        };
        let is_due = noted.get(&generation).is_none_or(|(before, at)| at.elapsed() >= PAUSE && is_news(before));
        if is_due {
            noted.insert(generation, (now.clone(), Instant::now()));
        }
        is_due
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, (WorkerProgress, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is noted is for people: nothing waits for it.
fn log_failure(domain: &str, outcome: Result<(), TablesError>) {
    if let Err(error) = outcome {
        tracing::debug!(domain, error = %error, "the progress of a rebuild of {domain} is not noted: {error}");
    }
}
