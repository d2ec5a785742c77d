//! An index that somebody deletes while its generation is ready to be promoted.

use std::fs;

use daybook_tests::{
    api::Api,
    process::{Backend, Place, Server},
    random::Random,
    services,
    wait::until,
    writers::{Step, Writers, check},
};
use reqwest::Method;

use super::{all_states, expect, import_tasks, said, write};
use crate::on_both;

/// Deletes the index of generation 2; embedded, while no process runs. The server that runs afterwards.
async fn lose_index(place: &Place, server: Server) -> Server {
    if place.backend == Backend::Embedded {
        assert!(server.stop(), "the server did not stop in order");
        let folder = place.folder.0.join("search/metaflow_g0002");
        fs::remove_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        return Server::start(place);
    }
    let path = place.index().replace("_g0001", "_g0002");
    let answer = Api::new(&services::elasticsearch()).send(Method::DELETE, &path, None, &[]).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    server
}

/// Asks for the promotion until it is made. Each refusal says why.
async fn promote(server: &Server) {
    until("the promotion is made", async || {
        let output = server.command(&["generations", "promote", "2", "--yes"]);
        let (code, text) = (output.status.code(), said(&output));
        assert!(matches!(code, Some(0 | 5 | 7)), "{output:?}");
        assert!(code == Some(0) || text.contains("behind") || text.contains("index"), "no reason: {text}");
        code == Some(0)
    })
    .await;
}

/// Waits until search says that it is complete.
async fn is_complete(api: &Api) {
    until("search is complete", async || {
        let found = api.get("/api/v1/search?limit=0").await;
        assert!(matches!(found.status, 200 | 503), "{}: {}", found.status, found.text);
        found.status == 200 && found.json()["complete"] == true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_deleted_while_its_generation_is_ready_is_whole_after_the_promotion() {
    on_both("ready_index", |place, server| async move {
        let mut random = Random::seeded("ready_index");
        let mut acknowledged = write(&server, &mut random).await;
        import_tasks(&server, 1000).await;
        expect(&server, 0, &["rebuild"]);
        let server = lose_index(&place, server).await;
        promote(&server).await;
        assert_eq!(all_states(&server), ["previous", "live"]);
        is_complete(&server.api).await;
        check(&place, &server, &acknowledged).await;
        acknowledged.merge(write(&server, &mut random).await);
        check(&place, &server, &acknowledged).await;
        expect(&server, 0, &["generations", "rollback", "--yes"]);
        is_complete(&server.api).await;
        check(&place, &server, &acknowledged).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_deleted_under_writers_while_its_generation_is_ready_is_whole_after_the_promotion() {
    let mut random = Random::seeded("ready_written");
    let place = Place::new("ready_written", Backend::Distributed);
    let server = Server::start(&place);
    let steps = [Step::make(&server.api, "F").await];
    let writers = Writers::start(&[&server.api], &steps, 2, &mut random);
    writers.wait_for(100).await;
    expect(&server, 0, &["rebuild"]);
    let server = lose_index(&place, server).await;
    writers.wait_for(40).await;
    promote(&server).await;
    writers.wait_for(40).await;
    let acknowledged = writers.stop().await;
    assert_eq!(acknowledged.turned_away, 0, "writes were refused");
    is_complete(&server.api).await;
    check(&place, &server, &acknowledged).await;
}
