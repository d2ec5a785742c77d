//! Which partitions a process applies, among all processes that hold a lease.

use std::collections::{BTreeMap, BTreeSet};

use daybook_ingest::log::{self, EventLog};
use daybook_projector::{generation, parts, projection::Projection, tables::TablesError};
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
    /// The fingerprint of their tables.
    pub of_tables: String,
}

/// The partitions that a process applies, by the fingerprint of what it applies them to: of the tables, or of the generation
/// for its index. Generations of several versions may have the same tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment(BTreeMap<String, Vec<Partition>>);

impl Folded {
    /// A version of a domain on a log that has its topics.
    pub fn of(projection: &dyn Projection, log: &dyn EventLog) -> Result<Self, TablesError> {
        let (domain, topics) = (projection.domain(), projection.topics());
        let partitions = log::partitions(log).into_iter().filter(|partition| topics.contains(&partition.topic));
        let (fingerprint, of_tables) = (generation::fingerprint(projection)?, parts::tables(projection)?);
        Ok(Self { domain, partitions: partitions.collect(), fingerprint, of_tables })
    }

    /// What its partitions are assigned for.
    fn fingerprints(&self) -> [&str; 2] {
        [&self.fingerprint, &self.of_tables]
    }

    /// The groups of its topics, as in the list of an instance.
    pub(super) fn groups(&self) -> BTreeSet<String> {
        let of_topic = |topic: Topic| self.fingerprints().map(|fingerprint| group(topic, fingerprint));
        self.partitions.iter().flat_map(|partition| of_topic(partition.topic)).collect()
    }
}

impl Assignment {
    /// The partitions for a fingerprint.
    pub fn of(&self, fingerprint: &str) -> &[Partition] {
        self.0.get(fingerprint).map_or(&[], Vec::as_slice)
    }

    /// All partitions, for a process that is alone.
    pub(super) fn all(folded: &[Folded]) -> Self {
        let of = |it: &Folded| it.fingerprints().map(|fingerprint| (fingerprint.to_owned(), it.partitions.clone()));
        Self(folded.iter().flat_map(of).collect())
    }
}

/// The group in which a topic is assigned: among the processes that know the topic and the fingerprint.
fn group(topic: Topic, fingerprint: &str) -> String {
    format!("{}@{fingerprint}", topic.name())
}

/// Whether a comma-separated list has an item.
pub(super) fn has(list: &str, item: &str) -> bool {
    list.split(',').any(|other| other == item)
}

/// What is assigned to `instance` among these projectors, which are in order of name.
///
/// A partition goes to one of those that know its topic and the version, chosen by what all of them see alike. So programs
/// with different domains or fingerprints run side by side, as in a rolling upgrade.
pub(super) fn assign(instance: &str, projectors: &[&Instance], folded: &[Folded]) -> Assignment {
    let of_fingerprint = |version: &Folded, fingerprint: &str| {
        let is_mine = |partition: &&Partition| {
            let group = group(partition.topic, fingerprint);
            let able: Vec<&str> =
                projectors.iter().filter(|it| has(&it.topics, &group)).map(|it| it.name.as_str()).collect();
            // Topics begin with different projectors, so that small ones are not all assigned to the first.
            let first: usize = partition.topic.name().bytes().map(usize::from).sum();
            let index = first + usize::try_from(partition.id).unwrap_or(0);
            able.get(index % able.len().max(1)) == Some(&instance)
        };
        version.partitions.iter().filter(is_mine).copied().collect()
    };
    let of_version = |version: &Folded| {
        version.fingerprints().map(|fingerprint| (fingerprint.to_owned(), of_fingerprint(version, fingerprint)))
    };
    Assignment(folded.iter().flat_map(of_version).collect())
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
        let (fingerprint, of_tables) = (fingerprint.to_owned(), format!("{fingerprint}-tables"));
        Folded { domain: "d", partitions: partitions.collect(), fingerprint, of_tables }
    }

    /// What is assigned for a fingerprint to some projectors, each with the versions that it knows.
    fn assigned(projectors: &[(Instance, Vec<Folded>)], fingerprint: &str) -> Vec<Partition> {
        let all: Vec<&Instance> = projectors.iter().map(|(instance, _)| instance).collect();
        let of = |(it, folded): &(Instance, Vec<Folded>)| assign(&it.name, &all, folded).of(fingerprint).to_vec();
        let mut assigned: Vec<Partition> = projectors.iter().flat_map(of).collect();
        assigned.sort();
        assigned
    }

    #[test]
    fn every_partition_is_assigned_to_exactly_one_instance() {
        let known = version("v", &[EVENTS]);
        for count in 1..15 {
            let projectors: Vec<_> = (0..count).map(|it| (projector(it, "test@v"), vec![known.clone()])).collect();
            assert_eq!(assigned(&projectors, "v"), known.partitions, "{count} instances");
        }
        let (other, known) = (projector(0, "test@v"), [known]);
        assert!(assign("absent", &[&other], &known).of("v").is_empty());
        assert!(assign("a", &[], &known).of("v").is_empty());
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
                assert_eq!(assigned(&projectors, &known.fingerprint), expected, "{olds} old, {news} new");
            }
        }
    }
}
