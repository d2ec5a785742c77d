//! The crate's metrics, all of them.

use std::sync::LazyLock;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntGauge, register_histogram_vec, register_int_counter, register_int_gauge,
};

/// The crate's metrics.
pub(crate) struct Metrics {
    /// Seconds from the head of a request to that of its answer, by route, method and status.
    pub(crate) request_seconds: HistogramVec,
    /// Requests being worked on.
    pub(crate) requests: IntGauge,
    /// Requests refused because too many were being worked on.
    pub(crate) refused: IntCounter,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    const UNIQUE: &str = "each metric is registered once, under a legal name";
    let seconds = HistogramOpts::new("daybook_query_api_request_seconds", "Seconds from request head to answer head")
        .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]);
    Metrics {
        request_seconds: register_histogram_vec!(seconds, &["route", "method", "status"]).expect(UNIQUE),
        requests: register_int_gauge!("daybook_query_api_requests", "Requests being worked on").expect(UNIQUE),
        refused: register_int_counter!("daybook_query_api_refused_total", "Requests refused as too many")
            .expect(UNIQUE),
    }
});

/// The metrics, registered on first use.
pub(crate) fn metrics() -> &'static Metrics {
    &METRICS
}
