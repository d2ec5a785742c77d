//! `daybook serve`: starts all parts, serves until it is stopped, shuts down in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use daybook_query_api::{
    app::{self, App, Readiness},
    connections::{self, Connections},
    routes::{self, Router},
    starting::{self, Starting},
};
use daybook_reindexer::rebuilds::Rebuilds;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    config::{Config, Listen, Log},
    defining::Added,
    domains::{Domain, SecondAddress},
    listener,
    running::Running,
    start::Start,
    wire::{self, Parts},
};

/// Connections that clients may have open, at most.
const CONNECTIONS_MAX: u64 = 20_000;
/// File descriptors that are kept for everything else: a quarter of all, and at least so many.
const DESCRIPTORS_KEPT_MIN: u64 = 128;

/// Time after the shutdown limit at which the process ends in any case.
const STOP_MARGIN: Duration = Duration::from_millis(500);

pub(crate) async fn run(config: Config, domains: &[Domain]) -> Result<()> {
    let began = Instant::now();
    let (config, domains) = (Arc::new(config), domains.to_vec());
    let (stop, stopped) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (start_state, instance) = (Start::new(), wire::instance_name());
    let of_reasons = start_state.clone();
    let reasons: Readiness = Arc::new(move || vec![of_reasons.reason()]);
    let shown = starting::router(&Arc::new(known(&config, &instance, reasons, began)));
    let (api, of_api) = watch::channel(shown.clone());
    let (second, of_second) = watch::channel(shown);
    let limit = config.process.shutdown_max;
    let mut listening =
        Listening { servers: JoinSet::new(), connections: Connections::new(connections_max()), stopped, limit };
    if config.process.roles.api {
        listening.serve(&config.http.listen, config.names.of("listen"), &of_api).await?;
        listening.serve_second(&config, &of_second).await?;
    }
    let start = async move {
        let mut parts = Parts::start(&config, &domains, &instance, &start_state).await?;
        let readiness: Readiness = Arc::new(parts.readiness());
        let (start, failures) = (start_state.clone(), Arc::clone(&readiness));
        let reasons: Readiness = Arc::new(move || [vec![start.reason()], failures()].concat());
        let known = known(&config, &instance, reasons, began);
        drop(api.send_replace(starting::router(&Arc::new(known))));
        parts.catch_up(&start_state).await?;
        if config.process.roles.api {
            let app = Arc::new(new_app(&config, &domains, &parts, readiness, &start_state).await?);
            drop(second.send_replace(config.domains.second_router(&app)));
            parts.follow_definitions(&serve_added(app, api));
        } else {
            parts.follow_definitions(&(Arc::new(|_: &Running| {}) as Added));
        }
        Ok::<_, anyhow::Error>(parts)
    };
    // A task of its own, so that neither its work nor the drop of its parts delays the reaction to a signal.
    let mut starting = tokio::spawn(start);
    let mut signal = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let parts = tokio::select! {
        parts = &mut starting => Some(parts??),
        () = signal() => None,
    };
    if parts.is_some() {
        tracing::info!(duration_ms = began.elapsed().as_millis(), "ready after {} ms", began.elapsed().as_millis());
        signal().await;
    }
    tracing::info!("stopping");
    stop.send_replace(true);
    starting.abort();
    let stopping = async {
        while listening.servers.join_next().await.is_some() {}
        let parts = match parts {
            Some(parts) => Some(parts),
            // An aborted start ends after the drop of everything that it had started.
            None => starting.await.ok().and_then(Result::ok),
        };
        if let Some(parts) = parts {
            parts.stop(limit).await;
        }
    };
    // Nothing is awaited any longer: what was acknowledged is durable.
    match tokio::time::timeout(limit + STOP_MARGIN, stopping).await {
        Ok(()) => tracing::info!("stopped"),
        Err(_) => tracing::warn!("stopped after {} ms with work in progress", limit.as_millis()),
    }
    Ok(())
}

/// How many connections of clients this process may have open. Takes as many file descriptors as the system grants.
fn connections_max() -> usize {
    // None: any number.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _refused = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let descriptors = getrlimit(Resource::Nofile).current;
    let of_clients = descriptors.map_or(CONNECTIONS_MAX, |all| all.saturating_sub((all / 4).max(DESCRIPTORS_KEPT_MIN)));
    usize::try_from(of_clients.clamp(1, CONNECTIONS_MAX)).unwrap_or(usize::MAX)
}

