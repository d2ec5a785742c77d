//! `daybook serve`: starts everything, serves until told to stop, stops in order.

use std::{sync::Arc, time::Instant};

use anyhow::{Context, Result};
use daybook_query_api::{
    app::{self, App},
    routes, server,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{
    config::{Config, Log},
    wire::Parts,
};

pub(crate) async fn run(config: Config) -> Result<()> {
    let began = Instant::now();
    let (stop, stopped) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut servers = JoinSet::new();
    let (api, of_api) = watch::channel(server::starting());
    let (migration, of_migration) = watch::channel(server::starting());
    let places = [
        config.roles.api.then_some((config.listen, of_api)),
        config.migration_listen.map(|listen| (listen, of_migration)),
    ];
    for (listen, routes) in places.into_iter().flatten() {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        tracing::info!(listen = %listener.local_addr()?, "listening on {}", listener.local_addr()?);
        let mut stopped = stopped.clone();
        let shutdown = async move {
            // The sender outlives the servers.
            let _ended = stopped.wait_for(|stop| *stop).await;
        };
        servers.spawn(server::serve(listener, routes, shutdown, config.shutdown_max));
    }
    let start = async {
        let parts = Parts::start(&config).await?;
        if config.roles.api {
            let sequencer = parts.sequencer().await?;
            let (log, generation) = (Arc::clone(&parts.log), Arc::clone(&parts.generation));
            let app = Arc::new(App::new(
                app_config(&config, &parts),
                log,
                sequencer,
                Arc::clone(&parts.lease),
                generation,
                parts.search.clone(),
                Arc::new(parts.readiness()),
            ));
            drop(migration.send_replace(routes::migration_router(&app)));
            drop(api.send_replace(routes::router(&app)));
        }
        Ok::<_, anyhow::Error>(parts)
    };
    let parts = tokio::select! {
        parts = start => parts?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    tracing::info!(duration_ms = began.elapsed().as_millis(), "ready after {} ms", began.elapsed().as_millis());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    stop.send_replace(true);
    while servers.join_next().await.is_some() {}
    parts.stop(config.shutdown_max).await;
    tracing::info!("stopped");
    Ok(())
}

fn app_config(config: &Config, parts: &Parts) -> app::Config {
    let topic_prefix = match &config.log {
        Log::Embedded => "daybook".to_owned(),
        Log::Kafka(address) => address.prefix.clone(),
    };
    app::Config {
        path_prefix: config.path_prefix.clone(),
        body_bytes_max: config.body_bytes_max,
        requests_max: config.requests_max,
        wait_max: config.wait_max,
        run_inactive_cutoff_seconds: config.run_inactive_cutoff_seconds,
        topic_prefix,
        instance: parts.instance.clone(),
        roles: config.roles.names(),
        log: parts.log.describe(),
        tables: parts.store.describe(),
    }
}
