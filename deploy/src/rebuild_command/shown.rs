//! The progress of a rebuild as it is printed: one line that changes on a terminal, lines in a pipe, or JSON.

use std::io::{self, IsTerminal, Stdout, Write};

use anyhow::Result;
use serde::Serialize;

use super::Progress;
use crate::output;

/// Moves the cursor to the beginning of its line, and clears that.
const CLEAR: &str = "\r\u{1b}[2K";
/// Percent between two lines in a pipe.
const STEP: f64 = 10.0;

/// A change, in the order in which it is printed.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Change {
    rebuild: String,
    domain: String,
    generation: i64,
    state: String,
    percent: f64,
    events_per_second: Option<f64>,
    eta_seconds: Option<f64>,
    lag: Option<i64>,
}

enum Form {
    Json,
    Terminal,
    Lines,
}

/// What was printed so far.
pub(super) struct Shown {
    out: Stdout,
    form: Form,
    before: Option<Change>,
    /// Whether the cursor is in a line that is not complete.
    is_open: bool,
}

impl Shown {
    pub(super) fn new(json: bool) -> Self {
        let out = io::stdout();
        let form = match out.is_terminal() {
            _ if json => Form::Json,
            true => Form::Terminal,
            false => Form::Lines,
        };
        Self { out, form, before: None, is_open: false }
    }

    /// Prints a change, if it is one.
    pub(super) fn show(&mut self, progress: &Progress) -> Result<()> {
        let change = Change::of(progress);
        let before = self.before.as_ref();
        if before == Some(&change) {
            return Ok(());
        }
        let is_new_state = before.is_none_or(|before| before.state != change.state);
        match self.form {
            Form::Json => output::write_line(&mut self.out, &change)?,
            Form::Terminal => {
                // Each state keeps its last line.
                let begin = if is_new_state && self.is_open { "\n" } else { CLEAR };
                write!(self.out, "{begin}{}", line(progress))?;
                self.is_open = true;
            }
            Form::Lines => {
                let is_step = before.is_some_and(|before| change.percent - before.percent >= STEP);
                if !is_new_state && !is_step {
                    return Ok(());
                }
                writeln!(self.out, "{}", line(progress))?;
            }
        }
        self.out.flush()?;
        self.before = Some(change);
        Ok(())
    }

    /// Prints a sentence.
    pub(super) fn say(&mut self, text: &str) -> Result<()> {
        self.end()?;
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Completes the line that is open.
    pub(super) fn end(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_open) {
            writeln!(self.out)?;
        }
        Ok(())
    }
}

impl Change {
    fn of(progress: &Progress) -> Self {
        let Progress { rebuild, domain, generation, state, percent, events_per_second, eta_seconds, lag, .. } =
            progress.clone();
        Self { rebuild, domain, generation, state, percent, events_per_second, eta_seconds, lag }
    }
}

/// A line for people.
fn line(progress: &Progress) -> String {
    let Progress { rebuild, state, percent, events_per_second, eta_seconds, lag, documents, pause_percent, .. } =
        progress;
    let is_worked_on = ["loading", "indexing"].contains(&state.as_str());
    let mut parts = vec![format!("{rebuild}  {state:<9}  {percent:>5.1}%")];
    if state == "loading" {
        parts.push(format!("{:.0} events/s", events_per_second.unwrap_or_default()));
    }
    if is_worked_on {
        parts.extend(eta_seconds.map(|seconds| format!("{} left", duration(seconds))));
        parts.extend(match progress.active().count() {
            0 => None,
            1 => Some("1 worker".to_owned()),
            count => Some(format!("{count} workers")),
        });
    }
    parts.extend(documents.map(|documents| format!("{documents} documents")));
    parts.extend(lag.map(|lag| format!("lag {lag}")));
    if *pause_percent > 0 {
        parts.push(format!("pauses {pause_percent}%: reads are slow"));
    }
    if let Some((worker, failure)) = progress.active().find_map(|it| Some((it, it.failure.as_ref()?))) {
        parts.push(format!("{} is failing: {failure}", worker.instance));
    }
    parts.join("  ")
}

/// Seconds as people read them.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.ceil().max(0.0) as u64;
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(body: serde_json::Value) -> Progress {
        serde_json::from_value(body).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_change_has_its_fields_in_a_fixed_order() {
        let progress = progress(serde_json::json!({
            "rebuild": "d-2", "domain": "d", "generation": 2, "state": "loading", "percent": 12.5,
            "events_per_second": 10.0, "eta_seconds": null, "lag": 7, "label": "x", "documents": null,
        }));
        let text = serde_json::to_string(&Change::of(&progress)).unwrap_or_default();
        let expected = concat!(
            r#"{"rebuild":"d-2","domain":"d","generation":2,"state":"loading","percent":12.5,"#,
            r#""events_per_second":10.0,"eta_seconds":null,"lag":7}"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn people_see_pace_and_time_while_it_loads_and_documents_while_they_are_built() {
        let loading = progress(serde_json::json!({
            "rebuild": "d-2", "state": "loading", "percent": 50.0, "events_per_second": 1200.4, "eta_seconds": 200.0,
            "lag": 5, "workers": [{"instance": "a", "at": 40_000}, {"instance": "b", "at": 1}, {"instance": "c", "at": 15_000}]
        }));
        assert_eq!(line(&loading), "d-2  loading     50.0%  1200 events/s  4 min left  2 workers  lag 5");
        let indexing = serde_json::json!({
            "rebuild": "d-2", "state": "indexing", "percent": 40.0, "documents": 7, "pause_percent": 50, "eta_seconds": 3.0,
            "workers": [{"instance": "a", "at": 20_000, "failure": "no index"}]
        });
        let shown = "d-2  indexing    40.0%  3 s left  1 worker  7 documents  pauses 50%: reads are slow  a is failing: no index";
        assert_eq!(line(&progress(indexing)), shown);
        assert_eq!([duration(0.2), duration(119.0), duration(7300.0)], ["1 s", "119 s", "2 h 1 min"]);
    }
}
