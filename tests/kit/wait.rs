//! Waits for what must come, for a bounded time: a test that waits without a bound hangs where it should fail.

use std::time::Duration;

use tokio::time::{interval, timeout};

/// How long anything is waited for.
const MAX: Duration = Duration::from_secs(300);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until something holds.
///
/// # Panics
/// If it does not come.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut pace = interval(LOOK);
    let held = async {
        while !holds().await {
            pace.tick().await;
        }
    };
    assert!(timeout(MAX, held).await.is_ok(), "not within {MAX:?}: {what}");
}
