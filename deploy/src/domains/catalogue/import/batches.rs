//! The records of a file in bodies for bulk posts. No more than one body is in memory.

use std::io::{BufRead, Read};

use anyhow::Result;
use daybook_catalogue::record::{
    LINE_BYTES_MAX,
    csv::{self, Row, RowFault, rows::Rows, write},
};

/// Records of a body, at most: as many as a server records together.
const RECORDS_MAX: usize = 500;
/// Bytes of a body after which no record is added.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A JSON object a line.
    Ndjson,
    /// CSV, or PostgreSQL's text format, with a header.
    Csv(csv::Format),
}

impl Format {
    /// The format of a name.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "ndjson" | "jsonl" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv(csv::Format::Csv)),
            "tsv" => Ok(Self::Csv(csv::Format::Tabs)),
            _ => Err("not one of ndjson, csv, tsv".to_owned()),
        }
    }

    /// The format that the name of a file says.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let plain = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path);
        Self::parse(plain.rsplit_once('.')?.1).ok()
    }

    /// The content type of its bodies.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            // Bodies are written anew.
            Self::Csv(_) => "text/csv",
        }
    }
}

/// A body.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) body: Vec<u8>,
    /// The line of the file of each record, with its line in the body.
    lines: Vec<(u64, u64)>,
    /// Records of the file that are in no body, because they cannot be read.
    pub(super) faults: Vec<RowFault>,
    /// Lines of the body.
    written: u64,
}

impl Batch {
    /// How many records it has.
    pub(super) fn records(&self) -> usize {
        self.lines.len()
    }

    /// The line of the file of a line of the body.
    pub(super) fn line_of_file(&self, in_body: u64) -> u64 {
        let known = self.lines.iter().rev().find(|(_, line)| *line <= in_body);
        known.map_or(in_body, |(line, _)| *line)
    }

    fn is_full(&self) -> bool {
        self.lines.len() + self.faults.len() >= RECORDS_MAX || self.body.len() >= BYTES_MAX
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.faults.is_empty()
    }

    /// Notes a record that was appended to the body from a byte on.
    fn note(&mut self, line_of_file: u64, from: usize) {
        self.lines.push((line_of_file, self.written + 1));
        self.written += self.body[from..].iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}

/// Reads a file body by body.
pub(super) enum Batches {
    Ndjson { bytes: Box<dyn BufRead>, line: u64 },
    Csv(Box<Rows<Box<dyn BufRead>>>),
}

impl Batches {
    pub(super) fn new(bytes: Box<dyn BufRead>, format: Format) -> Result<Self> {
        Ok(match format {
            Format::Ndjson => Self::Ndjson { bytes, line: 0 },
            Format::Csv(format) => Self::Csv(Box::new(Rows::new(bytes, format)?)),
        })
    }

    /// The next body; `None` after the last one.
    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        let batch = match self {
            Self::Ndjson { bytes, line } => next_lines(bytes.as_mut(), line)?,
            Self::Csv(rows) => next_rows(rows)?,
        };
        Ok((!batch.is_empty()).then_some(batch))
    }
}

fn next_lines(bytes: &mut dyn BufRead, number: &mut u64) -> Result<Batch> {
    let (mut batch, limit) = (Batch::default(), LINE_BYTES_MAX as u64 + 2);
    while !batch.is_full() {
        let from = batch.body.len();
        if (&mut *bytes).take(limit).read_until(b'\n', &mut batch.body)? == 0 {
            break;
        }
        *number += 1;
        let line = &batch.body[from..];
        let is_whole = line.ends_with(b"\n");
        if !is_whole && line.len() as u64 == limit {
            batch.body.truncate(from);
            skip_line(bytes)?;
            let detail = format!("the line has more than {LINE_BYTES_MAX} bytes");
            batch.faults.push(RowFault { line: *number, code: "line-too-long", detail });
            continue;
        }
        if line.trim_ascii().is_empty() {
            batch.body.truncate(from);
            continue;
        }
        if !is_whole {
            batch.body.push(b'\n');
        }
        batch.note(*number, from);
    }
    Ok(batch)
}

