//! Adds the difference of the clocks to messages.

use std::time::Duration;

use crate::go::duration;
use crate::http::{self, Answer};

/// A smaller difference may be caused by a slow response: `Date` has whole seconds.
const NOTABLE_OFFSET_SECONDS: i64 = 2;

/// A clause with the difference between the local and the server's clock; empty if it is too small to mention.
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

/// True if one of the clocks must be wrong: the server's clock was then not used for the expiry of a token.
pub(super) fn is_days_off(answer: &Answer) -> bool {
    answer.clock_offset_seconds.is_some_and(|offset| !http::is_usable(offset))
}

/// How far the local clock is behind the server's, if it is.
pub(super) fn lag(answer: &Answer) -> Option<Duration> {
    let offset = answer.clock_offset_seconds.filter(|offset| *offset < 0)?;
    Some(Duration::from_secs(offset.unsigned_abs()))
}
