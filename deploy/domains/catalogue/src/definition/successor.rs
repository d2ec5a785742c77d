//! Whether a definition can take the place of another one: both read the records that are in the log.

use super::{Definition, Fault};

/// What keeps `new` from taking the place of `old`.
pub(super) fn faults(old: &Definition, new: &Definition) -> Vec<Fault> {
    let fault = |field: String, code, detail| Fault { field, code, detail, line: None };
    let mut faults = Vec::new();
    if old.key != new.key {
        let detail = format!("records are known by {}: another key needs another collection", old.key);
        faults.push(fault("key".to_owned(), "key-changed", detail));
    }
    for (name, field) in &new.fields {
        let Some(before) = old.field(name.as_str()).filter(|before| before.kind != field.kind) else { continue };
        let (before, now) = (before.kind.name(), field.kind.name());
        let detail =
            format!("field {name} is of type {before}, and records hold it so: add a field of type {now} instead");
        faults.push(fault(format!("fields.{name}.type"), "type-changed", detail));
    }
    faults
}
