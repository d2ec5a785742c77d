//! The command line. Each command has only its own options: those that open stores and `config` take settings, the others
//! name a running server.

mod collection;
mod generations;
mod help;
mod refresh;

use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use self::{
    collection::{CollectionCommand, ReinstateOptions, TakedownOptions, TermListCommand},
    generations::{Change, GenerationsCommand, MigrationCommand, MigrationOptions, OfDomain, OnlyPart, RebuildOptions},
    refresh::{OfCollection, RefreshChange, RefreshCommand, RefreshOptions, RetryOptions},
};
use crate::{
    config::{Everything, Flags, LogOnly},
    domains::{Domain, import::Format},
};

/// An event-sourced metadata platform: writes are events on a log, tables are built from them.
///
/// Without options, `daybook serve` keeps everything in ./daybook-data and serves its API on 127.0.0.1:8080. `serve`,
/// `worker`, `prepare`, `log` and `config` take settings: options, DAYBOOK_* variables, or a TOML file. All other
/// commands talk to a running server.
#[derive(Parser)]
#[command(name = "daybook", version, max_term_width = 110, after_long_help = help::DAYBOOK)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The command line of this process. Ends the process if it is not valid, or asks for help.
    pub(crate) fn read(domains: &[Domain]) -> Self {
        Self::from_arg_matches(&Self::of_domains(domains).get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// The command line, with the fields of these domains in the help of `search`.
    fn of_domains(domains: &[Domain]) -> clap::Command {
        let end = format!("{}\n{}", help::fields(domains), help::SEARCH);
        Self::command().mut_subcommand("search", |search| search.after_long_help(end))
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serves the API and applies the log to the tables.
    ///
    /// Each option can also be given as a DAYBOOK_* variable (DAYBOOK_LISTEN for --listen) or in the file that
    /// --config names. The command line takes precedence over the environment, and the environment over the file.
    #[command(after_long_help = help::SERVE)]
    Serve(Flags<Everything>),
    /// Lends this process to the rebuilds of a deployment on Kafka and PostgreSQL.
    ///
    /// It applies records of generations that are being built, and answers no requests. It may join and leave at any
    /// time. Settings are those of `serve`, for the same stores.
    #[command(after_long_help = help::WORKER)]
    Worker {
        /// Ends after so long without a rebuild: a number and s, m or h, as in 5m. Left out: works until it is stopped.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        until_idle: Option<Duration>,
        #[command(flatten)]
        flags: Flags<Everything>,
    },
    /// Fills the tables and the index of this release while an older one runs on embedded stores.
    ///
    /// The start of this release then only catches up with what was written since. It can be interrupted and repeated: it
    /// goes on where it was.
    #[command(after_long_help = help::PREPARE)]
    Prepare(Flags<Everything>),
    /// Shows what a running daybook is doing.
    #[command(after_long_help = help::STATUS)]
    Status(ServerOptions),
    /// Searches what is recorded.
    ///
    /// QUERY is words, all of which must be found: field:word, prefix*, "phrases", -not, OR, parentheses.
    /// Quote the query for the shell, and write -- before one that begins with a hyphen.
    Search(SearchOptions),
    /// Shows the events of the log, decoded.
    ///
    /// It opens the log itself, and works beside a running server.
    #[command(subcommand, after_long_help = help::LOG)]
    Log(LogCommand),
    #[command(flatten)]
    OfCollections(OfCollections),
    /// Shows the records that could not be applied, and why.
    ///
    /// Such a record remains in the log, and all others are applied. To resolve it, run a version that can apply it,
    /// with tables that this version builds from the log.
    #[command(subcommand, after_long_help = help::QUARANTINE)]
    Quarantine(QuarantineCommand),
    /// Builds a new generation of tables and search from the log, beside the live one.
    ///
    /// Everything keeps serving. The new generation is compared with the live one before it can take its place. The
    /// rebuild goes on if this command is interrupted, and if the server restarts.
    #[command(after_long_help = help::REBUILD)]
    Rebuild(RebuildOptions),
    /// Shows, promotes, cancels and retires generations.
    ///
    /// What changes something shows what it will do and asks first, or takes --yes.
    #[command(subcommand, after_long_help = help::GENERATIONS)]
    Generations(GenerationsCommand),
    /// Asks the API of migrations, for scripts that migrate schemas: a migration is a rebuild.
    #[command(subcommand, after_long_help = help::MIGRATION)]
    Migration(MigrationCommand),
    /// Shows and checks settings.
    #[command(subcommand, after_long_help = help::CONFIG)]
    Config(ConfigCommand),
}

/// The commands about collections.
#[derive(Subcommand)]
pub(crate) enum OfCollections {
    /// Imports records of a collection.
    #[command(subcommand, after_long_help = help::IMPORT)]
    Import(ImportCommand),
    /// Applies, checks and shows definitions of collections.
    #[command(subcommand)]
    Collection(CollectionCommand),
    /// Sets and shows lists of terms, which definitions of collections refer to.
    #[command(subcommand)]
    TermList(TermListCommand),
    /// Takes records of a collection down: readers and searches do not see them, whatever is written later.
    Takedown(TakedownOptions),
    /// Reinstates records that were taken down.
    Reinstate(ReinstateOptions),
    /// Refreshes a collection: imports what has changed, and builds its next generation beside the live one.
    ///
    /// What changes something shows what it will do and asks first, or takes --yes.
    #[command(subcommand, after_long_help = help::REFRESH)]
    Refresh(RefreshCommand),
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Shows the settings in effect; passwords are masked.
    #[command(after_long_help = help::CONFIG_SHOW)]
    Show {
        /// Shows where each value comes from: command line, environment variable, file and line, default.
        #[arg(long)]
        origin: bool,
        /// Prints JSON on a terminal, too.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: Flags<Everything>,
    },
    /// Checks the settings and reports every fault.
    #[command(after_long_help = help::CONFIG_CHECK)]
    Check(Flags<Everything>),
    /// Prints a TOML file with every setting, commented out, with its default and help.
    #[command(after_long_help = help::CONFIG_EXAMPLE)]
    Example,
}

#[derive(Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Shows all of them: position, key, bytes, reason.
    #[command(after_long_help = help::QUARANTINE_LIST)]
    List(ServerOptions),
    /// Shows one of them, with the beginning of its value in hexadecimal.
    #[command(after_long_help = help::QUARANTINE_SHOW)]
    Show {
        /// Its position, as `daybook quarantine list` shows it.
        position: String,
        #[command(flatten)]
        server: ServerOptions,
    },
}

impl QuarantineCommand {
    pub(crate) const fn server(&self) -> &ServerOptions {
        match self {
            Self::List(server) | Self::Show { server, .. } => server,
        }
    }
}

/// A time as people write it: 30s, 5m, 2h.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a number and s, m or h, as in 5m");
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let count: u32 = count.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

/// Which server, and how its answer is printed.
#[derive(Args)]
pub(crate) struct ServerOptions {
    /// URL of the running daybook.
    #[arg(long = "server", value_name = "URL", help = help::SERVER)]
    pub(crate) server: Option<String>,
    /// Prints JSON on a terminal, too.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct SearchOptions {
    /// What to look for; everything if left out.
    pub(crate) query: Vec<String>,
    /// The domain to search; the first one below if left out.
    #[arg(long, value_name = "NAME")]
    pub(crate) domain: Option<String>,
    /// Only what has this value in this field; may be given several times. One of several values of a field is enough,
    /// unless it says `all` below.
    #[arg(long = "filter", value_name = "FIELD=VALUE", value_parser = Filter::parse)]
    pub(crate) filters: Vec<Filter>,
    /// Only what was registered at or after this: 2026-11-26, 2026-11-26T18:00:00Z, milliseconds since 1970, or an age
    /// as in -7d.
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only what was registered before this.
    #[arg(long, allow_hyphen_values = true, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// The field to sort by; a hyphen before it reverses the order. Left out: by relevance if there is a query, else the
    /// newest first.
    #[arg(long, allow_hyphen_values = true, value_name = "FIELD")]
    pub(crate) sort: Option<String>,
    /// How many hits to show, at most 500.
    #[arg(long, default_value_t = 20, value_name = "NUMBER")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

/// A field with a value that it must have.
#[derive(Clone)]
pub(crate) struct Filter {
    pub(crate) field: String,
    pub(crate) value: String,
}

impl Filter {
    fn parse(text: &str) -> Result<Self, String> {
        let (field, value) = text.split_once('=').ok_or("expected FIELD=VALUE")?;
        if value.is_empty() {
            return Err("the value is empty".to_owned());
        }
        Ok(Self { field: field.to_owned(), value: value.to_owned() })
    }
}

#[derive(Subcommand)]
pub(crate) enum ImportCommand {
    /// Imports the records of files, line by line.
    ///
    /// A record that is as the file says is not recorded again, so an import that was interrupted can be repeated. Files
    /// may be compressed with gzip or zstd. Records that are not in a file are left as they are.
    #[command(after_long_help = help::IMPORT_FILE)]
    File(ImportOptions),
}

#[derive(Args)]
pub(crate) struct ImportOptions {
    /// The files; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// The collection.
    #[arg(long, value_name = "NAME")]
    pub(crate) collection: String,
    /// How the files are written: ndjson, csv with a header, or tsv, PostgreSQL's text format with a header. Left out: as
    /// their names say.
    #[arg(long, value_name = "FORMAT", value_parser = Format::parse)]
    pub(crate) format: Option<Format>,
    /// Keeps the fields of a record that a line does not have.
    #[arg(long)]
    pub(crate) merge: bool,
    /// How many lines may be refused. With one more, the import ends.
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(crate) max_rejects: u64,
    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Subcommand)]
pub(crate) enum LogCommand {
    /// Shows all events, from the first to the current end of the log.
    #[command(after_long_help = help::LOG_CAT)]
    Cat(LogOptions),
    /// Shows the newest events; with --follow, new ones as they come.
    #[command(after_long_help = help::LOG_TAIL)]
    Tail {
        /// How many of the newest records of each partition to look at.
        #[arg(short = 'n', long, default_value_t = 10, value_name = "NUMBER")]
        records: i64,
        /// Goes on with new events until interrupted.
        #[arg(short, long)]
        follow: bool,
        #[command(flatten)]
        options: LogOptions,
    },
}

impl LogCommand {
    pub(crate) const fn options(&self) -> &LogOptions {
        match self {
            Self::Cat(options) | Self::Tail { options, .. } => options,
        }
    }
}

#[derive(Args)]
pub(crate) struct LogOptions {
    #[command(flatten)]
    pub(crate) filter: LogFilter,
    /// Prints JSON on a terminal, too.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<LogOnly>,
}

/// Which records are shown.
#[derive(Clone, Args)]
pub(crate) struct LogFilter {
    /// Only records of this key: for most events, the name of the flow.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Only events of this type, as in RunStarted; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only events recorded at or after this time, in milliseconds since 1970.
    #[arg(long, value_name = "MS")]
    pub(crate) since: Option<i64>,
    /// Only events recorded before this time, in milliseconds since 1970.
    #[arg(long, value_name = "MS")]
    pub(crate) until: Option<i64>,
    /// Only this topic of the log, by its short name as in positions; may be given several times.
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(crate) topics: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Golden, domains};

    fn check(command: &mut clap::Command, name: &str) {
        let text = command.render_long_help().to_string();
        let text: Vec<_> = text.lines().map(str::trim_end).collect();
        Golden::of(&format!("../tests/golden/help/{name}.txt")).check(&(text.join("\n") + "\n"));
        let names: Vec<_> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for subcommand in names.iter().filter(|name| *name != "help") {
            if let Some(command) = command.find_subcommand_mut(subcommand) {
                check(command, &format!("{name}_{subcommand}"));
            }
        }
    }

    #[test]
    fn each_command_s_help_is_the_one_that_was_reviewed() {
        let mut command = Cli::of_domains(domains::ALL).term_width(110).bin_name("daybook");
        command.build();
        check(&mut command, "daybook");
    }

    #[test]
    fn each_command_takes_its_own_options_only() {
        let parses = |line: &str| Cli::try_parse_from(line.split(' ')).is_ok();
        assert!(parses("daybook serve --log embedded --tables sqlite --requests-max 5 --path-prefix /x"));
        assert!(parses("daybook log tail -n 3 --follow --log embedded --data-dir x --topic y"));
        assert!(parses("daybook config show --origin --json --tables sqlite"));
        assert!(parses("daybook status --json --server http://x"));
        assert!(parses("daybook search --domain d --filter type=run --filter tag=a=b --sort=-created_at x"));
        assert!(parses(
            "daybook rebuild --domain d --name x --promote --quarantine --no-wait --json --server http://x"
        ));
        assert!(parses("daybook generations promote 2 --domain d --reason x --yes --json"));
        assert!(parses("daybook generations rollback --yes"));
        assert!(parses("daybook import file --collection c --format csv --merge --max-rejects 3 a b.gz --json"));
        assert!(
            parses("daybook collection apply image.toml --note x --dry-run") && parses("daybook collection lint -")
        );
        assert!(parses("daybook term-list set sensitive terms.txt") && parses("daybook term-list show s --revision 2"));
        assert!(parses("daybook takedown --collection c --id a --id b --reason x --expect 2 --dry-run"));
        assert!(parses("daybook takedown --collection c --where source=met --reason x"));
        assert!(parses("daybook reinstate --collection c --id a"));
        assert!(parses("daybook refresh start --collection c --max-rejects 3 --name x --promote a.csv b.csv --json"));
        assert!(parses("daybook refresh start --collection c --only search --no-promote --no-wait"));
        assert!(parses("daybook refresh report --collection c 2") && parses("daybook refresh retry --collection c"));
        assert!(parses("daybook refresh rollback --collection c --reason x --yes"));
        assert!(parses("daybook migration db-status --base-url http://x:8082 --json"));
        for line in [
            "daybook --log embedded serve",
            "daybook serve --server http://x",
            "daybook serve --json",
            "daybook status --log embedded",
            "daybook status --config x",
            "daybook status --url http://x",
            "daybook search --data-dir x",
            "daybook search --type run",
            "daybook search --filter run",
            "daybook search --filter run=",
            "daybook quarantine list --listen x",
            "daybook log cat --listen x",
            "daybook log cat --tables sqlite",
            "daybook import file --collection c",
            "daybook import file a.csv",
            "daybook import file --collection c --format parquet a",
            "daybook takedown --collection c --reason x",
            "daybook takedown --collection c --id a",
            "daybook takedown --collection c --id a --where b=c --reason x",
            "daybook reinstate --collection c",
            "daybook collection lint",
            "daybook refresh start",
            "daybook refresh start --collection c --promote --no-promote",
            "daybook refresh start --collection c --merge",
            "daybook refresh promote --collection c 2",
            "daybook rebuild --dry-run --no-wait",
            "daybook rebuild --attach d-2 --promote",
            "daybook rebuild --listen x",
            "daybook generations show",
            "daybook generations list --yes",
            "daybook generations promote two",
            "daybook migration upgrade --server http://x",
            "daybook config check --json",
            "daybook config example --log x",
        ] {
            assert!(!parses(line), "{line}");
        }
    }
}
