//! The real, unmodified Metaflow client: real flows, read back with its own Client API, on both back ends.

use daybook_tests::{
    process::{Backend, Place, Projector, Server},
    user::{User, said},
};

use crate::on_both;

#[tokio::test(flavor = "multi_thread")]
async fn real_flows_run_retry_resume_and_read_back() {
    on_both("metaflow", |place, server| async move { check(&place, &server).await }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_flows_run_against_api_and_projector_in_two_processes() {
    let place = Place::new("metaflow_roles", Backend::Distributed);
    let _projector = Projector::start(&place);
    let server = Server::start_with(&place, &["--roles", "api"]);
    check(&place, &server).await;
}

async fn check(place: &Place, server: &Server) {
    let user = User::new(place, server);
    let failed_run = user.home.join("failed");
    let failed_file = failed_run.display().to_string();
    let run = ["demo.py", "--quiet", "run", "--tag", "team:ml", "--run-id-file", &failed_file];
    let failed = user.run(&run, &[("DEMO_FAILS", "1")]);
    assert!(!failed.status.success() && said(&failed).contains("told to fail"), "{}", said(&failed));
    let resumed_file = user.home.join("resumed").display().to_string();
    user.must(&["demo.py", "--quiet", "resume", "--run-id-file", &resumed_file]);
    let id = |file: &str| std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}")).trim().to_owned();
    let (failed, resumed) = (id(&failed_file), id(&resumed_file));
    let named = orchestrated(&user);
    user.must(&["client.py", &failed, &resumed, named]);
    user.must(&["demo.py", "tag", "list", "--run-id", &failed]);
    user.must(&["demo.py", "tag", "add", "--run-id", &failed, "late"]);
    user.must(&["demo.py", "logs", &format!("{failed}/start")]);
    user.must(&["demo.py", "dump", &format!("{resumed}/end")]);
    let run = server.api.get(&format!("/flows/DemoFlow/runs/{failed}")).await.json();
    assert!(run["tags"].as_array().is_some_and(|tags| tags.contains(&"late".into())), "{run}");
    assert_eq!(server.api.get("/api/v1/quarantine").await.text, "[]");
    let warnings: Vec<_> = server.logged().into_iter().filter(|line| line.contains("ERROR")).collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// Registers a run and tasks by name as an orchestrator does: several processes at once, each of them twice.
fn orchestrated(user: &User) -> &'static str {
    let named = "argo-demo-x7k2p";
    let init = ["demo.py", "--quiet", "init", "--run-id", named, "--task-id", "t-params"];
    let step = ["demo.py", "--quiet", "step", "start", "--run-id", named, "--task-id", "t-start", "--input-paths"];
    let input = format!("{named}/_parameters/t-params");
    let step: Vec<&str> = step.into_iter().chain([input.as_str()]).collect();
    for arguments in [init.as_slice(), step.as_slice()] {
        let racers: Vec<_> =
            (0..2).map(|_| user.python(arguments).stderr(std::process::Stdio::piped()).spawn()).collect();
        for racer in racers {
            let output = racer.and_then(std::process::Child::wait_with_output);
            let output = output.unwrap_or_else(|error| panic!("cannot run {arguments:?}: {error}"));
            assert!(output.status.success(), "{arguments:?} failed:\n{}", said(&output));
        }
    }
    named
}
