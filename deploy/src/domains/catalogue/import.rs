//! `daybook import file`: posts the records of files to a running server, body by body. Repeating it does no harm: a
//! record that is as the file says is not recorded again.

mod batches;
mod source;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use daybook_catalogue::definition::{identifier::Identifier, measures::Period};
use daybook_projector::backoff::Backoff;
use reqwest::{Client, RequestBuilder, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};

pub(crate) use self::batches::Format;
use self::{
    batches::{Batch, Batches},
    source::Source,
};
use crate::{
    ask::{accepted, cut_off},
    command::ImportOptions,
    config::Server,
    exit::{Code, Failure},
    output,
};

/// How long the server may take to answer one body.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// How often a body is sent, at most, if the server does not take it.
const TRIES_MAX: usize = 8;
/// The first and the longest pause between two tries.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// Refused lines that are listed, at most.
const REJECTS_SHOWN_MAX: usize = 1000;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(250);
/// Moves the cursor to the beginning of its line, and clears that.
const CLEAR: &str = "\r\u{1b}[2K";

/// A line that is refused.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Reject {
    #[serde(skip_deserializing)]
    file: String,
    line: u64,
    record_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    code: String,
    detail: String,
}

/// What the server says of a body.
#[derive(Debug, Deserialize)]
struct Taken {
    upserted: u64,
    unchanged: u64,
    rejected: u64,
    #[serde(default)]
    rejects: Vec<Reject>,
    #[serde(default)]
    ignored_fields: BTreeMap<String, u64>,
    #[serde(default)]
    absent_fields: BTreeMap<String, u64>,
    #[serde(default)]
    truncated: BTreeMap<String, u64>,
    #[serde(default)]
    positions: Vec<String>,
}

/// What was imported, in the order in which it is printed.
#[derive(Debug, Default, Serialize)]
struct Imported {
    collection: String,
    read: u64,
    upserted: u64,
    unchanged: u64,
    rejected: u64,
    rejects: Vec<Reject>,
    ignored_fields: BTreeMap<String, u64>,
    absent_fields: BTreeMap<String, u64>,
    truncated: BTreeMap<String, u64>,
    /// The last position of each partition.
    positions: BTreeMap<String, String>,
    seconds: f64,
}

/// Imports files. It fails once that has taken longer than `max`.
pub(crate) async fn run(server: &Server, options: &ImportOptions, max: Option<Period>) -> Result<()> {
    Identifier::parse(&options.collection)
        .map_err(|fault| Failure::new(Code::Usage, format!("--collection: {fault}")))?;
    let files = options.files.iter().map(|path| Ok((path, format_of(path, options)?))).collect::<Result<Vec<_>>>()?;
    let client = Client::builder().timeout(ANSWER_MAX).build()?;
    let imported = Imported { collection: options.collection.clone(), ..Imported::default() };
    let is_for_people = output::is_for_people(options.server.json);
    let mut import = Import { server, options, client, imported, shown: None, began: Instant::now(), is_for_people };
    let outcome = match max {
        None => import.files(files).await,
        Some(max) => {
            let imported = tokio::time::timeout(max.duration(), import.files(files)).await;
            imported.unwrap_or_else(|_| Err(late(max).into()))
        }
    };
    let printed = import.end();
    outcome.and(printed)
}

/// The failure of an import that took too long.
fn late(max: Period) -> Failure {
    let text = format!(
        "the import has passed the deadline import of {max}: what was counted here is recorded; repeat the command to go on"
    );
    Failure::new(Code::Unavailable, text)
}

/// The format that an option names, or the name of the file.
fn format_of(path: &str, options: &ImportOptions) -> Result<Format> {
    let unknown =
        || Failure::new(Code::Usage, format!("{path}: the name says no format; add --format ndjson, csv or tsv"));
    Ok(options.format.or_else(|| Format::of_path(path)).ok_or_else(unknown)?)
}

/// An import under way.
struct Import<'a> {
    server: &'a Server,
    options: &'a ImportOptions,
    client: Client,
    imported: Imported,
    /// When the progress was last shown.
    shown: Option<Instant>,
    began: Instant,
    is_for_people: bool,
}

