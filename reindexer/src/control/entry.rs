//! A generation as control storage knows it, and where it stands in its life cycle.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daybook_projector::{
    row,
    tables::{Cell, FromRow, Row, TablesError},
    throttle::Pauses,
};

use crate::switch::DatabaseTime;

row! {
    /// A row of [`super::LIST_GENERATIONS`].
    pub(super) struct GenerationRow {
        generation: i64,
        schema: String,
        index_name: String,
        state: String,
        fingerprint: String,
        log_id: String,
        label: String,
        promotes: i64,
        accepts_quarantine: i64,
        until: String,
        goal: String,
        reason: String,
        stopped: String,
        created_at: i64,
        began_at: i64,
        changed_at: i64,
    }
}

/// Where a generation stands in its life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its number is taken; nothing is made yet.
    Planned,
    /// Its tables are filled from the log.
    Loading,
    /// Its index is built from its tables.
    Indexing,
    /// It applies new records as they come.
    Tailing,
    /// It is compared with the live one.
    Verifying,
    /// It can be promoted.
    Ready,
    /// It answers requests.
    Live,
    /// It answered requests before the live one, and is kept as the way back.
    Previous,
    /// It was a previous one. Its index is gone, and its tables, unless another generation has them.
    Retired,
    /// It could not be built, or differs. The same are gone, unless a deadline stopped it.
    Failed,
    /// It was given up before it was promoted. The same are gone.
    Cancelled,
}

impl State {
    /// All of them, in order.
    pub const ALL: [Self; 11] = [
        Self::Planned,
        Self::Loading,
        Self::Indexing,
        Self::Tailing,
        Self::Verifying,
        Self::Ready,
        Self::Live,
        Self::Previous,
        Self::Retired,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Its name, in control storage and for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Loading => "loading",
            Self::Indexing => "indexing",
            Self::Tailing => "tailing",
            Self::Verifying => "verifying",
            Self::Ready => "ready",
            Self::Live => "live",
            Self::Previous => "previous",
            Self::Retired => "retired",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// How those who fill it pause, if rebuilds pause like this. Afterwards it has to keep up with the live one.
    pub fn paced(self, pauses: Pauses) -> Pauses {
        if matches!(self, Self::Loading | Self::Indexing) { pauses } else { Pauses::default() }
    }

    /// Whether it was never live, and has not ended.
    pub fn is_unpromoted(self) -> bool {
        matches!(self, Self::Planned | Self::Loading | Self::Indexing | Self::Tailing | Self::Verifying | Self::Ready)
    }

    /// Whether it has ended: its index is gone, or is being removed, and so are tables that no other has.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Retired | Self::Failed | Self::Cancelled)
    }

    fn parse(name: &str) -> Result<Self, TablesError> {
        let unknown = || TablesError::Refused {
            statement: super::LIST_GENERATIONS.name.to_owned(),
            reason: format!("a newer program wrote the state {name}"),
        };
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(unknown)
    }
}

/// A generation as control storage knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub generation: i64,
    /// The schema of its tables. Others may have the same tables.
    pub schema: String,
    /// The name of its index.
    pub index: String,
    /// Its state.
    pub state: State,
    /// Its fingerprint.
    pub fingerprint: String,
    /// The log that it was built from.
    pub log_id: String,
    /// What its rebuild was called; may be empty.
    pub label: String,
    /// Whether it is promoted as soon as it is ready.
    pub promotes: bool,
    /// Whether it may quarantine records that the live generation has applied.
    pub accepts_quarantine: bool,
    /// The moment at which it ends, as [`crate::until::Until`] is written; empty for one that follows the log.
    pub until: String,
    /// The vector at which its load ends, as text; empty until it begins.
    pub goal: String,
    /// Why it has its state, if there is something to say.
    pub reason: String,
    /// The state in which a deadline stopped it: it has failed, what was built is kept, and it can be resumed.
    pub stopped: Option<State>,
    /// When its rebuild began, in milliseconds since 1970, by the clock of control storage.
    pub created_at: i64,
    /// When work on it began: its rebuild, or the last time that it was resumed or verified again.
    pub began_at: i64,
    /// When its state changed last.
    pub changed_at: i64,
}

impl Entry {
    /// How long it has had its state, by this process's clock.
    pub fn age(&self) -> Duration {
        since(self.changed_at)
    }

    /// How long it has been worked on, by this process's clock.
    pub(crate) fn work_age(&self) -> Duration {
        since(self.began_at)
    }

