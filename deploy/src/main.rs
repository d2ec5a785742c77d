//! The one binary `daybook`: a subcommand a role. It alone reads configuration, and wires everything together.

mod ask;
mod command;
mod config;
mod log_command;
mod quarantine_command;
mod search_command;
mod serve;
mod status_command;
mod telemetry;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::command::{Cli, Command};

/// A request is many small allocations that end on another thread than the one they began on.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config =
        match config::load(&cli.settings, matches!(cli.command, Command::Serve), |name| std::env::var(name).ok()) {
            Ok(config) => config,
            Err(faults) => {
                eprintln!("daybook: the configuration has {} fault(s):", faults.len());
                faults.iter().for_each(|fault| eprintln!("  - {fault}"));
                return ExitCode::from(2);
            }
        };
    telemetry::start(&config);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("daybook: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = match cli.command {
        Command::Serve => runtime.block_on(serve::run(config)),
        Command::Status(options) => runtime.block_on(status_command::run(&config, &options)),
        Command::Search(options) => runtime.block_on(search_command::run(&config, &options)),
        Command::Quarantine(command) => runtime.block_on(quarantine_command::run(&config, &command)),
        Command::Log(options) => runtime.block_on(log_command::run(&config, options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("daybook: {error:#}");
            ExitCode::FAILURE
        }
    }
}
