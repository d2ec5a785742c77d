//! CSV files, whole and in pieces.

use super::*;
use crate::record::LINE_BYTES_MAX;

type Found = Result<(u64, Vec<Option<String>>), (u64, &'static str)>;

/// Reads a file in pieces of so many bytes.
fn read_in(format: Format, file: &[u8], bytes: usize) -> Result<Vec<Found>, HeaderFault> {
    let mut rows = Vec::new();
    let mut reader = Reader::with_header(format);
    for chunk in file.chunks(bytes) {
        reader.push(chunk, &mut rows)?;
    }
    reader.finish(&mut rows)?;
    let found = |row: Read| row.map(|row| (row.line, row.values)).map_err(|fault| (fault.line, fault.code));
    Ok(rows.into_iter().map(found).collect())
}

/// Reads a file, and checks that the pieces in which it comes change nothing.
fn read(format: Format, file: &[u8]) -> Result<Vec<Found>, HeaderFault> {
    let whole = read_in(format, file, file.len().max(1));
    for bytes in 1..8 {
        assert_eq!(read_in(format, file, bytes), whole, "{bytes} bytes of {file:?}");
    }
    whole
}

fn row(line: u64, values: &[Option<&str>]) -> Found {
    Ok((line, values.iter().map(|value| value.map(str::to_owned)).collect()))
}

#[test]
fn an_empty_value_is_null_and_an_empty_quoted_value_is_text() {
    for (record, values) in [
        ("1,2", [Some("1"), Some("2")]),
        (",", [None, None]),
        ("\"\",", [Some(""), None]),
        (",\"\"", [None, Some("")]),
        ("\"a,b\",\"c\"\"d\"", [Some("a,b"), Some("c\"d")]),
        ("\"a\r\nb\",\"\"\"\"", [Some("a\r\nb"), Some("\"")]),
        (" a , b ", [Some(" a "), Some(" b ")]),
        ("a\rb,\u{e9}", [Some("a\rb"), Some("\u{e9}")]),
        ("\\N,NULL", [Some("\\N"), Some("NULL")]),
    ] {
        for end in ["\n", "\r\n", ""] {
            let file = format!("x,y{}{record}{end}", if end.is_empty() { "\n" } else { end });
            assert_eq!(read(Format::Csv, file.as_bytes()), Ok(vec![row(2, &values)]), "{file:?}");
        }
    }
}

#[test]
fn tabs_separate_values_with_escapes() {
    for (record, values) in [
        ("1\t2", [Some("1"), Some("2")]),
        ("\\N\t", [None, Some("")]),
        ("\\\\N\t\\\\", [Some("\\N"), Some("\\")]),
        ("a\\tb\\nc\t\\b\\f\\r\\v", [Some("a\tb\nc"), Some("\u{8}\u{c}\r\u{b}")]),
        ("a\\\tb\tc\\\nd", [Some("a\tb"), Some("c\nd")]),
        ("\"a\"\tb,c", [Some("\"a\""), Some("b,c")]),
        ("\\101\\x42z\t\\q\\x", [Some("ABz"), Some("qx")]),
        ("\\303\\251\t\\xc3\\xa9", [Some("\u{e9}"), Some("\u{e9}")]),
    ] {
        for end in ["\n", "\r\n", "", "\n\\.\n"] {
            let file = format!("x\ty\n{record}{end}");
            assert_eq!(read(Format::Tabs, file.as_bytes()), Ok(vec![row(2, &values)]), "{file:?}");
        }
    }
}

#[test]
fn a_fault_names_the_line_and_reading_goes_on() {
    let good = |line: u64| row(line, &[Some("5"), Some("6")]);
    for (record, expected, next) in [
        ("1", Err((2, "column-count")), 3),
        ("1,2,3", Err((2, "column-count")), 3),
        ("a\"b,\"c", Err((2, "stray-quote")), 3),
        ("\"a\"b,c", Err((2, "stray-quote")), 3),
        ("\"a\" ,c", Err((2, "stray-quote")), 3),
        ("\"a\"\rb,c", Err((2, "stray-quote")), 3),
        ("\"a\nb\"c,d", Err((2, "stray-quote")), 4),
        ("\"a\nb\",\"c\n\n\",d", Err((2, "column-count")), 6),
    ] {
        let file = format!("x,y\n{record}\n5,6\n");
        assert_eq!(read(Format::Csv, file.as_bytes()), Ok(vec![expected, good(next)]), "{file:?}");
    }
    assert_eq!(read(Format::Csv, b"x,y\n\xff,1\n5,6"), Ok(vec![Err((2, "not-utf-8")), good(3)]));
    assert_eq!(read(Format::Tabs, b"x\ty\n\\xff\t1\n5\t6"), Ok(vec![Err((2, "not-utf-8")), good(3)]));
}

#[test]
fn a_quote_that_is_open_at_the_end_is_a_fault() {
    let expected = Ok(vec![row(2, &[Some("1"), Some("2")]), Err((3, "unclosed-quote"))]);
    assert_eq!(read(Format::Csv, b"x,y\n1,2\n\"3,4\n5,6\n"), expected);
    assert_eq!(read(Format::Tabs, b"x\ty\n1\t2\n3\t4\\"), expected);
    let mut rows = Vec::new();
    let mut reader = Reader::with_header(Format::Csv);
    assert_eq!(reader.push(b"x,y\n\"3,4\n5,6\n7", &mut rows), Ok(()));
    assert_eq!(reader.finish(&mut rows), Ok(()));
    let detail = rows.pop().and_then(Result::err).map(|fault| fault.detail).unwrap_or_default();
    assert!(detail.ends_with("on line 4"), "{detail}");
}

#[test]
fn a_record_has_a_bound_and_the_next_one_is_found() {
    let sizes = [(LINE_BYTES_MAX - 3, true), (LINE_BYTES_MAX - 2, false)];
    for (bytes, is_read) in sizes {
        // With a comma, a digit and the line feed.
        let file = format!("x,y\n{},1\n5,6\n", "a".repeat(bytes));
        let found = read_in(Format::Csv, file.as_bytes(), 65_536).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((found[0].is_ok(), &found[1]), (is_read, &row(3, &[Some("5"), Some("6")])), "{bytes}");
    }
    // No line of the long value is taken for a record.
    let file = format!("x,y\n\"{}\",1\n5,6\n", "7,8\n".repeat(LINE_BYTES_MAX / 4));
    let found = read_in(Format::Csv, file.as_bytes(), 65_536).unwrap_or_else(|e| panic!("{e}"));
    let next = 3 + LINE_BYTES_MAX as u64 / 4;
    assert_eq!(found, [Err((2, "line-too-long")), row(next, &[Some("5"), Some("6")])]);
}

#[test]
fn memory_is_bounded_within_a_record_that_is_too_long() {
    let mut reader = Reader::with_header(Format::Csv);
    let mut rows = Vec::new();
    assert_eq!(reader.push(b"x\n\"", &mut rows), Ok(()));
    for _ in 0..64 {
        assert_eq!(reader.push(&[b'a'; 65_536], &mut rows), Ok(()));
        assert!(reader.scanner.bytes.capacity() <= 2 * LINE_BYTES_MAX);
    }
    for _ in 0..64 {
        assert_eq!(reader.push(&[b','; 65_536], &mut rows), Ok(()));
    }
    assert!(reader.scanner.values.len() <= LINE_BYTES_MAX && rows.is_empty());
}

#[test]
fn empty_lines_are_passed_over_unless_they_are_values() {
    let expected = Ok(vec![row(4, &[Some("1"), Some("2")])]);
    assert_eq!(read(Format::Csv, b"\nx,y\r\n\n1,2\n\r\n\n"), expected);
    let expected = Ok(vec![row(2, &[Some("1")]), row(3, &[None]), row(4, &[Some("")])]);
    assert_eq!(read(Format::Csv, b"x\n1\n\n\"\"\n"), expected);
}

#[test]
fn the_mark_of_utf_8_is_passed_over() {
    assert_eq!(read(Format::Csv, b"\xef\xbb\xbfx,y\n1,2"), Ok(vec![row(2, &[Some("1"), Some("2")])]));
    assert_eq!(read(Format::Csv, b"\xef\xbb\xbf\"x\",y\n1,2"), Ok(vec![row(2, &[Some("1"), Some("2")])]));
    for file in [b"\xef\xbb".as_slice(), b"\xef\xbbx\n1"] {
        assert!(matches!(read(Format::Csv, file), Err(HeaderFault::Unreadable(_))), "{file:?}");
    }
}

#[test]
fn a_file_needs_the_names_of_its_columns() {
    for (file, expected) in [
        ("", HeaderFault::Missing),
        ("\n\n", HeaderFault::Missing),
        ("x,,y\n1,2,3", HeaderFault::Unnamed(2)),
        ("x,y,x\n1,2,3", HeaderFault::Duplicate("x".to_owned())),
    ] {
        assert_eq!(read(Format::Csv, file.as_bytes()), Err(expected), "{file:?}");
    }
    assert_eq!(read(Format::Csv, b"x,y\n"), Ok(vec![]));
    let columns = || vec!["x".to_owned(), "y".to_owned()];
    let mut reader = Reader::with_columns(Format::Csv, columns()).unwrap_or_else(|e| panic!("{e}"));
    let mut rows = Vec::new();
    assert_eq!(reader.push(b"1,2\n", &mut rows), Ok(()));
    assert_eq!(reader.columns(), Some(columns().as_slice()));
    assert_eq!(rows, [Ok(Row { line: 1, values: vec![Some("1".to_owned()), Some("2".to_owned())] })]);
    assert!(Reader::with_columns(Format::Csv, vec![]).is_err());
}
