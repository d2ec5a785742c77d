//! `daybook status`: asks a running process what it is doing.

use std::io::Write;

use anyhow::Result;
use serde_json::Value;

use crate::{
    ask::{ask, text},
    command::StatusOptions,
    config::Config,
};

pub(crate) async fn run(config: &Config, options: &StatusOptions) -> Result<()> {
    let body = ask(config, options, "/api/v1/status").await?;
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&body)?)?;
        return Ok(());
    }
    let ready = if body["ready"] == true { "ready".to_owned() } else { format!("not ready: {}", body["reasons"]) };
    writeln!(out, "daybook {} ({}), {ready}", text(&body["version"]), text(&body["instance"]))?;
    writeln!(out, "  up        {} s, roles {}", body["uptime_seconds"], body["roles"])?;
    writeln!(out, "  log       {}, id {}", text(&body["log"]["place"]), text(&body["log"]["id"]))?;
    writeln!(out, "  log end   {}", text(&body["log"]["end"]))?;
    writeln!(out, "  tables    {}", text(&body["tables"]["place"]))?;
    for generation in body["generations"].as_array().into_iter().flatten() {
        let (domain, number) = (text(&generation["domain"]), &generation["generation"]);
        writeln!(out, "  {domain} generation {number}, {}", text(&generation["state"]))?;
        writeln!(out, "    applied     {}", text(&generation["applied"]))?;
        writeln!(out, "    lag         {} records", generation["lag_records"])?;
        writeln!(out, "    quarantine  {} records", generation["quarantined_records"])?;
        write_search(&mut out, &generation["search"])?;
    }
    Ok(())
}

fn write_search(out: &mut impl Write, search: &Value) -> Result<()> {
    if search.is_null() {
        return Ok(writeln!(out, "    search      off")?);
    }
    writeln!(out, "    search      {}, lag {} records", text(&search["place"]), search["lag_records"])?;
    if !search["rebuilding_documents"].is_null() {
        writeln!(out, "    rebuilding  {} documents so far", search["rebuilding_documents"])?;
    }
    for refused in search["refused"].as_array().into_iter().flatten() {
        writeln!(out, "    refused     {}: {}", text(&refused["id"]), text(&refused["reason"]))?;
    }
    if !search["failure"].is_null() {
        writeln!(out, "    failing     {}", text(&search["failure"]))?;
    }
    Ok(())
}
