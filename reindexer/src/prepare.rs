//! Fills the generation of this program's fingerprint from the log of another program that runs, so that the start of
//! this one only catches up.
//!
//! Nothing is noted in control storage, which belongs to the program that runs. The schema is named after the fingerprint:
//! a start of this program finds it, checks that the log contains what it has applied, and goes on from there.

use daybook_projector::generation;
use tokio::sync::watch;

use crate::{
    control::{Entry, State},
    open::{self, OpenError},
    running::{Platform, Running},
};

/// The schema of a generation that is prepared.
pub(crate) fn schema(domain: &str, fingerprint: &str) -> String {
    format!("{domain}_p{fingerprint}")
}

/// Begins to fill a generation, or goes on with it; `None` if this program's fingerprint has a generation already.
pub async fn begin(platform: &Platform) -> Result<Option<Running>, OpenError> {
    let (domain, projection) = (platform.domain(), platform.projection.as_ref());
    let failed = |source| OpenError::Tables { domain, source };
    let fingerprint = generation::fingerprint(projection).map_err(failed)?;
    let entries = platform.control.generations(domain).await.map_err(failed)?;
    if entries.iter().any(|entry| entry.fingerprint == fingerprint && !entry.state.has_ended()) {
        return Ok(None);
    }
    let next = entries.iter().map(|entry| entry.generation).max().unwrap_or(0) + 1;
    let schema = schema(domain, &fingerprint);
    let (store, log) = (platform.control.store().as_ref(), platform.log.as_ref());
    open::fill_schema(store, &schema, projection, log, true).await.map_err(failed)?;
    let entry = Entry::new(next, schema, State::Loading, fingerprint, log.id().to_owned());
    let generation = open::open_other(platform, &entry).await?;
    // Its checkpoints say that it is live, so it waits for no other.
    let (_, live) = watch::channel(None);
    let running = Running::start(platform, &generation, live, false).map_err(|error| {
        failed(daybook_projector::tables::TablesError::Unavailable(format!("cannot start a thread: {error}")))
    })?;
    Ok(Some(running))
}
