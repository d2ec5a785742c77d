//! `daybook log cat|tail`: shows the events of the log, decoded: as a table on a terminal, else as one JSON object a
//! line.

mod defined;
mod line;
mod newest;

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Result;
use daybook_ingest::log::{EventLog, ReadLimits, Reader, embedded, kafka::KafkaLog};
use daybook_schemas::{Topic, generic::SchemaSets, position::Vector};

use self::line::Line;
use crate::{
    command::{LogCommand, LogOptions},
    config::{Log, LogConfig},
    domains::Domain,
    exit::{Code, Failure},
    output,
};

/// Bounds of one read.
const LIMITS: ReadLimits =
    ReadLimits { records_max: 1000, bytes_max: 8 * 1024 * 1024, wait: Duration::from_millis(500) };

pub(crate) async fn run(config: LogConfig, domains: &[Domain], command: LogCommand) -> Result<()> {
    let (topics, schemas) = (Domain::topics_of(domains), Domain::schemas_of(domains));
    let source = match config.log {
        Log::Embedded => Source::Embedded(config.process.data_dir, topics),
        Log::Kafka(address) => Source::Kafka(Box::new(KafkaLog::open(address, &topics, false).await?)),
    };
    let (of_task, domains) = (schemas.clone(), domains.to_vec());
    let found = tokio::task::spawn_blocking(move || {
        let found = defined::topics(&source, &of_task, &domains)?;
        Ok::<_, anyhow::Error>((source, found))
    });
    let (mut source, found) = found.await??;
    source.add(found).await;
    tokio::task::spawn_blocking(move || print(&source, &schemas, &command)).await?
}

/// The log that the records are read from.
enum Source {
    Embedded(std::path::PathBuf, Vec<Topic>),
    Kafka(Box<KafkaLog>),
}

impl Source {
    /// Adds topics. One that is not there has no records to be shown.
    async fn add(&mut self, found: Vec<Topic>) {
        match self {
            Self::Embedded(_, topics) => topics.extend(found),
            Self::Kafka(log) => {
                for topic in found {
                    if let Err(error) = log.add_topics(&[topic], false).await {
                        tracing::warn!(error = %error, "topic {topic} is not shown: {error}");
                    }
                }
            }
        }
    }

    fn end(&self) -> Result<Vector> {
        Ok(match self {
            Self::Embedded(folder, topics) => embedded::end(folder, topics)?,
            Self::Kafka(log) => log.end(&log.topics())?,
        })
    }

    fn reader(&self, from: &Vector) -> Result<Box<dyn Reader>> {
        Ok(match self {
            Self::Embedded(folder, _) => embedded::open_reader(folder, from)?,
            Self::Kafka(log) => log.reader(from)?,
        })
    }
}

fn print(source: &Source, schemas: &SchemaSets, command: &LogCommand) -> Result<()> {
    let options = command.options();
    let end = of_topics(source.end()?, &options.filter.topics)?;
    let mut next = match command {
        LogCommand::Cat(_) => Vector(end.0.keys().map(|partition| (*partition, 0)).collect()),
        LogCommand::Tail { records, .. } => {
            newest::begin(|from| source.reader(from), &end, usize::try_from(*records).unwrap_or(0))?
        }
    };
    let follow = matches!(command, LogCommand::Tail { follow: true, .. });
    let mut reader = source.reader(&next)?;
    let mut out = io::stdout().lock();
    let for_people = begin(&mut out, options)?;
    while follow || !next.reaches(&end) {
        for record in reader.read(LIMITS)? {
            match Line::of(schemas, &record, &options.filter) {
                Some(line) if for_people => output::write_row(&mut out, &line::WIDTHS, &line.row())?,
                Some(line) => output::write_line(&mut out, &line)?,
                None => {}
            }
        }
        next = reader.reached();
        out.flush()?;
    }
    Ok(())
}

/// The partitions of the selected topics; all partitions if none is selected.
fn of_topics(mut end: Vector, topics: &[String]) -> Result<Vector> {
    let mut names: Vec<_> = end.0.keys().map(|partition| partition.topic.to_string()).collect();
    names.dedup();
    if let Some(unknown) = topics.iter().find(|topic| !names.contains(topic)) {
        let text = format!("the log has no topic {unknown:?}; it has {}", names.join(", "));
        return Err(Failure::new(Code::NotFound, text).into());
    }
    end.0.retain(|partition, _| topics.is_empty() || topics.contains(&partition.topic.to_string()));
    Ok(end)
}

/// Writes the head of the table, if the output is one.
fn begin(out: &mut impl Write, options: &LogOptions) -> Result<bool> {
    let for_people = output::is_for_people(options.json);
    if for_people {
        output::write_row(out, &line::WIDTHS, &line::HEAD.map(str::to_owned))?;
    }
    Ok(for_people)
}
