//! Which artifacts the newest tasks have: where every name of a request is new, the tables are sure to take all of them.
//!
//! Known are tasks that this process made in the spell that it is in (see [`daybook_projector::standing`]), so that every artifact
//! of theirs came through it. Memory is bounded: the tasks known longest are forgotten.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use daybook_ingest::sequence::Spell;
use daybook_schemas::events::Artifact;

/// What half of the tasks may weigh: each as much as some names.
const WEIGHT_MAX: usize = 250_000;
/// What a task weighs, in names.
const TASK_WEIGHT: usize = 8;

/// The names of the newest tasks' artifacts.
#[derive(Default)]
pub struct ArtifactNames {
    hash: RandomState,
    known: Mutex<Known>,
}

/// A task by its number and the hash of its flow.
type Task = (i64, u64);
/// Hashes of attempts and names. Two that are alike by chance make a name that is new look as if it were not, which does no harm.
type Names = HashSet<u64>;

/// What is known in one spell.
#[derive(Default)]
pub struct Known {
    spell: Spell,
    newer: HashMap<Task, Names>,
    older: HashMap<Task, Names>,
    /// What the newer ones weigh.
    weight: usize,
}

impl Known {
    fn enter(&mut self, spell: Spell) {
        if self.spell != spell {
            *self = Self { spell, ..Self::default() };
        }
    }

    fn weigh(&mut self, more: usize) {
        self.weight += more;
        if self.weight > WEIGHT_MAX {
            (self.older, self.weight) = (std::mem::take(&mut self.newer), 0);
        }
    }
}

impl ArtifactNames {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self, flow: &str, task: i64) -> Task {
        (task, self.hash.hash_one(flow))
    }

    /// Notes a task that is being made in a spell, before anybody can see it.
    pub fn learn(&self, spell: Spell, flow: &str, task: i64) {
        let task = self.task(flow, task);
        let mut known = self.lock();
        known.enter(spell);
        known.newer.insert(task, Names::new());
        known.weigh(TASK_WEIGHT);
    }

    /// Forgets a task whose artifacts come another way.
    pub fn forget(&self, flow: &str, task: i64) {
        let task = self.task(flow, task);
        let mut known = self.lock();
        known.newer.remove(&task);
        known.older.remove(&task);
    }

    /// The hashes of artifacts' attempts and names.
    pub fn hashes(&self, entries: &[Artifact]) -> Vec<u64> {
        entries.iter().map(|entry| self.hash.hash_one((entry.attempt_id, &entry.name))).collect()
    }

    /// Takes names for a task, and returns the spell if it is known that each is new. Outside of any spell the task is forgotten.
    /// Nobody else takes names before what is returned is dropped: until then the artifacts must be on their way into the log,
    /// so that those of a later request come after them.
    pub fn take(
        &self,
        spell: Option<Spell>,
        (flow, task): (&str, i64),
        names: &[u64],
    ) -> (Option<Spell>, MutexGuard<'_, Known>) {
        let task = self.task(flow, task);
        let mut known = self.lock();
        let Some(spell) = spell else {
            known.newer.remove(&task);
            known.older.remove(&task);
            return (None, known);
        };
        known.enter(spell);
        let Known { newer, older, .. } = &mut *known;
        let Some(taken) = newer.get_mut(&task).or_else(|| older.get_mut(&task)) else { return (None, known) };
        let new = names.iter().filter(|name| taken.insert(**name)).count();
        known.weigh(names.len());
        ((new == names.len()).then_some(spell), known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(name: &str, attempt_id: i32) -> Artifact {
        let (name, empty) = (name.to_owned(), String::new);
        let (tags, system_tags) = (Vec::new(), Vec::new());
        Artifact {
            name,
            location: empty(),
            ds_type: empty(),
            sha: None,
            r#type: None,
            content_type: None,
            user_name: None,
            attempt_id,
            tags,
            system_tags,
        }
    }

    fn takes(names: &ArtifactNames, spell: Option<Spell>, task: i64, entries: &[Artifact]) -> bool {
        names.take(spell, ("F", task), &names.hashes(entries)).0.is_some()
    }

    #[test]
    fn names_are_new_once_and_only_where_all_of_a_task_s_are_known() {
        let names = ArtifactNames::default();
        let [a, b, a_again] = [artifact("a", 0), artifact("b", 0), artifact("a", 1)];
        assert!(!takes(&names, Some(1), 7, std::slice::from_ref(&a)), "a task from before");
        names.learn(1, "F", 7);
        assert!(takes(&names, Some(1), 7, std::slice::from_ref(&a)));
        assert!(!takes(&names, Some(1), 7, &[b.clone(), a.clone()]));
        assert!(!takes(&names, Some(1), 7, &[b]), "taken by a request of which another name was not new");
        assert!(takes(&names, Some(1), 7, std::slice::from_ref(&a_again)));
        assert!(!takes(&names, Some(1), 8, std::slice::from_ref(&a)));
        let twice = [artifact("c", 0), artifact("c", 0)];
        assert!(!takes(&names, Some(1), 7, &twice));
        assert!(!takes(&names, None, 7, &[artifact("d", 0)]));
        assert!(!takes(&names, Some(2), 7, &[artifact("e", 0)]), "others may have been there");
        names.learn(2, "F", 7);
        assert!(!takes(&names, None, 7, &[artifact("f", 0)]));
        assert!(!takes(&names, Some(2), 7, &[artifact("f", 0)]), "taken unseen");
        names.learn(2, "F", 7);
        names.forget("F", 7);
        assert!(!takes(&names, Some(2), 7, &[a]));
    }

    #[test]
    fn the_tasks_known_longest_are_forgotten() {
        let names = ArtifactNames::default();
        let tasks = i64::try_from(WEIGHT_MAX / TASK_WEIGHT).unwrap_or(0) + 2;
        names.learn(1, "F", 0);
        (1..tasks).for_each(|task| names.learn(1, "F", task));
        let [a, b] = [artifact("a", 0), artifact("b", 0)];
        assert!(takes(&names, Some(1), 0, std::slice::from_ref(&a)), "one of the older half");
        (tasks..2 * tasks).for_each(|task| names.learn(1, "F", task));
        assert!(!takes(&names, Some(1), 0, &[b]));
        assert!(takes(&names, Some(1), 2 * tasks - 1, &[a]));
        let known = names.lock();
        assert!(known.newer.len() + known.older.len() <= 2 * (WEIGHT_MAX / TASK_WEIGHT + 1));
    }
}
