//! PostgreSQL's type numeric, as far as a text becomes one and is printed again: all digits are kept, zeros at the end too.

/// Most digits before and after the point.
const WHOLE_MAX: usize = 131_072;
const FRACTION_MAX: usize = 16_383;

/// A value that has no digits, without its sign.
pub(super) fn special(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some("NaN"),
        "inf" | "infinity" => Some("Infinity"),
        _ => None,
    }
}

/// The text of a number; `None` if it is none, or has too many digits.
pub(super) fn read(text: &str) -> Option<String> {
    let (is_negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let digits = match special(unsigned) {
        Some("NaN") if unsigned.len() < text.len() => return None,
        Some(special) => special.to_owned(),
        None => digits(unsigned)?,
    };
    let is_zero = digits.bytes().all(|digit| matches!(digit, b'0' | b'.'));
    Some(if is_negative && !is_zero { format!("-{digits}") } else { digits })
}

/// Digits with an exponent as digits without one.
fn digits(text: &str) -> Option<String> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (whole, exponent) = (i64::try_from(whole.len()).ok()?, i64::from(exponent));
    // Where the point stands among the digits, and how many digits follow it.
    let point = whole + exponent;
    let after = usize::try_from((i64::try_from(all.len()).ok()? - point).max(0)).ok()?;
    if after > FRACTION_MAX {
        return None;
    }
    let leading = all.bytes().take_while(|byte| *byte == b'0').count();
    if leading == all.len() {
        return Some(with_point("0", &"0".repeat(after)));
    }
    if point - i64::try_from(leading).ok()? > i64::try_from(WHOLE_MAX).ok()? {
        return None;
    }
    let Ok(point) = usize::try_from(point) else {
        return Some(with_point("0", &format!("{all:0>after$}")));
    };
    let all = format!("{all:0<point$}");
    let (whole, fraction) = all.split_at(point);
    let whole = whole.trim_start_matches('0');
    Some(with_point(if whole.is_empty() { "0" } else { whole }, fraction))
}

fn with_point(whole: &str, fraction: &str) -> String {
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::read;

    /// As PostgreSQL prints it.
    #[test]
    fn all_digits_stay() {
        for (text, expected) in [
            ("1.50", "1.50"),
            ("1.50e1", "15.0"),
            ("1.50e-1", "0.150"),
            ("-00.10", "-0.10"),
            ("-0.00", "0.00"),
            ("0e-5", "0.00000"),
            ("0e5", "0"),
            ("0e99999999", "0"),
            (".5", "0.5"),
            ("+1.", "1"),
            ("1.e3", "1000"),
            ("12e-3", "0.012"),
            ("99999999999999999999999999999999999999999", "99999999999999999999999999999999999999999"),
            ("0.1234567890123456789012345678901234567890", "0.1234567890123456789012345678901234567890"),
            ("INF", "Infinity"),
            ("-inf", "-Infinity"),
            ("nAn", "NaN"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(read("1e16384").map(|text| text.len()), Some(16_385));
        for text in
            ["", "-", ".", "1e", "1e5.0", "1..2", "1_0", "0x1F", "+-1", "-nan", "1e-16384", "1e131072", "1e99999999999"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
