//! How a record is printed.

use std::fmt;

use daybook_ingest::log::Record;
use daybook_schemas::generic::SchemaSets;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::{command::LogFilter, output};

pub(super) const HEAD: [&str; 5] = ["TIME (UTC)", "POSITION", "TYPE", "KEY", "SUMMARY"];
/// Widths of the columns; the last is as wide as its text.
pub(super) const WIDTHS: [usize; 5] = [19, 28, 20, 24, 0];
/// Characters of a summary, at most.
const SUMMARY_MAX: usize = 100;

/// A record as it is shown; as JSON, in this order.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Line {
    Event(Box<Event>),
    /// A record that cannot be decoded.
    Undecoded {
        position: String,
        key: String,
        error: String,
    },
}

#[derive(Serialize)]
pub(super) struct Event {
    position: String,
    occurred_at: i64,
    #[serde(rename = "type")]
    kind: String,
    key: String,
    event_id: String,
    actor: Option<String>,
    request_id: Option<String>,
    trace_parent: Option<String>,
    idempotency_key: Option<String>,
    /// Its fields, in the order of its schema.
    event: Box<RawValue>,
}

impl Line {
    /// The line of a record, if the filter accepts it.
    pub(super) fn of(schemas: &SchemaSets, record: &Record, filter: &LogFilter) -> Option<Self> {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        if filter.key.as_ref().is_some_and(|wanted| *wanted != key) {
            return None;
        }
        let position = record.position.to_string();
        match decode(schemas, record, position.clone(), key.clone()) {
            Ok(event) => filter.accepts(&event).then(|| Self::Event(Box::new(event))),
            // An undecoded record has neither a type nor a time to filter by.
            Err(_) if !filter.types.is_empty() || filter.since.is_some() || filter.until.is_some() => None,
            Err(error) => Some(Self::Undecoded { position, key, error }),
        }
    }

    /// The cells of its row.
    pub(super) fn row(&self) -> [String; 5] {
        match self {
            Self::Event(event) => {
                let (kind, key) = (output::cut(&event.kind, WIDTHS[2]), output::cut(&event.key, WIDTHS[3] - 1));
                [output::utc(event.occurred_at), event.position.clone(), kind, key, summary(&event.event)]
            }
            Self::Undecoded { position, key, error } => {
                let (key, error) = (output::cut(key, WIDTHS[3] - 1), output::cut(error, SUMMARY_MAX));
                [String::new(), position.clone(), "(not decoded)".to_owned(), key, error]
            }
        }
    }
}

impl LogFilter {
    fn accepts(&self, event: &Event) -> bool {
        (self.types.is_empty() || self.types.contains(&event.kind))
            && self.since.is_none_or(|since| event.occurred_at >= since)
            && self.until.is_none_or(|until| event.occurred_at < until)
    }
}

/// Decodes a record; the error says why that is not possible.
fn decode(schemas: &SchemaSets, record: &Record, position: String, key: String) -> Result<Event, String> {
    let decoded = schemas.decode(&record.value).map_err(|error| error.to_string())?;
    let text = |field: &str| decoded.envelope.get(field).and_then(Value::as_str).map(str::to_owned);
    Ok(Event {
        position,
        occurred_at: decoded.envelope.get("occurred_at").and_then(Value::as_i64).unwrap_or_default(),
        key,
        event_id: text("event_id").unwrap_or_default(),
        actor: text("actor"),
        request_id: text("request_id"),
        trace_parent: text("trace_parent"),
        idempotency_key: text("idempotency_key"),
        kind: decoded.kind,
        event: RawValue::from_string(decoded.event).map_err(|error| error.to_string())?,
    })
}

/// The event's fields that have a value, cut to one line.
fn summary(event: &RawValue) -> String {
    let fields = serde_json::from_str::<Fields>(event.get()).map(|fields| fields.0).unwrap_or_default();
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        _ => false,
    };
    let fields = fields.iter().filter(|(_, value)| !is_empty(value));
    let words: Vec<_> = fields.map(|(name, value)| format!("{name}={}", output::plain(value))).collect();
    output::cut(&words.join(" "), SUMMARY_MAX)
}

/// The fields of an object, in the order in which they are written.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let text = r#"{"flow_id":"F","run_number":7,"user":null,"tags":[],"system_tags":["a","b\u001b"]}"#;
        Event {
            position: "t/0@3".to_owned(),
            occurred_at: 0,
            kind: "RunStarted".to_owned(),
            key: "F".to_owned(),
            event_id: "e".to_owned(),
            actor: None,
            request_id: None,
            trace_parent: None,
            idempotency_key: None,
            event: RawValue::from_string(text.to_owned()).unwrap_or_else(|error| panic!("{error}")),
        }
    }

    #[test]
    fn positions_of_long_topics_fit_their_column() {
        let topic = "nineteen.characters";
        for position in [format!("{topic}/0@0"), format!("{topic}/11@99999")] {
            assert!(position.len() <= WIDTHS[1], "{position}");
        }
    }

    #[test]
    fn a_row_says_what_happened_in_the_order_of_the_event() {
        let [time, position, kind, key, summary] = Line::Event(Box::new(event())).row();
        assert_eq!((time.as_str(), position.as_str()), ("1970-01-01 00:00:00", "t/0@3"));
        assert_eq!((kind.as_str(), key.as_str()), ("RunStarted", "F"));
        assert_eq!(summary, r#"flow_id=F run_number=7 system_tags=["a","b\u001b"]"#);
    }

    #[test]
    fn json_begins_with_what_is_looked_for_and_keeps_the_order_of_the_event() {
        let text = serde_json::to_string(&Line::Event(Box::new(event()))).unwrap_or_default();
        let begin = r#"{"position":"t/0@3","occurred_at":0,"type":"RunStarted","key":"F","event_id":"e""#;
        assert!(text.starts_with(begin) && text.contains(r#""event":{"flow_id":"F","run_number":7"#), "{text}");
    }
}
