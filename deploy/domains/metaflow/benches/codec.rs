//! Time to encode and decode one event, compared with apache-avro on the same bytes. `cargo bench -p daybook-metaflow`.
//!
//! Prints nanoseconds per event, the best of several passes, and asserts nothing, because timings are noisy.

use std::{
    hint::black_box,
    io::Write,
    time::{Duration, Instant},
};

use apache_avro::{Schema, from_avro_datum, to_avro_datum};
use daybook_metaflow::events::{
    Artifact, ArtifactsRegistered, Event, SCHEMAS, TaskRegistered,
    ids::{FlowId, RunNumber, StepName, TaskId},
};
use daybook_schemas::{Envelope, codec};

const ROUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 5;

/// Nanoseconds of one call, in the best pass.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    let round = |call: &mut dyn FnMut()| {
        let (began, mut calls) = (Instant::now(), 0_u32);
        while began.elapsed() < ROUND {
            (0..100).for_each(|_| call());
            calls += 100;
        }
        began.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
    };
    (0..ROUNDS).map(|_| round(&mut call)).fold(f64::INFINITY, f64::min)
}

fn tags() -> Vec<String> {
    ["runtime:dev", "python_version:3.11.7", "user:bench", "metaflow_version:2.19.39"].map(str::to_owned).to_vec()
}

fn task() -> Event {
    Event::TaskRegistered(TaskRegistered {
        flow_id: FlowId::from("BenchTasks"),
        run_number: RunNumber(17),
        step_name: StepName::from("work"),
        task_id: TaskId(123_456),
        task_name: None,
        user_name: Some("bench".into()),
        tags: vec!["bench:1".into(), "team:ml".into()],
        system_tags: tags(),
        heartbeat: true,
    })
}

fn artifacts() -> Event {
    let artifact = |index: usize| Artifact {
        name: format!("artifact_{index}"),
        location: ":root:/data/metaflow/.metaflow".into(),
        ds_type: "local".into(),
        sha: Some("194108c8f41294e0338aaf3e15c9ec9614b94fad".into()),
        r#type: Some("metaflow.artifact".into()),
        content_type: Some("pickle-v4".into()),
        user_name: Some("bench".into()),
        attempt_id: 0,
        tags: vec!["bench:1".into(), "team:ml".into()],
        system_tags: tags(),
    };
    let flow_id = FlowId::from("BenchTasks");
    let run_number = RunNumber(17);
    let step_name = StepName::from("work");
    let entries = (0..5).map(artifact).collect();
    Event::ArtifactsRegistered(ArtifactsRegistered { flow_id, run_number, step_name, task_id: TaskId(5), entries })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = Schema::parse_str(&SCHEMAS.current().text)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<22} {:>6} {:>10} {:>10} {:>14} {:>14}",
        "event", "bytes", "encode ns", "decode ns", "avro encode ns", "avro decode ns"
    )?;
    for (name, event) in [("TaskRegistered", task()), ("ArtifactsRegistered x5", artifacts())] {
        let envelope = Envelope::new(1_795_317_569_646, event);
        let bytes = codec::encode(&envelope)?;
        let datum = &bytes[5..];
        let value = from_avro_datum(&schema, &mut &datum[..], None)?;
        let encode = nanoseconds(|| drop(black_box(codec::encode(black_box(&envelope)))));
        let decode = nanoseconds(|| drop(black_box(codec::decode::<Event>(black_box(&bytes)))));
        let avro_encode = nanoseconds(|| drop(black_box(to_avro_datum(&schema, value.clone()))));
        let avro_decode = nanoseconds(|| drop(black_box(from_avro_datum(&schema, &mut &datum[..], None))));
        writeln!(
            out,
            "{name:<22} {:>6} {encode:>10.0} {decode:>10.0} {avro_encode:>14.0} {avro_decode:>14.0}",
            bytes.len()
        )?;
    }
    Ok(())
}
