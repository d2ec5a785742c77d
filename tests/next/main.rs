//! The program `daybook` as its next release might be: Metaflow's projection has another version, and so its generations
//! have another fingerprint. It also refuses what is recorded under the key `Refused`.

use std::{process::ExitCode, sync::Arc};

use daybook::domains::{self, Domain};
use daybook_ingest::log::Record;
use daybook_projector::{
    comparison::Comparable,
    projection::{Batch, NewerRecord, Planned, Projection, Rejected, Report},
    search::shape::IndexShape,
    tables::{Ddl, PlanStatement, TablesError, Transaction},
};
use daybook_schemas::{Topic, position::PartitionId};

const REFUSED: &[u8] = b"Refused";

fn main() -> ExitCode {
    let next = |domain: &Domain| Domain { projection: || Arc::new(Next((domains::ALL[0].projection)())), ..*domain };
    daybook::run(&domains::ALL.iter().take(1).map(next).collect::<Vec<_>>())
}

/// A projection of the next version.
struct Next(Arc<dyn Projection>);

/// A batch without the refused records.
struct Accepted<'a> {
    batch: Box<dyn Batch + 'a>,
    rejected: Vec<Rejected>,
}

impl Projection for Next {
    fn domain(&self) -> &'static str {
        self.0.domain()
    }

    fn topics(&self) -> Vec<Topic> {
        self.0.topics()
    }

    fn ddl(&self) -> Vec<Ddl> {
        self.0.ddl()
    }

    fn version(&self) -> u32 {
        self.0.version() + 1
    }

    fn plan_statements(&self) -> &'static [PlanStatement] {
        self.0.plan_statements()
    }

    fn batch<'a>(
        &'a self,
        records: &[Record],
        partition_count: &dyn Fn(Topic) -> PartitionId,
    ) -> Result<Box<dyn Batch + 'a>, NewerRecord> {
        let refused = |record: &&Record| record.key.as_deref() == Some(REFUSED);
        let reject = |record: &Record| Rejected { position: record.position, reason: "it is refused".to_owned() };
        let accepted: Vec<Record> = records.iter().filter(|record| !refused(record)).cloned().collect();
        let batch = self.0.batch(&accepted, partition_count)?;
        let refused = records.iter().filter(refused).map(reject);
        let rejected = batch.rejected().iter().cloned().chain(refused).collect();
        Ok(Box::new(Accepted { batch, rejected }))
    }

    fn index_shape(&self) -> Option<Arc<IndexShape>> {
        self.0.index_shape()
    }

    fn time(&self, record: &Record) -> Option<i64> {
        self.0.time(record)
    }

    fn comparable(&self) -> Vec<Comparable> {
        self.0.comparable()
    }
}

impl Batch for Accepted<'_> {
    fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    fn plan(&self) -> Option<Planned> {
        self.batch.plan()
    }

    fn apply(&self, transaction: &mut dyn Transaction) -> Result<Report, TablesError> {
        self.batch.apply(transaction)
    }
}
