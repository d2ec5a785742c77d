//! Which generation a request reads, and when its answer may be sent. The rules are in `reindexer/src/switch/answer.rs`.

use axum::{
    body::Body,
    http::{self, HeaderMap, HeaderName, Method, Uri},
};
use daybook_projector::bookkeeping::checkpoints;
use daybook_reindexer::{
    running::Reading,
    switch::{
        GenerationId,
        answer::{Answer, Next, Refusal, Request},
        instance::{Local, Waits},
    },
    watcher::Serving,
};
use tokio::{sync::watch, time::Instant};

use crate::{
    app::{App, Domain},
    error::ApiError,
    live::Live,
    pagination,
    routes::search,
};

pub(crate) const PREVIEW: HeaderName = HeaderName::from_static("daybook-preview");
/// The name of the header as error bodies show it.
const PREVIEW_FIELD: &str = "Daybook-Preview";

/// A request that has begun on a generation.
pub(crate) struct Answering<'a> {
    app: &'a App,
    domain: &'a Domain,
    /// The generation that it reads, from beginning to end.
    pub(crate) live: Live,
    request: Request,
    _reading: Reading,
}

impl<'a> Answering<'a> {
    /// Begins on the live generation, or on the one that a preview or a cursor names.
    pub(crate) fn begin(app: &'a App, domain: &'a Domain, http: &http::Request<Body>) -> Result<Self, ApiError> {
        let named = match previewed(http.method(), http.headers())? {
            Some(previewed) => Some(previewed),
            None if is_read(http.method()) => of_cursor(domain, http.uri()),
            None => None,
        };
        let request = Request::begin(&local(app, domain), named, app.lease.now()).map_err(refused)?;
        let number = request.generation.0;
        let unknown = || ApiError::NotFound(format!("generation {number} of {} is not open here", domain.api.name));
        let live = domain.generation(number).ok_or_else(unknown)?;
        let answering = Self { app, domain, _reading: live.begin(), live, request };
        answering.is_whole()?;
        Ok(answering)
    }

    /// Waits until what the answer tells will be seen by every later request, whatever generation that reads.
    pub(crate) async fn may_send(&self) -> Result<(), ApiError> {
        let deadline = Instant::now() + self.app.config.wait_max;
        let mut changes = self.domain.changes();
        if !self.live.generation.progress.owed().0.is_empty() {
            return Err(ApiError::Unavailable("the tables went back; try again".to_owned()));
        }
        loop {
            self.is_whole()?;
            let waits = changes.borrow_and_update().local.waits;
            if waits != (Waits { live: self.request.generation, former: None }) {
                self.wait(waits, &mut changes, deadline).await?;
            }
            match self.request.next(waits, &local(self.app, self.domain), self.app.lease.now()) {
                Next::Send => return Ok(()),
                Next::WaitAgain => {}
                Next::Refuse(refusal) => return Err(refused(refusal)),
            }
        }
    }

    /// Waits until these generations have reached what the answer shows, or others are to be waited for.
    async fn wait(
        &self,
        waits: Waits,
        changes: &mut watch::Receiver<Serving>,
        deadline: Instant,
    ) -> Result<(), ApiError> {
        // An upper bound of what was read or written.
        let shown = checkpoints::read(self.live.generation.tables.as_ref()).await?;
        let open = self.domain.serving().open.clone();
        let has_reached = |number: GenerationId| {
            open.get(&number.0).is_some_and(|open| open.generation.progress.applied().reaches(&shown))
        };
        if self.request.is_reached(Answer::Read, waits, has_reached) {
            return Ok(());
        }
        let others = [Some(waits.live), waits.former].into_iter().flatten();
        let others = others.filter(|number| *number != self.request.generation);
        let reached = async {
            for other in others.filter_map(|number| open.get(&number.0)) {
                other.generation.progress.wait_for(&shown).await;
            }
        };
        tokio::select! {
            () = reached => Ok(()),
            // The sender lives as long as the process serves.
            _ = changes.changed() => Ok(()),
            () = tokio::time::sleep_until(deadline) => Err(ApiError::not_applied()),
        }
    }

    /// Whether the generation may be used. If the log does not contain what its tables have applied, they may hold what
    /// never was.
    fn is_whole(&self) -> Result<(), ApiError> {
        let generation = &self.live.generation;
        match generation.refusal() {
            Some(reason) => Err(ApiError::Unavailable(reason.to_owned())),
            None => Ok(()),
        }
    }
}

/// What this process knows of a domain, with its lease.
fn local(app: &App, domain: &Domain) -> Local {
    Local { lease: app.lease.held(), ..domain.serving().local }
}

fn refused(refusal: Refusal) -> ApiError {
    match refusal {
        Refusal::NoLease | Refusal::LeaseLost => {
            ApiError::Unavailable("this process has lost its lease; try again".to_owned())
        }
        Refusal::Retiring(_) => ApiError::Gone(refusal.to_string()),
    }
}

/// The generation that the cursor of a list or a search belongs to, while that is open.
fn of_cursor(domain: &Domain, uri: &Uri) -> Option<GenerationId> {
    let query = uri.query()?;
    let number = pagination::generation_of(query).or_else(|| search::generation_of(query))?;
    domain.serving().open.contains_key(&number).then_some(GenerationId(number))
}

fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

/// The generation that a preview names. Only reads can be previewed.
fn previewed(method: &Method, headers: &HeaderMap) -> Result<Option<GenerationId>, ApiError> {
    let Some(value) = headers.get(PREVIEW) else { return Ok(None) };
    if !is_read(method) {
        return Err(ApiError::invalid(PREVIEW_FIELD, "only reads can be previewed"));
    }
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|number| *number > 0);
    let number = number.ok_or_else(|| ApiError::invalid(PREVIEW_FIELD, "expected the number of a generation"))?;
    Ok(Some(GenerationId(number)))
}
