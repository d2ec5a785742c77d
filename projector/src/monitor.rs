//! Measures how far the live generation is behind the log, for metrics and status, and sees whether the log still
//! contains what its tables have applied, and whether these are still there.

use std::{sync::Arc, time::Duration};

use daybook_ingest::log::{EventLog, LogError};
use daybook_schemas::position::Vector;
use tokio::time::Instant;

use crate::{
    bookkeeping::quarantine,
    error_chain::chain,
    generation::Generation,
    log_check::{self, CheckError},
    metrics::metrics,
    search::state::Search,
};

/// Time between two measurements.
const INTERVAL: Duration = Duration::from_secs(2);
/// Looks in a row that must find the log too short or different. A broker that has just become the leader of a partition
/// may report an older end for a moment.
const MISMATCHES_MAX: usize = 2;

/// Measures until the task is dropped.
pub async fn watch(log: Arc<dyn EventLog>, generation: Arc<Generation>, search: Option<Arc<Search>>) {
    let (mut complete, domain) = (Instant::now(), [generation.domain]);
    let (mut interrupted, mut mismatches, mut counted) = (false, 0, None);
    loop {
        let (of_log, of_look) = (Arc::clone(&log), Arc::clone(&generation));
        let looked = tokio::task::spawn_blocking(move || {
            of_look.refuse_if_lost();
            look(of_log.as_ref(), &of_look, interrupted)
        });
        let looked = looked.await;
        interrupted = !matches!(looked, Ok(Ok(_)));
        match looked {
            Ok(Ok((applied, end))) => {
                mismatches = 0;
                // Other topics of the log belong to other domains.
                let lag = applied.lag_in_own(&end);
                metrics().lag.with_label_values(&domain).set(lag);
                if let Some(search) = &search {
                    metrics().search_lag.with_label_values(&domain).set(search.lag(&end));
                }
                if lag == 0 {
                    complete = Instant::now();
                }
            }
            Ok(Err(CheckError::Mismatch(mismatch))) => {
                mismatches += 1;
                if mismatches >= MISMATCHES_MAX {
                    generation.refuse(&mismatch);
                }
            }
            Ok(Err(CheckError::Log(error @ LogError::Damaged(_)))) => generation.refuse_damaged(&error),
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "cannot look at the log: {}", chain(&error)),
            Err(error) => tracing::error!(error = %error, "a look at the log ended: {error}"),
        }
        metrics()
            .checkpoint_age
            .with_label_values(&domain)
            .set(i64::try_from(complete.elapsed().as_secs()).unwrap_or(i64::MAX));
        // Only what was applied changes it.
        let applied = generation.progress.applied();
        if counted.as_ref() != Some(&applied)
            && let Ok(count) = quarantine::count(generation.tables.as_ref()).await
        {
            metrics().quarantined.with_label_values(&domain).set(count);
            counted = Some(applied);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// What the tables have applied, and where the log ends. After an interruption, or if the log is too short, it is compared
/// with the tables: it may have been restored meanwhile.
fn look(log: &dyn EventLog, generation: &Generation, interrupted: bool) -> Result<(Vector, Vector), CheckError> {
    // In this order: the log only grows.
    let applied = generation.progress.applied();
    let end = log.end(&generation.topics)?;
    if interrupted || !end.reaches(&applied) {
        log_check::check(log, generation.tables.as_ref())?;
    }
    Ok((applied, end))
}
