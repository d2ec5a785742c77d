//! Integers and floating-point numbers. An integer that may have lost digits on its way is refused.

use serde_json::{Number, Value};

use super::{FieldType, ValueFault, shown, trimmed};

/// Largest magnitude, inclusive, up to which a floating-point number names exactly one integer.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// First magnitude that 64 bits cannot hold.
const LONG_END: f64 = 9_223_372_036_854_775_808.0;

/// An integer of 32 bits.
pub(super) fn int(number: &Number) -> Result<Value, ValueFault> {
    within_int(integer(number)?)
}

/// An integer of 64 bits.
pub(super) fn long(number: &Number) -> Result<Value, ValueFault> {
    integer(number).map(Value::from)
}

/// A finite floating-point number, as such even if it is whole. Zero has no sign.
pub(super) fn double(number: &Number) -> Result<Value, ValueFault> {
    number
        .as_f64()
        .and_then(unsigned_zero)
        .map(Value::Number)
        .ok_or_else(|| ValueFault::new("out-of-range", format!("{number} is not a finite number")))
}

/// An integer of 32 bits, from text.
pub(super) fn int_of_text(text: &str) -> Result<Value, ValueFault> {
    within_int(integer_of_text(text)?)
}

/// An integer of 64 bits, from text.
pub(super) fn long_of_text(text: &str) -> Result<Value, ValueFault> {
    integer_of_text(text).map(Value::from)
}

/// A finite floating-point number, from text. What is too small to differ from zero is refused, as PostgreSQL does.
pub(super) fn double_of_text(text: &str) -> Result<Value, ValueFault> {
    let digits = trimmed(text);
    let number: f64 = digits.parse().map_err(|_| FieldType::Double.mismatch(&shown(text)))?;
    let mantissa = digits.split(['e', 'E']).next().unwrap_or_default();
    let is_lost = number == 0.0 && mantissa.contains(|c: char| ('1'..='9').contains(&c));
    match unsigned_zero(number) {
        Some(number) if !is_lost => Ok(Value::Number(number)),
        _ => Err(ValueFault::new("out-of-range", format!("{} is not a finite number of 64 bits", shown(text)))),
    }
}

/// A finite number; zeros of both signs are equal, so they become one.
fn unsigned_zero(number: f64) -> Option<Number> {
    Number::from_f64(number + 0.0)
}

fn within_int(number: i64) -> Result<Value, ValueFault> {
    match i32::try_from(number) {
        Ok(number) => Ok(Value::from(number)),
        Err(_) => Err(ValueFault::new("out-of-range", format!("{number} is not an integer of 32 bits"))),
    }
}

fn too_long(number: impl std::fmt::Display) -> ValueFault {
    ValueFault::new("out-of-range", format!("{number} is not an integer of 64 bits"))
}

fn integer(number: &Number) -> Result<i64, ValueFault> {
    if let Some(integer) = number.as_i64() {
        return Ok(integer);
    }
    if number.is_u64() {
        return Err(too_long(number));
    }
    match number.as_f64() {
        Some(float) if float.abs() >= LONG_END => Err(too_long(number)),
        // The cast is exact within this bound.
        Some(float) if float.fract() == 0.0 && float.abs() <= EXACT_MAX => Ok(float as i64),
        _ => Err(FieldType::Long.mismatch(&number.to_string())),
    }
}

fn integer_of_text(text: &str) -> Result<i64, ValueFault> {
    let number = trimmed(text);
    number.parse().map_err(|_| {
        let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
        let is_integer = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_integer { too_long(shown(number)) } else { FieldType::Long.mismatch(&shown(text)) }
    })
}
