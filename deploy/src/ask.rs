//! Asks a running process over its API.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{command::StatusOptions, config::Config};

/// How long the process may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The JSON answer to a GET.
pub(crate) async fn ask(config: &Config, options: &StatusOptions, path: &str) -> Result<Value> {
    let base = options.url.clone().unwrap_or_else(|| format!("http://{}", config.listen));
    let url = format!("{}{path}", base.trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(ANSWER_MAX).build()?;
    let answer = client.get(&url).send().await.with_context(|| format!("no daybook answers at {base}"))?;
    let status = answer.status();
    let body: Value = answer.json().await.with_context(|| format!("{url} is not a daybook's"))?;
    if !status.is_success() {
        bail!("{base} answers {status}: {}", body["message"].as_str().unwrap_or_default());
    }
    Ok(body)
}

/// A value as people read it: a text without its quotes.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
