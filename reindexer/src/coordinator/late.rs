//! A rebuild that has passed a deadline of its version is stopped.

use super::{Coordinator, StepError, goal, lag};
use crate::{
    control::{Entry, State},
    running::{Open, Platform},
    watcher::Serving,
};

impl Coordinator {
    /// Stops a candidate that has passed a deadline. Whether it has.
    pub(super) async fn stop_late(
        &mut self,
        platform: &Platform,
        candidate: &Entry,
        serving: &Serving,
    ) -> Result<bool, StepError> {
        let deadlines = &platform.version.settings.deadlines;
        let Some(passed) = deadlines.passed(candidate.state, candidate.age(), candidate.work_age()) else {
            return Ok(false);
        };
        let (domain, number) = (platform.domain(), candidate.generation);
        let far = serving.open.get(&number).map(|open| how_far(candidate, &serving.current, open));
        let reason = format!("{passed}: {}", far.as_deref().unwrap_or("it is not open yet"));
        if let Some(verification) = self.verification.take_if(|it| it.generation == number) {
            verification.outcome.abort();
        }
        if self.control().stop(domain, number, candidate.state, reason.clone()).await? {
            tracing::error!(domain, generation = number, "generation {number} of {domain} is stopped: {reason}");
        }
        Ok(true)
    }
}

/// How far a candidate is in its stage.
fn how_far(candidate: &Entry, live: &Open, open: &Open) -> String {
    let goal = goal(candidate);
    let building = || open.search.as_ref()?.health().building;
    match candidate.state {
        State::Indexing => match building() {
            Some(building) => {
                format!("{} of {} ranges of its index are written", building.ranges_written, building.ranges)
            }
            None => "no range of its index is written".to_owned(),
        },
        State::Loading => {
            let all = goal.count();
            format!("{} of {all} records are applied", all - open.generation.progress.applied().lag(&goal))
        }
        _ => format!("it is {} records behind", lag(live, open)),
    }
}
