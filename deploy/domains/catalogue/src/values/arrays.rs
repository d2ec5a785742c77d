//! Arrays of texts as PostgreSQL writes them: `{a,"b c",NULL}`, with backslash escapes.

use std::{iter::Peekable, str::Chars};

use serde_json::Value;

use super::{FieldType, ValueFault, is_blank, shown, trimmed};

/// Reads an array of one dimension. An element NULL without quotes is null.
pub(super) fn parse(text: &str) -> Result<Vec<Value>, ValueFault> {
    elements(text).ok_or_else(|| FieldType::TextArray.mismatch(&shown(text)))
}

fn elements(text: &str) -> Option<Vec<Value>> {
    let inside = trimmed(text).strip_prefix('{')?;
    let mut rest = inside.chars().peekable();
    let mut elements = Vec::new();
    skip_blanks(&mut rest);
    if rest.next_if_eq(&'}').is_some() {
        return rest.next().is_none().then_some(elements);
    }
    loop {
        skip_blanks(&mut rest);
        let element = if rest.next_if_eq(&'"').is_some() { quoted(&mut rest)? } else { bare(&mut rest)? };
        elements.push(element);
        skip_blanks(&mut rest);
        match rest.next()? {
            ',' => {}
            '}' => return rest.next().is_none().then_some(elements),
            _ => return None,
        }
    }
}

fn skip_blanks(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|c| is_blank(*c)).is_some() {}
}

/// An element after its opening quote.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> Option<Value> {
    let mut element = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(Value::String(element)),
            '\\' => element.push(rest.next()?),
            c => element.push(c),
        }
    }
}

/// An element without quotes; blanks at its end do not belong to it unless they are escaped.
fn bare(rest: &mut Peekable<Chars<'_>>) -> Option<Value> {
    let mut element = String::new();
    let mut end = 0;
    let mut has_escape = false;
    while let Some(c) = rest.next_if(|c| !matches!(c, ',' | '}')) {
        match c {
            '"' | '{' => return None,
            '\\' => {
                has_escape = true;
                element.push(rest.next()?);
                end = element.len();
            }
            c => {
                element.push(c);
                end = if is_blank(c) { end } else { element.len() };
            }
        }
    }
    element.truncate(end);
    match element.as_str() {
        "" => None,
        word if !has_escape && word.eq_ignore_ascii_case("null") => Some(Value::Null),
        _ => Some(Value::String(element)),
    }
}
