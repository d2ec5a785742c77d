//! Search on Elasticsearch, by its official client: one index for each generation, behind an alias that is deleted with
//! it.
//!
//! Versions are external: a revision older than the stored one gets a conflict, which counts as written. Acknowledged
//! bulk requests are durable; they are visible after a refresh.

mod answer;
mod bulk;
mod check;
mod failures;
mod health;
mod live_alias;
mod place;
mod product;
mod queries;
mod scan;
mod schema;

use std::{fmt, sync::Arc, time::Duration};

use daybook_ingest::{host::is_host, log::BoxFuture};
use elasticsearch::{
    Elasticsearch,
    auth::Credentials,
    http::{
        Method, Url,
        headers::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
        response::Response,
        transport::{SingleNodeConnectionPool, TransportBuilder},
    },
};
use serde_json::{Value, json};

use self::{
    failures::{CLOSED, accepted, failure, is_good, no_elasticsearch, passing, silent},
    scan::Scan,
};
use super::{
    Refused, SearchError, SearchIndex, SearchStore, Writes,
    binding::Binding,
    document::{Document, Stored},
    request::{Found, ParentsFound, ParentsRequest, Request},
    shape::IndexShape,
    source::{Sink, SourceError},
};
use crate::space::Space;

/// Bulk requests in flight: while one is processed, the next is built.
const WRITES_MAX: usize = 3;
/// Answers are those of all shards, or none.
const WHOLE: &str = "allow_partial_search_results=false";
/// How long Elasticsearch may wait for a shard that is not there; then it says so.
const SHARD_WAIT_MAX: &str = "5s";
/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(15);
/// The same for a look at where an index is, before it is used: a silent server is named soon.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// How long Elasticsearch may look for answers to one search.
const SEARCH_MAX: &str = "10s";

/// Where Elasticsearch is: `http[s]://[user:password@]host:port[/prefix]`. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
    prefix: String,
}

/// A text that is no address of Elasticsearch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; expected http[s]://[user:password@]host:port[/prefix]")]
pub struct InvalidUrl(String);

impl Address {
    /// Parses a URL. What follows the host is what indexes' names begin with, `daybook` if nothing does.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let mut url = Url::parse(text).map_err(|error| InvalidUrl(error.to_string()))?;
        let host = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        if !matches!(url.scheme(), "http" | "https") || !host.is_some_and(is_host) {
            return Err(InvalidUrl("the address is no HTTP URL with a host".to_owned()));
        }
        if url.port() == Some(0) {
            return Err(InvalidUrl("no server has the port 0".to_owned()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidUrl("the address takes no parameters".to_owned()));
        }
        let prefix = url.path().trim_matches('/').to_owned();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        if !prefix.chars().all(legal) || prefix.starts_with(['-', '_', '.']) || prefix.len() > 100 {
            return Err(InvalidUrl(format!("the prefix {prefix:?} is not a valid name of an index")));
        }
        url.set_path("/");
        Ok(Self { url, prefix: if prefix.is_empty() { "daybook".to_owned() } else { prefix } })
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("host", &self.url.host_str()).field("prefix", &self.prefix).finish()
    }
}

/// Indexes on one Elasticsearch.
#[derive(Clone)]
pub struct ElasticsearchStore {
    client: Elasticsearch,
    address: Address,
}

