//! The fold of one record over its events: what upstream said, what the API set, flags, takedown and revision.
//!
//! Invariant: the revision grows by one with each change that changes the state, and with no other. A takedown hides a
//! record and erases nothing, so a reinstated record shows its newest content. A removal erases the content, and keeps
//! flags, takedown and what the API set.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, map::Entry};

use crate::{
    Fields,
    definition::{
        Definition,
        fields::{Merge, Owner},
    },
};

/// The state of one record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The newest content as upstream said it; `None` if it was never said, or removed.
    pub raw: Option<Fields>,
    /// The fields that the API owns.
    pub api: Fields,
    /// The flags; an absent one is false.
    pub flags: BTreeMap<String, bool>,
    /// The reason of its takedown, if it is taken down.
    pub taken_down: Option<String>,
    /// How many changes changed it.
    pub revision: i64,
    /// Whether its content was removed.
    pub is_removed: bool,
}

/// What an event says of one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Upstream says its content.
    Upserted {
        /// The fields.
        fields: Fields,
        /// Whether fields that are absent keep their values.
        merge: bool,
    },
    /// Upstream has it no more.
    Removed,
    /// It is hidden.
    TakenDown {
        /// Why.
        reason: String,
    },
    /// It is hidden no more.
    Reinstated,
    /// A flag is set.
    Flagged {
        /// The flag.
        flag: String,
        /// Its value.
        value: bool,
    },
    /// The API sets fields that it owns.
    ApiSet {
        /// The fields.
        fields: Fields,
    },
}

impl State {
    /// The fields that readers see, with defaults; `None` if there are none, or the record is taken down.
    pub fn shown(&self, definition: &Definition) -> Option<Fields> {
        let mut fields = self.raw.as_ref().filter(|_| self.taken_down.is_none())?.clone();
        fields.extend(self.api.iter().map(|(name, value)| (name.clone(), value.clone())));
        for (name, field) in &definition.fields {
            if let (Some(default), Entry::Vacant(entry)) = (&field.default, fields.entry(name.as_str())) {
                entry.insert(default.clone());
            }
        }
        Some(fields)
    }
}

/// Applies a change; `false` if it changes nothing, and then the revision is as before.
pub fn apply(state: &mut State, definition: &Definition, change: Change) -> bool {
    let is_changed = match change {
        Change::Upserted { fields, merge } => upsert(state, definition, fields, merge),
        Change::Removed => {
            let is_present = state.raw.take().is_some();
            state.is_removed |= is_present;
            is_present
        }
        Change::TakenDown { reason } => {
            let is_new = state.taken_down.as_ref() != Some(&reason);
            state.taken_down = Some(reason);
            is_new
        }
        Change::Reinstated => state.taken_down.take().is_some(),
        Change::Flagged { flag, value } => {
            let before = state.flags.get(&flag).copied().unwrap_or(false);
            // An absent flag is false, so setting it to false adds nothing.
            if before != value {
                state.flags.insert(flag, value);
            }
            before != value
        }
        Change::ApiSet { fields } => set_by_api(state, definition, fields),
    };
    state.revision += i64::from(is_changed);
    is_changed
}

fn upsert(state: &mut State, definition: &Definition, said: Fields, merge: bool) -> bool {
    let before = state.raw.take();
    let mut after = Fields::new();
    for (name, old) in before.iter().flatten() {
        let Some(field) = definition.field(name) else { continue };
        // An upsert of the whole content drops what it does not say, unless the field collects values.
        if merge || field.merge != Merge::Replace {
            after.insert(name.clone(), old.clone());
        }
    }
    for (name, new) in said {
        let Some(field) = definition.field(&name).filter(|field| field.owner == Owner::Upstream) else { continue };
        let old = after.remove(&name);
        after.insert(name, folded(field.merge, old, new));
    }
    let is_changed = before.as_ref() != Some(&after);
    state.raw = Some(after);
    state.is_removed = false;
    is_changed
}

fn set_by_api(state: &mut State, definition: &Definition, said: Fields) -> bool {
    let mut is_changed = false;
    for (name, new) in said {
        let Some(field) = definition.field(&name).filter(|field| field.owner == Owner::Api) else { continue };
        let new = folded(field.merge, state.api.get(&name).cloned(), new);
        is_changed |= state.api.get(&name) != Some(&new);
        state.api.insert(name, new);
    }
    is_changed
}

/// The value of a field after a new one.
fn folded(merge: Merge, old: Option<Value>, new: Value) -> Value {
    match (merge, old, new) {
        (Merge::Replace, _, new) => new,
        (_, Some(old), Value::Null) => old,
        (Merge::MergeObject, Some(Value::Object(old)), Value::Object(new)) => Value::Object(merged_objects(old, new)),
        (Merge::MergeArray, Some(Value::Array(mut items)), Value::Array(new)) => {
            items.extend(new);
            Value::Array(distinct(items))
        }
        (Merge::MergeArray, _, Value::Array(items)) => Value::Array(distinct(items)),
        (Merge::NewestNonNull | Merge::MergeObject | Merge::MergeArray, _, new) => new,
    }
}

/// Of each key the newest value that is not null.
fn merged_objects(mut old: Map<String, Value>, new: Map<String, Value>) -> Map<String, Value> {
    for (key, value) in new {
        if !value.is_null() || !old.contains_key(&key) {
            old.insert(key, value);
        }
    }
    old
}

/// Each item once, where it came first.
fn distinct(items: Vec<Value>) -> Vec<Value> {
    let mut seen = HashSet::with_capacity(items.len());
    let is_first: Vec<bool> = items.iter().map(|item| seen.insert(item)).collect();
    items.into_iter().zip(is_first).filter(|(_, is_first)| *is_first).map(|(item, _)| item).collect()
}

#[cfg(test)]
mod tests;
