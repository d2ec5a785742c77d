//! Waits, each bounded, until a part has applied what another one had.

use std::time::Duration;

use daybook_projector::{
    generation::Generation,
    search::{SearchIndex, bookkeeping, source::Documents},
};
use daybook_schemas::position::Vector;
use tokio::time::{Instant, sleep, timeout};

use super::VerifyError;

/// How long a part may take to apply what the other one had when it was read.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Between two looks at the checkpoints of an index, of which nobody notifies this process.
const LOOK: Duration = Duration::from_millis(25);

fn behind(part: String, wanted: &Vector, reached: &Vector) -> VerifyError {
    let [wanted, reached] = [wanted, reached].map(ToString::to_string);
    VerifyError::Behind { part, wanted, reached, seconds: WAIT_MAX.as_secs() }
}

/// Waits until a generation's tables have reached a vector.
pub(super) async fn wait_for(generation: &Generation, wanted: &Vector) -> Result<(), VerifyError> {
    let waited = timeout(WAIT_MAX, generation.progress.wait_for(wanted)).await;
    let part = || format!("generation {} of {}", generation.number, generation.domain);
    waited.map_err(|_| behind(part(), wanted, &generation.progress.applied()))
}

/// Waits until an index shows what its tables had applied at a vector.
pub(super) async fn wait_for_index(
    generation: &Generation,
    index: &dyn SearchIndex,
    documents: &dyn Documents,
    wanted: &Vector,
) -> Result<(), VerifyError> {
    let (topics, began) = (documents.topics(), Instant::now());
    let mut wanted = wanted.clone();
    wanted.0.retain(|partition, _| topics.contains(&partition.topic));
    loop {
        let reached = bookkeeping::checkpoints(generation.tables.as_ref(), index.id()).await?;
        if reached.reaches(&wanted) {
            return Ok(());
        }
        if began.elapsed() >= WAIT_MAX {
            return Err(behind(format!("the index ({})", index.describe()), &wanted, &reached));
        }
        sleep(LOOK).await;
    }
}
