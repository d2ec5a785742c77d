//! What commands print: tables on a terminal, JSON in a pipe or with `--json`.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

/// Characters of a cell, at most.
const CELL_MAX: usize = 60;

/// Whether a command prints for people.
pub(crate) fn is_for_people(json: bool) -> bool {
    !json && io::stdout().is_terminal()
}

/// Tells people something on standard error. Nobody may read there any longer: that is no reason to fail.
pub(crate) fn tell(text: &str) {
    let _unread = writeln!(io::stderr(), "daybook: {text}");
}

/// Prints a JSON document.
pub(crate) fn write_document(out: &mut impl Write, document: &impl Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    Ok(writeln!(out)?)
}

/// Prints one document of a stream, on a line.
pub(crate) fn write_line(out: &mut impl Write, document: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, document)?;
    Ok(writeln!(out)?)
}

/// Prints a table, with columns as wide as their widest cell. All rows have as many cells as the head.
pub(crate) fn write_table<R: AsRef<[String]>>(
    out: &mut impl Write,
    head: &[impl AsRef<str>],
    rows: &[R],
) -> Result<()> {
    let head: Vec<String> = head.iter().map(|name| name.as_ref().to_owned()).collect();
    let all = || std::iter::once(head.as_slice()).chain(rows.iter().map(AsRef::as_ref));
    let width = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).filter_map(width).collect();
    all().try_for_each(|row| write_row(out, &widths, row))
}

/// Prints one row; the last cell is not padded.
pub(crate) fn write_row(out: &mut impl Write, widths: &[usize], row: &[String]) -> Result<()> {
    let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    Ok(writeln!(out, "{}", cells.join("  ").trim_end())?)
}

/// A text for a cell: without characters that move the terminal's cursor, and cut if it is too long.
pub(crate) fn cell(text: &str) -> String {
    cut(text, CELL_MAX)
}

/// A text without characters that move the terminal's cursor, cut after a number of characters.
pub(crate) fn cut(text: &str, characters_max: usize) -> String {
    let mut shown = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == characters_max {
            shown.push('…');
            break;
        }
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// A value for people: a text without its quotes, a dash for null.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Milliseconds since 1970 as `2026-11-26 18:41:00`; days to dates after Howard Hinnant's "chrono-Compatible Low-Level
/// Date Algorithms".
pub(crate) fn utc(ms: i64) -> String {
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
        assert_eq!(cell("short"), "short");
        assert_eq!(cell(&"é".repeat(CELL_MAX + 1)).chars().count(), CELL_MAX + 1);
        assert_eq!(cell(&"é".repeat(CELL_MAX)).chars().count(), CELL_MAX);
    }

    #[test]
    fn a_cell_cannot_move_the_cursor() {
        assert_eq!(cell("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = Vec::new();
        let rows = [["ab", "x"], ["a", "yy"]].map(|row| row.map(str::to_owned));
        assert!(write_table(&mut out, &["A", "LONG"], &rows).is_ok());
        assert_eq!(String::from_utf8_lossy(&out), "A   LONG\nab  x\na   yy\n");
    }
}
