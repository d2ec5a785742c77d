//! Asks a running server over its API.

use std::time::Duration;

use anyhow::Result;
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    config::Server,
    exit::{Code, Failure},
};

/// How long the server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The JSON answer to a GET.
pub(crate) async fn ask<T: DeserializeOwned>(server: &Server, path: &str) -> Result<T> {
    let client = reqwest::Client::builder().timeout(ANSWER_MAX).build()?;
    let place = server.shown();
    let answer = client.get(format!("{}{path}", server.url)).send().await;
    let answer = answer.map_err(|error| {
        let text = format!("no daybook answers at {place} (--server, DAYBOOK_SERVER)");
        Failure::because(Code::Unavailable, text, error.without_url())
    })?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| {
        Failure::because(Code::Unavailable, format!("the answer of {place} was cut off"), error.without_url())
    })?;
    let body = serde_json::from_slice::<Value>(&body);
    if !status.is_success() {
        let message = body.unwrap_or_default()["message"].as_str().unwrap_or_default().to_owned();
        return Err(Failure::new(code_of(status), format!("{place} answers {status}: {message}")).into());
    }
    let body = body.and_then(serde_json::from_value);
    Ok(body.map_err(|error| {
        Failure::because(Code::Failed, format!("the answer of {place} is not that of a daybook server"), error)
    })?)
}

fn code_of(status: StatusCode) -> Code {
    match status.as_u16() {
        400 => Code::Usage,
        401 | 403 => Code::Denied,
        404 | 410 => Code::NotFound,
        409 | 412 => Code::Conflict,
        408 | 429 | 502..=504 => Code::Unavailable,
        _ => Code::Failed,
    }
}
