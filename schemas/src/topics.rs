//! Topics, which domains declare. Their full names on a broker are `<prefix>.<name>`.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::{Mutex, PoisonError, RwLock},
};

use crate::position::PartitionId;

/// The declaration of a topic.
#[derive(Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The name, unique over all domains: `<domain>` or `<domain>.<name>`. Used in positions, headers and tables.
    pub name: &'static str,
    /// Whether only the newest record of a key is kept; otherwise all are kept forever.
    pub compacted: bool,
    /// Into how many partitions a log divides it, unless it is configured otherwise.
    pub partitions: PartitionId,
}

/// A declared topic. Two are the same if their names are.
#[derive(Debug, Clone, Copy)]
pub struct Topic(&'static Declaration);

/// The topics whose names are known at run time only.
static NAMED: Mutex<Vec<Topic>> = Mutex::new(Vec::new());

/// The topics that [`FromStr`] knows.
static DECLARED: RwLock<Vec<Topic>> = RwLock::new(Vec::new());

impl Topic {
    /// The topic of a declaration.
    pub const fn new(declaration: &'static Declaration) -> Self {
        Self(declaration)
    }

    /// The topic of a name that is known at run time only: not compacted, and divided as others say. Its declaration is
    /// kept for as long as the process lives, once for each name, so there must be few.
    pub fn named(name: &str, partitions: PartitionId) -> Self {
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = named.iter().find(|topic| topic.name() == name) {
            return *topic;
        }
        let declaration = Declaration { name: String::from(name).leak(), compacted: false, partitions };
        let topic = Self(Box::leak(Box::new(declaration)));
        named.push(topic);
        topic
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// The name on a broker.
    pub fn full_name(self, prefix: &str) -> String {
        format!("{prefix}.{}", self.0.name)
    }

    /// Whether only the newest record of a key is kept.
    pub const fn compacted(self) -> bool {
        self.0.compacted
    }

    /// Into how many partitions a log divides it, unless it is configured otherwise.
    pub const fn partitions(self) -> PartitionId {
        self.0.partitions
    }
}

/// Declares topics, so that positions in them can be read from text. A log declares its topics when it is opened.
pub fn declare(topics: &[Topic]) {
    let mut declared = DECLARED.write().unwrap_or_else(PoisonError::into_inner);
    for topic in topics {
        if !declared.contains(topic) {
            declared.push(*topic);
        }
    }
}

impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Topic {}

impl PartialOrd for Topic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Topic {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(other.0.name)
    }
}

impl Hash for Topic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// The text is not the name of a declared topic.
#[derive(Debug, thiserror::Error)]
#[error("unknown topic {name:?}: expected {}", .known.join(", "))]
pub struct UnknownTopic {
    name: String,
    known: Vec<&'static str>,
}

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(name: &str) -> Result<Self, UnknownTopic> {
        let declared = DECLARED.read().unwrap_or_else(PoisonError::into_inner);
        let unknown = || UnknownTopic { name: name.to_owned(), known: declared.iter().map(|it| it.name()).collect() };
        declared.iter().find(|topic| topic.name() == name).copied().ok_or_else(unknown)
    }
}

/// The partition of a key, out of `count`: murmur2 as in Kafka's Java client, so that all producers agree.
///
/// A record in another partition is quarantined, because it has no defined order against others of its key.
pub fn partition_of(key: &[u8], count: PartitionId) -> PartitionId {
    let positive = murmur2(key) & 0x7fff_ffff;
    i32::try_from(positive).unwrap_or(0) % count.max(1)
}

/// MurmurHash2, 32 bits, with the seed of Kafka's `Utils.murmur2`.
fn murmur2(bytes: &[u8]) -> u32 {
    const MIX: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c_u32 ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut part = u32::from_le_bytes(*word).wrapping_mul(MIX);
        part ^= part >> SHIFT;
        hash = hash.wrapping_mul(MIX) ^ part.wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_a_name_is_declared_once() {
        let (one, again) = (Topic::named("named.one", 3), Topic::named("named.one", 3));
        assert_eq!((one, one.partitions(), one.compacted()), (again, 3, false));
        assert!(std::ptr::eq(one.name(), again.name()), "each name is kept once");
        assert_ne!(one, Topic::named("named.other", 3));
    }

    #[test]
    fn hashes_are_those_of_kafka() {
        // From Apache Kafka's own UtilsTest.testMurmur2.
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
