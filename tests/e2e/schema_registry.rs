//! The schema registry, tried with Confluent's own client.

use std::{path::PathBuf, process::Command};

use daybook_tests::{api::Api, services};
use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both;

#[tokio::test(flavor = "multi_thread")]
async fn confluent_s_client_reads_the_registry_and_another_library_decodes_a_record() {
    on_both("registry", |_place, server| async move {
        let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let registry = format!("{}/api/v1/schema-registry", server.api.base);
        let subject = subject(&server.api).await;
        let output = Command::new(services::address("DAYBOOK_TEST_PYTHON"))
            .arg(tests.join("e2e/flows/registry.py"))
            .args([&registry, &subject])
            .arg(tests.join("golden/events/metaflow/v1/flow-registered.avro"))
            .output();
        let output = output.unwrap_or_else(|error| panic!("cannot run Python: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    })
    .await;
}

const PREFIX: &str = "/api/v1/schema-registry";
/// The subject of Metaflow's events.
async fn subject(api: &Api) -> String {
    let subjects = api.get(&format!("{PREFIX}/subjects")).await.json();
    let mut subjects = subjects.as_array().into_iter().flatten().filter_map(Value::as_str);
    subjects.find(|subject| subject.ends_with(".metaflow-value")).unwrap_or_default().to_owned()
}

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

#[tokio::test(flavor = "multi_thread")]
async fn what_user_interfaces_ask_is_answered_in_the_registry_s_shapes() {
    on_both("registry_shapes", |_place, server| async move {
        let api = &server.api;
        let subject = subject(api).await;
        let schema = api.get(&format!("{PREFIX}/schemas/ids/100")).await.json()["schema"].clone();
        let schema: Value = serde_json::from_str(schema.as_str().unwrap_or_default()).unwrap_or_default();
        // A slash at the end changes nothing.
        for slash in ["", "/"] {
            for (path, expected) in [
                ("".to_owned(), json!({})),
                ("/schemas/types".to_owned(), json!(["AVRO"])),
                ("/schemas/ids/100/schema".to_owned(), schema.clone()),
                (format!("/subjects/{subject}/versions"), json!([1])),
                (format!("/subjects/:.:{subject}/versions"), json!([1])),
                (format!("/subjects/{subject}/versions/latest/schema"), schema.clone()),
                (format!("/subjects/{subject}/versions/1/referencedby"), json!([])),
                ("/config".to_owned(), json!({"compatibilityLevel": "BACKWARD_TRANSITIVE"})),
                (format!("/mode/{subject}"), json!({"mode": "READONLY"})),
                ("/mode/unknown".to_owned(), json!({"mode": "READONLY"})),
                ("/config/unknown".to_owned(), json!({"compatibilityLevel": "BACKWARD_TRANSITIVE"})),
                ("/config/:.:".to_owned(), json!({"compatibilityLevel": "BACKWARD_TRANSITIVE"})),
                ("/contexts".to_owned(), json!(["."])),
            ] {
                let answer = api.get(&format!("{PREFIX}{path}{slash}?deleted=false&defaultToGlobal=true")).await;
                assert_eq!((answer.status, &answer.json()), (200, &expected), "{path}{slash}: {}", answer.text);
                assert_eq!(answer.header("content-type"), CONTENT_TYPE, "{path}{slash}");
            }
        }
        let latest = format!("{PREFIX}/schemas?latestOnly=true&subjectPrefix={subject}&offset=0&limit=1");
        assert_eq!(api.get(&latest).await.json()[0]["id"], 100);
        // What the registry takes for no limit.
        let all = api.get(&format!("{PREFIX}/subjects?offset=0&limit=-1")).await.json();
        assert!(all.as_array().is_some_and(|all| all.contains(&json!(subject))), "{all}");
        for prefix in [":*:", ":.:", ""] {
            assert_eq!(api.get(&format!("{PREFIX}/subjects?subjectPrefix={prefix}")).await.json(), all, "{prefix}");
        }
        let of_all = api.get(&format!("{PREFIX}/schemas?latestOnly=true&subjectPrefix=:*:{subject}")).await.json();
        assert_eq!(of_all[0]["id"], 100, "{of_all}");
        // A client that reads pages until one is empty comes to an end.
        assert_eq!(api.get(&format!("{PREFIX}/contexts?offset=1")).await.json(), json!([]));
        let candidate = json!({"schema": schema.to_string()});
        let new = api.post(&format!("{PREFIX}/compatibility/subjects/new/versions"), &candidate).await;
        assert_eq!((new.status, new.json()), (200, json!({"is_compatible": true})), "{}", new.text);
        assert_eq!(api.get(&format!("{PREFIX}/schemas/ids/100?fetchMaxId=true")).await.json()["maxId"], 301);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_answered_in_the_registry_s_shape() {
    on_both("registry_mistakes", |_place, server| async move {
        let api = &server.api;
        let in_capitals = format!("/subjects/{}/versions/LATEST", subject(api).await);
        for (method, path, status, code) in [
            (Method::GET, "/nothing", 404, 404),
            (Method::GET, "/associations/resources/cluster/topic?resourceType=topic", 404, 404),
            (Method::POST, "/associations", 404, 404),
            (Method::DELETE, "/associations/resources/topic", 404, 404),
            (Method::GET, "/v1/metadata/id", 404, 404),
            (Method::GET, "/v1/metadata/version/", 404, 404),
            (Method::GET, "//subjects", 404, 404),
            (Method::GET, "/subjects//versions", 404, 404),
            (Method::GET, "/subjects/%ff/versions", 400, 400),
            (Method::GET, "/subjects/%00/versions", 400, 400),
            (Method::GET, "/subjects?subjectPrefix=%ff", 400, 400),
            (Method::GET, "/subjects?limit=x", 400, 400),
            (Method::GET, "/schemas?offset=1.5", 400, 400),
            (Method::GET, "/schemas/ids/100/subjects?limit=99999999999999999999", 400, 400),
            (Method::GET, "/config/x", 404, 40401),
            (Method::GET, "/mode/x?defaultToGlobal=false", 404, 40401),
            (Method::POST, "/compatibility/subjects/x/versions/latest", 404, 40401),
            (Method::GET, in_capitals.as_str(), 422, 42202),
            (Method::GET, "/schemas/ids/x", 404, 40403),
            (Method::GET, "/schemas/ids/99999999999999999999", 404, 40403),
            (Method::POST, "/schemas/types", 405, 405),
            (Method::DELETE, "/subjects/x", 405, 405),
            (Method::PUT, "/config/", 405, 405),
            (Method::POST, "/subjects/x", 404, 40401),
            (Method::POST, "/subjects/x/versions", 422, 42201),
        ] {
            let answer = api.send(method.clone(), &format!("{PREFIX}{path}"), None, &[]).await;
            let error = answer.json();
            assert_eq!((answer.status, &error["error_code"]), (status, &json!(code)), "{method} {path}: {error}");
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}: {error}");
            assert_eq!(error.as_object().map(serde_json::Map::len), Some(2), "{method} {path}: {error}");
            assert_eq!(answer.header("content-type"), CONTENT_TYPE, "{method} {path}");
            assert_eq!(answer.header("allow").is_empty(), status != 405, "{method} {path}");
        }
    })
    .await;
}
