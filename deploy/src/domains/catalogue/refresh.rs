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
        Change, GenerationsCommand, ImportOptions, OfCollection, OfDomain, OnlyPart, RebuildOptions, RefreshChange,
        RefreshCommand, RefreshOptions, RetryOptions, ServerOptions,
    },
    config::Server,
    exit::{Code, Failure},
    generations_command,
    rebuild_command::{self, domain_query},
};

/// A generation as the API shows it.
#[derive(Debug, Clone, Deserialize)]
struct Generation {
    generation: i64,
    state: String,
    #[serde(default)]
    reason: String,
    /// Where it ends, if it shows the past: then it is no refresh.
    #[serde(default)]
    until: Option<String>,
    /// The state in which a deadline stopped it.
    #[serde(default)]
    stopped: Option<String>,
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
        RefreshCommand::Plan(_) => {
            let only = refreshes.changed_alone().await?;
            let planned = RebuildOptions { only, dry_run: true, ..refreshes.rebuild() };
            rebuild_command::run(server, &planned).await
        }
        RefreshCommand::Start(options) => refreshes.start(options).await,
        RefreshCommand::Retry(options) => refreshes.retry(options).await,
        RefreshCommand::Watch(_) => {
            let attach = Some(refreshes.newest_id().await?);
            rebuild_command::run(server, &RebuildOptions { attach, domain: None, ..refreshes.rebuild() }).await
        }
        RefreshCommand::Status(_) => {
            rebuild_command::status(server, &refreshes.newest_id().await?, of.server.json).await
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

    /// A rebuild of the collection, of everything.
    fn rebuild(&self) -> RebuildOptions {
        RebuildOptions {
            domain: Some(self.domain.clone()),
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

    /// The generations of the collection that do not show the past, oldest first.
    async fn all(&self) -> Result<Vec<Generation>> {
        let path = format!("/api/v1/generations{}", domain_query(Some(&self.domain)));
        let mut all: Vec<Generation> = ask(self.server, &path).await?;
        all.retain(|it| it.until.is_none());
        Ok(all)
    }

    /// The newest generation that is so.
    async fn find(&self, what: &str, is_so: impl Fn(&Generation) -> bool) -> Result<Generation> {
        let found = self.all().await?.into_iter().rev().find(is_so);
        let none = || Failure::new(Code::Conflict, format!("no refresh of {} is {what}", self.of.collection));
        Ok(found.ok_or_else(none)?)
    }

    /// The id of the newest refresh.
    async fn newest_id(&self) -> Result<String> {
        // The first generation was made with the collection.
        let newest = self.all().await?.into_iter().rev().find(|it| it.generation > 1);
        let none = || Failure::new(Code::NotFound, format!("{} was never refreshed", self.of.collection));
        Ok(format!("{}-{}", self.domain, newest.ok_or_else(none)?.generation))
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
            self.options(retry).await
        };
        let options = interruptible(import).await?;
        rebuild_command::run(self.server, &options).await
    }

    async fn retry(&self, options: &RetryOptions) -> Result<()> {
        let newest = self.all().await?.pop();
        let newest = newest.filter(|newest| ["failed", "cancelled"].contains(&newest.state.as_str()));
        let Some(newest) = newest else {
            let text = format!(
                "the newest refresh of {} did not fail and was not cancelled: `daybook refresh start` begins one",
                self.of.collection
            );
            return Err(Failure::new(Code::Conflict, text).into());
        };
        let is_resumed = newest.stopped.is_some() && options.only.is_none();
        let begin = async {
            if is_resumed { self.resume(newest.generation, options).await } else { self.options(options).await }
        };
        let options = interruptible(begin).await?;
        rebuild_command::run(self.server, &options).await
    }

    /// Lets a refresh go on that a deadline stopped. How it is shown.
    async fn resume(&self, generation: i64, options: &RetryOptions) -> Result<RebuildOptions> {
        let promote = (options.promote || options.no_promote).then_some(options.promote);
        let path = format!("/api/v1/generations/{generation}/resume{}", domain_query(Some(&self.domain)));
        let begun: Value = change(self.server, &path, &json!({"promote": promote})).await?;
        let promote = begun["promotes"] == true;
        let attach = Some(format!("{}-{generation}", self.domain));
        Ok(RebuildOptions { attach, domain: None, promote, no_wait: options.no_wait, ..self.rebuild() })
    }

    /// What is built: the index alone, if nothing else has changed since the live generation was built.
    async fn options(&self, options: &RetryOptions) -> Result<RebuildOptions> {
        let RetryOptions { only, name, no_wait, .. } = options;
        let promote = self.promotes(options).await?;
        let only = match only {
            Some(only) => Some(*only),
            None => self.changed_alone().await?,
        };
        Ok(RebuildOptions { only, name: name.clone(), promote, no_wait: *no_wait, ..self.rebuild() })
    }

    /// The only part that has changed, if it can be built alone.
    async fn changed_alone(&self) -> Result<Option<OnlyPart>> {
        let path = format!("/api/v1/rebuilds/plan{}", domain_query(Some(&self.domain)));
        let plan: Value = ask(self.server, &path).await?;
        let changed = plan["parts"].as_array().into_iter().flatten().filter(|part| part["changed"] == true);
        let changed: Vec<&Value> = changed.map(|part| &part["part"]).collect();
        Ok((changed == ["mapping"]).then_some(OnlyPart::Search))
    }

    /// Whether a generation is promoted as soon as it is ready: as the options say, or the newest definition.
    async fn promotes(&self, options: &RetryOptions) -> Result<bool> {
        if options.promote || options.no_promote {
            return Ok(options.promote);
        }
        Ok(self.setting("/promote").await? == "auto")
    }

    /// How long the newest definition allows an import to take.
    async fn import_max(&self) -> Result<Option<Period>> {
        Ok(self.setting("/deadline/import").await?.as_str().and_then(|text| text.parse().ok()))
    }

    /// A value of the table `refresh` of the newest definition.
    async fn setting(&self, pointer: &str) -> Result<Value> {
        let shown: Value = ask(self.server, &format!("/api/v1/collections/{}", self.of.collection)).await?;
        let value = shown["effective"]["refresh"].pointer(&format!("{pointer}/value"));
        Ok(value.cloned().unwrap_or_default())
    }

    async fn report(&self, generation: Option<i64>) -> Result<()> {
        let all = self.all().await?;
        let asked: Vec<&Generation> = match generation {
            Some(number) => all.iter().filter(|it| it.generation == number).collect(),
            None => all.iter().rev().filter(|it| it.generation > 1).collect(),
        };
        for found in asked {
            let path = format!("/api/v1/generations/{}/report{}", found.generation, domain_query(Some(&self.domain)));
            match ask(self.server, &path).await {
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
