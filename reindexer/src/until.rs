//! The moment at which a generation ends that shows the past: a time, or a vector.

use std::{fmt, str::FromStr};

use daybook_ingest::log::{EventLog, LogError};
use daybook_projector::{projection::Projection, runner::LIMITS};
use daybook_schemas::position::{InvalidPosition, Offset, Partition, Vector};

/// A moment in the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// A time, in milliseconds since 1970. Each partition ends before its first record that is later.
    Time(i64),
    /// Where each partition ends. Those that it does not name have no records.
    Vector(Vector),
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => write!(f, "{time}"),
            Self::Vector(vector) => write!(f, "{vector}"),
        }
    }
}

impl FromStr for Until {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        text.parse::<i64>().map(Self::Time).or_else(|_| text.parse().map(Self::Vector))
    }
}

impl Until {
    /// Where each partition of a projection ends, in a log that ends at `end`. Reads the log for a time.
    pub fn vector(&self, projection: &dyn Projection, log: &dyn EventLog, end: &Vector) -> Result<Vector, LogError> {
        let next = |(partition, end): (&Partition, &Offset)| {
            let next = match self {
                Self::Vector(vector) => vector.next(*partition).min(*end),
                Self::Time(time) => first_after(*time, projection, log, *partition, *end)?,
            };
            Ok((*partition, next))
        };
        end.0.iter().map(next).collect::<Result<_, _>>().map(Vector)
    }
}

/// The offset of the first record of a partition that was recorded after a time; `end` if there is none.
fn first_after(
    time: i64,
    projection: &dyn Projection,
    log: &dyn EventLog,
    partition: Partition,
    end: Offset,
) -> Result<Offset, LogError> {
    let mut reader = log.reader(&Vector([(partition, 0)].into()))?;
    while reader.reached().next(partition) < end {
        for record in reader.read(LIMITS)?.iter().filter(|record| record.position.offset < end) {
            if projection.time(record).is_some_and(|recorded| recorded > time) {
                return Ok(record.position.offset);
            }
        }
    }
    Ok(end)
}
