//! Metadata of tasks: list those of a task or a run, register.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use daybook_ingest::sequence::Sequence;
use daybook_projector::{
    statements,
    tables::{FromRow, Statement},
};
use daybook_query_api::{
    app::App,
    context::WriteContext,
    create::{Creation, ReadBack, create},
    error::ApiError,
    idempotency::Recorded,
    json::{self, Object},
    pagination::Key,
    path::Path,
    query::Query,
};
use daybook_schemas::Envelope;
use serde_json::json;

use super::{
    entries::{self, Entries},
    lists_of_run::{self, Kind, TaskPath},
    objects,
    python_json::PythonJson,
    rows::ListedMetadataRow,
    view::View,
};
use crate::{
    decisions::metadata::{RegisterMetadata, decide},
    events::{
        Event, MetadataEntry,
        ids::{FlowId, MetadataId, StepName},
    },
    sequences::METADATA_IDS,
};

statements! {
    pub(super) STATEMENTS;
    LIST_OF_TASK = "list_of_task", ListedMetadataRow;
    LIST_OF_RUN = "list_of_run", ListedMetadataRow;
}

fn kind(name: &'static str, statement: &'static Statement) -> Kind {
    Kind {
        name,
        statement,
        after: |key| vec![key.t.into(), key.n.into()],
        key: |row| {
            let entry = ListedMetadataRow::read(row)?;
            Ok(Key { t: entry.ts_epoch, n: entry.id, s: String::new() })
        },
        write: |shared, row, out| {
            objects::write_metadata(&shared.metadata(&ListedMetadataRow::read(row)?), out);
            Ok(())
        },
    }
}

pub(super) async fn list_of_task(view: View, Path(path): Path<TaskPath>, query: Query) -> Result<Response, ApiError> {
    let scope = lists_of_run::task(&view, &path).await?;
    lists_of_run::respond(&view, &query, kind("metadata-of-task", &LIST_OF_TASK), scope).await
}

pub(super) async fn list_of_run(
    view: View,
    Path((flow, run)): Path<(String, String)>,
    query: Query,
) -> Result<Response, ApiError> {
    let scope = lists_of_run::run(&view, &flow, &run, None).await?;
    lists_of_run::respond(&view, &query, kind("metadata-of-run", &LIST_OF_RUN), scope).await
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    view: View,
    Path((flow, run, step, task)): Path<TaskPath>,
    context: WriteContext,
    PythonJson(body): PythonJson,
) -> Result<Response, ApiError> {
    let Entries { kept: entries, skipped } = entries::read("metadata", &body, entry)?;
    let command = RegisterMetadata { flow_id: FlowId(flow), step_name: StepName(step), entries };
    let response = create(&app, &view.live, &context, Registration { view: &view, run, task, command }).await?;
    Ok(skipped.report(response))
}

struct Registration<'a> {
    view: &'a View,
    run: String,
    task: String,
    command: RegisterMetadata,
}

impl Creation for Registration<'_> {
    type Event = Event;
    const KIND: &'static str = "MetadataRegistered";
    const SEQUENCE: Option<Sequence> = Some(METADATA_IDS);

    fn record_key(&self) -> &str {
        self.command.flow_id.as_str()
    }

    fn entries(&self) -> usize {
        self.command.entries.len()
    }

    async fn decide(&self, app: &App) -> Result<Vec<Event>, ApiError> {
        let RegisterMetadata { flow_id, step_name, entries } = &self.command;
        let path = (flow_id.as_str(), self.run.as_str(), step_name.as_str(), self.task.as_str());
        let found = self.view.facts.run_and_task(self.view, path).await?;
        let takes_ids = found.is_some() && !entries.is_empty();
        let first_id = MetadataId(if takes_ids { app.sequencer.take(METADATA_IDS, entries.len()).await? } else { 1 });
        let task = found.as_ref().map(|(run, task)| (run.as_ref(), task.as_ref()));
        Ok(decide(self.command.clone(), task, first_id)?)
    }

    async fn answer(&self, _envelopes: &[Envelope<Event>]) -> Result<Response, ApiError> {
        Ok(created(self.command.entries.len()))
    }

    /// Entries never conflict with others: what was applied was stored.
    async fn read_back(&self, recorded: &[Recorded]) -> Result<ReadBack, ApiError> {
        Ok(ReadBack::Answer(created(recorded.iter().map(|recorded| recorded.entries).sum())))
    }
}

fn created(count: usize) -> Response {
    json::respond(StatusCode::OK, &json!({"metadata_created": count}))
}

fn entry(index: usize, object: &Object<'_>) -> Result<MetadataEntry, ApiError> {
    let entry = MetadataEntry {
        field_name: object.required_text("field_name", " ")?,
        value: object.required_text("value", " ")?,
        r#type: object.required_text("type", " ")?,
        user_name: object.text("user_name")?,
        tags: object.texts_of_any("tags")?.unwrap_or_default(),
        system_tags: object.texts_of_any("system_tags")?.unwrap_or_default(),
    };
    entry.check(index)?;
    Ok(entry)
}
