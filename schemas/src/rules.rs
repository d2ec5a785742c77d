//! The rules of an event that do not depend on the tables: violations, and checks for domains to build on.
//!
//! Checked twice: before an event is appended (a client's mistake, answered with the field's name) and when a record is
//! applied (a record that somebody else appended is quarantined).

use crate::Envelope;

/// Longest name of anything, in bytes, inclusive.
pub const NAME_BYTES_MAX: usize = 1024;
/// Longest value or location, in bytes, inclusive.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Longest single tag, in bytes, inclusive.
pub const TAG_BYTES_MAX: usize = 16 * 1024;
/// Most bytes that all tags of one list hold together, inclusive.
pub const TAGS_BYTES_MAX: usize = VALUE_BYTES_MAX;

/// Longest idempotency key, in bytes, inclusive; a request of many events adds a suffix.
pub const KEY_BYTES_MAX: usize = 300;

/// Which rule a field violates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The text is too long.
    #[error("{field} is {bytes} bytes long, over the limit of {bytes_max}")]
    TooLong {
        /// The field.
        field: String,
        /// Its length.
        bytes: usize,
        /// The limit, inclusive.
        bytes_max: usize,
    },
    /// The text holds a NUL character, which PostgreSQL cannot store.
    #[error("{field} holds a NUL character")]
    Nul {
        /// The field.
        field: String,
    },
    /// The field must not be empty.
    #[error("{field} is empty")]
    Empty {
        /// The field.
        field: String,
    },
    /// A name made of digits alone would be taken for a number.
    #[error("{field} may not be a numeric")]
    Numeric {
        /// The field.
        field: String,
    },
    /// The number is out of its range.
    #[error("{field} is {value}, outside {min} to {max}")]
    OutOfRange {
        /// The field.
        field: String,
        /// Its value.
        value: i64,
        /// Least allowed, inclusive.
        min: i64,
        /// Greatest allowed, inclusive.
        max: i64,
    },
}

impl Violation {
    /// The field that violates the rule.
    pub fn field(&self) -> &str {
        match self {
            Self::TooLong { field, .. }
            | Self::Nul { field }
            | Self::Empty { field }
            | Self::Numeric { field }
            | Self::OutOfRange { field, .. } => field,
        }
    }
}

/// Checks the envelope of an event.
pub fn check_envelope<E>(envelope: &Envelope<E>) -> Result<(), Violation> {
    if let Some(key) = &envelope.idempotency_key {
        name("idempotency_key", key)?;
        text("idempotency_key", key, KEY_BYTES_MAX)?;
    }
    Ok(())
}

/// Names the entry in the field, as in `[3].name`.
pub fn in_entry(index: usize, mut violation: Violation) -> Violation {
    match &mut violation {
        Violation::TooLong { field, .. }
        | Violation::Nul { field }
        | Violation::Empty { field }
        | Violation::Numeric { field }
        | Violation::OutOfRange { field, .. } => *field = format!("[{index}].{field}"),
    }
    violation
}

/// A text of bounded length, without NUL.
pub fn text(field: &str, text: &str, bytes_max: usize) -> Result<(), Violation> {
    if text.len() > bytes_max {
        return Err(Violation::TooLong { field: field.to_owned(), bytes: text.len(), bytes_max });
    }
    if text.contains('\0') {
        return Err(Violation::Nul { field: field.to_owned() });
    }
    Ok(())
}

/// An optional text, limited like a name.
pub fn optional(field: &str, value: Option<&str>) -> Result<(), Violation> {
    value.map_or(Ok(()), |value| text(field, value, NAME_BYTES_MAX))
}

/// A name that is used in paths, and so must not be empty.
pub fn name(field: &str, value: &str) -> Result<(), Violation> {
    if value.is_empty() {
        return Err(Violation::Empty { field: field.to_owned() });
    }
    text(field, value, NAME_BYTES_MAX)
}

/// A list that is not empty.
pub fn not_empty<T>(field: &str, entries: &[T]) -> Result<(), Violation> {
    if entries.is_empty() { Err(Violation::Empty { field: field.to_owned() }) } else { Ok(()) }
}

/// A number within bounds, both inclusive.
pub fn number(field: &str, value: i64, min: i64, max: i64) -> Result<(), Violation> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Violation::OutOfRange { field: field.to_owned(), value, min, max })
}

/// A list of tags, each and all together of bounded length.
pub fn tags(field: &str, tags: &[String]) -> Result<(), Violation> {
    for (index, tag) in tags.iter().enumerate() {
        if text(field, tag, TAG_BYTES_MAX).is_err() {
            // Only here its name is needed.
            return text(&format!("{field}[{index}]"), tag, TAG_BYTES_MAX);
        }
    }
    let bytes = tags.iter().map(String::len).sum();
    if bytes > TAGS_BYTES_MAX {
        return Err(Violation::TooLong { field: field.to_owned(), bytes, bytes_max: TAGS_BYTES_MAX });
    }
    Ok(())
}
