//! Options of `collection`, `term-list`, `takedown` and `reinstate`.

use clap::{Args, Subcommand};

use super::ServerOptions;

const CODES: &str = "Exit codes:\n  0  done\n  1  failed\n  2  usage, or a mistake in what is sent\n  3  not found\n  \
                     5  conflict\n  7  unavailable\n130  interrupted";

#[derive(Subcommand)]
#[command(after_long_help = CODES)]
pub(crate) enum CollectionCommand {
    /// Applies a definition. Every mistake is named.
    #[command(after_long_help = CODES)]
    Apply {
        /// The definition, as TOML or JSON; - is standard input.
        file: String,
        /// Why; it is kept and shown.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Checks it, and shows which revision it would be. Nothing is recorded.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Checks a definition without a server, except for term lists.
    #[command(after_long_help = CODES)]
    Lint {
        /// The definition, as TOML or JSON; - is standard input.
        file: String,
    },
    /// Shows a collection: each value of its newest definition, and where that comes from.
    #[command(after_long_help = CODES)]
    Show {
        /// The collection.
        collection: String,
        /// Shows a revision as it was applied.
        #[arg(long, value_name = "NUMBER")]
        revision: Option<u64>,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Shows all collections.
    #[command(after_long_help = CODES)]
    List(ServerOptions),
}

#[derive(Subcommand)]
#[command(after_long_help = CODES)]
pub(crate) enum TermListCommand {
    /// Sets a list: one term a line. Definitions that follow it get another revision each.
    #[command(after_long_help = CODES)]
    Set {
        /// The list.
        list: String,
        /// The terms; - is standard input.
        file: String,
        /// Why; it is kept and shown.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Shows a list with its terms.
    #[command(after_long_help = CODES)]
    Show {
        /// The list.
        list: String,
        /// A revision; the newest one if left out.
        #[arg(long, value_name = "NUMBER")]
        revision: Option<u64>,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// Shows all lists.
    #[command(after_long_help = CODES)]
    List(ServerOptions),
}

#[derive(Args)]
#[command(after_long_help = CODES)]
pub(crate) struct TakedownOptions {
    /// The collection.
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: String,
    /// The id of a record; may be given several times.
    #[arg(long = "id", value_name = "ID", required_unless_present = "conditions")]
    pub(crate) ids: Vec<String>,
    /// A value that records must have, in place of ids; may be given several times. The value is JSON, or else a text.
    #[arg(long = "where", value_name = "FIELD=VALUE", conflicts_with = "ids")]
    pub(crate) conditions: Vec<String>,
    /// Why; it is kept and shown.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// How many records this must take down; another number is refused.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) expect: Option<u64>,
    /// Shows which records would be taken down. Nothing is recorded.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Args)]
#[command(after_long_help = CODES)]
pub(crate) struct ReinstateOptions {
    /// The collection.
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: String,
    /// The id of a record; may be given several times.
    #[arg(long = "id", value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

impl CollectionCommand {
    /// The server that it asks; `None` if it asks none.
    pub(crate) const fn server(&self) -> Option<&ServerOptions> {
        match self {
            Self::Apply { server, .. } | Self::Show { server, .. } | Self::List(server) => Some(server),
            Self::Lint { .. } => None,
        }
    }
}

impl TermListCommand {
    pub(crate) const fn server(&self) -> &ServerOptions {
        match self {
            Self::Set { server, .. } | Self::Show { server, .. } | Self::List(server) => server,
        }
    }
}
