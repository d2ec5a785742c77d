//! The objects of Metaflow's API, written straight from rows. Column orders are those of the statements that say so.

use daybook_projector::tables::{Cursor, TablesError};

/// Writes `{"a":…}` field by field into a buffer.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// What stands before the next name.
    before: &'static [u8; 2],
}

impl<'a> Writer<'a> {
    fn open(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b"{\"" }
    }

    fn close(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(self.before);
        self.before = b",\"";
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        write_text(self.out, value);
    }

    fn optional_text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    fn int(&mut self, name: &str, value: i64) {
        self.name(name);
        write_int(self.out, value);
    }

    fn optional_int(&mut self, name: &str, value: Option<i64>) {
        match value {
            Some(value) => self.int(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// A name if there is one, else the number.
    fn number_or_name(&mut self, field: &str, number: i64, name: Option<&str>) {
        match name {
            Some(name) => self.text(field, name),
            None => self.int(field, number),
        }
    }

    /// JSON that is written already.
    fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
    }
}

fn write_text(out: &mut Vec<u8>, value: &str) {
    let plain = value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if plain {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        // Writing text into a vector cannot fail.
        let _infallible = serde_json::to_writer(out, value);
    }
}

fn write_int(out: &mut Vec<u8>, value: i64) {
    // Writing into a vector cannot fail.
    let _infallible = serde_json::to_writer(out, &value);
}

/// Columns: `flow_id user_name ts_epoch tags system_tags …`.
pub(crate) fn write_flow(row: &dyn Cursor, out: &mut Vec<u8>) -> Result<(), TablesError> {
    let mut object = Writer::open(out);
    object.text("flow_id", row.text(0)?);
    object.optional_text("user_name", row.optional_text(1)?);
    object.int("ts_epoch", row.int(2)?);
    object.raw("tags", row.text(3)?);
    object.raw("system_tags", row.text(4)?);
    object.close();
    Ok(())
}

/// The newer of a first heartbeat and the later ones.
fn newest(first: Option<i64>, later: Option<i64>) -> Option<i64> {
    first.max(later)
}

/// The user whom the system tags own: `user_name`, if they hold `user:<user_name>`.
pub(crate) fn owner<'a>(user_name: Option<&'a str>, system_tags: &str) -> Option<&'a str> {
    let name = user_name?;
    let mut tag = Vec::new();
    write_text(&mut tag, &format!("user:{name}"));
    // System tags are a JSON array of strings, written without spaces: the tag stands in it between its quotes.
    let found = system_tags.as_bytes().windows(tag.len()).any(|window| window == tag);
    found.then_some(name)
}

