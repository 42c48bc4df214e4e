//! What a wrong clock of ours adds to a message.

use std::time::Duration;

use crate::go::duration;
use crate::http::{self, Answer};

/// A clock that differs by less cannot be told from a slow answer: `Date` has whole seconds.
const NOTABLE_OFFSET_SECONDS: i64 = 2;

/// How far our clock is from the server's, as a further clause; empty if that is not worth mentioning.
pub(super) fn clause(answer: &Answer) -> String {
    match answer.clock_offset_seconds {
        Some(offset) if offset.abs() >= NOTABLE_OFFSET_SECONDS => {
            let by = duration::show(Duration::from_secs(offset.unsigned_abs()));
            let side = if offset < 0 { "behind" } else { "ahead of" };
            let remedy = if is_days_off(answer) { ": correct it" } else { "" };
            format!("; the local clock is {by} {side} the server{remedy}")
        }
        _ => String::new(),
    }
}

/// Whether one of the clocks must be wrong: then the expiry of a token was not set by the server's.
pub(super) fn is_days_off(answer: &Answer) -> bool {
    answer.clock_offset_seconds.is_some_and(|offset| !http::is_usable(offset))
}

/// How far our clock is behind the server's, if it is.
pub(super) fn lag(answer: &Answer) -> Option<Duration> {
    let offset = answer.clock_offset_seconds.filter(|offset| *offset < 0)?;
    Some(Duration::from_secs(offset.unsigned_abs()))
}
