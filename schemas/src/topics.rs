//! The topics of the log. Their full names on a broker are `<prefix>.<short name>`.

use std::{fmt, str::FromStr};

use crate::position::PartitionId;

/// A topic of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Every event but heartbeats, kept for ever.
    Events,
    /// Heartbeats, compacted: only the newest of a run or task matters.
    Heartbeats,
}

impl Topic {
    /// All topics, in the order in which a projection reads them.
    pub const ALL: [Self; 2] = [Self::Events, Self::Heartbeats];

    /// The short name, used in positions, headers and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Heartbeats => "heartbeats",
        }
    }

    /// The name on a broker.
    pub fn full_name(self, prefix: &str) -> String {
        format!("{prefix}.{}", self.as_str())
    }

    /// Whether only the newest record of a key is kept.
    pub const fn compacted(self) -> bool {
        matches!(self, Self::Heartbeats)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no topic.
#[derive(Debug, thiserror::Error)]
#[error("unknown topic {0:?}: expected events or heartbeats")]
pub struct UnknownTopic(String);

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, UnknownTopic> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == text).ok_or_else(|| UnknownTopic(text.to_owned()))
    }
}

/// The partition that a key belongs to, out of `count`: murmur2 as in Kafka's Java client, so that every producer agrees.
///
/// A record that stands in another partition is quarantined, since its order against others of its key is chance.
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