impl ElasticsearchStore {
    /// A store at an address. Nothing is sent yet.
    pub fn new(address: Address) -> Result<Self, SearchError> {
        let mut url = address.url.clone();
        let password = url.password().unwrap_or_default().to_owned();
        let credentials = (!url.username().is_empty()).then(|| Credentials::Basic(url.username().to_owned(), password));
        // The address without its login; one that cannot have a login is not changed.
        let _cleared = (url.set_username(""), url.set_password(None));
        let builder = TransportBuilder::new(SingleNodeConnectionPool::new(url)).timeout(CALL_MAX);
        let builder = if let Some(credentials) = credentials { builder.auth(credentials) } else { builder };
        let transport = builder.build().map_err(|error| SearchError::Refused(error.to_string()))?;
        Ok(Self { client: Elasticsearch::new(transport), address })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<(u16, Value), SearchError> {
        let body = body.map(|body| body.to_string().into_bytes());
        let (status, text) = self.send(method, path, HeaderMap::new(), body).await?;
        Ok((status, read_value(text)))
    }

    /// The answer to a look, within a shorter time than any call.
    async fn look(&self, path: &str) -> Result<(u16, Value), SearchError> {
        let (status, text) = self.send_within(Some(LOOK_MAX), Method::Get, path, HeaderMap::new(), None).await?;
        Ok((status, read_value(text)))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<(u16, String), SearchError> {
        self.send_within(None, method, path, headers, body).await
    }

    /// The same within another time than any call.
    async fn send_within(
        &self,
        limit: Option<Duration>,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<(u16, String), SearchError> {
        read(self.respond(limit, method, path, headers, body).await?).await
    }

    /// The beginning of an answer.
    async fn respond(
        &self,
        limit: Option<Duration>,
        method: Method,
        path: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<Response, SearchError> {
        let sent = self.client.send(method, path, headers, None::<&()>, body, limit).await;
        sent.map_err(|error| silent(&error))
    }
}

/// The status and the text of an answer.
async fn read(response: Response) -> Result<(u16, String), SearchError> {
    let status = response.status_code().as_u16();
    Ok((status, response.text().await.map_err(|error| silent(&error))?))
}

/// The headers of a body with a line for each part.
fn ndjson() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers
}

/// An answer as JSON; what is no JSON, as a text.
fn read_value(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

/// Settings and mapping of an index of a shape.
pub fn definition(shape: &IndexShape) -> Value {
    schema::index(shape)
}

impl SearchStore for ElasticsearchStore {
    fn describe(&self) -> String {
        let address = &self.address.url;
        let (host, port) = (address.host_str().unwrap_or_default(), address.port_or_known_default().unwrap_or(0));
        format!("Elasticsearch at {host}:{port}")
    }

    fn check<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), SearchError>> {
        Box::pin(async move {
            self.identify().await?;
            self.find(binding).await.map(|_| ())
        })
    }

    fn check_shape<'a>(&'a self, shape: &'a IndexShape) -> BoxFuture<'a, Result<(), SearchError>> {
        Box::pin(self.simulate(shape))
    }

    fn open<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<Arc<dyn SearchIndex>, SearchError>> {
        Box::pin(async move { Ok(Arc::new(self.open_index(binding).await?) as Arc<dyn SearchIndex>) })
    }

    fn space<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<Space, SearchError>> {
        Box::pin(async move {
            let fields = "filter_path=_all.total.store.size_in_bytes";
            let path = format!("/{}/_stats/store?{fields}", self.name(binding));
            let used = match self.call(Method::Get, &path, None).await? {
                (404, _) => 0,
                (status, answer) => {
                    accepted(status, answer)?["_all"]["total"]["store"]["size_in_bytes"].as_u64().unwrap_or(0)
                }
            };
            let path = "/_nodes/stats/fs?filter_path=nodes.*.fs.total.available_in_bytes";
            let (status, answer) = self.call(Method::Get, path, None).await?;
            let answer = accepted(status, answer)?;
            let nodes = answer["nodes"].as_object();
            let free = nodes.map(|nodes| {
                let of_nodes = nodes.values().filter_map(|node| node["fs"]["total"]["available_in_bytes"].as_u64());
                of_nodes.sum()
            });
            Ok(Space { used, free })
        })
    }

    fn point<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), SearchError>> {
        Box::pin(self.point_alias(binding))
    }

    fn delete<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), SearchError>> {
        Box::pin(async move {
            if self.find(binding).await?.is_some() {
                self.remove(&self.name(binding)).await?;
            }
            Ok(())
        })
    }
}

/// An index on Elasticsearch.
pub struct ElasticsearchIndex {
    store: ElasticsearchStore,
    shape: Arc<IndexShape>,
    name: String,
    alias: String,
    id: String,
}

impl ElasticsearchIndex {
    /// Writes through the alias, because a write to a name that no index has would make one. Each item says where it
    /// went.
    async fn write_body(&self, body: bulk::Body) -> Result<Vec<Refused>, SearchError> {
        let fields = "filter_path=items.*._index,items.*.status,items.*.error";
        let path = format!("/{}/_bulk?require_alias=true&timeout={SHARD_WAIT_MAX}&{fields}", self.alias);
        let (status, text) = self.store.send(Method::Post, &path, ndjson(), Some(body.ndjson)).await?;
        let answer = accepted(status, read_value(text))?;
        let mut outcome = bulk::outcome(&self.name, &self.alias, &body.items, &answer);
        if let Some(other) = outcome.elsewhere {
            // Which knows all indexes that the alias leads to, unless it was put right meanwhile, or does not answer.
            return match self.store.check_alias(&self.name, &self.id).await {
                Err(error @ (SearchError::Foreign(_) | SearchError::Gone(_))) => Err(error),
                _ => Err(place::leads_elsewhere(&self.alias, &other)),
            };
        }
        if !outcome.unplaced.is_empty() {
            self.store.check_alias(&self.name, &self.id).await?;
            outcome.refused.append(&mut outcome.unplaced);
        }
        match (outcome.gone, outcome.retry) {
            (Some(reason), _) => Err(SearchError::Gone(reason)),
            (None, Some(reason)) => Err(passing(reason)),
            (None, None) => Ok(outcome.refused),
        }
    }
}

impl SearchIndex for ElasticsearchIndex {
    fn id(&self) -> &str {
        &self.id
    }

    fn shape(&self) -> &Arc<IndexShape> {
        &self.shape
    }

    fn write<'a>(&'a self, documents: &'a [Document]) -> BoxFuture<'a, Result<Vec<Refused>, SearchError>> {
        Box::pin(async move {
            let mut refused = Vec::new();
            for body in bulk::bodies(&self.shape, documents)? {
                refused.extend(self.write_body(body).await?);
            }
            Ok(refused)
        })
    }

