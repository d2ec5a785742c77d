//! Area `log`: which log.

use daybook_ingest::log::kafka::Address;
use percent_encoding::percent_decode_str;

use super::setting::{Preset::Value, Setting, Takes::Secret, area};

const URL: super::setting::Takes =
    Secret { name: "URL", expected: "embedded, or kafka://host:9092[,host:9092][/prefix][?librdkafka.option=value]" };

area! {
    /// The log's settings.
    LogSettings, "log" {
        url: Log = log, "url", "log", URL, Value("embedded"),
            "The log: embedded, or on Kafka.";
    }
}

/// Which log.
pub(crate) enum Log {
    Embedded,
    Kafka(Address),
}

fn log(text: &str, _setting: &Setting) -> Result<Log, String> {
    if text == "embedded" {
        return Ok(Log::Embedded);
    }
    let decode = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
    let address = Address::parse(text, decode).and_then(|address| address.check_options().map(|()| address));
    address.map(Log::Kafka).map_err(|error| format!("embedded, or a URL of Kafka: {error}"))
}
