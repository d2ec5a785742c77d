//! Compares one table of two generations: digests of ranges of keys first, then the rows of ranges that differ.

use std::collections::{BTreeMap, BTreeSet};

use daybook_ingest::log::BoxFuture;
use daybook_projector::{
    bookkeeping::checkpoints,
    comparison::{Hashed, Range, Reader},
    generation::Generation,
    tables::TablesError,
    throttle::Throttle,
};
use tokio::time::Instant;

use super::{ATTEMPTS, Difference, LISTED_MAX, Steps, TableReport, VerifyError, wait::wait_for};

/// Rows of a range: first by so many, then, where these differ, by fewer, whose keys are then read.
const ROWS: [i64; 2] = [8192, 256];

/// Compares two generations.
pub(super) struct Comparison<'a> {
    pub(super) live: &'a Generation,
    pub(super) candidate: &'a Generation,
    pub(super) steps: Steps<'a>,
    pub(super) throttle: &'a Throttle,
}

/// The rows of a range by key: how many have it, and the sum of their hashes.
type Rows = BTreeMap<String, (u64, i64)>;

/// What is known of keys that differed once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Those that differ although the live side did not change.
    pub(super) differing: Vec<String>,
    /// Those that changed meanwhile.
    pub(super) changing: BTreeSet<String>,
}

/// Judges keys. The candidate was read after it had passed all that `before` shows, and `after` was read after the live
/// side had passed all that the candidate showed. So what did not change between these two must be what the candidate
/// shows.
pub(super) fn judge<T: PartialEq>(
    before: &BTreeMap<String, T>,
    candidate: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
    suspects: Option<&BTreeSet<String>>,
) -> Judged {
    let keys: BTreeSet<&String> = before.keys().chain(candidate.keys()).chain(after.keys()).collect();
    let mut judged = Judged::default();
    for key in keys.into_iter().filter(|key| suspects.is_none_or(|suspects| suspects.contains(*key))) {
        let (was, found, is) = (before.get(key), candidate.get(key), after.get(key));
        if found == was || found == is {
            continue;
        }
        if was == is {
            judged.differing.push(key.clone());
        } else {
            judged.changing.insert(key.clone());
        }
    }
    judged
}

