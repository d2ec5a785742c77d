//! `daybook quarantine list|show`: asks a running process which records could not be applied, and why.

use std::io::Write;

use anyhow::{Result, bail};

use crate::{
    ask::{ask, text},
    command::{QuarantineCommand, StatusOptions},
    config::Config,
};

pub(crate) async fn run(config: &Config, command: &QuarantineCommand) -> Result<()> {
    match command {
        QuarantineCommand::List(options) => list(config, options).await,
        QuarantineCommand::Show { position, options } => show(config, position, options).await,
    }
}

async fn list(config: &Config, options: &StatusOptions) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut after = String::new();
    let mut count = 0_usize;
    // The server answers in pages, in order of position.
    loop {
        let page = ask(config, options, &format!("/api/v1/quarantine?after={after}")).await?;
        let entries = page.as_array().cloned().unwrap_or_default();
        let Some(last) = entries.last() else { break };
        after = text(&last["position"]);
        count += entries.len();
        for entry in &entries {
            if options.json {
                writeln!(out, "{entry}")?;
            } else {
                let (position, key) = (text(&entry["position"]), text(&entry["key"]));
                writeln!(out, "{position}  key {key:?}, {} bytes: {}", entry["value_bytes"], text(&entry["reason"]))?;
            }
        }
    }
    if count == 0 && !options.json {
        writeln!(out, "nothing is in quarantine")?;
    }
    Ok(())
}

async fn show(config: &Config, position: &str, options: &StatusOptions) -> Result<()> {
    let found = ask(config, options, &format!("/api/v1/quarantine?position={position}")).await?;
    let Some(entry) = found.as_array().and_then(|entries| entries.first()) else {
        bail!("no record at {position} is in quarantine");
    };
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(entry)?)?;
        return Ok(());
    }
    for field in ["position", "reason", "key", "value_bytes", "value_hex"] {
        writeln!(out, "{field:<12} {}", text(&entry[field]))?;
    }
    Ok(())
}
