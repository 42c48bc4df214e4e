//! The current time, and dates for people, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, Month, OffsetDateTime};

/// The time since 1970; zero if the clock is before that.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn unix_now() -> u64 {
    since_epoch().as_secs()
}

/// `2026-11-22 04:05:06Z`; a number outside the calendar is shown as it is.
pub(crate) fn time(unix_seconds: u64) -> String {
    let time = i64::try_from(unix_seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    match time {
        Some(t) => format!("{} {:02}:{:02}:{:02}Z", t.date(), t.hour(), t.minute(), t.second()),
        None => unix_seconds.to_string(),
    }
}

/// `2026-11-22T04:05:06.000123Z` (RFC 3339).
pub(crate) fn with_micros(time: SystemTime) -> String {
    let t = OffsetDateTime::from(time);
    let (date, micros) = (t.date(), t.microsecond());
    format!("{date}T{:02}:{:02}:{:02}.{micros:06}Z", t.hour(), t.minute(), t.second())
}

/// The day of a time in Unix milliseconds, as `2026-11-22`.
pub(crate) fn day_of_millis(unix_millis: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix_millis.div_euclid(1000));
    time.map_or_else(|_| unix_millis.to_string(), |time| time.date().to_string())
}

/// Midnight (UTC) of a day given as `YYYY-MM-DD`, in Unix milliseconds.
pub(crate) fn millis_of_day(text: &str) -> Option<i64> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    Some(date.midnight().assume_utc().unix_timestamp() * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_milliseconds_are_each_others_inverse() {
        for (day, millis) in
            [("1970-01-01", 0), ("2026-11-22", 1_795_305_600_000), ("2024-02-29", 1_709_164_800_000)]
        {
            assert_eq!(millis_of_day(day), Some(millis));
            assert_eq!(day_of_millis(millis), day);
            assert_eq!(day_of_millis(millis + 86_399_999), day);
        }
        for text in ["", "2026-13-01", "2023-02-29", "2026-1-01", "2026-01-01T", "20260101", "+026-01-01"] {
            assert_eq!(millis_of_day(text), None, "{text}");
        }
        assert_eq!(time(1_795_309_001), "2026-11-22 00:56:41Z");
        let micros = UNIX_EPOCH + Duration::from_micros(1_795_309_001_000_123);
        assert_eq!(with_micros(micros), "2026-11-22T00:56:41.000123Z");
    }
}