impl Comparison<'_> {
    /// How many ranges a table is expected to have.
    pub(super) async fn ranges(&self, reader: &Reader) -> Result<u64, TablesError> {
        let (live, candidate) =
            tokio::try_join!(reader.count(self.live.tables.as_ref()), reader.count(self.candidate.tables.as_ref()))?;
        Ok(u64::try_from(live.max(candidate) / ROWS[0]).unwrap_or(0) + 1)
    }

    /// Compares all rows of a table.
    pub(super) async fn compare(&mut self, reader: &Reader) -> Result<TableReport, VerifyError> {
        let name = reader.comparable().table.to_string();
        let columns = reader.comparable().columns.iter().map(ToString::to_string).collect();
        let mut report = TableReport { name, columns, ..TableReport::default() };
        let (mut range, mut since) = (reader.all(), Instant::now());
        loop {
            // Live first; the candidate may have more behind it.
            let bound = match reader.bound(self.live.tables.as_ref(), &range, ROWS[0]).await? {
                Some(bound) => Some(bound),
                None => reader.bound(self.candidate.tables.as_ref(), &range, ROWS[0]).await?,
            };
            let part = Range { from: range.from, to: bound.clone() };
            self.compare_range(reader, &part, 0, &mut report).await?;
            report.ranges += 1;
            self.steps.add(1);
            self.throttle.rest(&mut since).await;
            match bound {
                Some(bound) => range.from = bound,
                None => return Ok(report),
            }
        }
    }

    /// Compares a range by digest, and its parts if that differs.
    fn compare_range<'s>(
        &'s self,
        reader: &'s Reader,
        range: &'s Range,
        level: usize,
        report: &'s mut TableReport,
    ) -> BoxFuture<'s, Result<(), VerifyError>> {
        Box::pin(async move {
            let (live, candidate) = tokio::try_join!(
                reader.digest(self.live.tables.as_ref(), range),
                reader.digest(self.candidate.tables.as_ref(), range)
            )?;
            if level == 0 {
                report.live_rows += u64::try_from(live.row_count).unwrap_or(0);
                report.candidate_rows += u64::try_from(candidate.row_count).unwrap_or(0);
            }
            if live == candidate {
                return Ok(());
            }
            let Some(rows) = ROWS.get(level + 1) else { return self.compare_rows(reader, range, report).await };
            // The bounds are of the side with more rows, so that no part has many.
            let larger = if live.row_count >= candidate.row_count { self.live } else { self.candidate };
            let mut rest = range.clone();
            loop {
                let bound = reader.bound(larger.tables.as_ref(), &rest, *rows).await?;
                let part = Range { from: rest.from, to: bound.clone().or_else(|| range.to.clone()) };
                self.compare_range(reader, &part, level + 1, report).await?;
                match bound {
                    Some(bound) => rest.from = bound,
                    None => return Ok(()),
                }
            }
        })
    }

    /// Reads the keys of a small range until each is known to be equal, to differ, or to change all the time.
    async fn compare_rows(&self, reader: &Reader, range: &Range, report: &mut TableReport) -> Result<(), VerifyError> {
        let mut changing = None;
        for _ in 0..ATTEMPTS {
            let before = self.rows_passed(self.live, self.candidate, reader, range).await?;
            let candidate = self.rows_passed(self.candidate, self.live, reader, range).await?;
            let after = rows(self.live, reader, range).await?;
            let judged = judge(&before, &candidate, &after, changing.as_ref());
            for key in judged.differing {
                let (in_live, in_candidate) = (after.contains_key(&key), candidate.contains_key(&key));
                self.note(reader, &key, in_live, in_candidate, report).await?;
            }
            let is_done = judged.changing.is_empty();
            changing = Some(judged.changing);
            if is_done {
                break;
            }
        }
        report.changing_count += changing.map_or(0, |keys| keys.len() as u64);
        Ok(())
    }

    /// The rows of a range in one generation, and a wait until the other one has applied all that they show.
    async fn rows_passed(
        &self,
        of: &Generation,
        other: &Generation,
        reader: &Reader,
        range: &Range,
    ) -> Result<Rows, VerifyError> {
        let rows = rows(of, reader, range).await?;
        wait_for(other, &checkpoints::read(of.tables.as_ref()).await?).await?;
        Ok(rows)
    }

    async fn note(
        &self,
        reader: &Reader,
        key: &str,
        in_live: bool,
        in_candidate: bool,
        report: &mut TableReport,
    ) -> Result<(), VerifyError> {
        match (in_live, in_candidate) {
            (true, false) => report.missing_count += 1,
            (false, true) => report.extra_count += 1,
            _ => report.differing_count += 1,
        }
        if report.differing.len() < LISTED_MAX {
            let content = async |generation: &Generation, is_there| match is_there {
                true => reader.content(generation.tables.as_ref(), key).await,
                false => Ok(None),
            };
            let live = content(self.live, in_live).await?;
            let candidate = content(self.candidate, in_candidate).await?;
            report.differing.push(Difference { key: reader.key(key), live, candidate });
        }
        Ok(())
    }
}

async fn rows(generation: &Generation, reader: &Reader, range: &Range) -> Result<Rows, TablesError> {
    let mut rows = Rows::new();
    for Hashed { row_key, row_hash } in reader.rows(generation.tables.as_ref(), range).await? {
        let (count, sum) = rows.entry(row_key).or_default();
        *count += 1;
        *sum = sum.wrapping_add(row_hash);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_did_not_change_meanwhile_is_known_to_differ() {
        let side = |text: &str| -> BTreeMap<String, char> {
            ["a", "b", "c", "d", "e"]
                .into_iter()
                .zip(text.chars())
                .filter(|(_, value)| *value != '-')
                .map(|(key, value)| (key.to_owned(), value))
                .collect()
        };
        let all = judge(&side("1111-"), &side("121-3"), &side("11213"), None);
        // a is equal, b differs, c changed to what the candidate does not show yet, d is missing, e is new on both.
        assert_eq!(all, Judged { differing: vec!["b".to_owned(), "d".to_owned()], changing: BTreeSet::new() });
        let changed = judge(&side("1"), &side("2"), &side("3"), None);
        assert_eq!(changed, Judged { differing: Vec::new(), changing: ["a".to_owned()].into() });
        let others = judge(&side("11"), &side("22"), &side("11"), Some(&["b".to_owned()].into()));
        assert_eq!(others.differing, ["b"]);
    }
}
