//! Which partitions a process applies, among all processes that hold a lease.

use std::collections::{BTreeMap, BTreeSet};

use daybook_ingest::log::{self, EventLog};
use daybook_projector::{generation, projection::Projection, tables::TablesError};
use daybook_schemas::{Topic, position::Partition};

use crate::control::Instance;

/// The role that partitions are assigned to.
pub(super) const PROJECTOR: &str = "projector";
/// The role of a process that takes part in rebuilds only.
pub const WORKER: &str = "worker";

/// A version of a domain as this process folds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The name of the domain.
    pub domain: &'static str,
    /// The partitions that are folded.
    pub partitions: Vec<Partition>,
    /// The fingerprint of its generations.
    pub fingerprint: String,
}

/// Which partitions a process applies, among all processes that hold a lease.
///
/// A partition goes to one of those that know its topic and a version that has the tables or the index, chosen by what all
/// of them see alike. So programs with different domains or fingerprints run side by side, as in a rolling upgrade.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    instance: String,
    /// Those that partitions are assigned to, in order of name: the name and the groups; `None` for a process that is alone.
    projectors: Option<Vec<(String, BTreeSet<String>)>>,
    /// The partitions of each version that this process knows, by fingerprint.
    partitions: BTreeMap<String, Vec<Partition>>,
}

impl Folded {
    /// A version of a domain on a log that has its topics.
    pub fn of(projection: &dyn Projection, log: &dyn EventLog) -> Result<Self, TablesError> {
        let (domain, topics) = (projection.domain(), projection.topics());
        let partitions = log::partitions(log).into_iter().filter(|partition| topics.contains(&partition.topic));
        Ok(Self { domain, partitions: partitions.collect(), fingerprint: generation::fingerprint(projection)? })
    }

    /// The groups of its topics, as in the list of an instance.
    pub(super) fn groups(&self) -> BTreeSet<String> {
        self.partitions.iter().map(|partition| group(partition.topic, &self.fingerprint)).collect()
    }
}

impl Assignment {
    /// All partitions, for a process that is alone.
    pub(super) fn all(folded: &[Folded]) -> Self {
        let partitions = folded.iter().map(|version| (version.fingerprint.clone(), version.partitions.clone()));
        Self { partitions: partitions.collect(), ..Self::default() }
    }

    /// What is assigned to `instance` among these projectors, which are in order of name.
    pub(super) fn among(instance: &str, projectors: &[&Instance], folded: &[Folded]) -> Self {
        let groups = |it: &&Instance| (it.name.clone(), it.topics.split(',').map(str::to_owned).collect());
        let projectors = Some(projectors.iter().map(groups).collect());
        Self { instance: instance.to_owned(), projectors, ..Self::all(folded) }
    }

    /// The partitions of the generations of a fingerprint.
    pub fn of(&self, fingerprint: &str) -> Vec<Partition> {
        self.of_any(&[fingerprint.to_owned()].into())
    }

    /// The partitions of tables that the generations of these fingerprints have: whoever knows one of them applies them.
    pub fn of_any(&self, fingerprints: &BTreeSet<String>) -> Vec<Partition> {
        let known = fingerprints.iter().find_map(|fingerprint| self.partitions.get(fingerprint));
        let is_mine = |partition: &&Partition| {
            let Some(projectors) = &self.projectors else { return true };
            let groups: Vec<String> = fingerprints.iter().map(|it| group(partition.topic, it)).collect();
            let is_able = |(_, known): &&(String, BTreeSet<String>)| groups.iter().any(|group| known.contains(group));
            let able: Vec<&str> = projectors.iter().filter(is_able).map(|(name, _)| name.as_str()).collect();
            // Topics begin with different projectors, so that small ones are not all assigned to the first.
            let first: usize = partition.topic.name().bytes().map(usize::from).sum();
            let index = first + usize::try_from(partition.id).unwrap_or(0);
            able.get(index % able.len().max(1)) == Some(&self.instance.as_str())
        };
        known.into_iter().flatten().filter(is_mine).copied().collect()
    }
}

