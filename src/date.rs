//! The current time, and dates for people, in UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_cert::der::DateTime;

/// The time since 1970; zero if the clock is before that.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn unix_now() -> u64 {
    since_epoch().as_secs()
}

/// `2026-11-22 04:05:06Z`; a number outside the calendar is shown as it is.
pub(crate) fn time(unix_seconds: u64) -> String {
    let time = DateTime::from_unix_duration(Duration::from_secs(unix_seconds));
    time.map_or_else(|_| unix_seconds.to_string(), |time| time.to_string().replace('T', " "))
}

/// A time since 1970 as `2026-11-22T04:05:06.000123Z` (RFC 3339).
pub(crate) fn with_micros(since_epoch: Duration) -> String {
    let second = time(since_epoch.as_secs()).replace(' ', "T");
    format!("{}.{:06}Z", second.trim_end_matches('Z'), since_epoch.subsec_micros())
}

/// The day of a time in Unix milliseconds, as `2026-11-22`; a number outside the calendar is shown as it is.
pub(crate) fn day_of_millis(unix_millis: i64) -> String {
    let time = u64::try_from(unix_millis).ok().map(Duration::from_millis);
    let day = time.and_then(|time| DateTime::from_unix_duration(time).ok());
    day.map_or_else(|| unix_millis.to_string(), |day| day.to_string()[.."YYYY-MM-DD".len()].to_owned())
}

/// Midnight (UTC) of a day given as `YYYY-MM-DD`, in Unix milliseconds.
pub(crate) fn millis_of_day(text: &str) -> Option<i64> {
    let midnight: DateTime = format!("{text}T00:00:00Z").parse().ok()?;
    i64::try_from(midnight.unix_duration().as_millis()).ok()
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
        let micros = Duration::from_micros(1_795_309_001_000_123);
        assert_eq!(with_micros(micros), "2026-11-22T00:56:41.000123Z");
    }
}
