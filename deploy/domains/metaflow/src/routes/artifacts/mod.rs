//! Artifacts: show one, list those of a task, an attempt, a step or a run, register.
//!
//! "Latest attempt" means two things, both kept from Metaflow's service: for one artifact, the greatest attempt of the
//! artifact that is literally called `name` in its task; for lists, the greatest attempt of any artifact of the task.

mod lists;

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_projector::{
    statements,
    tables::{Cell, FromRow, Row, Statement},
};
use daybook_schemas::Envelope;
use serde_json::json;

use crate::{
    decisions::artifacts::{RegisterArtifacts, decide},
    events::{
        Artifact, Event,
        ids::{FlowId, StepName},
    },
};

pub(super) use self::lists::{list_of_attempt, list_of_run, list_of_step, list_of_task};
use daybook_query_api::{
    app::App,
    context::WriteContext,
    create::{Creation, ReadBack, create},
    error::ApiError,
    idempotency::Recorded,
    json::{self, Object},
    path::Path,
};

use super::{
    entries::{self, Entries},
    errors,
    lists_of_run::TaskPath,
    objects,
    python_json::PythonJson,
    rows::Artifact as ArtifactRow,
    view::View,
};

statements! {
    STATEMENTS_OF_ONE;
    SHOW = "show", ArtifactRow;
    SHOW_OF_ATTEMPT = "show_of_attempt", ArtifactRow;
}

/// Every statement of artifacts.
pub(super) fn statements() -> Vec<&'static Statement> {
    [STATEMENTS_OF_ONE, lists::STATEMENTS].concat()
}

/// The parameters that name a task.
async fn task_params(view: &View, path: &TaskPath) -> Result<Vec<Cell>, ApiError> {
    let (flow, run, step, task) = path;
    let found = view.facts.run_and_task(view, (flow, run, step, task)).await?;
    let (run, task) = found.ok_or_else(errors::not_found)?;
    Ok(vec![flow.as_str().into(), run.run_number.0.into(), step.as_str().into(), task.task_id.0.into()])
}

pub(super) async fn show(
    view: View,
    Path((flow, run, step, task, name)): Path<(String, String, String, String, String)>,
) -> Result<Response, ApiError> {
    let mut params = task_params(&view, &(flow, run, step, task)).await?;
    params.push(name.as_str().into());
    respond(view.live.read(&SHOW, params).await?.first())
}

pub(super) async fn show_of_attempt(
    view: View,
    Path((flow, run, step, task, name, attempt)): Path<(String, String, String, String, String, String)>,
) -> Result<Response, ApiError> {
    let attempt = parse_attempt(&attempt)?;
    let mut params = task_params(&view, &(flow, run, step, task)).await?;
    params.extend([name.as_str().into(), attempt.into()]);
    respond(view.live.read(&SHOW_OF_ATTEMPT, params).await?.first())
}

fn parse_attempt(text: &str) -> Result<i64, ApiError> {
    let wrong = |_| ApiError::invalid("attempt_id", format!("attempt {text:?} is not an integer"));
    text.parse::<i64>().map_err(wrong)
}

fn respond(row: Option<&Row>) -> Result<Response, ApiError> {
    let artifact = ArtifactRow::read(row.ok_or_else(errors::not_found)?)?;
    Ok(json::respond_object(|out| objects::write_artifact(&artifact, out)))
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task)): Path<TaskPath>,
    context: WriteContext,
    PythonJson(body): PythonJson,
) -> Result<Response, ApiError> {
    let Entries { kept: entries, skipped } = entries::read("artifacts", &body, entry)?;
    let command = RegisterArtifacts { flow_id: FlowId(flow), step_name: StepName(step), entries };
    let response = create(&app, &view.live, &context, Registration { view: &view, run, task, command }).await?;
    Ok(skipped.report(response))
}

struct Registration<'a> {
    view: &'a View,
    run: String,
    task: String,
    command: RegisterArtifacts,
}

impl Creation for Registration<'_> {
    type Event = Event;
    const KIND: &'static str = "ArtifactsRegistered";

    fn record_key(&self) -> &str {
        self.command.flow_id.as_str()
    }

    fn entries(&self) -> usize {
        self.command.entries.len()
    }

    async fn decide(&self, _app: &App) -> Result<Vec<Event>, ApiError> {
        let (flow, step) = (self.command.flow_id.as_str(), self.command.step_name.as_str());
        let found = self.view.facts.run_and_task(self.view, (flow, &self.run, step, &self.task)).await?;
        let found = found.as_ref().map(|(run, task)| (run.as_ref(), task.as_ref()));
        Ok(decide(self.command.clone(), found)?)
    }

    async fn answer(&self, _envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        Ok(created(self.command.entries.len()))
    }

    /// Artifacts that existed already are not counted.
    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        let mut count = 0;
        for Recorded { position, entries, .. } in recorded {
            let skipped = usize::try_from(self.view.skipped(*position).await?).unwrap_or(usize::MAX);
            count += entries.saturating_sub(skipped);
        }
        Ok(ReadBack::Answer(created(count)))
    }
}

fn created(count: usize) -> Response {
    json::respond(StatusCode::OK, &json!({"artifacts_created": count}))
}

fn entry(index: usize, object: &Object<'_>) -> Result<Artifact, ApiError> {
    let artifact = Artifact {
        name: object.required_text("name", " ")?,
        location: object.required_text("location", " ")?,
        ds_type: object.required_text("ds_type", " ")?,
        sha: object.text_or("sha", " ")?,
        r#type: object.text_or("type", " ")?,
        content_type: object.text_or("content_type", " ")?,
        user_name: object.text_or("user_name", " ")?,
        attempt_id: object.small_int("attempt_id")?,
        tags: object.texts_of_any("tags")?.unwrap_or_default(),
        system_tags: object.texts_of_any("system_tags")?.unwrap_or_default(),
    };
    artifact.check(index)?;
    Ok(artifact)
}
