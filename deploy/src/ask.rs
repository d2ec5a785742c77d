//! Asks a running server over its API.

use std::time::Duration;

use anyhow::Result;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    config::Server,
    exit::{Code, Failure},
};

/// How long the server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a change may take. It waits for other processes.
const CHANGE_MAX: Duration = Duration::from_secs(60);

/// The JSON answer to a GET.
pub(crate) async fn ask<T: DeserializeOwned>(server: &Server, path: &str) -> Result<T> {
    let client = reqwest::Client::builder().timeout(ANSWER_MAX).build()?;
    send(server, client.get(format!("{}{path}", server.url))).await
}

/// The JSON answer to a POST.
pub(crate) async fn change<T: DeserializeOwned>(server: &Server, path: &str, body: &Value) -> Result<T> {
    let client = reqwest::Client::builder().timeout(CHANGE_MAX).build()?;
    send(server, client.post(format!("{}{path}", server.url)).json(body)).await
}

async fn send<T: DeserializeOwned>(server: &Server, request: RequestBuilder) -> Result<T> {
    let (place, answer) = (server.shown(), accepted(server, request.send().await).await?);
    let body = answer.bytes().await.map_err(|error| cut_off(server, error))?;
    let body = serde_json::from_slice(&body);
    Ok(body.map_err(|error| {
        Failure::because(Code::Failed, format!("the answer of {place} is not that of a daybook server"), error)
    })?)
}

/// An answer, if it is that of success.
pub(crate) async fn accepted(server: &Server, answer: reqwest::Result<Response>) -> Result<Response, Failure> {
    let place = server.shown();
    let answer = answer.map_err(|error| {
        let text = format!("no daybook answers at {place} (--server, DAYBOOK_SERVER)");
        Failure::because(Code::Unavailable, text, error.without_url())
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = answer.bytes().await.map_err(|error| cut_off(server, error))?;
    let body = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    let message = body["message"].as_str().unwrap_or_default();
    Err(Failure::new(code_of(status), format!("{place} answers {status}: {message}")))
}

pub(crate) fn cut_off(server: &Server, error: reqwest::Error) -> Failure {
    let text = format!("the answer of {} was cut off", server.shown());
    Failure::because(Code::Unavailable, text, error.without_url())
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
