//! A cache of the tags of runs, so that answers that show them need no read.
//!
//! Guarantee: an entry is never older than what this process has applied. A generation reports a change of tags before
//! it wakes any writer, and tags that were read before the change are not cached after it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use daybook_projector::generation::Changes;
use quick_cache::{Equivalent, sync::Cache};

use crate::projection::runs;

/// Runs whose tags are cached, at most.
const RUNS_MAX: usize = 10_000;

/// The tags of a run, each list as a JSON array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tags {
    /// User tags.
    pub tags: String,
    /// System tags.
    pub system_tags: String,
}

/// A point in time: tags that were read in an earlier epoch are not cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// A run; with a borrowed text it looks one up, so that no text is copied.
#[derive(PartialEq, Eq, Hash)]
struct Key<T> {
    run_number: i64,
    flow: T,
}

impl Equivalent<Key<String>> for Key<&str> {
    fn equivalent(&self, key: &Key<String>) -> bool {
        self.run_number == key.run_number && self.flow == key.flow
    }
}

/// Tags of runs, by number and flow.
pub(super) struct RunTags {
    entries: Cache<Key<String>, Arc<Tags>>,
    epoch: AtomicU64,
    /// Held while an entry is added or removed, so that the epoch cannot change meanwhile.
    changing: Mutex<()>,
}

impl Default for RunTags {
    fn default() -> Self {
        Self { entries: Cache::new(RUNS_MAX), epoch: AtomicU64::new(0), changing: Mutex::default() }
    }
}

impl RunTags {
    /// The tags of a run, if they are cached.
    pub(super) fn get(&self, run_number: i64, flow: &str) -> Option<Arc<Tags>> {
        self.entries.get(&Key { run_number, flow })
    }

    /// The current epoch; to be taken before tags are read.
    pub(super) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Caches tags that were read after `epoch`, unless any changed since.
    pub(super) fn insert(&self, epoch: Epoch, run_number: i64, flow: &str, tags: Arc<Tags>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.epoch() == epoch {
            self.entries.insert(Key { run_number, flow: flow.to_owned() }, tags);
        }
    }

    /// Removes the tags that changes of the tables made outdated.
    pub(super) fn note(&self, changes: Changes<'_>) {
        match changes {
            Changes::Of(entities) => {
                let runs = entities.iter().filter_map(runs::of_entity);
                self.remove(
                    &runs.map(|(run_number, flow)| Key { run_number, flow: flow.to_owned() }).collect::<Vec<_>>(),
                );
            }
            Changes::Unknown => self.clear(),
        }
    }

    /// Removes the tags of runs.
    fn remove(&self, runs: &[Key<String>]) {
        if runs.is_empty() {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for run in runs {
            self.entries.remove(run);
        }
    }

    /// Removes all entries.
    fn clear(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_were_read_before_a_change_are_not_cached_after_it() {
        let (all, old) = (RunTags::default(), Arc::new(Tags { tags: "[]".into(), system_tags: "[]".into() }));
        let epoch = all.epoch();
        all.insert(epoch, 1, "F", Arc::clone(&old));
        assert_eq!(all.get(1, "F").as_ref(), Some(&old));
        all.remove(&[Key { run_number: 1, flow: "F".to_owned() }]);
        assert_eq!(all.get(1, "F"), None);
        all.insert(epoch, 1, "F", Arc::clone(&old));
        assert_eq!(all.get(1, "F"), None, "tags from before the change were cached");
        all.insert(all.epoch(), 1, "F", Arc::clone(&old));
        all.clear();
        assert_eq!(all.get(1, "F"), None);
    }
}
