//! A rebuild gives way where there is no room for it: the live generation needs what is left.

use crate::running::{Open, Platform};

/// Bytes that a rebuild leaves free on the disk of embedded tables.
const FREE_MIN: u64 = 64 * 1024 * 1024;

/// Why a rebuild gives way; `None` if there is room, as far as the stores tell.
pub(super) async fn shortage(platform: &Platform, live: &Open, candidate: &Open) -> Option<String> {
    if let Some(shortage) = live.shortage().or(candidate.shortage()) {
        return Some(shortage.to_owned());
    }
    let store = platform.control.store();
    if store.shared() {
        // A server does not tell what is free on its disk.
        return None;
    }
    let free = store.space(&candidate.generation.schema).await.ok()?.free?;
    let mib = free / 1024 / 1024;
    (free < FREE_MIN)
        .then(|| format!("only {mib} MiB are free on the disk of the tables, which the live generation needs"))
}
