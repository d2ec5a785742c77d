//! `daybook config show|check|example`: shows the settings in effect, checks them, prints a file to begin with.

use std::io::{self, Write};

use anyhow::Result;

use crate::{
    command::ConfigCommand,
    config::{self, Environment, Loaded, Shown},
    domains::Domain,
    exit::Failure,
    output,
};

pub(crate) fn run(command: &ConfigCommand, domains: &[Domain], environment: &Environment) -> Result<()> {
    match command {
        ConfigCommand::Show { origin, json, flags } => {
            let loaded = load(&flags.given, environment);
            let shown = Shown::of(&loaded.given, *origin);
            let mut out = io::stdout().lock();
            if output::is_for_people(*json) {
                shown.write_table(&mut out)?;
            } else {
                output::write_document(&mut out, &shown)?;
            }
            // What could be read is shown even if there are faults.
            config::check(&loaded).map_err(Failure::of_faults)?;
        }
        ConfigCommand::Check(flags) => {
            let mut config = config::check(&load(&flags.given, environment)).map_err(Failure::of_faults)?;
            config.rebuild.read_canaries(domains).map_err(Failure::of_faults)?;
            writeln!(io::stdout(), "the configuration has no faults")?;
        }
        ConfigCommand::Example => write!(io::stdout(), "{}", config::example())?,
    }
    Ok(())
}

/// Loads the settings; warnings go to standard error.
fn load(flags: &config::FromFlags, environment: &Environment) -> Loaded {
    let loaded = config::load(flags, environment);
    for warning in &loaded.warnings {
        output::tell(&format!("warning: {warning}"));
    }
    loaded
}
