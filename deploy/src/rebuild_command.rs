//! `daybook rebuild`: begins a rebuild on a running server, or plans one, and shows its progress until it has ended.
//!
//! The server rebuilds by itself: an interrupt ends only what is shown here. A server that restarts meanwhile is waited
//! for.

mod plan;
mod shown;

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use self::{plan::Plan, shown::Shown};
use crate::{
    ask::{accepted, ask, change},
    command::{OnlyPart, RebuildOptions},
    config::Server,
    exit::{Code, Failure},
    outage::Outage,
    output,
};

/// How long a server that does not answer is waited for.
const ABSENT_MAX: Duration = Duration::from_secs(300);
/// Between two attempts to reach it.
const RETRY: Duration = Duration::from_millis(500);
/// How long a server that answers may send nothing; it sends something every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Processes that have noted nothing for so long, before the newest note, do nothing any more.
const ACTIVE_MS: i64 = 30_000;

/// How far a rebuild is. Fields may be missing: the server may have another version.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Progress {
    rebuild: String,
    domain: String,
    generation: i64,
    state: String,
    percent: f64,
    events_per_second: Option<f64>,
    eta_seconds: Option<f64>,
    lag: Option<i64>,
    documents: Option<u64>,
    workers: Vec<WorkerProgress>,
    pause_percent: u32,
    promotes: bool,
    reason: String,
    /// The state in which a deadline stopped it.
    stopped: Option<String>,
}

/// What a process has done for it.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(default)]
struct WorkerProgress {
    instance: String,
    failure: Option<String>,
    at: i64,
}

impl Progress {
    /// The processes that have noted something lately, as seen from the newest note.
    fn active(&self) -> impl Iterator<Item = &WorkerProgress> {
        let newest = self.workers.iter().map(|worker| worker.at).max().unwrap_or(0);
        self.workers.iter().filter(move |worker| worker.at > newest - ACTIVE_MS)
    }

    /// Whether nothing more happens by itself.
    fn has_ended(&self) -> bool {
        match self.state.as_str() {
            "ready" => !self.promotes,
            state => ["live", "previous", "retired", "failed", "cancelled"].contains(&state),
        }
    }
}

pub(crate) async fn run(server: &Server, given: &RebuildOptions) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let begin = async {
        match &given.attach {
            Some(id) => ask::<Progress>(server, &format!("/api/v1/rebuilds/{}", encode(id))).await,
            None if given.dry_run => plan(server, given).await.map(|()| Progress::default()),
            None => begin(server, given).await,
        }
    };
    let begun = tokio::select! {
        begun = begin => begun?,
        _ = interrupt.recv() => return Err(Failure::interrupted().into()),
    };
    if given.dry_run {
        return Ok(());
    }
    let mut shown = Shown::new(given.json);
    shown.show(&begun)?;
    if given.no_wait {
        if !given.json {
            shown.say(&ways_back(&begun))?;
        }
        return Ok(());
    }
    let last = tokio::select! {
        last = follow(server, &begun, &mut shown) => last,
        _ = interrupt.recv() => Err(Failure::interrupted().into()),
    };
    shown.end()?;
    match last {
        Ok(last) => outcome(server, given, &last).await,
        Err(error) => {
            if matches!(code(&error), Some(Code::Interrupted | Code::Unavailable)) {
                output::tell(&format!("the rebuild goes on: {}", ways_back(&begun)));
            }
            Err(error)
        }
    }
}

/// Shows how far a rebuild is.
pub(crate) async fn status(server: &Server, id: &str, json: bool) -> Result<()> {
    let progress: Progress = ask(server, &format!("/api/v1/rebuilds/{}", encode(id))).await?;
    let mut shown = Shown::new(json);
    shown.show(&progress)?;
    shown.end()
}

async fn plan(server: &Server, given: &RebuildOptions) -> Result<()> {
    let only = format!("only={}", given.only.map_or("", OnlyPart::as_str));
    let domain = given.domain.as_deref().map(|domain| format!("&domain={}", encode(domain)));
    let path = format!("/api/v1/rebuilds/plan?{only}{}", domain.unwrap_or_default());
    show_plan(ask(server, &path).await?, given.json)
}

/// Shows what a rebuild would do.
pub(crate) fn show_plan(document: Value, json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    match json {
        true => output::write_document(&mut out, &serde_json::from_value::<Plan>(document)?),
        false => serde_json::from_value::<Plan>(document)?.write(&mut out),
    }
}

