//! The crate's metrics, all of them; served by the HTTP surface from the process's default registry.

use std::sync::LazyLock;

use prometheus::{
    Counter, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, register_counter,
    register_histogram, register_int_counter, register_int_counter_vec, register_int_gauge, register_int_gauge_vec,
};

/// The crate's metrics.
pub struct Metrics {
    /// Records read from the log, by outcome: applied, quarantined.
    pub records: IntCounterVec,
    /// Batches committed.
    pub batches: IntCounter,
    /// Seconds from the start of a batch's transaction to its commit.
    pub batch_seconds: Histogram,
    /// Batches that another process committed first.
    pub conflicts: IntCounter,
    /// Records that the live generation has not applied, by domain.
    pub lag: IntGaugeVec,
    /// Seconds since the live generation last had all records applied, by domain.
    pub checkpoint_age: IntGaugeVec,
    /// Records in quarantine, by domain.
    pub quarantined: IntGaugeVec,
    /// Documents sent to the search index, by outcome: written, refused.
    pub search_documents: IntCounterVec,
    /// Records whose documents are not in the search index yet, by domain.
    pub search_lag: IntGaugeVec,
    /// Milliseconds that reads take in the slowest process: the 99th percentile of the last second.
    pub reads_ms: IntGauge,
    /// How long rebuilds pause after each piece of work, in percent of that work.
    pub rebuild_pause: IntGauge,
    /// Seconds for which rebuilds have paused.
    pub rebuild_paused: Counter,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    const UNIQUE: &str = "each metric is registered once, under a valid name";
    let by_domain = |name: &str, help: &str| register_int_gauge_vec!(Opts::new(name, help), &["domain"]).expect(UNIQUE);
    let records = Opts::new("daybook_projector_records_total", "Records read from the log, by outcome");
    let documents =
        Opts::new("daybook_projector_search_documents_total", "Documents sent to the search index, by outcome");
    let seconds = HistogramOpts::new(
        "daybook_projector_batch_seconds",
        "Seconds from the start of a batch's transaction to its commit",
    )
    .buckets(vec![0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0]);
    Metrics {
        records: register_int_counter_vec!(records, &["outcome"]).expect(UNIQUE),
        batches: register_int_counter!("daybook_projector_batches_total", "Batches committed").expect(UNIQUE),
        batch_seconds: register_histogram!(seconds).expect(UNIQUE),
        conflicts: register_int_counter!(
            "daybook_projector_conflicts_total",
            "Batches that another process committed first"
        )
        .expect(UNIQUE),
        lag: by_domain("daybook_projector_lag_records", "Records that the live generation has not applied"),
        checkpoint_age: by_domain(
            "daybook_projector_checkpoint_age_seconds",
            "Seconds since the live generation last had all records applied",
        ),
        quarantined: by_domain("daybook_projector_quarantine_records", "Records in quarantine"),
        search_documents: register_int_counter_vec!(documents, &["outcome"]).expect(UNIQUE),
        search_lag: by_domain("daybook_projector_search_lag_records", "Records that are not in the search index yet"),
        reads_ms: register_int_gauge!(
            "daybook_projector_reads_milliseconds",
            "Milliseconds that reads take in the slowest process, the 99th percentile"
        )
        .expect(UNIQUE),
        rebuild_pause: register_int_gauge!(
            "daybook_projector_rebuild_pause_percent",
            "How long rebuilds pause because reads are slow, in percent of their work"
        )
        .expect(UNIQUE),
        rebuild_paused: register_counter!(
            "daybook_projector_rebuild_paused_seconds_total",
            "Seconds for which rebuilds have paused because reads are slow"
        )
        .expect(UNIQUE),
    }
});

/// The metrics, registered on first use.
pub fn metrics() -> &'static Metrics {
    &METRICS
}
