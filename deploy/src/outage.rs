//! How long something has failed.

use std::time::{Duration, Instant};

/// The time in which every try has failed, from the first failure on. A process that was stopped or suspended before that
/// has tried nothing meanwhile, so that time does not count.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    first_failure: Option<Instant>,
}

impl Outage {
    /// Whether the last try failed.
    pub(crate) fn lasts(&self) -> bool {
        self.first_failure.is_some()
    }

    /// Notes a try that failed. How long every try has failed: 0 for the first one.
    pub(crate) fn note_failure(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.first_failure.get_or_insert(now))
    }

    /// Notes a try that succeeded.
    pub(crate) fn note_success(&mut self) {
        self.first_failure = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_with_the_first_failure_and_ends_with_a_success() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        outage.note_success();
        // Nothing was tried for an hour.
        assert!(!outage.lasts());
        assert_eq!(outage.note_failure(after(3600)), Duration::ZERO);
        assert_eq!(outage.note_failure(after(3610)), Duration::from_secs(10));
        assert!(outage.lasts());
        outage.note_success();
        assert!(!outage.lasts());
        assert_eq!(outage.note_failure(after(9000)), Duration::ZERO);
    }
}
