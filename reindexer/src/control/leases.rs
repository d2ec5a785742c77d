//! Leases of processes in control storage.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use daybook_projector::tables::{Cell, Column, FromRow, Params, Row, TablesError};

use super::{
    ACKNOWLEDGE, Control, DomainControl, FORGET_ACKNOWLEDGEMENTS, FORGET_EXPIRED, FORGET_READS, InstanceRow, LEAVE,
    LIST_INSTANCES, LeaseRow, NOTE_READS, READ_LEASE, READ_NOW, SHARE_DOMAINS, WRITE_LEASE, now_of,
};
use crate::{
    lease::NOTHING,
    switch::{
        DatabaseTime, Epoch,
        lease::{Lease, LeaseNumber},
    },
};

/// A process that has a lease, or had one recently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its roles, comma-separated.
    pub roles: String,
    /// The topics that it knows, comma-separated.
    pub topics: String,
    /// Whether its lease has not expired.
    pub leased: bool,
    /// Whether it still has its connection: false once it has ended, and while it is unreachable.
    pub connected: bool,
    /// Milliseconds that its reads took lately: the 99th percentile.
    pub reads_ms: u64,
}

/// Whose lease.
pub(crate) struct LeaseOf {
    pub(crate) instance: String,
    /// Comma-separated, like the topics.
    pub(crate) roles: String,
    pub(crate) topics: String,
    /// Milliseconds that its reads took lately.
    pub(crate) reads_ms: u64,
}

/// What a lease is decided on, read under the share lock of the control rows.
pub(crate) struct LeaseSeen {
    pub(crate) domains: Vec<DomainControl>,
    pub(crate) now: DatabaseTime,
    pub(crate) lease: Option<Lease>,
}

impl LeaseSeen {
    /// The epoch of a domain's control row.
    pub(crate) fn epoch(&self, domain: &str) -> Epoch {
        let found = self.domains.iter().find(|found| found.domain == domain);
        found.map_or(NOTHING, |found| found.row.epoch)
    }
}

/// A lease that was granted, and what its instance has acknowledged of each domain.
pub(crate) struct Granted {
    pub(crate) lease: Lease,
    pub(crate) acknowledged: BTreeMap<&'static str, Epoch>,
}

impl Control {
    /// Releases an instance's lease.
    pub async fn leave(&self, instance: &str) -> Result<(), TablesError> {
        self.write(&LEAVE, vec![instance.into()]).await
    }

    /// Forgets the instances whose lease expired `age` ago.
    pub async fn forget_expired(&self, age: Duration) -> Result<(), TablesError> {
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        self.write(&FORGET_EXPIRED, vec![age_ms.into()]).await?;
        self.write(&FORGET_ACKNOWLEDGEMENTS, Vec::new()).await?;
        self.write(&FORGET_READS, Vec::new()).await
    }

    /// The instances that were not forgotten, in order of name.
    pub async fn instances(&self) -> Result<Vec<Instance>, TablesError> {
        let rows = self.tables.read(&LIST_INSTANCES, Params::One(Vec::new())).await?;
        let instance = |row| {
            let InstanceRow { instance, roles, topics, leased, connected, reads_ms } = InstanceRow::read(row)?;
            let (leased, connected, reads_ms) = (leased != 0, connected != 0, u64::try_from(reads_ms).unwrap_or(0));
            Ok(Instance { name: instance, roles, topics, leased, connected, reads_ms })
        };
        rows.iter().map(|row| instance(row)).collect()
    }

    /// Takes or renews a lease by `decide`, which sees the control rows, under their share lock, and the lease as it is.
    pub(crate) async fn lease<E: From<TablesError> + Send + 'static>(
        &self,
        of: LeaseOf,
        decide: impl FnOnce(&LeaseSeen) -> Result<Granted, E> + Send + 'static,
    ) -> Result<Granted, E> {
        let tables = Arc::clone(&self.tables);
        let run = move || {
            let mut transaction = tables.begin()?;
            let rows = transaction.read(&SHARE_DOMAINS, &Params::One(Vec::new()))?;
            let domains = rows.iter().map(DomainControl::read).collect::<Result<_, TablesError>>()?;
            let now = now_of(&transaction.read(&READ_NOW, &Params::One(Vec::new()))?)?;
            let rows = transaction.read(&READ_LEASE, &Params::One(vec![of.instance.as_str().into()]))?;
            let lease = rows.first().map(lease_of).transpose()?;
            let granted = decide(&LeaseSeen { domains, now, lease })?;
            let Lease { number, expires_at } = granted.lease;
            let texts = [&of.instance, &of.roles, &of.topics].map(|text| Cell::Text(Some(text.clone())));
            let params = texts.into_iter().chain([number.0.into(), expires_at.0.into()]).collect();
            transaction.execute(&WRITE_LEASE, &Params::One(params))?;
            let reads_ms = i64::try_from(of.reads_ms).unwrap_or(i64::MAX);
            transaction.execute(&NOTE_READS, &Params::One(vec![of.instance.as_str().into(), reads_ms.into()]))?;
            let acknowledged = &granted.acknowledged;
            let columns = vec![
                Column::texts(acknowledged.keys().map(|_| of.instance.as_str())),
                Column::texts(acknowledged.keys().copied()),
                Column::ints(acknowledged.values().map(|epoch| epoch.0)),
            ];
            transaction.execute(&ACKNOWLEDGE, &Params::Many(columns))?;
            transaction.commit()?;
            Ok(granted)
        };
        let done = tokio::task::spawn_blocking(run).await;
        done.unwrap_or_else(|e| Err(TablesError::Unavailable(format!("a renewal ended: {e}")).into()))
    }
}

fn lease_of(row: &Row) -> Result<Lease, TablesError> {
    let LeaseRow { number, expires_at } = LeaseRow::read(row)?;
    Ok(Lease { number: LeaseNumber(number), expires_at: DatabaseTime(expires_at) })
}
