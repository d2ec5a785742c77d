//! Places among the requests in progress, which bound their number.
//!
//! A request takes its place when its body is there. One that reads its body part by part leaves its place while it
//! waits for the client. Each answer is made while the request holds its place.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::IntGauge;
use tokio::sync::OwnedSemaphorePermit;

use crate::{app::App, error::ApiError, metrics::metrics};

/// A request's place. Clones share it.
#[derive(Clone)]
pub(crate) struct Place {
    app: Arc<App>,
    domain: &'static str,
    taken: Arc<Mutex<Option<Taken>>>,
}

/// Counts a request as in progress until it is dropped, also where its client went away.
struct Taken {
    _permit: OwnedSemaphorePermit,
    requests: IntGauge,
}

impl Place {
    /// Takes a place, if there is one.
    pub(crate) fn take(app: &Arc<App>, domain: &'static str) -> Result<Self, ApiError> {
        let place = Self { app: Arc::clone(app), domain, taken: Arc::default() };
        let permit = Arc::clone(&app.requests).try_acquire_owned().map_err(|_| too_many())?;
        place.set(Some(place.counted(permit)));
        Ok(place)
    }

    /// Gives the place to others.
    pub(crate) fn leave(&self) {
        self.set(None);
    }

    /// Waits for a place again, for as long as a request may wait for the tables.
    pub(crate) async fn retake(&self) -> Result<(), ApiError> {
        let next = Arc::clone(&self.app.requests).acquire_owned();
        match tokio::time::timeout(self.app.config.wait_max, next).await {
            Ok(Ok(permit)) => {
                self.set(Some(self.counted(permit)));
                Ok(())
            }
            _ => Err(too_many()),
        }
    }

    fn counted(&self, permit: OwnedSemaphorePermit) -> Taken {
        let requests = metrics().requests.with_label_values(&[self.domain]);
        requests.inc();
        Taken { _permit: permit, requests }
    }

    fn set(&self, taken: Option<Taken>) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = taken;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.requests.dec();
    }
}

fn too_many() -> ApiError {
    ApiError::Unavailable("too many requests are in progress".to_owned())
}
