//! Fills the generation of this program's fingerprint from the log of another program that runs, so that the start of
//! this one only catches up.
//!
//! Nothing is noted in control storage, which belongs to the program that runs. The schema is named after the fingerprint:
//! a start of this program finds it, checks that the log contains what it has applied, and goes on from there.

use daybook_projector::{chain, tables::TablesError};
use tokio::sync::watch;

use crate::{
    control::{Entry, State},
    open::{self, OpenError},
    running::{Platform, Running, Stage},
    upgrade,
};

/// The schema of the next generation of a fingerprint, if it is prepared. Former ones of that fingerprint have others: what
/// is left of those that have ended is removed at every start.
fn schema(domain: &str, fingerprint: &str, entries: &[Entry]) -> String {
    let former = entries.iter().filter(|entry| entry.fingerprint == fingerprint).count();
    format!("{domain}_p{fingerprint}_{former}")
}

/// Whether a start of this program takes another generation than the live one, which may be prepared.
pub async fn is_used(platform: &Platform) -> Result<bool, TablesError> {
    let (control, domain) = (&platform.control, platform.domain());
    let (live, entries) = (control.live(domain).await?, control.generations(domain).await?);
    let ours = &platform.version.fingerprint;
    let live = entries.iter().find(|entry| Some(entry.generation) == live);
    Ok(!control.store().shared() && live.is_some_and(|live| live.fingerprint != *ours))
}

/// The schema that was prepared for this program's next generation, if it belongs to this log.
pub(crate) async fn find(platform: &Platform, entries: &[Entry]) -> Result<Option<String>, OpenError> {
    let (domain, store) = (platform.domain(), platform.control.store().as_ref());
    let failed = |source| OpenError::Tables { domain, source };
    let fingerprint = platform.version.fingerprint.clone();
    let number = entries.iter().map(|entry| entry.generation).max().unwrap_or(0) + 1;
    let log_id = platform.log.id().to_owned();
    let schema = schema(domain, &fingerprint, entries);
    let entry = Entry::new(number, schema.clone(), State::Planned, fingerprint, log_id);
    if upgrade::is_usable(store, &schema).await.map_err(failed)? {
        match open::open_other(platform, &entry).await {
            Ok(_) => return Ok(Some(schema)),
            Err(error @ OpenError::NotInLog { .. }) => {
                let chain = chain(&error);
                tracing::warn!(domain, error = chain, "what was prepared is not used: {chain}");
            }
            Err(error) => return Err(error),
        }
    }
    // To look for it may have left an empty file.
    upgrade::remove(&platform.stores(), domain, &entry, entries).await.map_err(failed)?;
    Ok(None)
}

/// Begins to fill a generation, or goes on with it; `None` if this program's fingerprint has a generation already.
pub async fn begin(platform: &Platform) -> Result<Option<Running>, OpenError> {
    let (domain, projection) = (platform.domain(), platform.version.projection.as_ref());
    let failed = |source| OpenError::Tables { domain, source };
    let fingerprint = platform.version.fingerprint.clone();
    let entries = platform.control.generations(domain).await.map_err(failed)?;
    if entries.iter().any(|entry| entry.fingerprint == fingerprint && !entry.state.has_ended()) {
        return Ok(None);
    }
    let next = entries.iter().map(|entry| entry.generation).max().unwrap_or(0) + 1;
    let schema = schema(domain, &fingerprint, &entries);
    let (store, log) = (platform.control.store().as_ref(), platform.log.as_ref());
    open::fill_schema(store, &schema, projection, log, true).await.map_err(failed)?;
    let entry = Entry::new(next, schema, State::Loading, fingerprint, log.id().to_owned());
    let generation = open::open_other(platform, &entry).await?;
    // Its checkpoints say that it is live, so it waits for no other.
    let (_, live) = watch::channel(None);
    Running::start(platform, &generation, &live, Stage::Complete).await.map(Some).map_err(failed)
}
