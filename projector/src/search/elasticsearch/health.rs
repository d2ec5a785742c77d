//! Whether all shards of an index have servers.

use elasticsearch::http::Method;
use serde::Deserialize;

use super::{ElasticsearchStore, SHARD_WAIT_MAX, failure, is_good};
use crate::search::SearchError;

/// The answer if an index was not as it was waited for.
const NOT_IN_TIME: u16 = 408;
/// The login may not ask.
const FORBIDDEN: u16 = 403;

impl ElasticsearchStore {
    /// Waits until the shards of an index have servers, and no copy is on its way. What has none is returned for people: a
    /// single server never takes the copies of its own shards.
    pub(super) async fn health(&self, name: &str) -> Result<Option<String>, SearchError> {
        let wanted = "wait_for_status=yellow&wait_for_no_initializing_shards=true";
        let path = format!("/_cluster/health/{name}?{wanted}&timeout={SHARD_WAIT_MAX}");
        let (status, answer) = self.call(Method::Get, &path, None).await?;
        if status == FORBIDDEN {
            let reason = failure(status, &answer);
            return Ok(Some(format!("it is not known whether all shards of {name} have servers: {reason}")));
        }
        if !is_good(status) && status != NOT_IN_TIME {
            return Err(failure(status, &answer));
        }
        let unreadable = |error| SearchError::Unavailable(format!("the health of {name} cannot be read: {error}"));
        serde_json::from_value::<Health>(answer).map_err(unreadable)?.judge(name)
    }
}

/// What Elasticsearch says of an index.
#[derive(Debug, Deserialize)]
struct Health {
    timed_out: bool,
    status: String,
    unassigned_shards: u64,
    initializing_shards: u64,
}

impl Health {
    fn judge(self, name: &str) -> Result<Option<String>, SearchError> {
        let Self { timed_out, status, unassigned_shards: unassigned, initializing_shards: initializing } = self;
        if timed_out {
            let found = format!("shards without a server: {unassigned}, on their way: {initializing}");
            return Err(SearchError::Unavailable(format!("index {name} is {status}: {found}")));
        }
        Ok((unassigned > 0).then(|| format!("copies of shards of {name} without a server: {unassigned}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_without_a_server_is_waited_for_and_a_copy_is_a_warning() {
        let health = |timed_out, status: &str, unassigned, initializing| {
            let (status, unassigned_shards, initializing_shards) = (status.to_owned(), unassigned, initializing);
            Health { timed_out, status, unassigned_shards, initializing_shards }.judge("index")
        };
        assert!(matches!(health(false, "green", 0, 0), Ok(None)));
        let warning = health(false, "yellow", 2, 0).ok().flatten();
        assert_eq!(warning.as_deref(), Some("copies of shards of index without a server: 2"));
        for (status, unassigned, initializing) in [("red", 1, 0), ("yellow", 0, 1)] {
            let waits = health(true, status, unassigned, initializing);
            assert!(waits.is_err_and(|error| error.is_retryable()), "{status}");
        }
    }
}
