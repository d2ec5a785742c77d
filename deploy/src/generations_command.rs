//! `daybook generations list|show|promote|rollback|cancel|retire`: asks a running server about generations, and changes
//! them.

mod report;

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Result;
use daybook_reindexer::verify::Report;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    ask::{ask, change},
    command::{Change, GenerationsCommand, OfDomain},
    config::Server,
    exit::{Code, Failure},
    output,
    rebuild_command::domain_query,
};

/// A generation, in the order in which it is printed.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Generation {
    domain: String,
    generation: i64,
    label: String,
    state: String,
    fingerprint: String,
    created_at: i64,
    applied: Option<String>,
    lag_records: Option<i64>,
    tables: String,
    search: Option<String>,
    shared_parts: Vec<Value>,
    /// The moment at which it ends, if it shows the past. A list does not print it for programs.
    #[serde(skip_serializing)]
    until: Option<String>,
    /// A list does not print it for programs.
    #[serde(skip_serializing)]
    reason: String,
}

/// A generation with its reason, and with the report of its verification if that is asked for.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    generation: &'a Generation,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<&'a str>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Option<&'a Report>>,
}

impl<'a> Shown<'a> {
    fn new(generation: &'a Generation, report: Option<Option<&'a Report>>) -> Self {
        Self { generation, until: generation.until.as_deref(), reason: &generation.reason, report }
    }
}

pub(crate) async fn run(server: &Server, command: &GenerationsCommand) -> Result<()> {
    let generations = Generations { server, of: command.of() };
    match command {
        GenerationsCommand::List(_) => generations.list().await,
        GenerationsCommand::Show { generation, .. } => generations.show(*generation).await,
        GenerationsCommand::Promote { generation, change } => {
            let known = generations.known(*generation).await?;
            let plan = match known.state.as_str() {
                "live" => format!("{} is live already", known.title()),
                _ => generations.switch(&known).await?,
            };
            generations.change(&known, "promote", &plan, change).await
        }
        GenerationsCommand::Rollback(change) => {
            let known = generations.previous().await?;
            let plan = generations.switch(&known).await?;
            generations.change(&known, "rollback", &plan, change).await
        }
        GenerationsCommand::Cancel { generation, change } => {
            let known = generations.known(*generation).await?;
            let plan = format!("{} is given up: its tables and its index are removed", known.title());
            generations.change(&known, "cancel", &plan, change).await
        }
        GenerationsCommand::Retire { generation, change } => {
            let known = generations.known(*generation).await?;
            let title = known.title();
            let plan = format!("the tables and the index of {title} are removed: there is no way back to it then");
            generations.change(&known, "retire", &plan, change).await
        }
    }
}

/// The generations that a command is about.
struct Generations<'a> {
    server: &'a Server,
    of: &'a OfDomain,
}