    /// Whether it has ended, and nothing of it is kept.
    pub fn is_gone(&self) -> bool {
        self.state.has_ended() && self.stopped.is_none()
    }

    /// Whether it was verified too long ago to be promoted, by the clock of control storage.
    pub(crate) fn is_stale(&self, now: DatabaseTime, verified_max: Duration) -> bool {
        let max = i64::try_from(verified_max.as_millis()).unwrap_or(i64::MAX);
        self.state == State::Ready && now.0.saturating_sub(self.changed_at) > max
    }

    /// Whether it is ready, and was compared with another generation than the one that is live now.
    pub fn is_of_former_live(&self, entries: &[Self]) -> bool {
        let is_later = |entry: &Self| entry.state == State::Live && entry.changed_at > self.changed_at;
        self.state == State::Ready && entries.iter().any(is_later)
    }

    /// A new generation with tables of its own. Control storage adds the times.
    pub fn new(generation: i64, schema: String, state: State, fingerprint: String, log_id: String) -> Self {
        let (label, until, goal, reason) = (String::new(), String::new(), String::new(), String::new());
        let index = schema.clone();
        let (promotes, accepts_quarantine, stopped) = (false, false, None);
        let (created_at, began_at, changed_at) = (0, 0, 0);
        Self {
            generation,
            schema,
            index,
            state,
            fingerprint,
            log_id,
            label,
            promotes,
            accepts_quarantine,
            until,
            goal,
            reason,
            stopped,
            created_at,
            began_at,
            changed_at,
        }
    }

    /// Whether only its index was built for it: it has the tables of an earlier generation.
    pub fn is_search_only(&self) -> bool {
        self.index != self.schema
    }

    /// Whether another generation, which is not gone, has the same tables.
    pub fn shares_tables(&self, entries: &[Self]) -> bool {
        let is_other = |other: &&Self| other.generation != self.generation && other.schema == self.schema;
        entries.iter().filter(is_other).any(|other| !other.is_gone())
    }

    /// Whether it shows the past: it ends at a moment, and is read by previews only.
    pub fn is_past(&self) -> bool {
        !self.until.is_empty()
    }

    /// Whether it is on its way to be promoted.
    pub fn is_candidate(&self) -> bool {
        self.state.is_unpromoted() && !self.is_past()
    }

    /// Whether no other rebuild can begin: it is a candidate, or is being built.
    pub fn is_under_way(&self) -> bool {
        self.is_candidate() || self.state.is_unpromoted() && self.state != State::Ready
    }

    /// The parameters of [`super::ADD_GENERATION`].
    pub(super) fn added(&self, domain: &str) -> Vec<Cell> {
        let text = |text: &str| Cell::Text(Some(text.to_owned()));
        let texts =
            [&self.schema, &self.index, self.state.as_str(), &self.fingerprint, &self.log_id, &self.label].map(text);
        let flags = [self.promotes, self.accepts_quarantine].map(|flag| Cell::from(i64::from(flag)));
        let until = text(&self.until);
        [domain.into(), self.generation.into()].into_iter().chain(texts).chain(flags).chain([until]).collect()
    }

    /// All generations of a domain, oldest first. Once there is a newer one, none can be resumed.
    pub(super) fn read_all(rows: &[Row]) -> Result<Vec<Self>, TablesError> {
        let mut all = rows.iter().map(Self::read).collect::<Result<Vec<_>, _>>()?;
        if let Some((_newest, older)) = all.split_last_mut() {
            older.iter_mut().for_each(|entry| entry.stopped = None);
        }
        Ok(all)
    }

    fn read(row: &Row) -> Result<Self, TablesError> {
        let row = GenerationRow::read(row)?;
        Ok(Self {
            generation: row.generation,
            index: if row.index_name.is_empty() { row.schema.clone() } else { row.index_name },
            schema: row.schema,
            state: State::parse(&row.state)?,
            fingerprint: row.fingerprint,
            log_id: row.log_id,
            label: row.label,
            promotes: row.promotes != 0,
            accepts_quarantine: row.accepts_quarantine != 0,
            until: row.until,
            goal: row.goal,
            reason: row.reason,
            stopped: Some(row.stopped).filter(|name| !name.is_empty()).map(|name| State::parse(&name)).transpose()?,
            created_at: row.created_at,
            began_at: row.began_at,
            changed_at: row.changed_at,
        })
    }
}

/// How long ago something was, by this process's clock.
fn since(at: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(u64::try_from(at).unwrap_or(u64::MAX)))
}
