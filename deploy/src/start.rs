//! What the start waits for, so that `/health/ready` and `daybook status` can say it.

use std::sync::{Arc, Mutex, PoisonError};

/// What the start waits for. Clones share it.
#[derive(Clone)]
pub(crate) struct Start(Arc<Mutex<String>>);

impl Start {
    /// A start that has opened nothing yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new("the first step".to_owned())))
    }

    /// Notes what the start waits for from now on.
    pub(crate) fn wait_for(&self, what: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what.into();
    }

    /// Why the process does not serve yet.
    pub(crate) fn reason(&self) -> String {
        format!("starting: waiting for {}", self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