async fn begin(server: &Server, given: &RebuildOptions) -> Result<Progress> {
    let label = given.name.clone().unwrap_or_default();
    let until = given.until.as_deref().unwrap_or_default();
    let mut body =
        json!({"label": label, "promote": given.promote, "accept_quarantine": given.quarantine, "until": until});
    // Left out otherwise, for servers that do not know it.
    if let Some(only) = given.only {
        body["only"] = only.as_str().into();
    }
    change(server, &format!("/api/v1/rebuilds{}", domain_query(given.domain.as_deref())), &body).await
}

/// How to come back to a rebuild that goes on.
fn ways_back(begun: &Progress) -> String {
    let Progress { rebuild, domain, generation, .. } = begun;
    format!(
        "`daybook rebuild --attach {rebuild}` shows its progress, `daybook generations cancel {generation} --domain \
         {domain}` gives it up"
    )
}

/// Shows the progress of a rebuild until it has ended.
async fn follow(server: &Server, begun: &Progress, shown: &mut Shown) -> Result<Progress> {
    let mut outage = Outage::default();
    loop {
        let watched = watch(server, &begun.rebuild, &mut outage, shown).await;
        match watched {
            Ok(Some(last)) => return Ok(last),
            Ok(None) => outage.note_success(),
            Err(error) if code(&error) != Some(Code::Unavailable) => return Err(error),
            Err(error) => {
                let is_first = !outage.lasts();
                if outage.note_failure(Instant::now()) > ABSENT_MAX {
                    return Err(error);
                }
                if is_first {
                    shown.end()?;
                    output::tell(&format!("waiting for the server: {error:#}"));
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn code(error: &anyhow::Error) -> Option<Code> {
    error.downcast_ref::<Failure>().map(Failure::code)
}

/// Shows progress as the server sends it. What was sent last if the rebuild has ended; none if the server has.
async fn watch(server: &Server, id: &str, outage: &mut Outage, shown: &mut Shown) -> Result<Option<Progress>> {
    let client = Client::builder().connect_timeout(SILENCE_MAX).read_timeout(SILENCE_MAX).build()?;
    let sent = client.get(format!("{}/api/v1/rebuilds/{}/events", server.url, encode(id))).send().await;
    let mut answer = accepted(server, sent).await?;
    let (mut text, mut last) = (Vec::new(), None::<Progress>);
    // A server that ends cuts the answer off: it is asked again.
    while let Ok(Some(bytes)) = answer.chunk().await {
        outage.note_success();
        text.extend_from_slice(&bytes);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let Some(data) = line.strip_prefix(b"data: ") else { continue };
            let progress: Progress = serde_json::from_slice(data)?;
            shown.show(&progress)?;
            last = Some(progress);
        }
    }
    Ok(last.filter(Progress::has_ended))
}

/// Whether a rebuild that has ended is a success.
async fn outcome(server: &Server, given: &RebuildOptions, last: &Progress) -> Result<()> {
    let Progress { domain, generation, state, reason, stopped, .. } = last;
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let text = format!("generation {generation} of {domain} is {state}{because}");
    let (code, text) = match state.as_str() {
        "ready" if given.promote => {
            let again = format!("`daybook generations promote {generation} --domain {domain}` tries again");
            (Code::Conflict, format!("generation {generation} of {domain} is ready, and was not promoted; {again}"))
        }
        "ready" | "live" | "previous" | "retired" => return Ok(()),
        "cancelled" => (Code::Cancelled, text),
        _ if stopped.is_some() => (Code::Unavailable, format!("{text}; what was built is kept")),
        _ if is_different(server, last).await => {
            let look = format!("`daybook generations show {generation} --domain {domain}` shows the differences");
            (Code::Different, format!("{text}; {look}"))
        }
        _ => (Code::Failed, text),
    };
    Err(Failure::new(code, text).into())
}

/// Whether verification found differences.
async fn is_different(server: &Server, last: &Progress) -> bool {
    let path = format!("/api/v1/generations/{}/report{}", last.generation, domain_query(Some(&last.domain)));
    ask::<Value>(server, &path).await.is_ok_and(|report| report["passed"] == false)
}

/// A query string that names a domain, if one is given.
pub(crate) fn domain_query(domain: Option<&str>) -> String {
    domain.map(|domain| format!("?domain={}", encode(domain))).unwrap_or_default()
}

/// A text as part of a path or a query.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