impl Generations<'_> {
    fn is_for_people(&self) -> bool {
        output::is_for_people(self.of.server.json)
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/generations{rest}{}", domain_query(self.of.domain.as_deref()))
    }

    async fn all(&self) -> Result<Vec<Generation>> {
        ask(self.server, &self.path("")).await
    }

    async fn known(&self, number: i64) -> Result<Generation> {
        ask(self.server, &self.path(&format!("/{number}"))).await
    }

    async fn list(&self) -> Result<()> {
        let all = self.all().await?;
        let mut out = io::stdout().lock();
        if !self.is_for_people() {
            return output::write_document(&mut out, &all);
        }
        const HEAD: [&str; 8] = ["DOMAIN", "GENERATION", "STATE", "LABEL", "CREATED (UTC)", "LAG", "TABLES", "REASON"];
        let row = |it: &Generation| {
            let lag = it.lag_records.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
            let (label, created) = (output::cell(&it.label), output::utc(it.created_at));
            let (number, reason) = (it.generation.to_string(), output::cell(&it.reason));
            [it.domain.clone(), number, it.state.clone(), label, created, lag, it.tables.clone(), reason]
        };
        output::write_table(&mut out, &HEAD, &all.iter().map(row).collect::<Vec<_>>())
    }

    async fn show(&self, number: i64) -> Result<()> {
        let generation = self.known(number).await?;
        let report = match ask::<Report>(self.server, &self.path(&format!("/{number}/report"))).await {
            Ok(report) => Some(report),
            // It was not verified.
            Err(error) if error.downcast_ref::<Failure>().is_some_and(|it| it.code() == Code::NotFound) => None,
            Err(error) => return Err(error),
        };
        let mut out = io::stdout().lock();
        if !self.is_for_people() {
            let shown = Shown::new(&generation, Some(report.as_ref()));
            return output::write_document(&mut out, &shown);
        }
        generation.write(&mut out)?;
        match report {
            None => Ok(writeln!(out, "not verified")?),
            Some(report) => report::write(&mut out, &report),
        }
    }

    /// The generation to which it goes back.
    async fn previous(&self) -> Result<Generation> {
        let mut all = self.all().await?;
        let domain = match self.of.domain.clone() {
            Some(domain) => domain,
            None => self.default_domain(&all).await?,
        };
        all.retain(|it| it.domain == domain && it.state == "previous");
        let none = || format!("{domain} has no previous generation");
        Ok(all.pop().ok_or_else(|| Failure::new(Code::Conflict, none()))?)
    }

    /// The domain that is meant where none is named.
    async fn default_domain(&self, all: &[Generation]) -> Result<String> {
        #[derive(Deserialize)]
        struct Status {
            default_domain: Option<String>,
        }
        let mut names: Vec<&str> = all.iter().map(|it| it.domain.as_str()).collect();
        names.dedup();
        let text = || format!("name a domain with --domain: {}", names.join(", "));
        let status: Status = ask(self.server, "/api/v1/status").await?;
        Ok(status.default_domain.ok_or_else(|| Failure::new(Code::Usage, text()))?)
    }

    /// What happens if a generation becomes live.
    async fn switch(&self, to: &Generation) -> Result<String> {
        let all = self.all().await?;
        let of_domain = |state: &str| all.iter().find(|it| it.domain == to.domain && it.state == state);
        let mut plan = format!("{} becomes live", to.title());
        if let Some(live) = of_domain("live") {
            plan.push_str(&format!("; generation {} becomes the previous one, the way back", live.generation));
        }
        if let Some(previous) = of_domain("previous").filter(|previous| previous.generation != to.generation) {
            plan.push_str(&format!("; generation {} is retired before", previous.generation));
        }
        Ok(plan)
    }

    /// Asks, unless that is not wanted, and changes a generation.
    async fn change(&self, known: &Generation, verb: &str, plan: &str, given: &Change) -> Result<()> {
        if !given.yes {
            let plan = plan.to_owned();
            tokio::task::spawn_blocking(move || confirm(&plan)).await??;
        }
        let path = format!("/api/v1/generations/{}/{verb}{}", known.generation, domain_query(Some(&known.domain)),);
        let changed: Generation = change(self.server, &path, &json!({"reason": given.reason})).await?;
        let mut out = io::stdout().lock();
        match self.is_for_people() {
            true => Ok(writeln!(out, "{} is {}", changed.title(), changed.state)?),
            false => output::write_document(&mut out, &Shown::new(&changed, None)),
        }
    }
}

/// Asks whether to go on.
fn confirm(plan: &str) -> Result<()> {
    let input = io::stdin();
    if !input.is_terminal() {
        let text = format!("{plan}; nobody can be asked here, so give --yes to do it");
        return Err(Failure::new(Code::Usage, text).into());
    }
    let mut asked = io::stderr();
    write!(asked, "{plan}\nGo on? [y/N] ")?;
    asked.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Code::Cancelled, "nothing was changed").into()),
    }
}

impl Generation {
    /// It and its label, in words.
    fn title(&self) -> String {
        let label = if self.label.is_empty() { String::new() } else { format!(" ({})", output::cell(&self.label)) };
        format!("generation {} of {}{label}", self.generation, self.domain)
    }

    fn write(&self, out: &mut impl Write) -> Result<()> {
        writeln!(out, "{}, {}", self.title(), self.state)?;
        writeln!(out, "  fingerprint  {}", self.fingerprint)?;
        writeln!(out, "  created      {} UTC", output::utc(self.created_at))?;
        writeln!(out, "  applied      {}", self.applied.as_deref().unwrap_or("-"))?;
        if let Some(until) = &self.until {
            let time = until.parse().map(|time| format!("{} UTC", output::utc(time)));
            writeln!(out, "  until        {}", time.unwrap_or_else(|_| until.clone()))?;
        }
        let lag = self.lag_records.map_or_else(|| "-".to_owned(), |lag| format!("{lag} records"));
        writeln!(out, "  lag          {lag}")?;
        writeln!(out, "  tables       {}", self.tables)?;
        writeln!(out, "  search       {}", self.search.as_deref().unwrap_or("-"))?;
        if !self.reason.is_empty() {
            writeln!(out, "  reason       {}", output::cut(&self.reason, usize::MAX))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_its_fields_in_a_fixed_order_and_no_others() {
        let body = json!({"reason": "r", "domain": "d", "generation": 2, "new": 1, "shared_parts": []});
        let generation: Generation = serde_json::from_value(body).unwrap_or_default();
        let text = serde_json::to_string(&generation).unwrap_or_default();
        let expected = concat!(
            r#"{"domain":"d","generation":2,"label":"","state":"","fingerprint":"","created_at":0,"applied":null,"#,
            r#""lag_records":null,"tables":"","search":null,"shared_parts":[]}"#
        );
        assert_eq!(text, expected);
        let shown = Shown::new(&generation, Some(None));
        let text = serde_json::to_string(&shown).unwrap_or_default();
        assert!(text.ends_with(r#""shared_parts":[],"reason":"r","report":null}"#), "{text}");
    }
}
