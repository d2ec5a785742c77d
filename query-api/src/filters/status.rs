//! A run's status, as Metaflow's service infers it from the metadata of its `end` step and from its heart.

/// A run's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Completed,
    Failed,
}

impl Status {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Running, Self::Completed, Self::Failed].into_iter().find(|status| status.as_str() == text)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// The status: `ok` is value and time of the newest `attempt_ok` of step `end`, `attempt` the time of its newest
/// `attempt`, `beat` the newest heartbeat in seconds. Times of metadata are in milliseconds.
pub(crate) fn status_of(
    ok: Option<(&str, i64)>,
    attempt: Option<i64>,
    beat: Option<i64>,
    now_seconds: i64,
    cutoff_seconds: i64,
) -> Status {
    match ok {
        Some((value, _)) if is_true(value) => Status::Completed,
        Some((_, at)) if attempt.is_some_and(|attempt| attempt > at) => Status::Running,
        Some(_) => Status::Failed,
        None if beat.is_some_and(|beat| (now_seconds - beat).abs() <= cutoff_seconds) => Status::Running,
        None => Status::Failed,
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
        assert_eq!(status_of(Some(("True", 5)), Some(9), None, 0, 360), Status::Completed);
        assert_eq!(status_of(Some(("False", 5)), Some(4), None, 0, 360), Status::Failed);
        assert_eq!(status_of(Some(("False", 5)), Some(6), None, 0, 360), Status::Running);
        assert_eq!(status_of(None, None, Some(1000), 1360, 360), Status::Running);
        assert_eq!(status_of(None, None, Some(1000), 1361, 360), Status::Failed);
        assert_eq!(status_of(None, None, None, 0, 360), Status::Failed);
    }
}
