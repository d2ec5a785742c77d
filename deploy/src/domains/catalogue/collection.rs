//! `daybook collection`, `term-list`, `takedown` and `reinstate`: what people do with collections on a running server.

mod definition;

use std::{
    fs,
    io::{self, Read, Write},
    time::Duration,
};

use anyhow::Result;
use reqwest::{Client, Method};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::definition::DefinitionFile;
use crate::{
    ask::{accepted, ask, cut_off},
    command::{CollectionCommand, ReinstateOptions, TakedownOptions, TermListCommand},
    config::Server,
    exit::{Code, Failure},
    output,
    rebuild_command::encode,
};

/// How long a change may take: it waits until the collection is served.
const CHANGE_MAX: Duration = Duration::from_secs(60);
const COLLECTIONS: &str = "/api/v1/collections";
const LISTS: &str = "/api/v1/term-lists";
/// Items of one page.
const PAGE: usize = 500;

pub(crate) async fn run(server: &Server, command: &CollectionCommand) -> Result<()> {
    match command {
        CollectionCommand::Apply { file, note, dry_run, .. } => {
            let DefinitionFile { definition, text } = DefinitionFile::read(file)?;
            let path = format!("{COLLECTIONS}/{}{}", definition.collection, query(note.as_deref(), *dry_run));
            print(&change(server, Method::PUT, &path, text).await?)
        }
        CollectionCommand::Lint { file } => lint(file),
        CollectionCommand::Show { collection, revision, .. } => {
            let path = format!("{COLLECTIONS}/{}", encode(collection));
            let path = revision.map_or(path.clone(), |revision| format!("{path}/definition?revision={revision}"));
            print(&ask(server, &path).await?)
        }
        CollectionCommand::List(options) => {
            let all = pages(server, COLLECTIONS, "collections", "collection").await?;
            list(&all, ["collection", "revision", "defined_at", "note"], options.json)
        }
    }
}

/// Checks a definition without a server.
pub(crate) fn lint(file: &str) -> Result<()> {
    let DefinitionFile { definition, .. } = DefinitionFile::read(file)?;
    let lists: Vec<String> = definition.needed().iter().map(|(name, _)| (*name).to_owned()).collect();
    print(&json!({"collection": definition.collection, "hash": definition.hash(), "term_lists": lists}))
}

pub(crate) async fn run_term_list(server: &Server, command: &TermListCommand) -> Result<()> {
    match command {
        TermListCommand::Set { list, file, note, .. } => {
            let path = format!("{LISTS}/{}{}", encode(list), query(note.as_deref(), false));
            let set = change(server, Method::PUT, &path, read(file)?).await?;
            print(&set)?;
            match set["failed"].as_array().filter(|failed| !failed.is_empty()) {
                None => Ok(()),
                Some(failed) => {
                    let text = format!("{} definitions do not follow it yet; set it again", failed.len());
                    Err(Failure::new(Code::Unavailable, text).into())
                }
            }
        }
        TermListCommand::Show { list, revision, .. } => {
            let revision = revision.map(|revision| format!("?revision={revision}")).unwrap_or_default();
            print(&ask(server, &format!("{LISTS}/{}{revision}", encode(list))).await?)
        }
        TermListCommand::List(options) => {
            let all = pages(server, LISTS, "lists", "list").await?;
            list(&all, ["list", "revision", "terms", "note"], options.json)
        }
    }
}

pub(crate) async fn take_down(server: &Server, options: &TakedownOptions) -> Result<()> {
    let TakedownOptions { collection, ids, conditions, reason, expect, dry_run, .. } = options;
    let mut body = json!({"reason": reason, "dry_run": dry_run});
    if let Some(expect) = expect {
        body["expect"] = (*expect).into();
    }
    match conditions.is_empty() {
        true => body["ids"] = ids.clone().into(),
        false => body["where"] = all_conditions(conditions)?.into(),
    }
    let path = format!("{COLLECTIONS}/{}/takedowns", encode(collection));
    print(&change(server, Method::POST, &path, body.to_string()).await?)
}

pub(crate) async fn reinstate(server: &Server, options: &ReinstateOptions) -> Result<()> {
    for id in &options.ids {
        let path = format!("{COLLECTIONS}/{}/takedowns/{}", encode(&options.collection), encode(id));
        print(&change(server, Method::DELETE, &path, String::new()).await?)?;
    }
    Ok(())
}

