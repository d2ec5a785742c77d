//! An index on Elasticsearch whose settings somebody has changed, or whose shards have no server, before it is searched
//! by everybody.

use std::{sync::Arc, time::Duration};

use daybook_books::projection::Books;
use daybook_projector::search::{
    SearchError, SearchIndex, SearchStore,
    elasticsearch::ElasticsearchStore,
    shape::{IndexShape, Storage},
    source::Documents,
};
use daybook_tests::{api::Api, services, wait};
use reqwest::Method;
use serde_json::{Value, json};

use super::{address, binding};

/// An index of the test's own, and how it is reached behind the store's back.
struct Tampered {
    index: Arc<dyn SearchIndex>,
    api: Api,
    path: String,
}

impl Tampered {
    async fn make(replicas: u64) -> Self {
        let (address, prefix) = address("finish");
        let storage = Storage { shards: 2, replicas: Some(replicas), refresh: Duration::from_secs(2) };
        let shape = Arc::new(IndexShape { storage, ..IndexShape::clone(&Books.shape()) });
        let store = ElasticsearchStore::new(address).unwrap_or_else(|error| panic!("{error}"));
        let index = store.open(&binding(&shape)).await.unwrap_or_else(|error| panic!("{error}"));
        Self { index, api: Api::new(&services::elasticsearch()), path: format!("/{prefix}-domain_g0001") }
    }

    async fn call(&self, method: Method, path: &str, body: Value) {
        let body = (!body.is_null()).then(|| body.to_string());
        let answer = self.api.send(method, path, body, &[("content-type", "application/json")]).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    }

    async fn set(&self, settings: Value) {
        self.call(Method::PUT, &format!("{}/_settings", self.path), settings).await;
    }

    /// Its replicas and its refresh interval.
    async fn settings(&self) -> [Value; 2] {
        let settings = self.api.get(&format!("{}/_settings?flat_settings=true", self.path)).await.json();
        let of_index = &settings[self.path.trim_start_matches('/')]["settings"];
        ["index.number_of_replicas", "index.refresh_interval"].map(|name| of_index[name].clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_somebody_has_changed_are_as_the_shape_says_once_an_index_is_finished() {
    let made = Tampered::make(0).await;
    let by_shape = [json!("0"), json!("2000ms")];
    assert_eq!(made.settings().await, by_shape);
    made.set(json!({"auto_expand_replicas": "0-all", "refresh_interval": "-1"})).await;
    assert_eq!(made.index.finish().await.ok(), Some(None));
    assert_eq!(made.settings().await, by_shape);
    made.call(Method::DELETE, &made.path, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_without_a_server_are_a_warning_and_a_shard_without_one_is_waited_for() {
    let made = Tampered::make(1).await;
    made.set(json!({"number_of_replicas": 0})).await;
    let warning = made.index.finish().await.unwrap_or_else(|error| panic!("{error}")).unwrap_or_default();
    assert!(warning.starts_with("copies of shards of ") && warning.ends_with(": 2"), "{warning}");
    assert_eq!(made.settings().await[0], "1");
    // One of the same name, for which no server is the right one.
    made.call(Method::DELETE, &made.path, Value::Null).await;
    let nowhere = json!({"settings": {"index.routing.allocation.require._name": "none"}});
    made.call(Method::PUT, &format!("{}?wait_for_active_shards=0", made.path), nowhere).await;
    match made.index.finish().await {
        Err(SearchError::Unavailable(reason)) => assert!(reason.contains(" is red"), "{reason}"),
        other => panic!("{other:?}"),
    }
    made.set(json!({"index.routing.allocation.require._name": null})).await;
    wait::until("its shards have a server", async || made.index.finish().await.is_ok()).await;
    made.call(Method::DELETE, &made.path, Value::Null).await;
}
