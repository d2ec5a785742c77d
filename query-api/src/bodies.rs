//! Request bodies: read as a whole before a request takes its place among those in progress ([`Bounded`]), or part by
//! part, without a place while waiting for a part ([`Streamed`]). So a client that is slow to send holds nobody up.
//!
//! Bounds: the size of a whole body and the time that it takes, the pause between two parts, and the bytes of all bodies
//! together, from their arrival until the answer. Only bytes that have arrived count, not announced ones.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{header, request::Parts},
};
use http_body_util::BodyExt;
use prometheus::IntGauge;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{app::App, error::ApiError, metrics::metrics, place::Place};

/// How long a client may pause between two parts of a body.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a client may take to send a whole body. One that is read part by part gets a second more for each
/// [`BYTES_PER_SECOND_MIN`].
const DURATION_MAX: Duration = Duration::from_secs(300);
const BYTES_PER_SECOND_MIN: u64 = 1024;
/// Bytes of all bodies together, at most: this, or so many times the largest body, whichever is more.
const TOTAL_BYTES_MAX: usize = 256 * 1024 * 1024;
const LARGEST_BODIES: usize = 4;

/// Reads bodies within the bounds.
pub(crate) struct Bodies {
    bytes_max: usize,
    pause_max: Duration,
    duration_max: Duration,
    /// One permit for each byte that may still arrive.
    free: Arc<Semaphore>,
}

/// Bytes of a body, which count until this is dropped.
pub(crate) struct Held {
    free: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    gauge: IntGauge,
}

/// The body of a request.
#[derive(Clone)]
struct Received(Bytes);

/// The whole body of a request. Its content type does not matter.
pub struct Bounded(pub Bytes);

/// A body of any length, part by part. Only routes that [`DomainApi::streamed`](crate::app::DomainApi::streamed) names
/// can take it.
pub struct Streamed {
    body: Body,
    place: Place,
    held: Held,
    pace: Pace,
}

/// How long a client has kept a body waiting that is read part by part.
struct Pace {
    /// How long it may, besides the time for the bytes that it has sent.
    duration_max: Duration,
    waited: Duration,
    bytes: u64,
}

impl Bodies {
    /// Bodies of at most so many bytes each, inclusive.
    pub(crate) fn new(bytes_max: usize) -> Self {
        let total = TOTAL_BYTES_MAX.max(bytes_max.saturating_mul(LARGEST_BODIES)).min(Semaphore::MAX_PERMITS);
        let (pause_max, duration_max) = (PAUSE_MAX, DURATION_MAX);
        Self { bytes_max, pause_max, duration_max, free: Arc::new(Semaphore::new(total)) }
    }

    /// Reads the body of a request, and leaves it where [`Bounded`] finds it.
    pub(crate) async fn receive(&self, request: Request) -> Result<(Request, Held), ApiError> {
        let (mut parts, body) = request.into_parts();
        let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if announced.is_some_and(|bytes: usize| bytes > self.bytes_max) {
            return Err(self.too_large());
        }
        let mut held = self.hold();
        let bytes = self.read(body, &mut held).await?;
        parts.extensions.insert(Received(bytes));
        Ok((Request::from_parts(parts, Body::empty()), held))
    }

    /// Holds no bytes yet.
    pub(crate) fn hold(&self) -> Held {
        Held { free: Arc::clone(&self.free), permit: None, gauge: metrics().body_bytes.clone() }
    }

    async fn read(&self, mut body: Body, held: &mut Held) -> Result<Bytes, ApiError> {
        let end = Instant::now() + self.duration_max;
        let (mut first, mut all) = (Bytes::new(), Vec::new());
        loop {
            let Some(data) = next_part(&mut body, end.min(Instant::now() + self.pause_max)).await? else { break };
            if first.len().max(all.len()) + data.len() > self.bytes_max {
                return Err(self.too_large());
            }
            held.add(data.len())?;
            if first.is_empty() {
                first = data;
                continue;
            }
            // Small parts would hold the larger buffers that they arrived in.
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
        Ok(if all.is_empty() { first } else { all.into() })
    }

    fn too_large(&self) -> ApiError {
        let message = format!("the body is over the limit of {} bytes", self.bytes_max);
        ApiError::TooLarge { message, field: Some("body".to_owned()) }
    }
}

/// The next part of a body that is not empty; `None` at its end.
async fn next_part(body: &mut Body, deadline: Instant) -> Result<Option<Bytes>, ApiError> {
    let late = || ApiError::Slow("the body did not arrive in time".to_owned());
    loop {
        // A part that has arrived wins over a timer, so a timer alone would let a body that never pauses go on for ever.
        if Instant::now() >= deadline {
            return Err(late());
        }
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| late())?;
        let Some(frame) = frame else { return Ok(None) };
        let frame =
            frame.map_err(|_| ApiError::invalid("body", "the body ended early, or its chunks are malformed"))?;
        match frame.into_data() {
            Ok(data) if !data.is_empty() => return Ok(Some(data)),
            _ => {}
        }
    }
}

impl Pace {
    const fn new(duration_max: Duration) -> Self {
        Self { duration_max, waited: Duration::ZERO, bytes: 0 }
    }

    /// The next part; `None` at the end.
    async fn next_part(&mut self, body: &mut Body) -> Result<Option<Bytes>, ApiError> {
        let (began, earned) = (Instant::now(), Duration::from_secs(self.bytes / BYTES_PER_SECOND_MIN));
        let left = (self.duration_max + earned).saturating_sub(self.waited);
        let part = next_part(body, began + left.min(PAUSE_MAX)).await?;
        self.waited += began.elapsed();
        self.bytes += part.as_ref().map_or(0, |part| part.len() as u64);
        Ok(part)
    }
}