impl Import<'_> {
    async fn files(&mut self, files: Vec<(&String, Format)>) -> Result<()> {
        for (path, format) in files {
            self.file(path, format).await.with_context(|| path.clone())?;
        }
        Ok(())
    }

    async fn file(&mut self, path: &str, format: Format) -> Result<()> {
        let source = Source::open(path).map_err(|error| Failure::because(Code::Usage, "cannot be opened", error))?;
        let (size, read) = (source.size, source.read);
        let mut batches = Batches::new(source.bytes, format)?;
        // Reading and decompressing a body takes milliseconds, and nothing else is to be done meanwhile.
        while let Some(batch) = batches.next()? {
            self.post(path, format, batch).await?;
            self.show(size, read.load(Ordering::Relaxed))?;
        }
        Ok(())
    }

    /// Sends the records of a body, and counts what comes of them.
    async fn post(&mut self, path: &str, format: Format, mut batch: Batch) -> Result<()> {
        self.imported.read += (batch.records() + batch.faults.len()) as u64;
        for fault in std::mem::take(&mut batch.faults) {
            let (code, detail) = (fault.code.to_owned(), fault.detail);
            self.reject(Reject { file: path.to_owned(), line: fault.line, code, detail, ..Reject::default() });
            self.imported.rejected += 1;
        }
        self.check_rejects()?;
        if batch.records() == 0 {
            return Ok(());
        }
        let taken = self.send(format, &batch).await?;
        for reject in taken.rejects {
            self.reject(Reject { file: path.to_owned(), line: batch.line_of_file(reject.line), ..reject });
        }
        let imported = &mut self.imported;
        imported.upserted += taken.upserted;
        imported.unchanged += taken.unchanged;
        imported.rejected += taken.rejected;
        add(&mut imported.ignored_fields, taken.ignored_fields);
        add(&mut imported.absent_fields, taken.absent_fields);
        add(&mut imported.truncated, taken.truncated);
        for position in taken.positions {
            let partition = position.split('@').next().unwrap_or_default().to_owned();
            imported.positions.insert(partition, position);
        }
        self.check_rejects()
    }

    /// The answer to a body. One that is not taken is sent again after a pause.
    async fn send(&self, format: Format, batch: &Batch) -> Result<Taken> {
        let allowed = self.options.max_rejects.saturating_sub(self.imported.rejected);
        let path = format!(
            "{}/api/v1/collections/{}/records:bulk?max_rejects={allowed}&merge={}",
            self.server.url, self.options.collection, self.options.merge
        );
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_LONGEST);
        for attempt in 1.. {
            let request = self.client.post(&path).header(CONTENT_TYPE, format.content_type()).body(batch.body.clone());
            match self.taken(request).await {
                Ok(taken) => return Ok(taken),
                Err(failure) if failure.code() == Code::Unavailable && attempt < TRIES_MAX => {
                    output::tell(&format!("{failure:#}; it is sent again"));
                    tokio::time::sleep(backoff.pause()).await;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// What the server says of one attempt.
    async fn taken(&self, request: RequestBuilder) -> Result<Taken, Failure> {
        let response = request.send().await;
        let is_refused = response.as_ref().is_ok_and(|response| response.status() == StatusCode::UNPROCESSABLE_ENTITY);
        let answer = match response {
            Ok(refused) if is_refused => refused,
            response => accepted(self.server, response).await?,
        };
        let body = answer.bytes().await.map_err(|error| cut_off(self.server, error))?;
        serde_json::from_slice(&body).map_err(|error| {
            let text = format!("the answer of {} is not that of a daybook server", self.server.shown());
            Failure::because(Code::Failed, text, error)
        })
    }

    fn reject(&mut self, reject: Reject) {
        if self.imported.rejects.len() < REJECTS_SHOWN_MAX {
            self.imported.rejects.push(reject);
        }
    }

    fn check_rejects(&self) -> Result<()> {
        let (rejected, allowed) = (self.imported.rejected, self.options.max_rejects);
        if rejected <= allowed {
            return Ok(());
        }
        let text = format!(
            "{rejected} lines are refused, and --max-rejects is {allowed}; the bodies before them are recorded"
        );
        Err(Failure::new(Code::Failed, text).into())
    }

    /// Shows the progress on a terminal.
    fn show(&mut self, size: u64, read: u64) -> Result<()> {
        if !self.is_for_people || self.shown.is_some_and(|shown| shown.elapsed() < PROGRESS) {
            return Ok(());
        }
        self.shown = Some(Instant::now());
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let left = match size {
            0 => String::new(),
            size => {
                let share = (read as f64 / size as f64).clamp(0.001, 1.0);
                format!("  {:.0} %  {:.0} s left", 100.0 * share, seconds / share - seconds)
            }
        };
        let rate = self.imported.read as f64 / seconds;
        let mut out = io::stdout().lock();
        write!(out, "{CLEAR}{}  {rate:.0}/s{left}", self.counts())?;
        Ok(out.flush()?)
    }

    fn counts(&self) -> String {
        let Imported { collection, read, upserted, unchanged, rejected, .. } = &self.imported;
        format!("{collection}: {read} read, {upserted} upserted, {unchanged} unchanged, {rejected} rejected")
    }

    /// Prints what was imported.
    fn end(&mut self) -> Result<()> {
        self.imported.seconds = (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let mut out = io::stdout().lock();
        if !self.is_for_people {
            return output::write_document(&mut out, &self.imported);
        }
        let begin = if out.is_terminal() { CLEAR } else { "" };
        writeln!(out, "{begin}{}, in {:.1} s", self.counts(), self.imported.seconds)?;
        let Imported { ignored_fields, absent_fields, truncated, .. } = &self.imported;
        let named = [("dropped", ignored_fields), ("absent, so null", absent_fields), ("shortened", truncated)];
        for (name, fields) in named {
            let fields: Vec<String> = fields.iter().map(|(field, count)| format!("{field} ({count})")).collect();
            if !fields.is_empty() {
                writeln!(out, "fields that are {name}: {}", fields.join(", "))?;
            }
        }
        for reject in &self.imported.rejects {
            let field = reject.field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default();
            let (line, detail) = (reject.line, output::cell(&reject.detail));
            writeln!(out, "{}:{line}: {field}{} ({detail})", reject.file, reject.code)?;
        }
        Ok(())
    }
}

fn add(counts: &mut BTreeMap<String, u64>, more: BTreeMap<String, u64>) {
    for (name, count) in more {
        *counts.entry(name).or_default() += count;
    }
}