/// Where this process listens.
struct Listening {
    servers: JoinSet<()>,
    /// Open connections, over all addresses.
    connections: Arc<Connections>,
    /// Whether to stop.
    stopped: watch::Receiver<bool>,
    /// How long a stop may take.
    limit: Duration,
}

impl Listening {
    /// Serves the current routes on all addresses of a place until the process stops. `name` is what gives the place.
    async fn serve(&mut self, listen: &Listen, name: &str, routes: &watch::Receiver<Router>) -> Result<()> {
        let listeners = listener::bind(listen).await.with_context(|| format!("{name} cannot be used"))?;
        for listener in listeners {
            tracing::info!(listen = %listener.local_addr()?, "listening on {}", listener.local_addr()?);
            let mut stopped = self.stopped.clone();
            let shutdown = async move {
                // The sender outlives the servers.
                let _ended = stopped.wait_for(|stop| *stop).await;
            };
            let connections = Arc::clone(&self.connections);
            self.servers.spawn(connections::serve(listener, connections, routes.clone(), shutdown, self.limit));
        }
        Ok(())
    }

    /// Serves the second address of the domains, if there is one. Only one that was asked for must be free.
    async fn serve_second(&mut self, config: &Config, routes: &watch::Receiver<Router>) -> Result<()> {
        let Some(SecondAddress { listen, flag, is_asked_for, .. }) = config.domains.second() else { return Ok(()) };
        match self.serve(listen, config.names.of(flag), routes).await {
            Err(error) if !is_asked_for && listener::is_taken(&error) => {
                tracing::warn!(%listen, "{listen} is taken: the API of migrations is not served");
                Ok(())
            }
            served => served,
        }
    }
}

/// What is known of this process before it serves.
fn known(config: &Config, instance: &str, reasons: Readiness, started: Instant) -> Starting {
    let log = match &config.log {
        Log::Embedded => format!("embedded, {}", config.process.data_dir.display()),
        Log::Kafka(address) => address.describe(),
    };
    let (instance, roles) = (instance.to_owned(), config.process.roles.names());
    Starting { instance, roles, log, tables: wire::open_store(config).describe(), reasons, started }
}

async fn new_app(
    config: &Config,
    domains: &[Domain],
    parts: &Parts,
    readiness: Readiness,
    start: &Start,
) -> Result<App> {
    let of_app = app::Parts {
        log: Arc::clone(&parts.base.log),
        sequencer: parts.sequencer(domains, start).await?,
        lease: Arc::clone(&parts.base.lease),
        indexes: parts.base.indexes.clone(),
        domains: parts.domains.all().iter().map(|running| served(running)).collect(),
        schemas: Domain::schemas_of(domains),
        readiness,
    };
    Ok(App::new(app_config(config, parts), of_app))
}

/// Serves the domains that there are, and returns what serves each one that is added: its routes are there with the next
/// request.
fn serve_added(app: Arc<App>, api: watch::Sender<Router>) -> Added {
    drop(api.send_replace(routes::router(&app)));
    Arc::new(move |running| {
        app.add(served(running), || drop(api.send_replace(routes::router(&app))));
    })
}

/// A running domain as requests see it.
fn served(running: &Running) -> app::Domain {
    let (platform, serving) = (running.platform.clone(), running.serving.clone());
    let (rebuilds, versions) = (Rebuilds::new(platform, serving.clone()), running.versions.apis.clone());
    app::Domain::new(running.api.clone(), rebuilds, serving, versions)
}

fn app_config(config: &Config, parts: &Parts) -> app::Config {
    let topic_prefix = match &config.log {
        Log::Embedded => "daybook".to_owned(),
        Log::Kafka(address) => address.prefix.clone(),
    };
    app::Config {
        body_bytes_max: config.http.body_bytes_max,
        requests_max: config.http.requests_max,
        wait_max: config.http.wait_max,
        topic_prefix,
        instance: parts.base.instance.clone(),
        roles: config.process.roles.names(),
        log: parts.base.log.describe(),
        tables: parts.store.describe(),
    }
}
