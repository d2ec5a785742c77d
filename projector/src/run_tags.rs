//! Tags of runs, remembered so that answers which show them need no read.
//!
//! Guarantee: what is remembered is never older than what this process has applied. Whoever applies a change of tags
//! forgets them before it wakes any writer, and what was read before that is not remembered after it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use quick_cache::{Equivalent, sync::Cache};

/// Runs whose tags are remembered, at most.
const RUNS_MAX: usize = 10_000;

/// The tags of a run, each list as a JSON array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// User tags.
    pub tags: String,
    /// System tags.
    pub system_tags: String,
}

/// A list as a JSON array, written in one way only: as rows keep it, and as answers show it.
pub fn json_array(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

/// A point in time, before which nothing that is read may be remembered after a later change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch(u64);

type Key = (i64, String);

/// A key to look up, with the text at hand.
#[derive(Hash)]
struct Run<'a>(i64, &'a str);

impl Equivalent<Key> for Run<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0 == key.0 && self.1 == key.1
    }
}

/// Tags of runs, by number and flow.
pub struct RunTags {
    remembered: Cache<Key, Arc<Tags>>,
    epoch: AtomicU64,
    /// Held while something is remembered or forgotten, so that the epoch tells one from the other.
    changing: Mutex<()>,
}

impl Default for RunTags {
    fn default() -> Self {
        Self { remembered: Cache::new(RUNS_MAX), epoch: AtomicU64::new(0), changing: Mutex::default() }
    }
}

impl RunTags {
    /// The tags of a run, if they are remembered.
    pub fn get(&self, run_number: i64, flow: &str) -> Option<Arc<Tags>> {
        self.remembered.get(&Run(run_number, flow))
    }

    /// Now; to be taken before tags are read.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// Remembers tags that were read after `epoch`, unless any changed since.
    pub fn remember(&self, epoch: Epoch, run_number: i64, flow: &str, tags: Arc<Tags>) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.epoch() == epoch {
            self.remembered.insert((run_number, flow.to_owned()), tags);
        }
    }

    /// Forgets the tags of runs.
    pub fn forget(&self, runs: &[Key]) {
        if runs.is_empty() {
            return;
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for run in runs {
            self.remembered.remove(run);
        }
    }

    /// Forgets all.
    pub fn forget_all(&self) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.remembered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let (all, old) = (RunTags::default(), Arc::new(Tags { tags: "[]".into(), system_tags: "[]".into() }));
        let epoch = all.epoch();
        all.remember(epoch, 1, "F", Arc::clone(&old));
        assert_eq!(all.get(1, "F").as_ref(), Some(&old));
        all.forget(&[(1, "F".to_owned())]);
        assert_eq!(all.get(1, "F"), None);
        all.remember(epoch, 1, "F", Arc::clone(&old));
        assert_eq!(all.get(1, "F"), None, "tags from before the change were remembered");
        all.remember(all.epoch(), 1, "F", Arc::clone(&old));
        all.forget_all();
        assert_eq!(all.get(1, "F"), None);
    }
}
