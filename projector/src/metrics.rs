//! The crate's metrics, all of them; served by the HTTP surface from the process's default registry.

use std::sync::LazyLock;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, register_histogram, register_int_counter,
    register_int_counter_vec, register_int_gauge,
};

/// The crate's metrics.
pub struct Metrics {
    /// Records read from the log and settled, by outcome: applied, quarantined.
    pub records: IntCounterVec,
    /// Batches committed.
    pub batches: IntCounter,
    /// Seconds from the start of a batch's transaction to its commit.
    pub batch_seconds: Histogram,
    /// Batches given up because another applier was there first.
    pub conflicts: IntCounter,
    /// Records that the live generation lacks.
    pub lag: IntGauge,
    /// Seconds since the live generation last had every record.
    pub checkpoint_age: IntGauge,
    /// Records in quarantine.
    pub quarantined: IntGauge,
    /// Documents brought to the search index, by outcome: written, refused.
    pub search_documents: IntCounterVec,
    /// Records whose documents the search index lacks.
    pub search_lag: IntGauge,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    const UNIQUE: &str = "each metric is registered once, under a legal name";
    let records = Opts::new("daybook_projector_records_total", "Records settled, by outcome");
    let documents = Opts::new("daybook_projector_search_documents_total", "Documents brought to search, by outcome");
    let seconds = HistogramOpts::new("daybook_projector_batch_seconds", "Seconds from begin to commit of a batch")
        .buckets(vec![0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0]);
    Metrics {
        records: register_int_counter_vec!(records, &["outcome"]).expect(UNIQUE),
        batches: register_int_counter!("daybook_projector_batches_total", "Batches committed").expect(UNIQUE),
        batch_seconds: register_histogram!(seconds).expect(UNIQUE),
        conflicts: register_int_counter!("daybook_projector_conflicts_total", "Batches lost to another applier")
            .expect(UNIQUE),
        lag: register_int_gauge!("daybook_projector_lag_records", "Records that the live generation lacks")
            .expect(UNIQUE),
        checkpoint_age: register_int_gauge!(
            "daybook_projector_checkpoint_age_seconds",
            "Seconds since the live generation last had every record"
        )
        .expect(UNIQUE),
        quarantined: register_int_gauge!("daybook_projector_quarantine_records", "Records in quarantine")
            .expect(UNIQUE),
        search_documents: register_int_counter_vec!(documents, &["outcome"]).expect(UNIQUE),
        search_lag: register_int_gauge!("daybook_projector_search_lag_records", "Records that search lacks")
            .expect(UNIQUE),
    }
});

/// The metrics, registered on first use.
pub fn metrics() -> &'static Metrics {
    &METRICS
}
