//! The time of day, and midnights.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, Month};

/// The time since 1970; zero if the clock is before that.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

pub(crate) fn unix_now() -> u64 {
    since_epoch().as_secs()
}

/// Midnight (UTC) of a day given as `YYYY-MM-DD`, in Unix seconds.
pub(crate) fn midnight(day: &str) -> Option<i64> {
    let parts: Vec<&str> = day.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return None };
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if !(digits(year, 4) && digits(month, 2) && digits(day, 2)) {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let date = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    Some(date.midnight().assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::midnight;

    #[test]
    fn days_of_the_calendar_have_a_midnight_and_others_do_not() {
        assert_eq!(midnight("1970-01-01"), Some(0));
        assert_eq!(midnight("2024-02-29"), Some(1_709_164_800));
        for day in ["", "2026-13-01", "2023-02-29", "2026-1-01", "20260101", "+026-01-01"] {
            assert_eq!(midnight(day), None, "{day}");
        }
    }
}
