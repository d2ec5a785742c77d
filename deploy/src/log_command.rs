//! `daybook log cat|tail`: prints the events of the log, decoded, one JSON object a line.

use std::{
    io::{ErrorKind, Write},
    time::Duration,
};

use anyhow::Result;
use daybook_ingest::log::{EventLog, ReadLimits, Reader, Record, embedded, kafka::KafkaLog};
use daybook_schemas::{codec, position::Vector, topics::Topic};
use serde_json::{Value, json};

use crate::{
    command::{LogCommand, LogFilter, TopicChoice},
    config::{Config, Log},
};

/// Bounds of one read.
const LIMITS: ReadLimits =
    ReadLimits { records_max: 1000, bytes_max: 8 * 1024 * 1024, wait: Duration::from_millis(500) };

pub(crate) async fn run(config: &Config, command: LogCommand) -> Result<()> {
    let source = match &config.log {
        Log::Embedded => Source::Embedded(config.data_dir.clone()),
        Log::Kafka(address) => Source::Kafka(Box::new(KafkaLog::open(address.clone(), false).await?)),
    };
    tokio::task::spawn_blocking(move || print(&source, &command)).await?
}

/// Where the records come from.
enum Source {
    Embedded(std::path::PathBuf),
    Kafka(Box<KafkaLog>),
}

impl Source {
    fn end(&self) -> Result<Vector> {
        Ok(match self {
            Self::Embedded(folder) => embedded::end(folder)?,
            Self::Kafka(log) => log.end()?,
        })
    }

    fn reader(&self, from: &Vector) -> Result<Box<dyn Reader>> {
        Ok(match self {
            Self::Embedded(folder) => embedded::open_reader(folder, from)?,
            Self::Kafka(log) => log.reader(from)?,
        })
    }
}

fn print(source: &Source, command: &LogCommand) -> Result<()> {
    let (filter, newest, follow) = match command {
        LogCommand::Cat(filter) => (filter, i64::MAX, false),
        LogCommand::Tail { records, follow, filter } => (filter, (*records).max(0), *follow),
    };
    let mut end = source.end()?;
    end.0.retain(|partition, _| match filter.topic {
        TopicChoice::All => true,
        TopicChoice::Events => partition.topic == Topic::Events,
        TopicChoice::Heartbeats => partition.topic == Topic::Heartbeats,
    });
    let mut next =
        Vector(end.0.iter().map(|(partition, end)| (*partition, end.saturating_sub(newest).max(0))).collect());
    let mut reader = source.reader(&next)?;
    let mut out = std::io::stdout().lock();
    while follow || !next.reaches(&end) {
        for record in reader.read(LIMITS)? {
            next.0.insert(record.position.partition, record.position.offset + 1);
            let Some(line) = shown(&record, filter) else { continue };
            match writeln!(out, "{line}") {
                // Whoever reads has seen enough.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// The line of a record, if the filter lets it through.
fn shown(record: &Record, filter: &LogFilter) -> Option<Value> {
    let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
    if filter.key.as_ref().is_some_and(|wanted| *wanted != key) {
        return None;
    }
    let position = record.position.to_string();
    let envelope = match codec::decode(&record.value) {
        Ok(envelope) => envelope,
        // A record that is no event has no type and no time to be chosen by.
        Err(_) if !filter.types.is_empty() || filter.since.is_some() || filter.until.is_some() => return None,
        Err(error) => return Some(json!({"position": position, "key": key, "error": error.to_string()})),
    };
    let kind = envelope.event.kind();
    let wanted = (filter.types.is_empty() || filter.types.iter().any(|wanted| wanted == kind))
        && filter.since.is_none_or(|since| envelope.occurred_at >= since)
        && filter.until.is_none_or(|until| envelope.occurred_at < until);
    let event = serde_json::to_value(&envelope.event).ok()?;
    wanted.then(|| {
        json!({
            "position": position,
            "key": key,
            "event_id": envelope.event_id,
            "occurred_at": envelope.occurred_at,
            "actor": envelope.actor,
            "request_id": envelope.request_id,
            "trace_parent": envelope.trace_parent,
            "idempotency_key": envelope.idempotency_key,
            "type": kind,
            "event": event[kind],
        })
    })
}
