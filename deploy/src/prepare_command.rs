//! `daybook prepare`: fills the generation of this release beside an older one that runs on embedded stores.

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use daybook_ingest::log::{EventLog, embedded::LogBeside};
use daybook_projector::{search::state::Search, throttle::Throttle};
use daybook_reindexer::{
    control::Control,
    lease::{Folded, Holding, Lease},
    prepare,
    running::{Platform, Running},
};
use daybook_schemas::position::Vector;

use crate::{
    config::{Config, Log, Tables},
    domains::Domain,
    exit::{Code, Failure},
    output,
    running::Base,
    wire,
};

/// Between two reports of progress.
const REPORT: Duration = Duration::from_secs(2);

pub(crate) async fn run(config: Config, domains: &[Domain]) -> Result<()> {
    if !matches!(config.log, Log::Embedded) || !matches!(config.tables, Tables::Sqlite) {
        let text =
            "only embedded stores are prepared: on Kafka and PostgreSQL, start this release beside the older one";
        return Err(Failure::new(Code::Usage, text).into());
    }
    let folder = &config.process.data_dir;
    let topics = Domain::topics_of(domains);
    let log: Arc<dyn EventLog> = Arc::new(LogBeside::open(folder, &topics).context("cannot open the embedded log")?);
    let _lock = lock(&config)?;
    let control = Control::open(wire::open_store(&config)).await.context("cannot open control storage")?;
    let instance = wire::instance_name();
    let folded = domains.iter().map(|domain| Folded::of((domain.projection)().as_ref(), log.as_ref()));
    let holding = Holding {
        instance: instance.clone(),
        roles: String::new(),
        domains: folded.collect::<Result<_, _>>()?,
        throttle: Arc::new(Throttle::new(None)),
    };
    let lease = Arc::new(Lease::unshared(control.clone(), holding));
    let (indexes, settings) = (wire::open_search(&config)?, Arc::new(config.rebuild.settings.clone()));
    let base =
        Base { log, control, lease, instance, indexes, settings, projects: true, is_search_checked: Arc::default() };
    for domain in domains {
        let platform = base.platform_of(&domain.parts(&config.domains))?;
        let name = platform.domain();
        match prepare::begin(&platform).await? {
            None => output::tell(&format!("{name} needs no preparation: it has a generation of this release")),
            Some(running) => {
                fill(&platform, running).await?;
                output::tell(&format!(
                    "{name} is prepared: stop the older release and start this one with --data-dir {}",
                    folder.display()
                ));
            }
        }
    }
    Ok(())
}

/// Keeps a second preparation out, and a start of this release while one is under way.
pub(crate) fn lock(config: &Config) -> Result<File> {
    let path = config.process.data_dir.join("prepare.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let place = config.process.data_dir.display();
    let taken = |_| Failure::new(Code::Conflict, format!("`daybook prepare` fills {place}: wait for it, or stop it"));
    file.try_lock().map_err(taken)?;
    Ok(file)
}

/// Fills tables, then the index, and what was written meanwhile.
async fn fill(platform: &Platform, mut running: Running) -> Result<()> {
    tables(platform, &running).await?;
    running.index(platform)?;
    if let Some(search) = running.open.search.clone() {
        index(platform, &search).await?;
    }
    tables(platform, &running).await?;
    tokio::task::spawn_blocking(move || drop(running)).await?;
    Ok(())
}

/// The current end of the domain's part of the log.
async fn end(platform: &Platform) -> Result<Vector> {
    let (log, topics) = (Arc::clone(&platform.log), platform.version.projection.topics());
    Ok(tokio::task::spawn_blocking(move || log.end(&topics)).await??)
}

async fn tables(platform: &Platform, running: &Running) -> Result<()> {
    let (domain, progress, end) = (platform.domain(), &running.open.generation.progress, end(platform).await?);
    let (began, first) = (Instant::now(), progress.applied().lag(&end));
    while tokio::time::timeout(REPORT, progress.wait_for(&end)).await.is_err() {
        if let Some(reason) = running.open.generation.refusal() {
            anyhow::bail!("{reason}");
        }
        let left = progress.applied().lag(&end);
        let seconds = began.elapsed().as_secs_f64() * left as f64 / (first - left).max(1) as f64;
        let failure = running.failure().map(|failure| format!(" ({failure})")).unwrap_or_default();
        output::tell(&format!("{domain}: {left} records left, about {seconds:.0} s{failure}"));
    }
    Ok(())
}

async fn index(platform: &Platform, search: &Search) -> Result<()> {
    let (domain, end) = (platform.domain(), end(platform).await?);
    while tokio::time::timeout(REPORT, search.wait(&end)).await.is_err() {
        let health = search.health();
        if let Some(failure) = health.failure {
            anyhow::bail!("the search index of {domain} cannot be built: {failure}");
        }
        let building = health.building.unwrap_or_default();
        let (documents, percent) = (building.documents, building.percent());
        output::tell(&format!("{domain}: building the search index, {documents} documents so far, {percent:.1}%"));
    }
    Ok(())
}
