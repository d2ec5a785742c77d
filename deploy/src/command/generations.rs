//! Options of the commands about generations: `rebuild`, `generations` and `migration`.

use clap::{Args, Subcommand, ValueEnum};

use super::{ServerOptions, help};

#[derive(Args)]
pub(crate) struct RebuildOptions {
    /// The domain; if it is left out, the default one, which the status names.
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// Builds the index anew from the live tables, and replays nothing.
    #[arg(long, value_name = "PART", value_enum, conflicts_with_all = ["until", "attach"])]
    pub(crate) only: Option<OnlyPart>,
    /// What the new generation is called.
    #[arg(long, value_name = "LABEL")]
    pub(crate) name: Option<String>,
    /// Promotes the new generation as soon as it is ready.
    #[arg(long)]
    pub(crate) promote: bool,
    /// Builds the domain as it was then, for previews only: each partition ends before its first record that is later
    /// (2026-11-26T18:00:00Z, or -30m), or where a vector says (orders/0@1042,orders/1@7).
    #[arg(long, value_name = "TIME|VECTOR", allow_hyphen_values = true, conflicts_with = "promote")]
    pub(crate) until: Option<String>,
    /// Goes on if the new generation cannot apply a record that the live one has applied, and puts it in quarantine.
    #[arg(long)]
    pub(crate) quarantine: bool,
    /// Shows what would be rebuilt and why, how long it takes and the disk that it needs. Changes nothing.
    #[arg(long, conflicts_with_all = ["no_wait", "attach", "until"])]
    pub(crate) dry_run: bool,
    /// Returns as soon as the rebuild has begun.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Begins nothing, and shows the progress of a rebuild by its id: the domain, a hyphen, and its generation.
    #[arg(long, value_name = "ID", conflicts_with_all = ["domain", "name", "promote", "until", "quarantine", "no_wait"])]
    pub(crate) attach: Option<String>,
    /// URL of the running daybook.
    #[arg(long = "server", value_name = "URL", help = help::SERVER)]
    pub(crate) server: Option<String>,
    /// Prints a JSON object for each change, one a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A part that can be rebuilt alone.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnlyPart {
    Search,
}

impl OnlyPart {
    /// Its name over the API.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum GenerationsCommand {
    /// Shows all generations, also those that are gone.
    #[command(after_long_help = help::GENERATIONS_LIST)]
    List(OfDomain),
    /// Shows one generation, and what its verification found.
    #[command(after_long_help = help::GENERATIONS_SHOW)]
    Show {
        /// Its number.
        generation: i64,
        #[command(flatten)]
        of: OfDomain,
    },
    /// Makes a generation live that is ready, or that was live before.
    #[command(after_long_help = help::GENERATIONS_PROMOTE)]
    Promote {
        /// Its number.
        generation: i64,
        #[command(flatten)]
        change: Change,
    },
    /// Makes the previous generation live again. Nothing that was written since is lost.
    #[command(after_long_help = help::GENERATIONS_ROLLBACK)]
    Rollback(Change),
    /// Gives up a rebuild: its tables and its index are removed.
    #[command(after_long_help = help::GENERATIONS_CANCEL)]
    Cancel {
        /// The number of its generation.
        generation: i64,
        #[command(flatten)]
        change: Change,
    },
    /// Removes the previous generation. There is no way back to it then.
    #[command(after_long_help = help::GENERATIONS_RETIRE)]
    Retire {
        /// Its number.
        generation: i64,
        #[command(flatten)]
        change: Change,
    },
}

#[derive(Args)]
pub(crate) struct OfDomain {
    /// The domain; if it is left out, the default one, which the status names.
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// What every command takes that changes generations.
#[derive(Args)]
pub(crate) struct Change {
    #[command(flatten)]
    pub(crate) of: OfDomain,
    /// Why; it is kept and shown.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    /// Does not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

impl GenerationsCommand {
    pub(crate) const fn of(&self) -> &OfDomain {
        match self {
            Self::List(of) | Self::Show { of, .. } => of,
            Self::Promote { change, .. }
            | Self::Rollback(change)
            | Self::Cancel { change, .. }
            | Self::Retire { change, .. } => &change.of,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum MigrationCommand {
    /// Shows whether the live generation was built by the running program.
    #[command(after_long_help = help::MIGRATION_DB_STATUS)]
    DbStatus(MigrationOptions),
    /// Rebuilds and promotes if the live generation was built by another version, and waits for that.
    #[command(after_long_help = help::MIGRATION_UPGRADE)]
    Upgrade(MigrationOptions),
    /// Shows the version of the metadata service that fits the live generation.
    #[command(after_long_help = help::MIGRATION_METADATA_SERVICE_VERSION)]
    MetadataServiceVersion(MigrationOptions),
}

impl MigrationCommand {
    pub(crate) const fn options(&self) -> &MigrationOptions {
        match self {
            Self::DbStatus(options) | Self::Upgrade(options) | Self::MetadataServiceVersion(options) => options,
        }
    }
}

#[derive(Args)]
pub(crate) struct MigrationOptions {
    /// URL of the API of migrations.
    #[arg(long, value_name = "URL", help = help::BASE_URL)]
    pub(crate) base_url: Option<String>,
    /// Prints JSON on a terminal, too.
    #[arg(long)]
    pub(crate) json: bool,
}
