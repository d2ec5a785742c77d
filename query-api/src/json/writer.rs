//! Writes JSON objects field by field, straight from rows.

/// Writes `{"a":…}` field by field into a buffer.
pub struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    /// The bytes before the next name.
    before: &'static [u8; 2],
}

impl<'a> ObjectWriter<'a> {
    /// Opens an object at the end of a buffer.
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        Self { out, before: b"{\"" }
    }

    /// Closes the object.
    pub fn close(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(self.before);
        self.before = b",\"";
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        write_text(self.out, value);
    }

    /// A text or null.
    pub fn optional_text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// An integer.
    pub fn int(&mut self, name: &str, value: i64) {
        self.name(name);
        write_int(self.out, value);
    }

    /// An integer or null.
    pub fn optional_int(&mut self, name: &str, value: Option<i64>) {
        match value {
            Some(value) => self.int(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// A name if there is one, else the number.
    pub fn number_or_name(&mut self, field: &str, number: i64, name: Option<&str>) {
        match name {
            Some(name) => self.text(field, name),
            None => self.int(field, number),
        }
    }

    /// A value that is JSON already.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
    }
}

/// Writes a text as JSON.
pub fn write_text(out: &mut Vec<u8>, value: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_as_json() {
        for text in ["plain", "qu\"ote", "back\\slash", "line\nbreak", "ünïcode", "\u{1}"] {
            let mut out = Vec::new();
            write_text(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).ok().as_deref(), Some(text));
        }
    }
}
