//! Area `rebuild`: how generations are verified, promoted and kept.

use std::{path::PathBuf, time::Duration};

use daybook_reindexer::{settings::Settings, verify::Limits};

use super::{
    read,
    setting::{
        Preset::{Nothing, Value},
        Setting,
        Takes::{Text, Whole},
        area,
    },
};
use crate::{canaries, domains::Domain};

/// A year.
const HOURS_MAX: u64 = 365 * 24;
const FILE: super::setting::Takes = Text { name: "FILE", expected: "the path of a TOML file with searches" };
const COUNT: super::setting::Takes = Whole { min: 0, max: 1_000_000_000_000 };

area! {
    /// The settings of rebuilds.
    RebuildSettings, "rebuild" {
        previous_max: Option<Duration> = hours_or_ever, "previous_hours_max", "rebuild-previous-hours-max",
            Whole { min: 0, max: HOURS_MAX }, Value("24"),
            "Hours that the previous generation is kept as the way back; 0: until it is retired by hand.";
        verified_max: Duration = read::hours, "verified_hours_max", "rebuild-verified-hours-max",
            Whole { min: 1, max: HOURS_MAX }, Value("24"),
            "Hours after which a generation that is ready is verified again before it is promoted.";
        read_latency_max: Option<Duration> = milliseconds_or_none, "read_latency_ms_max", "rebuild-read-latency-ms-max",
            Whole { min: 0, max: 60_000 }, Value("100"),
            "Milliseconds that reads may take (the 99th percentile) before a rebuild pauses between its pieces of work; 0: \
             it never pauses.";
        differing: u64 = read::whole, "differing_rows_max", "rebuild-differing-rows-max", COUNT, Value("0"),
            "Rows that may differ from the live generation's, over all tables; more block a promotion.";
        missing: u64 = read::whole, "missing_rows_max", "rebuild-missing-rows-max", COUNT, Value("0"),
            "Rows that a new generation may lack; more block a promotion.";
        extra: u64 = read::whole, "extra_rows_max", "rebuild-extra-rows-max", COUNT, Value("0"),
            "Rows that only a new generation may have; more block a promotion.";
        documents: u64 = read::whole, "differing_documents_max", "rebuild-differing-documents-max", COUNT, Value("0"),
            "Documents of a new index that may not be as its tables make them; more block a promotion.";
        quarantined: u64 = read::whole, "quarantined_records_max", "rebuild-quarantined-records-max", COUNT, Value("0"),
            "Records that a new generation may refuse although the live one has applied them; more block a promotion.";
        canaries: Option<PathBuf> = file, "canaries", "rebuild-canaries", FILE,
            Nothing { described: "none", example: "canaries.toml" },
            "Searches that verification runs on both generations: [[search]] with domain, query and filters.";
        canary_differences: Option<u64> = count_or_any, "canary_differences_max", "rebuild-canary-differences-max", COUNT,
            Nothing { described: "any number", example: "0" },
            "Documents that these searches may find in one generation only; more block a promotion.";
    }
}

/// How generations are rebuilt.
pub(crate) struct Rebuild {
    pub(crate) settings: Settings,
    /// How long reads may take before rebuilds pause.
    pub(crate) read_latency_max: Option<Duration>,
    /// The file of canaries; they are not read yet.
    canaries: Option<PathBuf>,
}

impl RebuildSettings {
    /// As generations use them.
    pub(crate) fn checked(self) -> Rebuild {
        let limits = Limits {
            differing: self.differing,
            missing: self.missing,
            extra: self.extra,
            documents: self.documents,
            quarantined: Some(self.quarantined),
            canaries: self.canary_differences,
        };
        let (previous_max, verified_max) = (self.previous_max, self.verified_max);
        let settings = Settings { previous_max, verified_max, limits, canaries: Vec::new() };
        Rebuild { settings, read_latency_max: self.read_latency_max, canaries: self.canaries }
    }
}

impl Rebuild {
    /// Reads the file of canaries: searches of these domains.
    pub(crate) fn read_canaries(&mut self, domains: &[Domain]) -> Result<(), Vec<String>> {
        self.settings.canaries = canaries::read(self.canaries.as_deref(), domains)?;
        Ok(())
    }
}

fn file(text: &str, _setting: &Setting) -> Result<Option<PathBuf>, String> {
    Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
}

fn count_or_any(text: &str, setting: &Setting) -> Result<Option<u64>, String> {
    if text.is_empty() { Ok(None) } else { read::whole(text, setting).map(Some) }
}

fn milliseconds_or_none(text: &str, setting: &Setting) -> Result<Option<Duration>, String> {
    read::milliseconds(text, setting).map(|time| Some(time).filter(|time| !time.is_zero()))
}

fn hours_or_ever(text: &str, setting: &Setting) -> Result<Option<Duration>, String> {
    read::hours(text, setting).map(|hours| Some(hours).filter(|hours| !hours.is_zero()))
}
