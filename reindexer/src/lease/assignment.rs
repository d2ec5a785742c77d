//! Which partitions a process applies, among all processes that hold a lease.

use daybook_ingest::log::{self, EventLog};
use daybook_projector::{generation, projection::Projection, tables::TablesError};
use daybook_schemas::position::Partition;

use crate::control::Instance;

/// The role that partitions are assigned to.
pub(super) const PROJECTOR: &str = "projector";
/// The role of a process that takes part in rebuilds only.
pub const WORKER: &str = "worker";

/// A domain as this program folds it.
#[derive(Debug, Clone)]
pub struct Folded {
    /// Its name.
    pub domain: &'static str,
    /// The partitions that are folded.
    pub partitions: Vec<Partition>,
    /// The fingerprint of its generations.
    pub fingerprint: String,
}

impl Folded {
    /// A projection's domain on a log that has its topics.
    pub fn of(projection: &dyn Projection, log: &dyn EventLog) -> Result<Self, TablesError> {
        let (domain, topics) = (projection.domain(), projection.topics());
        let partitions = log::partitions(log).into_iter().filter(|partition| topics.contains(&partition.topic));
        Ok(Self { domain, partitions: partitions.collect(), fingerprint: generation::fingerprint(projection)? })
    }

    /// Its partitions, each with the group in which it is assigned.
    pub(super) fn assigned(&self) -> impl Iterator<Item = Assigned> + '_ {
        self.partitions.iter().map(|partition| Assigned {
            partition: *partition,
            group: format!("{}@{}", partition.topic.name(), self.fingerprint),
        })
    }
}

/// Partitions that are assigned together: those of one topic, among programs of one fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) partition: Partition,
    /// The topic and the fingerprint, as in the list of an instance.
    pub(super) group: String,
}

/// Whether a comma-separated list has an item.
pub(super) fn has(list: &str, item: &str) -> bool {
    list.split(',').any(|other| other == item)
}

/// The partitions that are assigned to `instance` among these projectors, which are in order of name.
///
/// A partition goes to one of those that know its topic and have its fingerprint, chosen by what all of them see alike. So
/// programs with different domains or fingerprints run side by side, as in a rolling upgrade.
pub(super) fn assign(instance: &str, projectors: &[&Instance], partitions: &[Assigned]) -> Vec<Partition> {
    let is_mine = |Assigned { partition, group }: &&Assigned| {
        let able: Vec<&str> =
            projectors.iter().filter(|it| has(&it.topics, group)).map(|it| it.name.as_str()).collect();
        // Topics begin with different projectors, so that small ones are not all assigned to the first.
        let first: usize = partition.topic.name().bytes().map(usize::from).sum();
        let index = first + usize::try_from(partition.id).unwrap_or(0);
        able.get(index % able.len().max(1)) == Some(&instance)
    };
    partitions.iter().filter(is_mine).map(|assigned| assigned.partition).collect()
}

#[cfg(test)]
mod tests {
    use daybook_schemas::{Topic, topics::Declaration};

    use super::*;

    const EVENTS: Topic = Topic::new(&Declaration { name: "test", compacted: false, partitions: 2 });

    const OTHER: Topic = Topic::new(&Declaration { name: "other", compacted: false, partitions: 2 });

    fn projector(index: usize, topics: &str) -> Instance {
        let (name, roles, topics) = (format!("i{index:02}"), PROJECTOR.to_owned(), topics.to_owned());
        Instance { name, roles, topics, leased: true, connected: true, reads_ms: 0 }
    }

    fn partitions(topics: &[Topic]) -> Vec<Assigned> {
        let assigned =
            |topic: Topic, id| Assigned { partition: Partition { topic, id }, group: topic.name().to_owned() };
        topics.iter().flat_map(|topic| (0..12).map(|id| assigned(*topic, id))).collect()
    }

    fn all(partitions: &[Assigned]) -> Vec<Partition> {
        partitions.iter().map(|assigned| assigned.partition).collect()
    }

    #[test]
    fn every_partition_is_assigned_to_exactly_one_instance() {
        let partitions = partitions(&[EVENTS]);
        for count in 1..15 {
            let projectors: Vec<Instance> = (0..count).map(|index| projector(index, "test")).collect();
            let projectors: Vec<&Instance> = projectors.iter().collect();
            let assigned = |it: &&Instance| assign(&it.name, &projectors, &partitions);
            let mut assigned: Vec<Partition> = projectors.iter().flat_map(assigned).collect();
            assigned.sort();
            assert_eq!(assigned, all(&partitions), "{count} instances");
        }
        assert!(assign("absent", &[&projector(0, "test")], &partitions).is_empty());
        assert!(assign("a", &[], &partitions).is_empty());
    }

    #[test]
    fn instances_with_other_topics_share_those_that_both_know_and_leave_none_out() {
        let (old, new) = (partitions(&[EVENTS]), partitions(&[EVENTS, OTHER]));
        for (olds, news) in [(1, 1), (2, 1), (1, 2), (3, 2)] {
            let projectors: Vec<Instance> = (0..olds + news)
                .map(|index| projector(index, if index < olds { "test" } else { "other,test" }))
                .collect();
            let projectors: Vec<&Instance> = projectors.iter().collect();
            let assigned = projectors
                .iter()
                .enumerate()
                .flat_map(|(index, it)| assign(&it.name, &projectors, if index < olds { &old } else { &new }));
            let mut assigned: Vec<Partition> = assigned.collect();
            let mut expected = all(&new);
            assigned.sort();
            expected.sort();
            assert_eq!(assigned, expected, "{olds} old, {news} new");
        }
    }
}
