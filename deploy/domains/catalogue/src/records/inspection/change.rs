//! How much a generation differs from the live one, and how much it may.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Held;
use crate::{
    definition::{Definition, measures::Percent, verify::Verify},
    records::{counts::BySource, further::FurtherCounts},
};

/// A number of the live generation, and of the candidate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counted {
    before: u64,
    after: u64,
}

/// Numbers by source, of the live generation and of the candidate.
type CountedBySource = BTreeMap<Option<String>, Counted>;

/// What has changed.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) rows: Counted,
    /// `None` if an index is not open.
    pub(super) documents: Option<Counted>,
    /// `None` if a generation has no sources.
    rows_by_source: Option<CountedBySource>,
    documents_by_source: Option<CountedBySource>,
    /// Rows of the further tables of the candidate's definition.
    further: BTreeMap<String, Counted>,
    /// Records of which a rule leaves a field empty.
    pub(super) emptied: u64,
}

/// A number beside its limit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Limited {
    limit: &'static str,
    source: Option<String>,
    found: String,
    max: String,
    is_held: bool,
}

impl Counted {
    /// The number of the candidate beside those of the live generation before and after that was counted: the nearest
    /// one between them, which the live generation may have had at that moment.
    fn beside([before, after]: [u64; 2], candidate: u64) -> Self {
        Self { before: candidate.clamp(before.min(after), before.max(after)), after: candidate }
    }

    pub(super) fn show(self) -> Value {
        let Self { before, after } = self;
        let change = i128::from(after) - i128::from(before);
        // Nothing grows by a percentage.
        let percent = (before > 0).then(|| (change as f64 / before as f64 * 10_000.0).round() / 100.0);
        json!({"before": before, "after": after, "change": i64::try_from(change).unwrap_or(i64::MAX), "percent": percent})
    }

    const fn lost(self) -> u64 {
        self.before.saturating_sub(self.after)
    }
}

impl Change {
    /// Between the live generation, counted before and after the candidate, and that.
    pub(super) fn between(definition: &Definition, [before, after]: [&Held; 2], candidate: &Held) -> Self {
        let mut change = Self {
            rows: Counted::beside([before.rows, after.rows], candidate.rows),
            rows_by_source: beside(
                [before.rows_by_source.as_ref(), after.rows_by_source.as_ref()],
                candidate.rows_by_source.as_ref(),
            ),
            further: further_beside(definition, [&before.further, &after.further], &candidate.further),
            ..Self::default()
        };
        if let (Some(before), Some(after), Some(candidate)) = (&before.indexed, &after.indexed, &candidate.indexed) {
            change.documents = Some(Counted::beside([before.documents, after.documents], candidate.documents));
            change.documents_by_source =
                beside([before.by_source.as_ref(), after.by_source.as_ref()], candidate.by_source.as_ref());
        }
        change
    }

    pub(super) fn show_by_source(&self) -> Option<Vec<Value>> {
        let of_documents =
            |source| self.documents_by_source.as_ref().map(|all| all.get(source).copied().unwrap_or_default());
        let shown = self.rows_by_source.as_ref()?.iter().map(|(source, rows)| {
            json!({"source": source, "rows": rows.show(), "documents": of_documents(source).map(Counted::show)})
        });
        Some(shown.collect())
    }

    pub(super) fn show_further(&self) -> Vec<Value> {
        let shown = |(table, rows): (&String, &Counted)| json!({"table": table, "rows": rows.show()});
        self.further.iter().map(shown).collect()
    }

    /// Documents by source if both indexes count them; else rows.
    fn by_source(&self) -> impl Iterator<Item = (&Option<String>, &Counted)> {
        self.documents_by_source.as_ref().or(self.rows_by_source.as_ref()).into_iter().flatten()
    }
}

/// The rows of each further table of a definition.
fn further_beside(
    definition: &Definition,
    [before, after]: [&FurtherCounts; 2],
    candidate: &FurtherCounts,
) -> BTreeMap<String, Counted> {
    let rows = |counts: &FurtherCounts, table: &str| counts.get(table).copied().unwrap_or_default().rows;
    let counted = |table: &str| Counted::beside([rows(before, table), rows(after, table)], rows(candidate, table));
    let names = definition.tables.iter().map(|table| table.name.as_str());
    names.map(|name| (name.to_owned(), counted(name))).collect()
}

/// Numbers by source; `None` unless each of the three counts has them.
fn beside([before, after]: [Option<&BySource>; 2], candidate: Option<&BySource>) -> Option<CountedBySource> {
    let (before, after, candidate) = (before?, after?, candidate?);
    let of = |counts: &BySource, source: &Option<String>| counts.get(source).copied().unwrap_or(0);
    let sources: BTreeSet<&Option<String>> = before.keys().chain(after.keys()).chain(candidate.keys()).collect();
    let counted =
        |source: &Option<String>| Counted::beside([of(before, source), of(after, source)], of(candidate, source));
    Some(sources.into_iter().map(|source| (source.clone(), counted(source))).collect())
}