/// Passes over the rest of a line.
fn skip_line(bytes: &mut dyn BufRead) -> Result<()> {
    loop {
        let buffer = bytes.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (passed, is_end) = (end.map_or(buffer.len(), |end| end + 1), end.is_some() || buffer.is_empty());
        bytes.consume(passed);
        if is_end {
            return Ok(());
        }
    }
}

fn next_rows(rows: &mut Rows<Box<dyn BufRead>>) -> Result<Batch> {
    let mut batch = Batch::default();
    while !batch.is_full() {
        match rows.next_row()? {
            None => break,
            Some(Err(fault)) => batch.faults.push(fault),
            Some(Ok(Row { line, values })) => {
                if batch.body.is_empty() {
                    write::write(rows.columns().iter().map(|name| Some(name.as_str())), &mut batch.body);
                    batch.written = batch.body.iter().filter(|byte| **byte == b'\n').count() as u64;
                }
                let from = batch.body.len();
                write::write(values.iter().map(Option::as_deref), &mut batch.body);
                batch.note(line, from);
            }
        }
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn batches(text: &str, format: Format) -> Vec<Batch> {
        let batches = Batches::new(Box::new(Cursor::new(text.to_owned())), format);
        let mut batches = batches.unwrap_or_else(|error| panic!("{error:#}"));
        let mut all = Vec::new();
        while let Some(batch) = batches.next().unwrap_or_else(|error| panic!("{error:#}")) {
            all.push(batch);
        }
        all
    }

    #[test]
    fn lines_of_a_body_are_those_of_the_file() {
        let csv = "id,title\na,\"one\ntwo\"\n\nb,x\nc,\"stray\"q\nd,y\n";
        let all = batches(csv, Format::Csv(csv::Format::Csv));
        assert_eq!(all.len(), 1);
        let body = String::from_utf8_lossy(&all[0].body);
        assert_eq!(body, "\"id\",\"title\"\n\"a\",\"one\ntwo\"\n\"b\",\"x\"\n\"d\",\"y\"\n");
        assert_eq!([2, 4, 5].map(|line| all[0].line_of_file(line)), [2, 5, 7]);
        assert_eq!(all[0].faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [6]);
        let all = batches("{\"id\":1}\n\n{\"id\":2}", Format::Ndjson);
        assert_eq!((all[0].records(), all[0].line_of_file(1), all[0].line_of_file(2)), (2, 1, 3));
    }

    #[test]
    fn a_file_is_cut_into_bodies_and_a_line_that_is_too_long_is_in_none() {
        let long = format!("{}\n", "x".repeat(2 * LINE_BYTES_MAX));
        let lines: String = (0..RECORDS_MAX + 5).map(|id| format!("{{\"id\":{id}}}\n")).collect();
        let all = batches(&format!("{long}{lines}"), Format::Ndjson);
        assert_eq!(all.iter().map(Batch::records).collect::<Vec<_>>(), [RECORDS_MAX - 1, 6]);
        assert_eq!((all[0].faults[0].line, all[0].faults[0].code), (1, "line-too-long"));
        assert_eq!(all[1].line_of_file(1), RECORDS_MAX as u64 + 1);
        assert!(batches("", Format::Ndjson).is_empty());
    }

    #[test]
    fn the_format_is_that_of_the_name() {
        for (path, format) in [
            ("a.csv", Some(Format::Csv(csv::Format::Csv))),
            ("dir.x/a.tsv.gz", Some(Format::Csv(csv::Format::Tabs))),
            ("a.jsonl.zst", Some(Format::Ndjson)),
            ("a", None),
            ("a.parquet", None),
        ] {
            assert_eq!(Format::of_path(path), format, "{path}");
        }
    }
}
