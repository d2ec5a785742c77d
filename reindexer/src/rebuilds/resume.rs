//! Lets a rebuild go on that a deadline stopped.

use super::{Known, Rebuilds, RequestError};
use crate::{control::State, upgrade::is_usable};

impl Rebuilds {
    /// Lets a rebuild go on where a deadline stopped it, unless another generation would be built now. `promotes` says
    /// whether it is promoted as soon as it is ready; without it, that is as it was.
    pub async fn resume(&self, generation: i64, promotes: Option<bool>) -> Result<Known, RequestError> {
        let (domain, entry) = (self.domain(), self.show(generation).await?.entry);
        let refuse = |why: String| {
            Err(RequestError::Conflict(format!("generation {generation} of {domain} cannot be resumed: {why}")))
        };
        let Some(stopped) = entry.stopped else {
            return refuse(format!("it is {}, and no deadline stopped it", entry.state.as_str()));
        };
        if entry.is_past() && promotes == Some(true) {
            return refuse("it shows the past, and cannot be promoted".to_owned());
        }
        if stopped != State::Planned && !is_usable(self.platform.control.store().as_ref(), &entry.schema).await? {
            return refuse("its tables are gone: begin another rebuild".to_owned());
        }
        let newest = if entry.is_search_only() {
            let (live, _) = self.live_and_all().await?;
            if live.schema != entry.schema {
                return refuse(format!("it has other tables than generation {}, which is live now", live.generation));
            }
            self.version_on(&live).await?.fingerprint
        } else {
            self.platform.newest().version.fingerprint
        };
        if entry.fingerprint != newest {
            let planned = &entry.fingerprint;
            return refuse(format!(
                "it was planned with fingerprint {planned}, and {newest} would be built now: begin another rebuild"
            ));
        }
        let promotes = promotes.unwrap_or(entry.promotes);
        if !self.platform.control.resume(domain, generation, promotes).await? {
            return refuse("it was resumed or given up a moment ago".to_owned());
        }
        tracing::info!(domain, generation, "generation {generation} of {domain} is resumed");
        self.show(generation).await
    }
}
