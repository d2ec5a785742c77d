//! Measures how far the live generation is behind the log, for metrics and status.

use std::{sync::Arc, time::Duration};

use daybook_ingest::log::EventLog;
use tokio::time::Instant;

use crate::{bookkeeping::quarantine, generation::Generation, metrics::metrics, search::state::Search};

/// Time between two measurements.
const INTERVAL: Duration = Duration::from_secs(2);

/// Measures until the task is dropped.
pub async fn watch(log: Arc<dyn EventLog>, generation: Arc<Generation>, search: Option<Arc<Search>>) {
    let (mut complete, domain) = (Instant::now(), [generation.domain]);
    loop {
        let of_call = Arc::clone(&log);
        if let Ok(Ok(end)) = tokio::task::spawn_blocking(move || of_call.end()).await {
            let applied = generation.progress.applied();
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
        metrics()
            .checkpoint_age
            .with_label_values(&domain)
            .set(i64::try_from(complete.elapsed().as_secs()).unwrap_or(i64::MAX));
        if let Ok(count) = quarantine::count(generation.tables.as_ref()).await {
            metrics().quarantined.with_label_values(&domain).set(count);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
