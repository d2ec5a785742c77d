//! What librdkafka reports of its connections. A call that failed says no more than that there is no connection; why, it
//! reports beside the call.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode},
};

/// Asks for metadata and watermarks.
pub(super) type Metadata = BaseConsumer<Reports>;

/// Reports that are read after a call, at most, and how long one is waited for.
const REPORTS_MAX: usize = 20;
const REPORT_WAIT: Duration = Duration::from_millis(50);

/// What is likely where librdkafka reports nothing: a connection that is closed is no error to it.
const UNREPORTED: &str = "connections are closed without an answer: it may be no Kafka, or expect TLS or a login";

/// How librdkafka begins what a broker answers to a login.
const BY_BROKER: &str = "SASL authentication error: ";

/// The last report.
#[derive(Default)]
pub(super) struct Reports(Mutex<Option<Report>>);

#[derive(Clone)]
struct Report {
    code: RDKafkaErrorCode,
    reason: String,
}

impl Reports {
    fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        // It follows the reports of each broker, and says less.
        if code != RDKafkaErrorCode::AllBrokersDown {
            let report = Report { code, reason: reason.to_owned() };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        }
    }

    fn last(&self) -> Option<Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets it: a call succeeded.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How the credentials were refused, if that is the last report. The same code stands for failures that pass: of a
    /// handshake, and of fetching a token.
    pub(super) fn denial(&self) -> Option<String> {
        let is_denial = |report: &Report| {
            matches!(report.code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed)
                && report.reason.contains(BY_BROKER)
        };
        self.last().filter(is_denial).map(|report| report.reason)
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(error = %error, "librdkafka: {reason}");
        if let Some(code) = error.rdkafka_error_code() {
            self.note(code, reason);
        }
    }
}

impl ConsumerContext for Reports {}

/// Why a call failed: what was reported of the connections, or else its own error. Blocks for a moment.
pub(super) fn reason(metadata: &Metadata, error: &KafkaError) -> String {
    // A report is noted when it is polled for. No partition is assigned, so that nothing else comes.
    let reported = (0..REPORTS_MAX).take_while(|_| metadata.poll(REPORT_WAIT).is_some()).count();
    tracing::debug!(reported, "librdkafka reported {reported} errors of its connections");
    match (metadata.context().last(), error.rdkafka_error_code()) {
        (Some(report), _) => format!("{} ({error})", report.reason),
        (None, Some(RDKafkaErrorCode::BrokerTransportFailure)) => format!("{UNREPORTED} ({error})"),
        (None, _) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_report_that_names_a_reason_counts() {
        let reports = Reports::default();
        let say = |code, reason: &str| reports.error(KafkaError::Global(code), reason);
        assert!(reports.last().is_none() && reports.denial().is_none());
        say(RDKafkaErrorCode::Authentication, "SaslHandshake failed: timed out");
        assert!(reports.denial().is_none());
        let denied = "SASL authentication error: invalid credentials";
        say(RDKafkaErrorCode::Authentication, denied);
        say(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(reports.denial().as_deref(), Some(denied));
        say(RDKafkaErrorCode::Resolve, "unknown name");
        assert_eq!((reports.denial(), reports.last().map(|it| it.reason).as_deref()), (None, Some("unknown name")));
        reports.clear();
        assert!(reports.last().is_none());
    }
}
