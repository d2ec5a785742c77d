//! Points in time as people write them: milliseconds, a date, or how long ago.

/// Milliseconds since 1970 of `1732600000000`, `2026-11-26`, `2026-11-26T18:00:00Z`, or of an age before `now_ms`:
/// `-7d`, `-12h`, `-30m`, `-10s`.
pub(crate) fn parse(text: &str, now_ms: i64) -> Option<i64> {
    if let Some(ago) = text.strip_prefix('-') {
        let (count, unit) = ago.split_at_checked(ago.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        return now_ms.checked_sub(digits(count)?.checked_mul(unit)?);
    }
    if let Some(time) = digits(text) {
        return Some(time);
    }
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let legal = parts.next().is_none() && (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !legal || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let seconds = time.map_or(Some(0), seconds_of)?;
    Some((days_before(year, month) + day - 1) * 86_400_000 + seconds * 1000)
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// Seconds of `18:00:00Z`; only UTC is supported.
fn seconds_of(time: &str) -> Option<i64> {
    let mut parts = time.strip_suffix('Z')?.split(':').map(digits);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let legal = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
    legal.then_some(hour * 3600 + minute * 60 + second)
}

const fn leaps(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if leaps(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let leap_days = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years = (year - 1970) * 365 + leap_days(year) - leap_days(1970);
    years + (1..month).map(|month| days_of(year, month)).sum::<i64>()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, time) in [
            ("0", Some(0)),
            ("1732600000000", Some(1_732_600_000_000)),
            ("1970-01-02", Some(86_400_000)),
            ("2000-03-01", Some(951_868_800_000)),
            ("2026-11-26T18:41:00Z", Some(1_795_718_460_000)),
            ("2026-11-26T18:41Z", Some(1_795_718_460_000)),
            ("-7d", Some(1_000_000_000_000 - 604_800_000)),
            ("-1s", Some(999_999_999_000)),
        ] {
            assert_eq!(parse(text, 1_000_000_000_000), time, "{text}");
        }
        for wrong in
            ["", "-", "-d", "7d", "-7y", "2026-02-29", "2026-13-01", "2026-1", "2026-11-26T25:00Z", "x", "-é", "1.5"]
        {
            assert_eq!(parse(wrong, 0), None, "{wrong}");
        }
        assert_eq!(parse(&format!("-{}d", i64::MAX), 0), None);
    }
}
