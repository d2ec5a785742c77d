//! `daybook migration db-status|upgrade|metadata-service-version`: asks the API of migrations, with the verbs of the tool
//! that scripts have used so far.

use std::io::{self, Write};

use anyhow::Result;
use reqwest::{Client, Method};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    command::{MigrationCommand, MigrationOptions},
    config::Server,
    exit::{Code, Failure},
    output,
};

/// Where the API of migrations is by default.
pub(crate) const DEFAULT: &str = "http://127.0.0.1:8082";

/// The answer, in the order in which it is printed.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Status {
    is_up_to_date: bool,
    current_version: String,
    migration_in_progress: bool,
    db_schema_versions: Vec<String>,
    unapplied_migrations: Vec<String>,
}

pub(crate) async fn run(server: &Server, command: &MigrationCommand) -> Result<()> {
    let (method, path) = match command {
        MigrationCommand::DbStatus(_) => (Method::GET, "/db_schema_status"),
        MigrationCommand::Upgrade(_) => (Method::PATCH, "/upgrade"),
        MigrationCommand::MetadataServiceVersion(_) => (Method::GET, "/version"),
    };
    let text = asked(server, method, path).await?;
    let mut out = io::stdout().lock();
    let MigrationOptions { json, .. } = command.options();
    match command {
        MigrationCommand::DbStatus(_) => {
            let status: Status = serde_json::from_str(&text)?;
            if output::is_for_people(*json) {
                write(&mut out, &status)
            } else {
                output::write_document(&mut out, &status)
            }
        }
        _ if *json => output::write_document(&mut out, &text),
        _ => Ok(writeln!(out, "{}", output::cut(&text, usize::MAX))?),
    }
}

/// The text of an answer. An upgrade takes as long as it takes.
async fn asked(server: &Server, method: Method, path: &str) -> Result<String> {
    let place = server.shown();
    let unavailable = |error: reqwest::Error| {
        let text = format!("no API of migrations answers at {place} (--base-url)");
        Failure::because(Code::Unavailable, text, error.without_url())
    };
    let answer = Client::new().request(method, format!("{}{path}", server.url)).send().await.map_err(unavailable)?;
    let status = answer.status();
    let text = answer.text().await.map_err(unavailable)?;
    if status.is_success() {
        return Ok(text);
    }
    let code = if status.as_u16() == 503 { Code::Unavailable } else { Code::Failed };
    // A server that has no such API answers with a JSON object.
    let message = serde_json::from_str::<Value>(&text).ok().and_then(|body| Some(body["message"].as_str()?.to_owned()));
    let message = message.unwrap_or(text);
    Err(Failure::new(code, format!("{place} answers {status}: {}", output::cut(&message, 1000))).into())
}

fn write(out: &mut impl Write, status: &Status) -> Result<()> {
    let word = if status.is_up_to_date { "up to date" } else { "not up to date" };
    writeln!(out, "{word}")?;
    writeln!(out, "  version    {}", status.current_version)?;
    if !status.unapplied_migrations.is_empty() {
        writeln!(out, "  missing    {}", status.unapplied_migrations.join(", "))?;
    }
    let progress = if status.migration_in_progress { "under way" } else { "none" };
    Ok(writeln!(out, "  rebuild    {progress}")?)
}