    fn refresh(&self) -> BoxFuture<'_, Result<(), SearchError>> {
        Box::pin(async move {
            let path = format!("/{}/_refresh", self.name);
            let (status, answer) = self.store.call(Method::Post, &path, None).await?;
            let shards = &accepted(status, answer)?["_shards"];
            // A missing shard is counted in neither. Replicas are counted, too.
            let successful = shards["successful"].as_u64().unwrap_or(0);
            if shards["failed"] != 0 || successful < self.shape.storage.shards {
                return Err(SearchError::Unavailable(format!("not every shard was refreshed: {shards}")));
            }
            Ok(())
        })
    }

    fn newest(&self) -> BoxFuture<'_, Result<Option<i64>, SearchError>> {
        Box::pin(async move {
            self.store.check_alias(&self.name, &self.id).await?;
            let path = format!("/{}/_search?{WHOLE}", self.name);
            let body = json!({"size": 0, "aggs": {"newest": {"max": {"field": "applied"}}}});
            let (status, answer) = self.store.call(Method::Post, &path, Some(body)).await?;
            // A whole number up to 2^53 is exact as a float.
            let newest = accepted(status, answer)?["aggregations"]["newest"]["value"].as_f64();
            Ok(newest.map(|value| value as i64))
        })
    }

    fn search(&self, request: Request) -> BoxFuture<'_, Result<Found, SearchError>> {
        Box::pin(async move {
            // Otherwise each shard rates words by how rare they are there.
            let is_divided = self.shape.storage.shards > 1 && request.sort.field.is_none();
            let kind = if is_divided { "dfs_query_then_fetch" } else { "query_then_fetch" };
            let path = format!("/{}/_search?timeout={SEARCH_MAX}&{WHOLE}&search_type={kind}", self.name);
            let body = queries::search(&self.shape, &request).to_string().into_bytes();
            let (status, text) = self.store.send(Method::Post, &path, HeaderMap::new(), Some(body)).await?;
            if !is_good(status) {
                return Err(failure(status, &read_value(text)));
            }
            answer::read(&text, &request)
        })
    }

    fn scan<'a>(&'a self, sink: &'a mut dyn Sink<Stored>) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let mut scan = Scan::begin(self).await?;
            let outcome = scan.hand_on(sink).await;
            // It ends by itself, but later.
            let _ended = scan.end().await;
            outcome
        })
    }

    fn parents(&self, requests: Vec<ParentsRequest>) -> BoxFuture<'_, Result<Vec<ParentsFound>, SearchError>> {
        Box::pin(async move {
            let fields = "filter_path=responses.status,responses.error,responses.timed_out,responses.hits.total,responses.hits.hits.fields";
            let path = format!("/{}/_msearch?{fields}", self.name);
            let (mut body, header) = (Vec::new(), json!({"allow_partial_search_results": false}));
            for request in &requests {
                let mut search = queries::parents(&self.shape, request);
                search["timeout"] = SEARCH_MAX.into();
                body.extend_from_slice(format!("{header}\n{search}\n").as_bytes());
            }
            let (status, text) = self.store.send(Method::Post, &path, ndjson(), Some(body)).await?;
            if !is_good(status) {
                return Err(failure(status, &read_value(text)));
            }
            answer::read_parents(&self.shape, &text, &requests)
        })
    }

    fn writes(&self) -> Writes {
        Writes { concurrent_max: WRITES_MAX, are_kept: true }
    }

    fn finish(&self) -> BoxFuture<'_, Result<Option<String>, SearchError>> {
        Box::pin(async move {
            let path = format!("/{}/_settings", self.name);
            let settings = schema::dynamic_settings(&self.shape.storage);
            let (status, answer) = self.store.call(Method::Put, &path, Some(settings)).await?;
            accepted(status, answer)?;
            self.store.health(&self.name).await
        })
    }

    fn describe(&self) -> String {
        format!("{}, {}", self.store.describe(), self.alias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_a_prefix_and_shows_no_secret() {
        let address = Address::parse("https://u:secret@es:9200/team.x").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(address.prefix, "team.x");
        assert!(!format!("{address:?}").contains("secret"));
        assert_eq!(Address::parse("http://es:9200").map(|it| it.prefix), Ok("daybook".to_owned()));
        assert!(Address::parse("http://[::1]:9200").is_ok());
        for wrong in ["", "es:9200", "ftp://es", "http://es/Upper", "http://es/_x", "http://es/?a=b"] {
            assert!(Address::parse(wrong).is_err(), "{wrong:?} was accepted");
        }
        for wrong in
            ["http://es:0", "http://es:x", "http://es:65536", "http://::1:9200", "http://999.1.1.1", "http://a,b:1"]
        {
            assert!(Address::parse(wrong).is_err(), "{wrong:?} was accepted");
        }
    }
}