/// Columns: `flow_id run_number run_id user_name ts_epoch tags system_tags heartbeat_at beat_at …`. The owner is shown in
/// reads, the status where it was asked for.
pub(crate) fn write_run(
    row: &dyn Cursor,
    shows_owner: bool,
    status: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<(), TablesError> {
    let (user_name, system_tags) = (row.optional_text(3)?, row.text(6)?);
    let mut object = Writer::open(out);
    object.text("flow_id", row.text(0)?);
    object.number_or_name("run_number", row.int(1)?, row.optional_text(2)?);
    object.optional_text("user_name", user_name);
    object.int("ts_epoch", row.int(4)?);
    object.raw("tags", row.text(5)?);
    object.raw("system_tags", system_tags);
    object.optional_int("last_heartbeat_ts", newest(row.optional_int(7)?, row.optional_int(8)?));
    if let Some(owner) = owner(user_name, system_tags).filter(|_| shows_owner) {
        object.text("user", owner);
    }
    if let Some(status) = status {
        object.text("status", status);
    }
    object.close();
    Ok(())
}

/// Columns: `flow_id run_number run_id step_name user_name ts_epoch tags system_tags …`. The run is always a string here.
pub(crate) fn write_step(row: &dyn Cursor, out: &mut Vec<u8>) -> Result<(), TablesError> {
    let mut object = Writer::open(out);
    object.text("flow_id", row.text(0)?);
    match row.optional_text(2)? {
        Some(name) => object.text("run_number", name),
        None => object.text("run_number", &row.int(1)?.to_string()),
    }
    object.text("step_name", row.text(3)?);
    object.optional_text("user_name", row.optional_text(4)?);
    object.int("ts_epoch", row.int(5)?);
    object.raw("tags", row.text(6)?);
    object.raw("system_tags", row.text(7)?);
    object.close();
    Ok(())
}

/// Columns: `flow_id run_number run_id step_name task_id task_name user_name ts_epoch tags system_tags heartbeat_at
/// beat_at …`.
pub(crate) fn write_task(row: &dyn Cursor, out: &mut Vec<u8>) -> Result<(), TablesError> {
    let mut object = Writer::open(out);
    object.text("flow_id", row.text(0)?);
    object.number_or_name("run_number", row.int(1)?, row.optional_text(2)?);
    object.text("step_name", row.text(3)?);
    object.number_or_name("task_id", row.int(4)?, row.optional_text(5)?);
    object.optional_text("user_name", row.optional_text(6)?);
    object.int("ts_epoch", row.int(7)?);
    object.raw("tags", row.text(8)?);
    object.raw("system_tags", row.text(9)?);
    object.optional_int("last_heartbeat_ts", newest(row.optional_int(10)?, row.optional_int(11)?));
    object.close();
    Ok(())
}

/// Columns: `flow_id run_number run_id step_name task_id task_name name location ds_type sha type content_type user_name
/// attempt_id ts_epoch tags system_tags …`.
pub(crate) fn write_artifact(row: &dyn Cursor, out: &mut Vec<u8>) -> Result<(), TablesError> {
    let mut object = Writer::open(out);
    object.text("flow_id", row.text(0)?);
    object.number_or_name("run_number", row.int(1)?, row.optional_text(2)?);
    object.text("step_name", row.text(3)?);
    object.number_or_name("task_id", row.int(4)?, row.optional_text(5)?);
    object.text("name", row.text(6)?);
    object.text("location", row.text(7)?);
    object.text("ds_type", row.text(8)?);
    object.optional_text("sha", row.optional_text(9)?);
    object.optional_text("type", row.optional_text(10)?);
    object.optional_text("content_type", row.optional_text(11)?);
    object.optional_text("user_name", row.optional_text(12)?);
    object.int("attempt_id", row.int(13)?);
    object.int("ts_epoch", row.int(14)?);
    object.raw("tags", row.text(15)?);
    object.raw("system_tags", row.text(16)?);
    object.close();
    Ok(())
}

/// Columns: `flow_id run_number run_id step_name task_id task_name id field_name value type user_name ts_epoch tags
/// system_tags …`.
pub(crate) fn write_metadata(row: &dyn Cursor, out: &mut Vec<u8>) -> Result<(), TablesError> {
    let mut object = Writer::open(out);
    object.int("id", row.int(6)?);
    object.text("flow_id", row.text(0)?);
    object.number_or_name("run_number", row.int(1)?, row.optional_text(2)?);
    object.text("step_name", row.text(3)?);
    object.number_or_name("task_id", row.int(4)?, row.optional_text(5)?);
    object.text("field_name", row.text(7)?);
    object.text("value", row.text(8)?);
    object.text("type", row.text(9)?);
    object.optional_text("user_name", row.optional_text(10)?);
    object.int("ts_epoch", row.int(11)?);
    object.raw("tags", row.text(12)?);
    object.raw("system_tags", row.text(13)?);
    object.close();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_whom_a_whole_system_tag_names() {
        assert_eq!(owner(Some("ann"), r#"["user:ann"]"#), Some("ann"));
        assert_eq!(owner(Some("ann"), r#"["user:anna","xuser:ann"]"#), None);
        assert_eq!(owner(Some("a\"b"), r#"["user:a\"b"]"#), Some("a\"b"));
        assert_eq!(owner(None, r#"["user:ann"]"#), None);
    }

    #[test]
    fn texts_are_escaped_as_json() {
        for text in ["plain", "qu\"ote", "back\\slash", "line\nbreak", "ünïcode", "\u{1}"] {
            let mut out = Vec::new();
            write_text(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).ok().as_deref(), Some(text));
        }
    }
}
