//! The crate's metrics, all of them.

use std::sync::LazyLock;

use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, register_histogram_vec,
    register_int_counter, register_int_counter_vec, register_int_gauge, register_int_gauge_vec,
};

/// The crate's metrics.
pub(crate) struct Metrics {
    /// Seconds from the head of a request to that of its answer, by domain, route, method and status.
    pub(crate) request_seconds: HistogramVec,
    /// Requests in progress, by domain.
    pub(crate) requests: IntGaugeVec,
    /// Bytes of the bodies of requests that are read or in progress.
    pub(crate) body_bytes: IntGauge,
    /// Requests refused because of the limits on concurrent requests and on the bytes of their bodies, by domain.
    pub(crate) refused: IntCounterVec,
    /// Connections that were closed, while they waited for their clients, to make room for others.
    pub(crate) closed_connections: IntCounter,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    const UNIQUE: &str = "each metric is registered once, under a legal name";
    let seconds = HistogramOpts::new(
        "daybook_query_api_request_seconds",
        "Seconds from the head of a request to the head of its answer",
    )
    .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]);
    Metrics {
        request_seconds: register_histogram_vec!(seconds, &["domain", "route", "method", "status"]).expect(UNIQUE),
        requests: register_int_gauge_vec!("daybook_query_api_requests", "Requests in progress", &["domain"])
            .expect(UNIQUE),
        body_bytes: register_int_gauge!(
            "daybook_query_api_body_bytes",
            "Bytes of the bodies of requests that are read or in progress"
        )
        .expect(UNIQUE),
        refused: register_int_counter_vec!(
            "daybook_query_api_refused_total",
            "Requests refused because too many requests, or too many bytes of bodies, are in progress",
            &["domain"]
        )
        .expect(UNIQUE),
        closed_connections: register_int_counter!(
            "daybook_query_api_closed_connections_total",
            "Connections that were closed, while they waited for their clients, to make room for others"
        )
        .expect(UNIQUE),
    }
});

/// The metrics, registered on first use.
pub(crate) fn metrics() -> &'static Metrics {
    &METRICS
}
