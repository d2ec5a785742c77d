//! Whether a domain's live generation is one of this program's, and what makes it so: a rebuild with its promotion.

use std::time::Duration;

use crate::{
    control::{Entry, State},
    rebuilds::{Rebuilds, RequestError, Wanted},
};

/// Between two looks at a rebuild that is waited for, in case a notification was lost.
const LOOK: Duration = Duration::from_millis(500);

/// How a domain's live generation and this program fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Whether the live generation has this program's fingerprint.
    pub is_current: bool,
    /// The fingerprint of the live generation.
    pub current: String,
    /// Whether a rebuild is under way.
    pub in_progress: bool,
    /// The fingerprints of the generations that there are, and this program's, oldest first.
    pub versions: Vec<String>,
    /// What is missing: the rebuild that is under way, or else this program's fingerprint.
    pub unapplied: Vec<String>,
}

impl Rebuilds {
    /// How the live generation and this program fit together.
    pub async fn migration(&self) -> Result<Migration, RequestError> {
        let (live, entries) = self.live_and_all().await?;
        let ours = self.platform.newest().version.fingerprint;
        let candidate = entries.iter().find(|entry| entry.is_candidate());
        let is_current = live.fingerprint == ours;
        let mut versions = Vec::new();
        for version in entries.iter().filter(|it| !it.state.has_ended()).map(|it| &it.fingerprint).chain([&ours]) {
            if !versions.contains(version) {
                versions.push(version.clone());
            }
        }
        let unapplied = match candidate.filter(|candidate| candidate.fingerprint == ours) {
            _ if is_current => Vec::new(),
            Some(candidate) => vec![format!("{}-{}", self.domain(), candidate.generation)],
            None => vec![ours],
        };
        Ok(Migration { is_current, current: live.fingerprint, in_progress: candidate.is_some(), versions, unapplied })
    }

    /// Makes a generation of this program live: the previous one, one that is being built, or a new one. Returns once it
    /// is live, and at once if it is. Whoever asks meanwhile waits for the same one.
    pub async fn migrate(&self) -> Result<(), RequestError> {
        let ours = self.platform.newest().version.fingerprint;
        loop {
            let (live, entries) = self.live_and_all().await?;
            if live.fingerprint == ours {
                return Ok(());
            }
            let is_way_back = |entry: &&Entry| entry.state == State::Previous && entry.fingerprint == ours;
            if let Some(previous) = entries.iter().find(is_way_back) {
                return self.promote(previous.generation, "").await.map(drop);
            }
            match entries.into_iter().find(Entry::is_under_way) {
                Some(candidate) if candidate.is_candidate() && candidate.fingerprint == ours => {
                    if !candidate.promotes {
                        let control = &self.platform.control;
                        control.set_promotes(self.domain(), candidate.generation).await?;
                    }
                    return self.wait_until_live(candidate.generation).await;
                }
                Some(other) => return Err(RequestError::Conflict(self.is_held_by(&other))),
                None => {
                    let wanted = Wanted { label: "upgrade".to_owned(), promotes: true, ..Wanted::default() };
                    match self.rebuild(wanted).await {
                        Ok(known) => return self.wait_until_live(known.entry.generation).await,
                        // Somebody else was faster: theirs is waited for.
                        Err(RequestError::Conflict(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// Waits until a generation is live. A rebuild takes as long as it takes, so this has no bound but the caller's.
    async fn wait_until_live(&self, generation: i64) -> Result<(), RequestError> {
        let mut changes = self.changes();
        loop {
            changes.mark_unchanged();
            let known = self.show(generation).await?;
            let is_followed = self.answers_from(&known)?;
            let Entry { state, promotes, reason, .. } = known.entry;
            match state {
                State::Live if is_followed => return Ok(()),
                State::Live => {}
                State::Ready if promotes => {}
                state if state.is_unpromoted() && state != State::Ready => {}
                state => {
                    let (domain, state) = (self.domain(), state.as_str());
                    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                    let text = format!("generation {generation} of {domain} is {state}, and was not promoted{reason}");
                    return Err(RequestError::Conflict(text));
                }
            }
            // Either is a reason to look.
            let _due = tokio::time::timeout(LOOK, changes.changed()).await;
        }
    }

    /// The live generation, and all of them.
    pub(crate) async fn live_and_all(&self) -> Result<(Entry, Vec<Entry>), RequestError> {
        let row = self.row().await?;
        let entries = self.platform.control.generations(self.domain()).await?;
        let live = entries.iter().find(|entry| entry.generation == row.live.0).cloned();
        let missing = || RequestError::Conflict(format!("{} has no live generation", self.domain()));
        Ok((live.ok_or_else(missing)?, entries))
    }
}
