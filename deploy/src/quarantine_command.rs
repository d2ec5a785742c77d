//! `daybook quarantine list|show`: asks a running server which records could not be applied, and why.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ask::ask,
    command::QuarantineCommand,
    config::Server,
    exit::{Code, Failure},
    output,
};

/// Widths of the table's columns; the last is as wide as its text.
const WIDTHS: [usize; 4] = [24, 24, 10, 0];

/// A record in quarantine, in the order in which it is printed.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Entry {
    position: String,
    key: Option<String>,
    reason: String,
    value_bytes: u64,
    value_hex: String,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

pub(crate) async fn run(server: &Server, command: &QuarantineCommand) -> Result<()> {
    let for_people = output::is_for_people(command.server().json);
    match command {
        QuarantineCommand::List(_) => list(server, for_people).await,
        QuarantineCommand::Show { position, .. } => show(server, position, for_people).await,
    }
}

async fn list(server: &Server, for_people: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    let mut after = String::new();
    let mut count = 0_usize;
    // The server answers in pages, in order of position.
    loop {
        let entries: Vec<Entry> = ask(server, &format!("/api/v1/quarantine?after={}", encode(&after))).await?;
        let Some(last) = entries.last() else { break };
        after.clone_from(&last.position);
        for entry in &entries {
            if !for_people {
                output::write_line(&mut out, entry)?;
                continue;
            }
            if count == 0 {
                output::write_row(&mut out, &WIDTHS, &["POSITION", "KEY", "BYTES", "REASON"].map(str::to_owned))?;
            }
            count += 1;
            output::write_row(&mut out, &WIDTHS, &row(entry))?;
        }
    }
    if for_people && count == 0 {
        writeln!(out, "nothing is in quarantine")?;
    }
    Ok(())
}

fn row(entry: &Entry) -> [String; 4] {
    let key = entry.key.as_deref().map(output::cell).unwrap_or_default();
    [entry.position.clone(), key, entry.value_bytes.to_string(), output::cut(&entry.reason, 200)]
}

async fn show(server: &Server, position: &str, for_people: bool) -> Result<()> {
    let found: Vec<Entry> = ask(server, &format!("/api/v1/quarantine?position={}", encode(position))).await?;
    let Some(entry) = found.first() else {
        return Err(Failure::new(Code::NotFound, format!("no record at {position} is in quarantine")).into());
    };
    let mut out = io::stdout().lock();
    if for_people { write(&mut out, entry) } else { output::write_document(&mut out, entry) }
}

fn write(out: &mut impl Write, entry: &Entry) -> Result<()> {
    let key = entry.key.as_deref().unwrap_or_default();
    writeln!(out, "position     {}", entry.position)?;
    writeln!(out, "reason       {}", output::cut(&entry.reason, usize::MAX))?;
    writeln!(out, "key          {}", output::cut(key, usize::MAX))?;
    writeln!(out, "value_bytes  {}", entry.value_bytes)?;
    Ok(writeln!(out, "value_hex    {}", entry.value_hex)?)
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_whole_and_moves_no_cursor() {
        let entry = Entry {
            position: "t/0@7".to_owned(),
            key: Some("a\u{1b}b".to_owned()),
            reason: "no event".to_owned(),
            value_bytes: 3,
            value_hex: "00ff01".to_owned(),
            ..Entry::default()
        };
        let mut out = Vec::new();
        assert!(write(&mut out, &entry).is_ok());
        let expected =
            "position     t/0@7\nreason       no event\nkey          a\\u{1b}b\nvalue_bytes  3\nvalue_hex    00ff01\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert_eq!(row(&entry), ["t/0@7", "a\\u{1b}b", "3", "no event"].map(str::to_owned));
    }
}
