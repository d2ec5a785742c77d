//! The program `daybook`: one command for each goal. Only this crate reads configuration, and it wires all parts.
//!
//! It is a library, so that a program with more domains can use the same parts: [`run`] takes the list of domains.

mod ask;
mod canaries;
mod command;
mod config;
mod config_command;
mod defining;
pub mod domains;
mod exit;
mod generations_command;
mod listener;
mod log_command;
mod migration_command;
mod outage;
mod output;
mod prepare_command;
mod quarantine_command;
mod rebuild_command;
mod running;
mod search_command;
mod serve;
mod start;
mod status_command;
mod telemetry;
mod wire;
mod worker;

use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

use crate::{
    command::{Cli, CollectionCommand, Command, ImportCommand, OfCollections, RefreshCommand, ServerOptions},
    config::{Config, Environment, Everything, Flags, Server},
    domains::Domain,
    exit::Failure,
};

/// Runs the command line with these domains.
pub fn run(domains: &[Domain]) -> ExitCode {
    exit::report(run_command(Cli::read(domains).command, domains, &Environment::of_process()))
}

fn run_command(command: Command, domains: &[Domain], environment: &Environment) -> Result<()> {
    match command {
        Command::Serve(flags) => long_running(serve::run(configured(&flags, environment, domains)?, domains)),
        Command::Worker { until_idle, flags } => {
            long_running(worker::run(configured(&flags, environment, domains)?, domains, until_idle))
        }
        Command::Prepare(flags) => {
            interruptible(prepare_command::run(configured(&flags, environment, domains)?, domains))
        }
        Command::Log(command) => {
            let loaded = config::load(&command.options().flags.given, environment);
            let config = config::check_log(&loaded).map_err(Failure::of_faults)?;
            telemetry::start(&config.telemetry, &loaded.warnings);
            interruptible(log_command::run(config, domains, command))
        }
        Command::Config(command) => config_command::run(&command, domains, environment),
        Command::Status(options) => {
            let server = server(&options, environment)?;
            interruptible(status_command::run(&server, options.json))
        }
        Command::Search(options) => {
            let server = server(&options.server, environment)?;
            interruptible(search_command::run(&server, domains, &options))
        }
        Command::Rebuild(options) => {
            let server = Server::check(options.server.as_deref(), environment).map_err(Failure::of_faults)?;
            // It says what goes on when it is interrupted.
            runtime()?.block_on(rebuild_command::run(&server, &options))
        }
        Command::Generations(command) => {
            let server = server(&command.of().server, environment)?;
            interruptible(generations_command::run(&server, &command))
        }
        Command::Migration(command) => {
            let base_url = command.options().base_url.as_deref().unwrap_or(migration_command::DEFAULT);
            let server = Server::check(Some(base_url), environment).map_err(Failure::of_faults)?;
            interruptible(migration_command::run(&server, &command))
        }
        Command::OfCollections(command) => run_of_collections(command, environment),
        Command::Quarantine(command) => {
            let server = server(command.server(), environment)?;
            interruptible(quarantine_command::run(&server, &command))
        }
    }
}

/// Runs a command about collections, which asks a server.
fn run_of_collections(command: OfCollections, environment: &Environment) -> Result<()> {
    match command {
        OfCollections::Import(ImportCommand::File(options)) => {
            let server = server(&options.server, environment)?;
            interruptible(domains::import::run(&server, &options, None))
        }
        OfCollections::Collection(CollectionCommand::Lint { file }) => domains::collection::lint(&file),
        OfCollections::Collection(command) => {
            let options = command.server().map(|options| options.server.as_deref());
            let server = Server::check(options.flatten(), environment).map_err(Failure::of_faults)?;
            interruptible(domains::collection::run(&server, &command))
        }
        OfCollections::TermList(command) => {
            let server = server(command.server(), environment)?;
            interruptible(domains::collection::run_term_list(&server, &command))
        }
        OfCollections::Takedown(options) => {
            let server = server(&options.server, environment)?;
            interruptible(domains::collection::take_down(&server, &options))
        }
        OfCollections::Reinstate(options) => {
            let server = server(&options.server, environment)?;
            interruptible(domains::collection::reinstate(&server, &options))
        }
        OfCollections::Refresh(command) => {
            let server = server(&command.of().server, environment)?;
            match command {
                // It says what goes on when it is interrupted.
                RefreshCommand::Start(_) | RefreshCommand::Retry(_) | RefreshCommand::Watch(_) => {
                    runtime()?.block_on(domains::refresh::run(&server, &command))
                }
                command => interruptible(domains::refresh::run(&server, &command)),
            }
        }
    }
}

/// The checked settings of a command that opens stores. From now on it logs as they say.
fn configured(flags: &Flags<Everything>, environment: &Environment, domains: &[Domain]) -> Result<Config> {
    let loaded = config::load(&flags.given, environment);
    let mut config = config::check(&loaded).map_err(Failure::of_faults)?;
    config.rebuild.read_canaries(domains).map_err(Failure::of_faults)?;
    telemetry::start(&config.telemetry, &loaded.warnings);
    Ok(config)
}

/// Runs a command that reacts to signals itself.
fn long_running(command: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(command);
    // Work that is still in progress is abandoned.
    runtime.shutdown_background();
    outcome
}

fn server(options: &ServerOptions, environment: &Environment) -> Result<Server> {
    Ok(Server::check(options.server.as_deref(), environment).map_err(Failure::of_faults)?)
}

/// Runs a command until it ends or is interrupted. Such a command has nothing to clean up.
fn interruptible(command: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            outcome = command => outcome,
            _ = interrupt.recv() => Err(Failure::interrupted().into()),
        }
    });
    // A thread may still wait for the log's next record; do not wait for it.
    runtime.shutdown_background();
    outcome
}

fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}
