//! A client of the API that hides nothing: status, headers and body of every answer.

use std::time::Duration;

use reqwest::{Client, Method, header::HeaderMap};
use serde_json::Value;

use crate::wait;

/// Between two looks at a figure of the metrics.
const PAUSE: Duration = Duration::from_millis(25);
/// How long a figure is waited for.
const REACHED_MAX: Duration = Duration::from_secs(300);

/// A server's API.
#[derive(Clone)]
pub struct Api {
    /// Where it is.
    pub base: String,
    client: Client,
}

/// One answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// The body as JSON, or null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A header as text, empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// The generation of Metaflow that a status shows.
///
/// # Panics
/// If it shows none.
pub fn of_metaflow(status: &Value) -> &Value {
    let mut generations = status["generations"].as_array().into_iter().flatten();
    generations.find(|it| it["domain"] == "metaflow").unwrap_or_else(|| panic!("no generation of Metaflow: {status}"))
}

impl Api {
    /// The API at a base URL.
    pub fn new(base: &str) -> Self {
        Self { base: base.to_owned(), client: Client::new() }
    }

    /// Sends a request.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>, headers: &[(&str, &str)]) -> Answer {
        let answer = self.try_send(method.clone(), path, body, headers).await;
        answer.unwrap_or_else(|error| panic!("no answer to {method} {path}: {error}"))
    }

    /// Sends a request that may find nobody.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        headers: &[(&str, &str)],
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    /// GET, asked again while the answer is 503, as clients do.
    ///
    /// # Panics
    /// If it is never anything else.
    pub async fn get_served(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut answer = Answer::default();
        wait::until(&format!("{path} is served"), async || {
            answer = self.send(Method::GET, path, None, headers).await;
            answer.status != 503
        })
        .await;
        answer
    }

    /// POST of a JSON value.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body.to_string()), &[]).await
    }

    /// POST of any text.
    pub async fn post_text(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, Some(body.to_owned()), &[]).await
    }

    /// PATCH of a JSON value.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::PATCH, path, Some(body.to_string()), &[]).await
    }

    /// A figure of the metrics, by its name and labels.
    ///
    /// # Panics
    /// If there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics").await.text;
        // The sum over all labels.
        let value = |line: &str| -> Option<f64> {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit_once(' ')?.1.parse().ok()
        };
        let values: Vec<f64> = metrics.lines().filter_map(value).collect();
        assert!(!values.is_empty(), "there is no metric {name}");
        values.iter().sum()
    }

    /// Waits until a figure of the metrics is at least so much.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn metric_reaches(&self, name: &str, least: f64) {
        let mut pace = tokio::time::interval(PAUSE);
        let reached = async {
            while self.metric(name).await < least {
                pace.tick().await;
            }
        };
        let in_time = tokio::time::timeout(REACHED_MAX, reached).await;
        assert!(in_time.is_ok(), "{name} never reaches {least}");
    }

    /// All pages of a list, put together.
    ///
    /// # Panics
    /// If a page is not an array, or the pages never end.
    pub async fn pages(&self, path: &str, limit: usize) -> Vec<Value> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        for _ in 0..10_000 {
            let answer = self.get_served(&format!("{path}?_limit={limit}&_cursor={cursor}"), &[]).await;
            assert_eq!(answer.header("x-limit"), limit.to_string(), "{path}: {}", answer.text);
            let Value::Array(page) = answer.json() else { panic!("{path}: {}", answer.text) };
            assert!(page.len() <= limit, "{path}: a page of {} rows", page.len());
            rows.extend(page);
            cursor = answer.header("x-next-cursor").to_owned();
            if cursor.is_empty() {
                return rows;
            }
        }
        panic!("{path}: the pages never end");
    }
}
