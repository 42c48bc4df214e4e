//! Retries: exponential backoff with positive jitter, added to `Retry-After`, all before the run's deadline.

use std::time::{Duration, Instant, SystemTime};

use backon::BackoffBuilder as _;
use reqwest::header::{DATE, RETRY_AFTER};

use super::Answer;
use crate::go::duration;

/// The first pause is between this and twice this; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Runs that got the same `Retry-After` are spread over this share of it.
const RETRY_AFTER_SPREAD: f64 = 0.25;

/// True if a response with this status may be different next time.
pub fn is_retryable(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}

pub struct Pauses(backon::ExponentialBackoff);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    After(Duration),
    GiveUp,
    /// The server's `Retry-After` is longer than the time left.
    TooLate(Duration),
}

fn growing_to(longest: Duration) -> backon::ExponentialBuilder {
    backon::ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(longest)
        .with_factor(2.0)
        .with_jitter()
}

impl Pauses {
    pub fn new(retries: u32) -> Pauses {
        let times = usize::try_from(retries).unwrap_or(usize::MAX);
        Pauses(growing_to(LONGEST_PAUSE).with_max_times(times).build())
    }

    /// Short pauses, as many as fit before the deadline: for the clean-up, which has little time.
    pub fn until_deadline() -> Pauses {
        Pauses(growing_to(FIRST_PAUSE).without_max_times().build())
    }

    /// The next step at `now`, if the exchange must be over by `deadline`.
    pub fn next(&mut self, retry_after: Option<Duration>, now: Instant, deadline: Instant) -> Next {
        let Some(pause) = self.0.next() else { return Next::GiveUp };
        let left = deadline.saturating_duration_since(now);
        match retry_after {
            Some(asked) if asked >= left => Next::TooLate(asked),
            // Another try would exceed the deadline, and this failure says more than a timeout would.
            None if pause >= left => Next::GiveUp,
            None => Next::After(pause),
            Some(asked) => {
                let spread = pause + asked.mul_f64(fastrand::f64() * RETRY_AFTER_SPREAD);
                // The requested pause fits, so the spread must not move the try past the deadline.
                let room = left.saturating_sub(asked).mul_f64(fastrand::f64() / 2.0);
                Next::After(asked + spread.min(room))
            }
        }
    }
}

/// Says whether another try may help, and how long the server asks to wait.
pub(crate) enum Again {
    No,
    After(Option<Duration>),
}

pub(crate) struct Tried<T> {
    pub result: T,
    pub tries: u32,
    /// Why it was not tried again, if that might have helped.
    pub gave_up: Option<Next>,
}

/// Tries until another try cannot help or does not fit before `deadline`.
pub(crate) async fn repeat<T>(
    mut pauses: Pauses,
    deadline: Instant,
    mut attempt: impl AsyncFnMut() -> (T, Again),
) -> Tried<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        let (result, again) = attempt().await;
        let Again::After(asked) = again else { return Tried { result, tries, gave_up: None } };
        match pauses.next(asked, Instant::now(), deadline) {
            Next::After(pause) => {
                tracing::debug!(pause = duration::show(pause), "trying again");
                tokio::time::sleep(pause).await;
            }
            next => return Tried { result, tries, gave_up: Some(next) },
        }
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which the server has chosen by its own clock.
pub(crate) fn retry_after(answer: &Answer) -> Option<Duration> {
    let date = answer.header(DATE).and_then(|date| httpdate::parse_http_date(date).ok());
    parse_retry_after(answer.header(RETRY_AFTER)?, date.unwrap_or_else(SystemTime::now))
}

/// Parses a `Retry-After` value. A date in the past means no pause; an invalid value is ignored.
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is a very long time.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_positive_jitter_and_end() {
        let now = Instant::now();
        let far = now + Duration::from_secs(600);
        let mut pauses = Pauses::new(2);
        let Next::After(first) = pauses.next(None, now, far) else { panic!() };
        let Next::After(second) = pauses.next(None, now, far) else { panic!() };
        assert!(first >= FIRST_PAUSE && second >= 2 * FIRST_PAUSE, "{first:?} {second:?}");
        assert_eq!(pauses.next(None, now, far), Next::GiveUp);
    }

    #[test]
    fn the_spread_does_not_carry_a_try_beyond_the_deadline() {
        let now = Instant::now();
        let (asked, left) = (Duration::from_secs(30), Duration::from_millis(30_100));
        for _ in 0..1000 {
            let Next::After(pause) = Pauses::new(2).next(Some(asked), now, now + left) else { panic!() };
            assert!(pause >= asked && pause < left, "{pause:?}");
        }
    }
}
