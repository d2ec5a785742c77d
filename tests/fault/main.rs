//! Faults: whatever is killed, frozen, cut off or full, nothing that was acknowledged is lost, nothing is doubled, and all
//! heals without a person. After each fault every row is compared with a pure fold of the log.
//!
//! Each test prints its seed; `DAYBOOK_TEST_SEED` repeats it. `DAYBOOK_FAULT_ROUNDS` makes the random ones longer, as
//! `tests/run --long` does.

mod catalogue;
mod collection_crashes;
mod collection_harms;
mod collection_stores;
mod damaged;
mod every_call;
mod failover;
mod histories;
mod imports;
mod input;
mod instances;
mod kills;
mod lost_answers;
mod network;
mod outages;
mod overload;
mod paced_refreshes;
mod races;
mod rebuild_harms;
mod records;
mod refreshes;
mod restored;
mod room;
mod search;
mod second_domain;
mod soak;
mod stopping;
mod storage;
mod switches;
mod topics;
mod transactions;
mod waiting;

use daybook_tests::{api::Api, wait};
use reqwest::Method;

/// How many rounds of random faults a test does: `short` in every run, more where that is asked for.
fn rounds(short: usize) -> usize {
    std::env::var("DAYBOOK_FAULT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(short)
}

/// Applies the definition of a collection. One that is recorded and not served yet is sent again, as clients do.
async fn define(api: &Api, collection: &str, definition: &str) {
    wait::until("the definition is served", async || {
        let answer = api.send(Method::PUT, collection, Some(definition.to_owned()), &[]).await;
        assert!([200, 201, 503].contains(&answer.status), "{}", answer.text);
        answer.status != 503
    })
    .await;
}
