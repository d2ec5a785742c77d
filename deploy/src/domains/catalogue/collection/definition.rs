//! The file of a definition, as commands read it. The content of its `mapping_file` takes that one's place: the server
//! reads no files.

use std::{fs, path::Path};

use anyhow::Result;
use daybook_catalogue::{
    definition::{Definition, Fault, indexes::MAPPING_FILE},
    values::json,
};
use serde_json::{Map, Value, json};

use super::{read, refused};
use crate::exit::Failure;

/// A definition, and the text that is sent of it.
pub(super) struct DefinitionFile {
    pub(super) definition: Definition,
    pub(super) text: String,
}

impl DefinitionFile {
    /// Reads a file, and names every mistake. `-` is standard input, which names files of the current folder.
    pub(super) fn read(file: &str) -> Result<Self> {
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        Ok(Self::of(read(file)?, folder)?)
    }

    /// Reads a text in which a file is meant from a folder.
    pub(super) fn of(text: String, folder: &Path) -> Result<Self, Failure> {
        let mut tree = Definition::read_tree(&text).map_err(|faults| mistakes(&faults))?;
        let index = tree.get_mut("index").and_then(Value::as_object_mut);
        let text = match index.filter(|index| index.contains_key(MAPPING_FILE)) {
            None => text,
            Some(index) => {
                inline(index, folder).map_err(|fault| refused(&[format!("index.{MAPPING_FILE}: {fault}")]))?;
                tree.to_string()
            }
        };
        let definition = Definition::parse_json(&tree).map_err(|faults| mistakes(&faults))?;
        Ok(Self { definition, text })
    }
}

/// Puts the content of a mapping file in place of its name. A mistake is a text.
fn inline(index: &mut Map<String, Value>, folder: &Path) -> Result<(), String> {
    if let Some(other) = ["mapping", "settings"].into_iter().find(|key| index.contains_key(*key)) {
        return Err(format!("{other} is given, too"));
    }
    let name = index.remove(MAPPING_FILE).unwrap_or_default();
    let path = folder.join(name.as_str().ok_or("it is not the name of a file")?);
    let shown = path.display();
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let content = json::parse(&text).map_err(|error| format!("{shown} is no JSON object: {error}"))?;
    let Value::Object(content) = content else { return Err(format!("{shown} is no JSON object")) };
    for (key, value) in content {
        let (key, value) = match key.as_str() {
            "mappings" => ("mapping", value),
            "properties" => ("mapping", json!({"properties": value})),
            "settings" => ("settings", value),
            "analysis" => ("settings", json!({"analysis": value})),
            other => {
                return Err(format!("{shown} has {other}: it holds mappings, or properties, and settings or analysis"));
            }
        };
        if index.insert(key.to_owned(), value).is_some() {
            return Err(format!("{shown} has its {key} twice"));
        }
    }
    match index.contains_key("mapping") {
        true => Ok(()),
        false => Err(format!("{shown} has no mappings")),
    }
}

/// The failure that names every mistake.
fn mistakes(faults: &[Fault]) -> Failure {
    let named = |fault: &Fault| match fault.line {
        Some(line) => format!("line {line}: {fault}"),
        None => fault.to_string(),
    };
    refused(&faults.iter().map(named).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let read = DefinitionFile::of(text.to_owned(), Path::new("/absent"));
        read.err().unwrap_or_else(|| panic!("{text} was read")).to_string()
    }

    #[test]
    fn every_mistake_of_a_definition_is_named() {
        let text = said("collection = 'c'\nkey = 'absent'\n[fields]\nx = 'txt'\n");
        assert!(text.contains("mistakes: 2") && text.contains("fields.x.type") && text.contains("key: "), "{text}");
        assert!(said("{").contains("not JSON"));
    }

    #[test]
    fn a_mapping_file_is_named_by_its_path_beside_the_definition() {
        let definition =
            |index: &str| format!("collection = 'c'\nkey = 'id'\n[fields]\nid = 'text'\n[index]\n{index}\n");
        let text = said(&definition("mapping_file = 'm.json'"));
        assert!(text.contains("index.mapping_file: cannot read /absent/m.json: "), "{text}");
        assert!(said(&definition("mapping_file = 1")).contains("not the name of a file"));
        assert!(said(&definition("mapping_file = 'm.json'\nmapping = {}")).contains("mapping is given, too"));
    }
}
