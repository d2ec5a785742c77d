//! Steps: list, show, register.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use daybook_projector::{
    statements,
    tables::{FromRow, Row},
};
use daybook_query_api::{
    app::App,
    context::WriteContext,
    create::{Creation, ReadBack, create},
    error::ApiError,
    idempotency::{Recorded, made_by},
    json,
    pagination::Key,
    path::Path,
    query::Query,
};
use daybook_schemas::Envelope;

use super::{
    description::description,
    errors,
    lists_of_run::{self, Kind},
    objects,
    python_json::PythonJson,
    rows::{ListedStepRow, StepRow},
    view::View,
};
use crate::{
    decisions::step::{RegisterStep, decide},
    events::{
        Event,
        ids::{FlowId, StepName},
    },
};

statements! {
    pub(super) STATEMENTS;
    LIST = "list", ListedStepRow;
}

pub(super) async fn list(
    view: View,
    Path((flow, run)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let kind = Kind {
        name: "steps",
        statement: &LIST,
        after: |key| vec![key.t.into(), key.s.as_str().into()],
        key: |row| {
            let step = ListedStepRow::read(row)?;
            Ok(Key { t: step.ts_epoch, n: 0, s: step.step_name.to_owned() })
        },
        write: |shared, row, out| {
            objects::write_step(&shared.step(&ListedStepRow::read(row)?), out);
            Ok(())
        },
    };
    let scope = lists_of_run::run(&view, &flow, &run, None).await?;
    lists_of_run::respond(&view, &query, kind, scope).await
}

pub(super) async fn show(
    view: View,
    Path((flow, run, step)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    let run = view.facts.run(&view, &flow, &run).await?.ok_or_else(errors::not_found)?;
    let row = load(&view, &flow, run.run_number.0, &step).await?;
    respond(&row.ok_or_else(errors::not_found)?)
}

async fn load(view: &View, flow: &str, run: i64, step: &str) -> Result<Option<Row>, ApiError> {
    Ok(view.steps.load(vec![run.into(), step.into(), flow.into()]).await?)
}

fn respond(row: &Row) -> Result<Response, ApiError> {
    let step = StepRow::read(row)?.step;
    Ok(json::respond_object(|out| objects::write_step(&step, out)))
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step)): Path<(String, String, String)>,
    context: WriteContext,
    PythonJson(body): PythonJson,
) -> Result<Response, ApiError> {
    let object = json::object(&body)?;
    let mut description = description(&object)?;
    // Null is kept; only a user that is missing is empty.
    if !object.has("user_name") {
        description.user_name = Some(String::new());
    }
    let command = RegisterStep { flow_id: FlowId(flow), run, step_name: StepName(step), description };
    create(&app, &view.live, &context, Registration { view: &view, command }).await
}

struct Registration<'a> {
    view: &'a View,
    command: RegisterStep,
}

impl Registration<'_> {
    async fn row(&self) -> Result<Option<Row>, ApiError> {
        let (flow, step) = (self.command.flow_id.as_str(), self.command.step_name.as_str());
        let run = self.view.facts.run(self.view, flow, &self.command.run).await?;
        load(self.view, flow, run.map_or(0, |run| run.run_number.0), step).await
    }
}

impl Creation for Registration<'_> {
    type Event = Event;
    const KIND: &'static str = "StepRegistered";

    fn record_key(&self) -> &str {
        self.command.flow_id.as_str()
    }

    async fn decide(&self, _app: &App) -> Result<Vec<Event>, ApiError> {
        let (flow, step) = (self.command.flow_id.as_str(), self.command.step_name.as_str());
        let run = self.view.facts.run(self.view, flow, &self.command.run).await?;
        let exists = match &run {
            Some(run) => self.view.facts.step_exists(self.view, flow, run.run_number, step).await?,
            None => false,
        };
        Ok(vec![decide(self.command.clone(), run.as_deref(), exists)?])
    }

    async fn answer(&self, _envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        let row = self.row().await?;
        respond(&row.ok_or_else(|| ApiError::Internal("a step was applied and has no row".to_owned()))?)
    }

    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        let RegisterStep { flow_id, run, step_name, .. } = &self.command;
        let path = format!("{flow_id}/{run}/{step_name}");
        let row = self.row().await?;
        let row = row.ok_or_else(|| ApiError::Internal(format!("step {path} was applied and has no row")))?;
        let step = StepRow::read(&row)?;
        if !made_by(recorded, step.record_partition, step.record_offset) {
            return Err(errors::duplicate(format!("step {path} exists already")));
        }
        respond(&row).map(ReadBack::Answer)
    }
}
