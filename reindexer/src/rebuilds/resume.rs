//! Lets a rebuild go on that a deadline stopped.

use super::{Known, Rebuilds, RequestError};

impl Rebuilds {
    /// Lets a rebuild go on where a deadline stopped it, unless another generation would be built now. `promotes` says
    /// whether it is promoted as soon as it is ready.
    pub async fn resume(&self, generation: i64, promotes: bool) -> Result<Known, RequestError> {
        let (domain, entry) = (self.domain(), self.show(generation).await?.entry);
        let refuse = |why: String| {
            Err(RequestError::Conflict(format!("generation {generation} of {domain} cannot be resumed: {why}")))
        };
        if entry.stopped.is_none() {
            return refuse(format!("it is {}, and no deadline stopped it", entry.state.as_str()));
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
            return refuse(format!("it was planned with fingerprint {planned}, and {newest} would be built now"));
        }
        if !self.platform.control.resume(domain, generation, promotes).await? {
            return refuse("it was resumed or given up a moment ago".to_owned());
        }
        tracing::info!(domain, generation, "generation {generation} of {domain} is resumed");
        self.show(generation).await
    }
}
