//! The name by which others find the index of the live generation: an alias, or a link.

use std::time::Duration;

use daybook_projector::{chain, search::SearchError};
use tokio::time::{Instant, timeout};

use super::Coordinator;
use crate::switch::control::ControlRow;

/// Between two attempts to let it lead to the live index, and how long one may take.
const POINT_PAUSE: Duration = Duration::from_secs(10);
const POINT_MAX: Duration = Duration::from_secs(1);

impl Coordinator {
    /// Makes the name by which others find the live index lead to it; once more after a start, in case of a crash.
    pub(super) async fn point(&mut self, row: &ControlRow) {
        let live = self.serving.borrow().current.clone();
        let is_due = self.next_point.is_none_or(|next| Instant::now() >= next) && live.generation.number == row.live.0;
        let index = live.search.as_ref().and_then(|search| search.index()).filter(|_| is_due);
        let Some(id) = index.map(|index| index.id().to_owned()).filter(|id| self.pointed.as_ref() != Some(id)) else {
            return;
        };
        let binding = self.platform.of(&live.generation.fingerprint).and_then(|it| it.binding(&live.generation));
        let (Some(store), Some(binding)) = (&self.platform.indexes, binding) else {
            return;
        };
        let late = || SearchError::Unavailable(format!("no answer within {POINT_MAX:?}"));
        match timeout(POINT_MAX, store.point(&binding)).await.unwrap_or_else(|_| Err(late())) {
            Ok(()) => self.pointed = Some(id),
            Err(error) => {
                let (domain, chain) = (self.platform.domain(), chain(&error));
                tracing::warn!(domain, error = chain, "others do not find the live index of {domain} yet: {chain}");
                self.next_point = Some(Instant::now() + POINT_PAUSE);
            }
        }
    }
}