/// The values that records must have; each field is named once.
fn all_conditions(given: &[String]) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    for text in given {
        let (field, value) = condition(text)?;
        if all.insert(field.clone(), value).is_some() {
            return Err(Failure::new(Code::Usage, format!("--where: {field} is given twice")).into());
        }
    }
    Ok(all)
}

/// A field and its value, which is JSON if it can be read so.
fn condition(text: &str) -> Result<(String, Value)> {
    let wrong = || Failure::new(Code::Usage, format!("--where {text:?}: expected FIELD=VALUE"));
    let (field, value) = text.split_once('=').ok_or_else(wrong)?;
    Ok((field.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

fn read(file: &str) -> Result<String> {
    let mut text = String::new();
    let read = match file {
        "-" => io::stdin().read_to_string(&mut text).map(|_| ()),
        path => fs::read_to_string(path).map(|read| text = read),
    };
    read.map_err(|error| Failure::because(Code::Usage, format!("cannot read {file}"), error))?;
    Ok(text)
}

fn refused(faults: &[String]) -> Failure {
    let lines: String = faults.iter().map(|fault| format!("\n  - {fault}")).collect();
    Failure::new(Code::Usage, format!("the definition cannot be used; mistakes: {}{lines}", faults.len()))
}

fn query(note: Option<&str>, dry_run: bool) -> String {
    let note = note.map(|note| format!("note={}", encode(note)));
    let dry_run = dry_run.then(|| "dry_run=true".to_owned());
    let all: Vec<String> = note.into_iter().chain(dry_run).collect();
    if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) }
}

/// The answer to a change.
async fn change(server: &Server, method: Method, path: &str, body: String) -> Result<Value> {
    #[derive(Deserialize)]
    struct Refused {
        faults: Vec<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        field: String,
        detail: String,
    }
    let client = Client::builder().timeout(CHANGE_MAX).build()?;
    let sent = client.request(method, format!("{}{path}", server.url)).body(body).send().await;
    let answer = match sent {
        Ok(answer) if answer.status() == 400 => answer,
        sent => {
            let bytes = accepted(server, sent).await?.bytes().await;
            return Ok(serde_json::from_slice(&bytes.map_err(|error| cut_off(server, error))?)?);
        }
    };
    let bytes = answer.bytes().await.map_err(|error| cut_off(server, error))?;
    if let Ok(Refused { faults }) = serde_json::from_slice(&bytes) {
        let faults: Vec<String> = faults.iter().map(|Named { field, detail }| format!("{field}: {detail}")).collect();
        return Err(refused(&faults).into());
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    Err(Failure::new(Code::Usage, output::plain(&body["message"])).into())
}

/// All items of a list.
async fn pages(server: &Server, path: &str, items: &str, name: &str) -> Result<Vec<Value>> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page: Value = ask(server, &format!("{path}?limit={PAGE}&after={}", encode(&after))).await?;
        all.extend(page[items].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    all.sort_by_key(|item| output::plain(&item[name]));
    Ok(all)
}

fn list(all: &[Value], fields: [&str; 4], json: bool) -> Result<()> {
    let mut out = io::stdout().lock();
    if !output::is_for_people(json) {
        return output::write_document(&mut out, &all);
    }
    let head = fields.map(str::to_uppercase);
    let cell = |item: &Value, field: &str| match &item[field] {
        Value::Null => "-".to_owned(),
        Value::Number(ms) if field.ends_with("_at") => output::utc(ms.as_i64().unwrap_or_default()),
        value => output::cell(&output::plain(value)),
    };
    let rows: Vec<[String; 4]> = all.iter().map(|item| fields.map(|field| cell(item, field))).collect();
    output::write_table(&mut out, &head.each_ref().map(String::as_str), &rows)
}

fn print(document: &Value) -> Result<()> {
    let mut out = io::stdout().lock();
    output::write_document(&mut out, document)?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_field_and_json_or_a_text() {
        let read = |text| condition(text).ok();
        assert_eq!(read("source=met"), Some(("source".to_owned(), json!("met"))));
        assert_eq!(read("width=7"), Some(("width".to_owned(), json!(7))));
        assert_eq!(read("title=\"7\""), Some(("title".to_owned(), json!("7"))));
        assert_eq!(read("title=a=b"), Some(("title".to_owned(), json!("a=b"))));
        assert_eq!(read("source"), None);
        let both = ["source=a", "source=b"].map(str::to_owned);
        assert!(all_conditions(&both).is_err() && all_conditions(&both[..1]).is_ok());
    }
}
