//! The schema registry, tried with Confluent's own client.

use std::{path::PathBuf, process::Command};

use daybook_tests::services;

use crate::on_both;

#[tokio::test(flavor = "multi_thread")]
async fn confluent_s_client_reads_the_registry_and_another_library_decodes_a_record() {
    on_both("registry", |_place, server| async move {
        let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let registry = format!("{}/api/v1/schema-registry", server.api.base);
        let subject = server.api.get("/api/v1/schema-registry/subjects").await.json()[0].clone();
        let output = Command::new(services::address("DAYBOOK_TEST_PYTHON"))
            .arg(tests.join("e2e/flows/registry.py"))
            .args([&registry, subject.as_str().unwrap_or_default()])
            .arg(tests.join("golden/events/metaflow/v1/flow-registered.avro"))
            .output();
        let output = output.unwrap_or_else(|error| panic!("cannot run Python: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    })
    .await;
}
