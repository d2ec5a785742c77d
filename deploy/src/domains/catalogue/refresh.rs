//! `daybook refresh`: a refresh of a collection is an import of what has changed, and a rebuild with the newest definition.

mod report;

use anyhow::Result;
use daybook_catalogue::{
    definition::{identifier::Identifier, measures::Period},
    records::events::domain_name,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::import;
use crate::{
    ask::{ask, change},
    command::{
        Change, GenerationsCommand, ImportOptions, OfCollection, OfDomain, RebuildOptions, RefreshChange,
        RefreshCommand, RefreshOptions, RetryOptions, ServerOptions,
    },
    config::Server,
    exit::{Code, Failure},
    generations_command, rebuild_command,
};

const REFRESHES: &str = "/api/v1/refreshes";

/// The generation of a refresh as the API shows it.
#[derive(Debug, Clone, Deserialize)]
struct Generation {
    rebuild: String,
    generation: i64,
    state: String,
    #[serde(default)]
    reason: String,
    /// The state in which a deadline stopped it.
    #[serde(default)]
    stopped: Option<String>,
}

/// A refresh that was begun.
#[derive(Debug, Deserialize)]
struct Begun {
    /// Its id.
    rebuild: String,
    promotes: bool,
}

impl Generation {
    fn is_under_way(&self) -> bool {
        ["planned", "loading", "indexing", "tailing", "verifying", "ready"].contains(&self.state.as_str())
    }
}

pub(crate) async fn run(server: &Server, command: &RefreshCommand) -> Result<()> {
    let of = command.of();
    Identifier::parse(&of.collection).map_err(|fault| Failure::new(Code::Usage, format!("--collection: {fault}")))?;
    let refreshes = Refreshes { server, of, domain: domain_name(&of.collection) };
    match command {
        RefreshCommand::Plan(_) => refreshes.plan().await,
        RefreshCommand::Start(options) => refreshes.start(options).await,
        RefreshCommand::Retry(options) => refreshes.retry(options).await,
        RefreshCommand::Watch(_) => {
            let attach = Some(refreshes.newest().await?.rebuild);
            rebuild_command::run(server, &RebuildOptions { attach, ..refreshes.rebuild() }).await
        }
        RefreshCommand::Status(_) => {
            rebuild_command::status(server, &refreshes.newest().await?.rebuild, of.server.json).await
        }
        RefreshCommand::Report { generation, .. } => refreshes.report(*generation).await,
        RefreshCommand::Promote(change) => {
            let ready = refreshes.find("ready to be promoted", |it| it.state == "ready").await?;
            let change = refreshes.change(change);
            refreshes.generations(GenerationsCommand::Promote { generation: ready.generation, change }).await
        }
        RefreshCommand::Cancel(change) => {
            let can_be_cancelled = |it: &Generation| it.is_under_way() || it.stopped.is_some();
            let under_way = refreshes.find("under way", can_be_cancelled).await?;
            let change = refreshes.change(change);
            refreshes.generations(GenerationsCommand::Cancel { generation: under_way.generation, change }).await
        }
        RefreshCommand::Rollback(change) => {
            refreshes.generations(GenerationsCommand::Rollback(refreshes.change(change))).await
        }
        RefreshCommand::List(_) => refreshes.generations(GenerationsCommand::List(refreshes.of_domain())).await,
    }
}

/// Does what comes before a rebuild, unless it is interrupted.
async fn interruptible<T>(first: impl Future<Output = Result<T>>) -> Result<T> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = first => done,
        _ = interrupt.recv() => Err(Failure::interrupted().into()),
    }
}

/// The refreshes of one collection.
struct Refreshes<'a> {
    server: &'a Server,
    of: &'a OfCollection,
    domain: String,
}

