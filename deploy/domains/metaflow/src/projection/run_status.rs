//! A run's status, as Metaflow's service infers it from the metadata of its `end` step and from its heartbeat.

use serde::{Deserialize, Serialize};

/// A run's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// In progress, as far as known.
    Running,
    /// Succeeded.
    Completed,
    /// Failed, or without a heartbeat for too long.
    Failed,
}

impl Status {
    /// The status of a name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Completed, Self::Failed].into_iter().find(|status| status.as_str() == text)
    }

    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// The outcome from metadata of the `end` step: `ok` is value and time of its newest `attempt_ok`, `attempt` the time of
/// its newest `attempt`, in milliseconds. `None` if they record no outcome.
pub(crate) fn outcome_of(ok: Option<(&str, i64)>, attempt: Option<i64>) -> Option<Status> {
    ok.map(|(value, at)| match attempt {
        _ if is_true(value) => Status::Completed,
        Some(attempt) if attempt > at => Status::Running,
        _ => Status::Failed,
    })
}

/// The status: the recorded outcome, else by `beat`, the newest heartbeat in seconds.
pub(crate) fn status_of(outcome: Option<Status>, beat: Option<i64>, now_seconds: i64, cutoff_seconds: i64) -> Status {
    match (outcome, beat) {
        (Some(outcome), _) => outcome,
        (None, Some(beat)) if (now_seconds - beat).abs() <= cutoff_seconds => Status::Running,
        (None, _) => Status::Failed,
    }
}

/// Whether a text is PostgreSQL's input for a true boolean.
fn is_true(text: &str) -> bool {
    let text = text.trim().to_lowercase();
    !text.is_empty() && (["true", "yes"].iter().any(|word| word.starts_with(&text)) || text == "on" || text == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_attempt_decides_and_the_heart_where_there_is_none() {
        assert_eq!(outcome_of(Some(("True", 5)), Some(9)), Some(Status::Completed));
        assert_eq!(outcome_of(Some(("False", 5)), Some(4)), Some(Status::Failed));
        assert_eq!(outcome_of(Some(("False", 5)), Some(6)), Some(Status::Running));
        assert_eq!(outcome_of(None, Some(6)), None);
        assert_eq!(status_of(Some(Status::Failed), Some(1000), 1000, 360), Status::Failed);
        assert_eq!(status_of(None, Some(1000), 1360, 360), Status::Running);
        assert_eq!(status_of(None, Some(1000), 1361, 360), Status::Failed);
        assert_eq!(status_of(None, None, 0, 360), Status::Failed);
    }
}
