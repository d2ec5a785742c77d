//! `daybook serve`: starts all parts, serves until it is stopped, shuts down in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use daybook_query_api::{
    app::{self, App, Readiness},
    live::Live,
    routes, server,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    config::{Config, Log},
    domains::{self, Domain},
    listener,
    wire::{Parts, Running},
};

/// Time after the shutdown limit at which the process ends in any case.
const STOP_MARGIN: Duration = Duration::from_millis(500);

pub(crate) async fn run(config: Config, domains: &[Domain]) -> Result<()> {
    let (began, config, domains) = (Instant::now(), Arc::new(config), domains.to_vec());
    let (stop, stopped) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut servers = JoinSet::new();
    let nothing_known: Readiness = Arc::new(Vec::new);
    let (api, of_api) = watch::channel(server::starting(Arc::clone(&nothing_known)));
    let (migration, of_migration) = watch::channel(server::starting(nothing_known));
    let places = [
        config.process.roles.api.then_some((&config.http.listen, of_api)),
        config.domains.migration_listen().map(|listen| (listen, of_migration)),
    ];
    for (listen, routes) in places.into_iter().flatten() {
        for listener in listener::bind(listen).await? {
            tracing::info!(listen = %listener.local_addr()?, "listening on {}", listener.local_addr()?);
            let (mut stopped, routes) = (stopped.clone(), routes.clone());
            let shutdown = async move {
                // The sender outlives the servers.
                let _ended = stopped.wait_for(|stop| *stop).await;
            };
            servers.spawn(server::serve(listener, routes, shutdown, config.process.shutdown_max));
        }
    }
    let limit = config.process.shutdown_max;
    let start = async move {
        let parts = Parts::start(&config, &domains).await?;
        let readiness: Readiness = Arc::new(parts.readiness());
        drop(api.send_replace(server::starting(Arc::clone(&readiness))));
        parts.catch_up().await?;
        if config.process.roles.api {
            let app = Arc::new(new_app(&config, &domains, &parts, readiness).await?);
            drop(migration.send_replace(domains::migration_router(&app)));
            drop(api.send_replace(routes::router(&app)));
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
        while servers.join_next().await.is_some() {}
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

async fn new_app(config: &Config, domains: &[Domain], parts: &Parts, readiness: Readiness) -> Result<App> {
    let served = |running: &Running| {
        let api = (running.domain.api)(&config.domains);
        let live = Live::new(Arc::clone(&running.generation), running.search.clone(), &api.new_view);
        app::Domain::new(api, live)
    };
    let of_app = app::Parts {
        log: Arc::clone(&parts.log),
        sequencer: parts.sequencer().await?,
        lease: Arc::clone(&parts.lease),
        domains: parts.domains.iter().map(served).collect(),
        schemas: Domain::schemas_of(domains),
        readiness,
    };
    Ok(App::new(app_config(config, parts), of_app))
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
        instance: parts.instance.clone(),
        roles: config.process.roles.names(),
        log: parts.log.describe(),
        tables: parts.store.describe(),
    }
}
