//! Measures how far the live generation is behind the log, for metrics and status.

use std::{sync::Arc, time::Duration};

use daybook_ingest::log::EventLog;
use tokio::time::Instant;

use crate::{
    generation::{self, Generation},
    metrics::metrics,
    search::state::Search,
};

/// Between two measurements.
const INTERVAL: Duration = Duration::from_secs(2);

/// Measures until the task is dropped.
pub async fn watch(log: Arc<dyn EventLog>, generation: Arc<Generation>, search: Option<Arc<Search>>) {
    let mut complete = Instant::now();
    loop {
        let of_call = Arc::clone(&log);
        if let Ok(Ok(end)) = tokio::task::spawn_blocking(move || of_call.end()).await {
            let lag = generation.progress.applied().lag(&end);
            metrics().lag.set(lag);
            if let Some(search) = &search {
                metrics().search_lag.set(search.lag(&end));
            }
            if lag == 0 {
                complete = Instant::now();
            }
        }
        metrics().checkpoint_age.set(i64::try_from(complete.elapsed().as_secs()).unwrap_or(i64::MAX));
        if let Ok(count) = generation::count_quarantine(generation.tables.as_ref()).await {
            metrics().quarantined.set(count);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
