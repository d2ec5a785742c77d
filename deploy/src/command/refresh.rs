//! Options of `refresh`.

use clap::{Args, Subcommand, ValueEnum};

use super::{ServerOptions, help};
use crate::domains::import::Format;

#[derive(Subcommand)]
pub(crate) enum RefreshCommand {
    /// Shows what a refresh would build and why, how long it takes and the disk that it needs. Changes nothing.
    #[command(after_long_help = help::REFRESH_PLAN)]
    Plan(OfCollection),
    /// Imports files, if any are named, and builds the next generation of the collection with its newest definition.
    ///
    /// Everything keeps serving, and records may be written meanwhile. The new generation is verified, and held to the
    /// limits of the definition. It goes on if this command is interrupted, and if the server restarts.
    #[command(after_long_help = help::REFRESH_START)]
    Start(RefreshOptions),
    /// Shows how far the newest refresh is.
    #[command(after_long_help = help::REFRESH_STATUS)]
    Status(OfCollection),
    /// Shows the progress of the newest refresh until it has ended.
    #[command(after_long_help = help::REFRESH_WATCH)]
    Watch(OfCollection),
    /// Shows what a refresh counted: records and documents by source, before and after, what rules did, and limits.
    #[command(after_long_help = help::REFRESH_REPORT)]
    Report {
        /// Its generation; the newest one that was verified if left out.
        generation: Option<i64>,
        #[command(flatten)]
        of: OfCollection,
    },
    /// Makes the generation live that is ready: tables and search in one switch.
    #[command(after_long_help = help::REFRESH_PROMOTE)]
    Promote(RefreshChange),
    /// Gives up the refresh that is under way, or that a deadline stopped: what it has built is removed.
    #[command(after_long_help = help::REFRESH_CANCEL)]
    Cancel(RefreshChange),
    /// Goes on after a deadline, or begins again after a refresh that failed or was cancelled. What was imported is not
    /// imported again.
    #[command(after_long_help = help::REFRESH_RETRY)]
    Retry(RetryOptions),
    /// Makes the previous generation live again. Nothing that was written since is lost.
    #[command(after_long_help = help::REFRESH_ROLLBACK)]
    Rollback(RefreshChange),
    /// Shows all generations of the collection, also those that are gone.
    #[command(after_long_help = help::REFRESH_LIST)]
    List(OfCollection),
}

/// Which collection, and on which server.
#[derive(Args)]
pub(crate) struct OfCollection {
    /// The collection.
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: String,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Args)]
pub(crate) struct RefreshOptions {
    /// Files to import first; - is standard input. Without any, the generation is built from the log as it is.
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// How the files are written: ndjson, csv with a header, or tsv, PostgreSQL's text format with a header. Left out: as
    /// their names say.
    #[arg(long, value_name = "FORMAT", value_parser = Format::parse, requires = "files")]
    pub(crate) format: Option<Format>,
    /// Keeps the fields of a record that a line does not have.
    #[arg(long, requires = "files")]
    pub(crate) merge: bool,
    /// How many lines may be refused. With one more, nothing is built.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(crate) max_rejects: u64,
    #[command(flatten)]
    pub(crate) retry: RetryOptions,
}

#[derive(Args)]
pub(crate) struct RetryOptions {
    #[command(flatten)]
    pub(crate) of: OfCollection,
    /// Builds the index anew from the live tables, and replays nothing.
    #[arg(long, value_name = "PART", value_enum)]
    pub(crate) only: Option<RefreshPart>,
    /// What the new generation is called.
    #[arg(long, value_name = "LABEL")]
    pub(crate) name: Option<String>,
    /// Promotes the new generation as soon as it is ready. Left out: as `refresh.promote` of the definition says; one that
    /// goes on after a deadline: as it was begun.
    #[arg(long, conflicts_with = "no_promote")]
    pub(crate) promote: bool,
    /// Leaves the new generation ready, whatever the definition says.
    #[arg(long)]
    pub(crate) no_promote: bool,
    /// Returns as soon as the new generation is being built.
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// A part that can be built alone. The filtered search is a field of the one index.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RefreshPart {
    #[value(name = "index", aliases = ["filtered", "search"])]
    Index,
}

impl RefreshPart {
    /// Its name over the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
        }
    }
}

/// What every command takes that changes generations of a collection.
#[derive(Args)]
pub(crate) struct RefreshChange {
    #[command(flatten)]
    pub(crate) of: OfCollection,
    /// Why; it is kept and shown.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// Does not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

impl RefreshCommand {
    pub(crate) const fn of(&self) -> &OfCollection {
        match self {
            Self::Plan(of) | Self::Status(of) | Self::Watch(of) | Self::List(of) | Self::Report { of, .. } => of,
            Self::Start(options) => &options.retry.of,
            Self::Retry(options) => &options.of,
            Self::Promote(change) | Self::Cancel(change) | Self::Rollback(change) => &change.of,
        }
    }
}
