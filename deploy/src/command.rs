//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Settings;

/// An event-sourced metadata platform: writes are events on a log, tables are built from them.
///
/// Without options, `daybook serve` keeps everything in ./daybook-data and serves Metaflow's metadata API on
/// 127.0.0.1:8080. Every option can also stand in the environment (DAYBOOK_LISTEN for --listen, and so on) or in the TOML
/// file that --config names; the command line wins over the environment, that over the file. Metaflow's own MF_METADATA_*
/// variables are honoured where no DAYBOOK_* one is set.
#[derive(Debug, Parser)]
#[command(name = "daybook", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves the API and applies the log to the tables (roles: api, projector).
    ///
    /// Examples:
    ///   daybook serve
    ///   daybook serve --log kafka://broker:9092 --tables postgres://user:password@host/db
    ///   daybook serve --roles projector --log kafka://broker:9092 --tables postgres://host/db
    #[command(verbatim_doc_comment)]
    Serve,
    /// Shows what a running daybook is doing.
    Status(StatusOptions),
    /// Searches flows, runs, steps, tasks and artifacts.
    ///
    /// QUERY is words, all of which must be found: field:word, prefix*, "phrases", -not, OR, parentheses.
    /// Fields are type, flow, run, step, task, artifact, user, tag, status, metadata.
    /// Put it in quotes, and -- before one that begins with -.
    ///
    /// Examples:
    ///   daybook search 'tag:nightly user:ann -status:completed'
    ///   daybook search --type run --status failed --from=-7d --sort=-created_at
    #[command(verbatim_doc_comment)]
    Search(SearchOptions),
    /// Shows the events of the log, decoded, one JSON object a line.
    #[command(subcommand)]
    Log(LogCommand),
    /// Shows the records that could not be applied, and why.
    ///
    /// Such a record stays in the log, and everything else flows. The way out is a version of the program that can apply
    /// it, and tables that it builds from the log.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// All of them, a line each: position, key, bytes, reason.
    List(StatusOptions),
    /// One of them whole, with the beginning of its value in hexadecimal.
    Show {
        /// Where it stands, as in events/3@1042.
        position: String,
        #[command(flatten)]
        options: StatusOptions,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    /// Where it serves; the configured listen address if left out.
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Prints JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SearchOptions {
    /// What is looked for; everything if left out.
    pub(crate) query: Vec<String>,
    /// Only this type: flow, run, step, task, artifact; may be given several times.
    #[arg(long = "type")]
    pub(crate) types: Vec<String>,
    /// Only this flow; may be given several times.
    #[arg(long = "flow")]
    pub(crate) flows: Vec<String>,
    /// Only what this user owns; may be given several times.
    #[arg(long = "user")]
    pub(crate) users: Vec<String>,
    /// Only what has this tag; may be given several times, and all are demanded.
    #[arg(long = "tag")]
    pub(crate) tags: Vec<String>,
    /// Only what went this way: running, completed, failed; may be given several times.
    #[arg(long = "status")]
    pub(crate) statuses: Vec<String>,
    /// Only what was registered at or after this: 2026-11-26, 2026-11-26T18:00:00Z, milliseconds since 1970, or an age as in -7d.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// Only what was registered before this.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
    /// The order: relevance, created_at, run, flow, user, type, status; - before it reverses it.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// How many hits to show, at most 500.
    #[arg(long, default_value_t = 20)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) options: StatusOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// All events, from the first to where the log ends now.
    Cat(LogFilter),
    /// The newest events; with --follow, new ones as they come.
    Tail {
        /// How many of the newest records of each partition to look at.
        #[arg(short = 'n', long, default_value_t = 10)]
        records: i64,
        /// Goes on with new events until interrupted.
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        filter: LogFilter,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct LogFilter {
    /// Only records of this key: for most events, the name of the flow.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Only events of this type, as in RunStarted; may be given several times.
    #[arg(long = "type")]
    pub(crate) types: Vec<String>,
    /// Only events recorded at or after this time, in milliseconds since 1970.
    #[arg(long)]
    pub(crate) since: Option<i64>,
    /// Only events recorded before this time, in milliseconds since 1970.
    #[arg(long)]
    pub(crate) until: Option<i64>,
    /// Which topic to read.
    #[arg(long, value_enum, default_value_t = TopicChoice::All)]
    pub(crate) topic: TopicChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopicChoice {
    /// Both.
    All,
    /// Everything but heartbeats.
    Events,
    /// Heartbeats.
    Heartbeats,
}
