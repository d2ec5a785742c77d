//! Writes the values of a record as CSV.

/// Appends a record: null is an empty value, and every text has quotes.
pub fn write<'v>(values: impl IntoIterator<Item = Option<&'v str>>, out: &mut Vec<u8>) {
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let Some(text) = value else { continue };
        out.push(b'"');
        for (index, part) in text.split('"').enumerate() {
            if index > 0 {
                out.extend_from_slice(b"\"\"");
            }
            out.extend_from_slice(part.as_bytes());
        }
        out.push(b'"');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use crate::record::csv::{Format, Reader, write};

    #[test]
    fn what_is_written_is_read_back() {
        let rows = [
            [Some("a"), None, Some("")],
            [Some("say \"so\""), Some("one\ntwo, three"), Some("\\N")],
            [None, Some("\u{fc}"), None],
        ];
        let mut bytes = Vec::new();
        write::write(["x", "y", "z"].map(Some), &mut bytes);
        rows.iter().for_each(|row| write::write(row.iter().copied(), &mut bytes));
        let (mut reader, mut read) = (Reader::with_header(Format::Csv), Vec::new());
        reader.push(&bytes, &mut read).unwrap_or_else(|fault| panic!("{fault}"));
        let read: Vec<Vec<Option<String>>> =
            read.into_iter().map(|row| row.unwrap_or_else(|fault| panic!("{fault}")).values).collect();
        let expected: Vec<Vec<Option<String>>> =
            rows.iter().map(|row| row.iter().map(|value| value.map(str::to_owned)).collect()).collect();
        assert_eq!(read, expected);
    }
}
