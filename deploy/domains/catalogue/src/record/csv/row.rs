//! The values of a record that was read to its end.

use super::{
    Format, Read, Row, RowFault,
    scan::{Ended, Scanner},
};
use crate::record::LINE_BYTES_MAX;

/// The row of the record, or its fault.
pub(super) fn build(record: &Scanner, ended: Ended) -> Read {
    let line = record.line;
    let fault = |code: &'static str, detail: String| RowFault { line, code, detail };
    match ended {
        Ended::Whole => {}
        Ended::StrayQuote => {
            let detail = "a quote within a value without quotes, or text after a closing quote".to_owned();
            return Err(fault("stray-quote", detail));
        }
        Ended::Unclosed => {
            let detail = format!("a quote or escape is open at the end of the file, on line {}", record.next_line);
            return Err(fault("unclosed-quote", detail));
        }
        Ended::TooLong => {
            return Err(fault("line-too-long", format!("the record has more than {LINE_BYTES_MAX} bytes")));
        }
    }
    let mut from = 0;
    let mut values = Vec::with_capacity(record.values.len());
    for (index, value) in record.values.iter().enumerate() {
        let bytes = record.bytes.get(from..value.end).unwrap_or_default();
        from = value.end;
        let text = match record.format {
            Format::Csv if bytes.is_empty() && !value.is_quoted => None,
            Format::Csv => Some(String::from_utf8(bytes.to_vec())),
            Format::Tabs if bytes == b"\\N" => None,
            Format::Tabs => Some(String::from_utf8(unescaped(bytes))),
        };
        let text = text.transpose();
        values.push(text.map_err(|_| fault("not-utf-8", format!("value {} is not UTF-8", index + 1)))?);
    }
    Ok(Row { line, values })
}

/// The bytes of a value without its escapes.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, rest.split_first()) {
            (b'\\', Some((escaped, after))) => {
                rest = after;
                plain.push(escape(*escaped, &mut rest));
            }
            _ => plain.push(*byte),
        }
    }
    plain
}

/// The byte of an escape after its backslash.
fn escape(byte: u8, rest: &mut &[u8]) -> u8 {
    match byte {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'0'..=b'7' => digits(byte - b'0', 8, rest),
        b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => digits(0, 16, rest),
        other => other,
    }
}

/// The byte of at most two more digits.
fn digits(first: u8, radix: u8, rest: &mut &[u8]) -> u8 {
    let mut number = first;
    for _ in 0..2 {
        let Some((byte, after)) = rest.split_first() else { break };
        let digit = char::from(*byte).to_digit(radix.into()).and_then(|digit| u8::try_from(digit).ok());
        let Some(digit) = digit else { break };
        *rest = after;
        number = number.wrapping_mul(radix).wrapping_add(digit);
    }
    number
}