impl Refreshes<'_> {
    fn server_options(&self) -> ServerOptions {
        ServerOptions { server: self.of.server.server.clone(), json: self.of.server.json }
    }

    fn of_domain(&self) -> OfDomain {
        OfDomain { domain: Some(self.domain.clone()), server: self.server_options() }
    }

    fn change(&self, given: &RefreshChange) -> Change {
        Change { of: self.of_domain(), reason: given.reason.clone(), yes: given.yes }
    }

    /// How a rebuild is shown, once it is named.
    fn rebuild(&self) -> RebuildOptions {
        RebuildOptions {
            domain: None,
            only: None,
            name: None,
            promote: false,
            until: None,
            quarantine: false,
            dry_run: false,
            no_wait: false,
            attach: None,
            server: self.of.server.server.clone(),
            json: self.of.server.json,
        }
    }

    async fn generations(&self, command: GenerationsCommand) -> Result<()> {
        generations_command::run(self.server, &command).await
    }

    /// The refreshes of the collection, newest first.
    async fn all(&self) -> Result<Vec<Generation>> {
        ask(self.server, &format!("{REFRESHES}?collection={}", self.of.collection)).await
    }

    /// The newest refresh that is so.
    async fn find(&self, what: &str, is_so: impl Fn(&Generation) -> bool) -> Result<Generation> {
        let found = self.all().await?.into_iter().find(is_so);
        let none = || Failure::new(Code::Conflict, format!("no refresh of {} is {what}", self.of.collection));
        Ok(found.ok_or_else(none)?)
    }

    /// The newest refresh.
    async fn newest(&self) -> Result<Generation> {
        let newest = self.all().await?.into_iter().next();
        let none = || Failure::new(Code::NotFound, format!("{} was never refreshed", self.of.collection));
        Ok(newest.ok_or_else(none)?)
    }

    async fn plan(&self) -> Result<()> {
        let body = json!({"collection": self.of.collection, "dry_run": true});
        let plan = interruptible(change(self.server, REFRESHES, &body)).await?;
        rebuild_command::show_plan(plan, self.of.server.json)
    }

    async fn start(&self, options: &RefreshOptions) -> Result<()> {
        let RefreshOptions { files, format, merge, max_rejects, retry } = options;
        if let Some(other) = self.all().await?.iter().find(|it| it.is_under_way()) {
            let Generation { generation, state, .. } = other;
            let text = format!(
                "a refresh of {} is under way: generation {generation} is {state}; promote or cancel it first",
                self.of.collection
            );
            return Err(Failure::new(Code::Conflict, text).into());
        }
        let import = async {
            if !files.is_empty() {
                let options = ImportOptions {
                    files: files.clone(),
                    collection: self.of.collection.clone(),
                    format: *format,
                    merge: *merge,
                    max_rejects: *max_rejects,
                    server: self.server_options(),
                };
                import::run(self.server, &options, self.import_max().await?).await?;
            }
            let mut body = body_of(retry);
            body["collection"] = self.of.collection.as_str().into();
            self.begin(REFRESHES, &body, retry).await
        };
        let options = interruptible(import).await?;
        rebuild_command::run(self.server, &options).await
    }

    async fn retry(&self, options: &RetryOptions) -> Result<()> {
        let newest = self.all().await?.into_iter().next();
        let newest = newest.filter(|newest| ["failed", "cancelled"].contains(&newest.state.as_str()));
        let Some(newest) = newest else {
            let text = format!(
                "the newest refresh of {} did not fail and was not cancelled: `daybook refresh start` begins one",
                self.of.collection
            );
            return Err(Failure::new(Code::Conflict, text).into());
        };
        let (path, body) = (format!("{REFRESHES}/{}/retry", newest.rebuild), body_of(options));
        let options = interruptible(self.begin(&path, &body, options)).await?;
        rebuild_command::run(self.server, &options).await
    }

    /// Begins a refresh, or lets one go on. How it is shown.
    async fn begin(&self, path: &str, body: &Value, options: &RetryOptions) -> Result<RebuildOptions> {
        let Begun { rebuild, promotes } = change(self.server, path, body).await?;
        Ok(RebuildOptions { attach: Some(rebuild), promote: promotes, no_wait: options.no_wait, ..self.rebuild() })
    }

    /// How long the newest definition allows an import to take.
    async fn import_max(&self) -> Result<Option<Period>> {
        let shown: Value = ask(self.server, &format!("/api/v1/collections/{}", self.of.collection)).await?;
        let max = &shown["effective"]["refresh"]["deadline"]["import"]["value"];
        Ok(max.as_str().and_then(|text| text.parse().ok()))
    }

    async fn report(&self, generation: Option<i64>) -> Result<()> {
        let all = self.all().await?;
        let asked: Vec<&Generation> = match generation {
            Some(number) => all.iter().filter(|it| it.generation == number).collect(),
            None => all.iter().collect(),
        };
        for found in asked {
            match ask(self.server, &format!("{REFRESHES}/{}/report", found.rebuild)).await {
                Ok(report) => return report::print(&self.domain, found, &report, self.of.server.json),
                Err(error) if error.downcast_ref::<Failure>().is_some_and(|it| it.code() == Code::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        let which = generation.map_or_else(|| "no generation".to_owned(), |number| format!("generation {number}"));
        let text = match generation {
            Some(_) => format!("{which} of {} was not verified, or does not exist", self.of.collection),
            None => format!("{which} of {} was verified yet", self.of.collection),
        };
        Err(Failure::new(Code::NotFound, text).into())
    }
}

/// What the options ask of a refresh. What they leave out follows from the collection.
fn body_of(options: &RetryOptions) -> Value {
    let mut body = json!({"label": options.name.as_deref().unwrap_or_default()});
    if let Some(only) = options.only {
        body["only"] = only.as_str().into();
    }
    if options.promote || options.no_promote {
        let promote = if options.promote { "auto" } else { "manual" };
        body["promote"] = promote.into();
    }
    body
}
