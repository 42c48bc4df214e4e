//! Go's durations (package `time`, Go 1.26: `ParseDuration`).

use std::time::Duration;

/// The largest duration that Go can hold, in nanoseconds (an `int64`: about 292 years).
const MAX_NANOSECONDS: u128 = i64::MAX as u128;

/// A duration. No flag accepts a negative one, so its size is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoDuration {
    NotNegative(Duration),
    Negative,
}

/// Parses `1m30s`, `1.5h`, `250ms`, `1us`, `1µs`; `None` if Go would fail. A number other than 0 must have a unit.
pub fn parse(text: &str) -> Option<GoDuration> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(GoDuration::NotNegative(Duration::ZERO));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let whole_digits = digits(rest);
        let (whole, after) = rest.split_at(whole_digits);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(digits(after)),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_length = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        let unit = nanoseconds(unit)?;
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?.checked_add(fraction_of(fraction, unit))?;
        // The range of negative values is larger by one, as in Go.
        if total > MAX_NANOSECONDS + u128::from(negative) {
            return None;
        }
        rest = after;
    }
    if negative && total > 0 {
        return Some(GoDuration::Negative);
    }
    u64::try_from(total).ok().map(|n| GoDuration::NotNegative(Duration::from_nanos(n)))
}

fn digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

fn nanoseconds(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        // U+00B5 is the micro sign, U+03BC the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `0.FRACTION` units. Go computes this in floating point and drops the digits that do not fit into a `uint64`; the
/// result here is the same to the nanosecond.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the same conversions as in Go, on values below 2^63"
)]
fn fraction_of(fraction: &str, unit: u128) -> u128 {
    let (mut value, mut scale) = (0_u64, 1_f64);
    for digit in fraction.bytes().map(|byte| u64::from(byte - b'0')) {
        if value > (i64::MAX as u64) / 10 {
            break;
        }
        value = value * 10 + digit;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u128
}

/// `duration` for people, to the millisecond: `3m12s`, `1.5s`, `250ms`.
pub fn show(duration: Duration) -> String {
    let (minutes, seconds) = (duration.as_secs() / 60, duration.as_secs() % 60);
    let millis = duration.subsec_millis();
    match (minutes, seconds, millis) {
        (0, 0, 0) if duration.is_zero() => "0s".to_owned(),
        (0, 0, 0) => format!("{}\u{b5}s", duration.subsec_micros()),
        (0, 0, millis) => format!("{millis}ms"),
        (0, seconds, 0) => format!("{seconds}s"),
        (0, seconds, millis) => format!("{seconds}.{millis:03}").trim_end_matches('0').to_owned() + "s",
        (minutes, seconds, _) if minutes < 60 => format!("{minutes}m{seconds}s"),
        (minutes, seconds, _) => format!("{}h{}m{seconds}s", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<u64> {
        match parse(text)? {
            GoDuration::NotNegative(duration) => u64::try_from(duration.as_nanos()).ok(),
            GoDuration::Negative => panic!("{text} is negative"),
        }
    }

    #[test]
    fn durations_that_go_accepts_are_accepted() {
        for (text, expected) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("250ms", 250_000_000),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("1μs", 1_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("3h2m1s5ms", 10_921_005_000_000),
            ("0.3333333333333333333h", 1_200_000_000_000),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
        assert_eq!(parse("-1s"), Some(GoDuration::Negative));
        assert_eq!(parse("-0s"), Some(GoDuration::NotNegative(Duration::ZERO)));
    }

    #[test]
    fn durations_that_go_refuses_are_refused() {
        for text in "|60|-|+|.|s|.s|1|1d|1 s|1S|--1s|9223372036854775808ns|1e3s|1h-5m|½s".split('|') {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_readable_form() {
        for (millis, shown) in [
            (0, "0s"),
            (250, "250ms"),
            (1500, "1.5s"),
            (60_000, "1m0s"),
            (192_000, "3m12s"),
            (5_400_000, "1h30m0s"),
        ] {
            assert_eq!(show(Duration::from_millis(millis)), shown);
        }
    }
}