impl Limited {
    /// Holds a change to the limits of a definition. What was not there before can lose nothing.
    pub(super) fn of(verify: &Verify, change: &Change) -> Vec<Self> {
        let all = change.documents.unwrap_or(change.rows);
        let mut limited = Vec::new();
        if all.before > 0 {
            let is_held = all.after >= verify.min_documents;
            let (found, max) = (all.after.to_string(), format!("at least {}", verify.min_documents));
            limited.push(Self { limit: "min_documents", source: None, found, max, is_held });
            limited.push(Self::percent("max_drop", None, all.lost(), all.before, verify.max_drop));
            let grown = all.after.saturating_sub(all.before);
            limited.push(Self::percent("max_growth", None, grown, all.before, verify.max_growth));
        }
        let emptied = (change.emptied, change.rows.after);
        limited.push(Self::percent("max_records_emptied", None, emptied.0, emptied.1, verify.max_records_emptied));
        for (source, counted) in change.by_source().filter(|(_, counted)| counted.lost() > 0) {
            let may_vanish =
                counted.after == 0 && source.as_ref().is_some_and(|it| verify.sources_may_vanish.contains(it));
            let name = source.clone().unwrap_or_else(|| "(none)".to_owned());
            if !may_vanish {
                let (lost, max) = (counted.lost(), verify.max_drop_per_source);
                limited.push(Self::percent("max_drop_per_source", Some(name), lost, counted.before, max));
            }
        }
        limited
    }

    fn percent(limit: &'static str, source: Option<String>, part: u64, whole: u64, max: Percent) -> Self {
        let found = format!("{part} of {whole}");
        Self { limit, source, found, max: max.to_string(), is_held: max.covers(part, whole) }
    }

    pub(super) const fn is_held(&self) -> bool {
        self.is_held
    }

    /// Why the candidate must not be promoted.
    pub(super) fn reason(&self) -> Option<String> {
        let Self { limit, source, found, max, is_held } = self;
        let of = source.as_ref().map(|source| format!(" of source {source}")).unwrap_or_default();
        (!is_held).then(|| format!("verify.{limit}{of}: {found}, the definition allows {max}"))
    }

    pub(super) fn show(&self) -> Value {
        let Self { limit, source, found, max, is_held } = self;
        json!({"limit": limit, "source": source, "found": found, "max": max, "held": is_held})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::inspection::Indexed;

    fn held(documents: &[(&str, u64)]) -> Held {
        let by_source: BySource =
            documents.iter().map(|(source, count)| (Some((*source).to_owned()), *count)).collect();
        let documents = by_source.values().sum();
        let indexed = Indexed { documents, by_source: Some(by_source.clone()), sensitive: None };
        Held { rows: documents, rows_by_source: Some(by_source), further: FurtherCounts::new(), indexed: Some(indexed) }
    }

    fn definition(verify: &str) -> Definition {
        let text = format!("collection = 'c'\nkey = 'id'\n[fields]\nid = 'text'\nsource = 'text'\n[verify]\n{verify}");
        Definition::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn broken(verify: &str, before: &[(&str, u64)], after: &[(&str, u64)], emptied: u64) -> Vec<String> {
        broken_while(verify, [before, before], after, emptied)
    }

    fn broken_while(verify: &str, live: [&[(&str, u64)]; 2], candidate: &[(&str, u64)], emptied: u64) -> Vec<String> {
        let definition = definition(verify);
        let [before, after] = live.map(held);
        let change = Change { emptied, ..Change::between(&definition, [&before, &after], &held(candidate)) };
        Limited::of(&definition.verify, &change).iter().filter_map(Limited::reason).collect()
    }

    #[test]
    fn a_limit_that_is_reached_holds_and_one_that_is_passed_by_one_does_not() {
        let before = [("a", 100), ("b", 900)];
        let none: [String; 0] = [];
        assert_eq!(broken("", &before, &[("a", 90), ("b", 890)], 0), none);
        assert_eq!(
            broken("", &before, &[("a", 90), ("b", 889)], 0),
            ["verify.max_drop: 21 of 1000, the definition allows 2 %"]
        );
        let source = "verify.max_drop_per_source of source a: 11 of 100, the definition allows 10 %";
        assert_eq!(broken("", &before, &[("a", 89), ("b", 900)], 0), [source]);
        assert_eq!(broken("max_drop = '10 %'", &before, &[("b", 900)], 0).len(), 1, "a vanished");
        assert_eq!(broken("max_drop = '10 %'\nsources_may_vanish = ['a']", &before, &[("b", 900)], 0), none);
        assert_eq!(broken("", &before, &[("a", 100), ("b", 1400)], 0), none);
        assert_eq!(broken("", &before, &[("a", 100), ("b", 1401)], 0).len(), 1, "it grew too much");
        assert_eq!(broken("", &before, &before, 10), none);
        assert_eq!(broken("", &before, &before, 11).len(), 1, "too many records are emptied");
        assert_eq!(broken("min_documents = 1001", &before, &before, 0).len(), 1);
    }

    #[test]
    fn what_the_live_generation_had_at_that_moment_is_no_loss() {
        let none: [String; 0] = [];
        let (before, after) = ([("a", 100), ("b", 900)], [("a", 50), ("b", 900), ("c", 500)]);
        for candidate in [&before[..], &after[..], &[("a", 70), ("b", 900), ("c", 60)]] {
            assert_eq!(broken_while("", [&before, &after], candidate, 0), none);
        }
        // The nearer number is the whole: of 50 of source a, six are lost.
        let source = "verify.max_drop_per_source of source a: 6 of 50, the definition allows 10 %";
        assert_eq!(broken_while("", [&before, &after], &[("a", 44), ("b", 900), ("c", 100)], 0), [source]);
    }

    #[test]
    fn the_first_refresh_has_nothing_to_lose_and_no_percentage() {
        let none: [String; 0] = [];
        assert_eq!(broken("min_documents = 5", &[], &[("a", 1)], 0), none);
        let definition = definition("");
        let shown = Change::between(&definition, [&held(&[]), &held(&[])], &held(&[("a", 3)]));
        assert_eq!(shown.rows.show(), json!({"before": 0, "after": 3, "change": 3, "percent": null}));
        assert_eq!(shown.show_by_source().unwrap_or_default()[0]["documents"]["after"], 3);
    }
}
