//! The real Metaflow client runs a flow while generations are rebuilt and promoted, again and again.

use std::{fs, path::Path, process::Stdio};

use daybook_tests::{
    user::{User, said},
    wait::until,
    writers::{Acknowledged, check},
};

use super::{all_states, expect, states};
use crate::on_both;

/// Tasks of the foreach.
const WIDTH: &str = "12";

#[tokio::test(flavor = "multi_thread")]
async fn a_real_foreach_succeeds_while_generations_are_promoted_and_is_read_back_whole() {
    on_both("rebuilds_foreach", |place, server| async move {
        let user = User::new(&place, &server);
        let file = user.home.join("run").display().to_string();
        let run = ["wide.py", "--quiet", "run", "--width", WIDTH, "--max-workers", "2", "--run-id-file", &file];
        let mut command = user.python(&run);
        command.stdin(Stdio::null());
        let flow = tokio::task::spawn_blocking(move || command.output());
        until("the run begins, or ends", async || Path::new(&file).exists() || flow.is_finished()).await;
        let mut promoted = 0;
        while !flow.is_finished() {
            let changes = expect(&server, 0, &["rebuild", "--promote", "--json"]);
            assert_eq!(states(&changes).last().map(String::as_str), Some("live"), "{changes}");
            promoted += usize::from(!flow.is_finished());
        }
        let output = flow.await.unwrap_or_else(|error| panic!("{error}"));
        let output = output.unwrap_or_else(|error| panic!("cannot run the flow: {error}"));
        assert!(output.status.success(), "{}", said(&output));
        eprintln!("{:?}: {promoted} promotions during the flow", place.backend);
        assert!(promoted > 0, "the flow ended before the first promotion");
        let number = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        user.must(&["wide_client.py", number.trim(), WIDTH]);
        assert_eq!(all_states(&server).last(), Some(&"live".into()));
        check(&place, &server, &Acknowledged::default()).await;
        let errors: Vec<_> = server.logged().into_iter().filter(|line| line.contains("ERROR")).collect();
        assert!(errors.is_empty(), "{errors:?}");
    })
    .await;
}