impl Streamed {
    /// The next part; `None` at the end. `kept` bytes of the parts before it are still in use.
    pub async fn next(&mut self, kept: usize) -> Result<Option<Bytes>, ApiError> {
        self.held.keep(kept);
        self.place.leave();
        let part = self.pace.next_part(&mut self.body).await?;
        self.held.add(part.as_ref().map_or(0, Bytes::len))?;
        self.place.retake().await?;
        Ok(part)
    }
}

impl Held {
    /// Counts more bytes, if there is room for them. It does not wait: those that wait would wait for each other.
    fn add(&mut self, bytes: usize) -> Result<(), ApiError> {
        let full = || ApiError::Unavailable("the bodies of requests in progress take too many bytes".to_owned());
        let permits = u32::try_from(bytes).map_err(|_| full())?;
        let more = Arc::clone(&self.free).try_acquire_many_owned(permits).map_err(|_| full())?;
        self.gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }

    /// Counts at most so many bytes from now on.
    fn keep(&mut self, bytes: usize) {
        let Some(permit) = &mut self.permit else { return };
        let surplus = permit.num_permits().saturating_sub(bytes);
        drop(permit.split(surplus));
        self.gauge.sub(i64::try_from(surplus).unwrap_or(i64::MAX));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.gauge.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl<S: Sync> FromRequestParts<S> for Bounded {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let received = parts.extensions.remove::<Received>();
        received.map(|received| Self(received.0)).ok_or_else(|| ApiError::Internal("a body was not read".to_owned()))
    }
}

impl FromRequest<Arc<App>> for Streamed {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let place = request.extensions_mut().remove::<Place>();
        let place = place.ok_or_else(|| ApiError::Internal("the route is not among those that stream".to_owned()))?;
        let pace = Pace::new(DURATION_MAX);
        Ok(Self { body: request.into_body(), place, held: app.bodies.hold(), pace })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};

    use super::*;

    fn bodies(bytes_max: usize, total: usize) -> Bodies {
        let long = Duration::from_secs(3600);
        Bodies { bytes_max, pause_max: long, duration_max: long, free: Arc::new(Semaphore::new(total)) }
    }

    fn of_parts(parts: &'static [&'static str]) -> Request {
        Request::new(Body::from_stream(stream::iter(parts.iter().map(|part| Ok::<_, Infallible>(*part)))))
    }

    async fn read(bodies: &Bodies, request: Request) -> Result<(Bytes, Held), ApiError> {
        let (request, held) = bodies.receive(request).await?;
        let (mut parts, _) = request.into_parts();
        Ok((Bounded::from_request_parts(&mut parts, &()).await?.0, held))
    }

    #[tokio::test]
    async fn parts_are_put_together_up_to_the_limit() {
        let bodies = bodies(5, 100);
        for (parts, expected) in [
            (&[][..], Some("")),
            (&["abc"], Some("abc")),
            (&["ab", "", "c", "de"], Some("abcde")),
            (&["abc", "def"], None),
        ] {
            let read = read(&bodies, of_parts(parts)).await;
            match (read, expected) {
                (Ok((bytes, _)), Some(expected)) => assert_eq!(bytes, expected),
                (Err(ApiError::TooLarge { .. }), None) => {}
                (other, _) => panic!("{parts:?}: {:?}", other.map(|(bytes, _)| bytes)),
            }
        }
        assert_eq!(bodies.free.available_permits(), 100);
    }

    #[tokio::test]
    async fn bodies_take_a_bounded_number_of_bytes_together_and_give_them_back() {
        let bodies = bodies(5, 8);
        let first = read(&bodies, of_parts(&["ab", "cde"])).await;
        assert_eq!(bodies.free.available_permits(), 3);
        assert!(matches!(read(&bodies, of_parts(&["ab", "cd"])).await, Err(ApiError::Unavailable(_))));
        assert!(read(&bodies, of_parts(&["abc"])).await.is_ok(), "what was refused takes nothing");
        drop(first);
        assert_eq!(bodies.free.available_permits(), 8);
    }

    #[tokio::test]
    async fn a_client_that_pauses_or_drips_is_not_waited_for() {
        let short = Duration::from_millis(10);
        let bodies = Bodies { pause_max: short, ..bodies(usize::MAX, 1 << 20) };
        let silent = stream::once(async { Ok::<_, Infallible>("a") }).chain(stream::pending());
        let refused = read(&bodies, Request::new(Body::from_stream(silent))).await;
        assert!(matches!(refused, Err(ApiError::Slow(_))));
        let bodies = Bodies { pause_max: Duration::from_secs(3600), duration_max: short, ..bodies };
        let refused = read(&bodies, Request::new(dripping())).await;
        assert!(matches!(refused, Err(ApiError::Slow(_) | ApiError::Unavailable(_))));
        assert_eq!(bodies.free.available_permits(), 1 << 20);
    }

    /// Never ends, and takes its time for each byte.
    fn dripping() -> Body {
        Body::from_stream(stream::unfold((), |()| async {
            tokio::task::yield_now().await;
            Some((Ok::<_, Infallible>("a"), ()))
        }))
    }

    #[tokio::test]
    async fn a_body_of_any_length_that_drips_is_not_waited_for_either_and_each_byte_earns_time() {
        let (mut pace, mut body) = (Pace::new(Duration::from_millis(10)), dripping());
        let refused = loop {
            // What was sent so far earns nothing yet.
            pace.bytes = 0;
            if let Err(refused) = pace.next_part(&mut body).await {
                break refused;
            }
        };
        assert!(matches!(refused, ApiError::Slow(_)));
        pace.bytes = 3600 * BYTES_PER_SECOND_MIN;
        assert!(pace.next_part(&mut body).await.is_ok_and(|part| part.is_some()));
    }
}
