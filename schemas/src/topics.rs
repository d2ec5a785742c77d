//! The topics of the log. Their full names on a broker are `<prefix>.<short name>`.

use std::{fmt, str::FromStr};

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
