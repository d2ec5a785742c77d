//! `daybook search`: asks a running process for documents, and shows them as a table.

use std::io::Write;

use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::{
    ask::{ask, text},
    command::SearchOptions,
    config::Config,
};

/// Characters of a column, at most.
const COLUMN_MAX: usize = 60;
const HEAD: [&str; 5] = ["PATH", "STATUS", "USER", "CREATED (UTC)", "TAGS"];

pub(crate) async fn run(config: &Config, given: &SearchOptions) -> Result<()> {
    let found = ask(config, &given.options, &format!("/api/v1/search?{}", query_of(given))).await?;
    let mut out = std::io::stdout().lock();
    if given.options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?;
        return Ok(());
    }
    let hits = found["hits"].as_array().cloned().unwrap_or_default();
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(hits.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    writeln!(out, "{} of {}", hits.len(), found["total"])?;
    Ok(())
}

/// The options as a query string.
fn query_of(given: &SearchOptions) -> String {
    let many = [
        ("type", &given.types),
        ("flow", &given.flows),
        ("user", &given.users),
        ("tag", &given.tags),
        ("status", &given.statuses),
    ];
    let mut pairs: Vec<(&str, String)> = vec![("q", given.query.join(" ")), ("limit", given.limit.to_string())];
    pairs.extend(many.into_iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value.clone()))));
    let one = [("from", &given.from), ("to", &given.to), ("sort", &given.sort)];
    pairs.extend(one.into_iter().filter_map(|(name, value)| value.clone().map(|value| (name, value))));
    let encode = |(name, value): (&str, String)| format!("{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
    pairs.into_iter().map(encode).collect::<Vec<_>>().join("&")
}

fn row(hit: &Value) -> [String; 5] {
    let tags: Vec<String> = hit["tags"].as_array().into_iter().flatten().map(text).collect();
    let shown = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let created = hit["created_at"].as_i64().map(utc).unwrap_or_default();
    [shown(&hit["path"]), shown(&hit["status"]), shown(&hit["user"]), created, cut(&tags.join(" "))]
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(COLUMN_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Milliseconds since 1970 as `2026-11-26 18:41:00`; days to dates after Howard Hinnant's "chrono-Compatible Low-Level Date
/// Algorithms".
fn utc(ms: i64) -> String {
    let (days, second) = (ms.div_euclid(86_400_000), ms.div_euclid(1000).rem_euclid(86_400));
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_868_800_000), "2000-03-01 00:00:00");
        assert_eq!(utc(1_795_718_460_000), "2026-11-26 18:41:00");
    }

    #[test]
    fn long_cells_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(61)).chars().count(), 61);
    }
}
