//! Timestamps: an RFC 3339 date and time with an offset, also as PostgreSQL prints it (`2018-11-09 10:31:06.91+00`).
//!
//! The normal form is UTC with six fraction digits. Further digits go to the nearest microsecond, the even one of two,
//! and second 60 is the beginning of the next minute, both as PostgreSQL does.

use jiff::{SignedDuration, civil::DateTime};

use super::{FieldType, ValueFault, shown};

/// Reads a timestamp; the result is its normal form.
pub(super) fn parse(text: &str) -> Result<String, ValueFault> {
    let parts = Parts::parse(text).ok_or_else(|| not_a_timestamp(text))?;
    let instant = parts.instant().filter(|instant| instant.year() >= 1);
    let instant =
        instant.ok_or_else(|| ValueFault::new("out-of-range", format!("{} is not within a calendar", shown(text))))?;
    Ok(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        instant.year(),
        instant.month(),
        instant.day(),
        instant.hour(),
        instant.minute(),
        instant.second(),
        instant.subsec_nanosecond() / 1_000
    ))
}

fn not_a_timestamp(text: &str) -> ValueFault {
    let mut fault = FieldType::Timestamp.mismatch(&shown(text));
    fault.detail.push_str(" with date, time and offset, such as 2018-11-09T10:31:06Z");
    fault
}

/// The numbers of a timestamp, as written.
struct Parts {
    date: [i16; 3],
    time: [i8; 3],
    microseconds: i64,
    offset_seconds: i64,
}

impl Parts {
    fn parse(text: &str) -> Option<Self> {
        let rest = &mut text.as_bytes();
        let date = [number(rest, 4)?, after(rest, b"-", 2)?, after(rest, b"-", 2)?];
        let time = [after(rest, b"Tt ", 2)?, after(rest, b":", 2)?, after(rest, b":", 2)?];
        let microseconds = if take(rest, b".").is_some() { fraction(rest)? } else { 0 };
        let offset_seconds = offset(rest)?;
        let [hour, minute, second] = time.map(i8::try_from);
        let time = [hour.ok()?, minute.ok()?, second.ok()?];
        rest.is_empty().then_some(Self { date, time, microseconds, offset_seconds })
    }

    fn instant(&self) -> Option<DateTime> {
        let [year, month, day] = self.date;
        let [hour, minute, second] = self.time;
        if year < 1 || self.offset_seconds.abs() >= 86_400 || !(0..=60).contains(&second) {
            return None;
        }
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        let minutes = DateTime::new(year, month, day, hour, minute, 0, 0).ok()?;
        let seconds = SignedDuration::from_secs(i64::from(second) - self.offset_seconds);
        minutes.checked_add(seconds).ok()?.checked_add(SignedDuration::from_micros(self.microseconds)).ok()
    }
}

/// Takes one of some bytes.
fn take(rest: &mut &[u8], any: &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first().filter(|(first, _)| any.contains(first))?;
    *rest = after;
    Some(*first)
}

/// Takes a number of exactly so many digits.
fn number(rest: &mut &[u8], digits: usize) -> Option<i16> {
    (0..digits).try_fold(0, |number, _| Some(number * 10 + i16::from(take(rest, b"0123456789")? - b'0')))
}

/// Takes one of some separators, and a number.
fn after(rest: &mut &[u8], separators: &[u8], digits: usize) -> Option<i16> {
    take(rest, separators)?;
    number(rest, digits)
}

/// Takes the digits of a fraction of a second, at least one.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at(count);
    *rest = after;
    let at = |index: usize| digits.get(index).map_or(0, |digit| i64::from(digit - b'0'));
    let whole = (0..6).fold(0, |number, index| number * 10 + at(index));
    let is_above_half = at(6) > 5 || at(6) == 5 && digits.iter().skip(7).any(|digit| *digit != b'0');
    let is_up = is_above_half || at(6) == 5 && whole % 2 == 1;
    (count > 0).then_some(whole + i64::from(is_up))
}

/// Takes `Z`, or a sign and hours, minutes and seconds, of which hours must be there.
fn offset(rest: &mut &[u8]) -> Option<i64> {
    let sign = match take(rest, b"Zz+-")? {
        b'+' => 1,
        b'-' => -1,
        _ => return Some(0),
    };
    let mut seconds = i64::from(number(rest, 2)?) * 3_600;
    for unit in [60, 1] {
        if rest.is_empty() {
            break;
        }
        take(rest, b":");
        // A minute or second beyond 59 makes no offset.
        seconds += unit * i64::from(number(rest, 2).filter(|number| *number < 60)?);
    }
    Some(sign * seconds)
}