/// The group in which a topic is assigned: among the processes that know the topic and the version.
fn group(topic: Topic, fingerprint: &str) -> String {
    format!("{}@{fingerprint}", topic.name())
}

/// Whether a comma-separated list has an item.
pub(super) fn has(list: &str, item: &str) -> bool {
    list.split(',').any(|other| other == item)
}

#[cfg(test)]
mod tests {
    use daybook_schemas::topics::Declaration;

    use super::*;

    const EVENTS: Topic = Topic::new(&Declaration { name: "test", compacted: false, partitions: 2 });

    const OTHER: Topic = Topic::new(&Declaration { name: "other", compacted: false, partitions: 2 });

    fn projector(index: usize, topics: &str) -> Instance {
        let (name, roles, topics) = (format!("i{index:02}"), PROJECTOR.to_owned(), topics.to_owned());
        Instance { name, roles, topics, leased: true, connected: true, reads_ms: 0 }
    }

    /// A version of a domain with these topics.
    fn version(fingerprint: &str, topics: &[Topic]) -> Folded {
        let partitions = topics.iter().flat_map(|topic| (0..12).map(|id| Partition { topic: *topic, id }));
        Folded { domain: "d", partitions: partitions.collect(), fingerprint: fingerprint.to_owned() }
    }

    /// What is assigned for some fingerprints to projectors, each with the versions that it knows.
    fn assigned(projectors: &[(Instance, Vec<Folded>)], fingerprints: &[&str]) -> Vec<Partition> {
        let all: Vec<&Instance> = projectors.iter().map(|(instance, _)| instance).collect();
        let fingerprints = fingerprints.iter().map(|it| (*it).to_owned()).collect();
        let of =
            |(it, folded): &(Instance, Vec<Folded>)| Assignment::among(&it.name, &all, folded).of_any(&fingerprints);
        let mut assigned: Vec<Partition> = projectors.iter().flat_map(of).collect();
        assigned.sort();
        assigned
    }

    #[test]
    fn every_partition_is_assigned_to_exactly_one_instance() {
        let known = version("v", &[EVENTS]);
        for count in 1..15 {
            let projectors: Vec<_> = (0..count).map(|it| (projector(it, "test@v"), vec![known.clone()])).collect();
            assert_eq!(assigned(&projectors, &["v"]), known.partitions, "{count} instances");
        }
        let (other, known) = (projector(0, "test@v"), [known]);
        assert!(Assignment::among("absent", &[&other], &known).of("v").is_empty());
        assert!(Assignment::among("a", &[], &known).of("v").is_empty());
        assert_eq!(Assignment::all(&known).of("v"), known[0].partitions);
    }

    #[test]
    fn instances_that_know_further_topics_or_versions_leave_no_partition_out() {
        let (old, new) = (vec![version("v", &[EVENTS])], vec![version("v", &[EVENTS]), version("w", &[OTHER, EVENTS])]);
        for (olds, news) in [(1, 1), (2, 1), (1, 2), (3, 2)] {
            let of = |it| match it < olds {
                true => (projector(it, "test@v"), old.clone()),
                false => (projector(it, "other@w,test@v,test@w"), new.clone()),
            };
            let projectors: Vec<_> = (0..olds + news).map(of).collect();
            for known in &new {
                let mut expected = known.partitions.clone();
                expected.sort();
                assert_eq!(assigned(&projectors, &[&known.fingerprint]), expected, "{olds} old, {news} new");
            }
        }
    }

    #[test]
    fn tables_belong_to_those_that_know_one_of_the_generations_that_have_them() {
        let (v, w) = (version("v", &[EVENTS]), version("w", &[EVENTS]));
        let projectors = [
            (projector(0, "test@v"), vec![v.clone()]),
            (projector(1, "test@v,test@w"), vec![v.clone(), w.clone()]),
            (projector(2, "test@w"), vec![w]),
        ];
        assert_eq!(assigned(&projectors, &["v", "w"]), v.partitions, "all three take part");
        assert_eq!(assigned(&projectors, &["v"]), v.partitions, "nothing is assigned to one that does not have them");
    }
}
