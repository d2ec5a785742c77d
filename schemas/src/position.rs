//! Positions of records in the log, and the vectors that projections have reached.
//!
//! Ordering rule: positions are comparable only within one partition. Text form: `orders/3@1042` for a position,
//! comma-separated for a [`Vector`], where the offset is the next one to be applied (half-open).

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::topics::Topic;

/// Number of a partition within its topic, from 0.
pub type PartitionId = i32;
/// Offset of a record within its partition, from 0.
pub type Offset = i64;

/// A partition of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic.
    pub topic: Topic,
    /// The partition's number.
    pub id: PartitionId,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.id)
    }
}

/// The position of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The offset in it.
    pub offset: Offset,
}

impl Position {
    /// The position `topic/id@offset`.
    pub const fn new(topic: Topic, id: PartitionId, offset: Offset) -> Self {
        Self { partition: Partition { topic, id }, offset }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset)
    }
}

/// The text is not a position.
#[derive(Debug, thiserror::Error)]
#[error("invalid position {0:?}: expected topic/partition@offset, as in orders/3@1042")]
pub struct InvalidPosition(String);

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let parse = || {
            let (partition, offset) = text.trim().split_once('@')?;
            let (topic, id) = partition.split_once('/')?;
            let position = Self::new(topic.parse().ok()?, id.parse().ok()?, offset.parse().ok()?);
            (position.partition.id >= 0 && position.offset >= 0).then_some(position)
        };
        parse().ok_or_else(|| InvalidPosition(text.to_owned()))
    }
}

/// A checkpoint over all partitions: for each, the next offset to be applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vector(pub BTreeMap<Partition, Offset>);

impl Vector {
    /// The next offset of a partition; 0 for partitions that are not in the vector.
    pub fn next(&self, partition: Partition) -> Offset {
        self.0.get(&partition).copied().unwrap_or(0)
    }

    /// Whether a projection that has reached this vector has applied the record at `position`.
    pub fn covers(&self, position: Position) -> bool {
        self.next(position.partition) > position.offset
    }

    /// Whether this vector is at least `other` in each partition.
    pub fn reaches(&self, other: &Self) -> bool {
        other.0.iter().all(|(partition, next)| self.next(*partition) >= *next)
    }

    /// How many records lie before it.
    pub fn count(&self) -> i64 {
        self.0.values().sum()
    }

    /// How many offsets are missing to reach `end`, in the partitions of this vector only.
    pub fn lag_in_own(&self, end: &Self) -> i64 {
        self.0.iter().map(|(partition, next)| (end.next(*partition) - next).max(0)).sum()
    }

    /// How many offsets are missing to reach `end`.
    pub fn lag(&self, end: &Self) -> i64 {
        end.0.iter().map(|(partition, next)| (next - self.next(*partition)).max(0)).sum()
    }
}

impl fmt::Display for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (partition, next)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{partition}@{next}")?;
        }
        Ok(())
    }
}

impl FromStr for Vector {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let positions = text.split(',').filter(|part| !part.trim().is_empty()).map(Position::from_str);
        positions.map(|position| position.map(|at| (at.partition, at.offset))).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topics::{Declaration, declare};

    const ONE: Topic = Topic::new(&Declaration { name: "one", compacted: false, partitions: 2 });
    const OTHER: Topic = Topic::new(&Declaration { name: "one.other", compacted: true, partitions: 2 });

    #[test]
    fn a_position_reads_back_what_it_prints() {
        declare(&[ONE, OTHER]);
        let position = Position::new(ONE, 3, 1042);
        assert_eq!(position.to_string(), "one/3@1042");
        assert_eq!(position.to_string().parse::<Position>().ok(), Some(position));
        for wrong in ["", "one", "one/1", "one/1@", "one/-1@2", "one/1@-2", "nothing/1@2", "one/1@2x"] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn a_vector_covers_what_lies_before_its_next_offset() {
        declare(&[ONE, OTHER]);
        let vector: Vector = "one/0@5, one/1@2".parse().unwrap_or_default();
        assert!(vector.covers(Position::new(ONE, 0, 4)));
        assert!(!vector.covers(Position::new(ONE, 0, 5)));
        assert!(!vector.covers(Position::new(OTHER, 0, 0)));
        assert_eq!(vector.to_string(), "one/0@5,one/1@2");
        assert_eq!(vector.lag(&"one/0@7,one/2@1".parse().unwrap_or_default()), 3);
    }
}
