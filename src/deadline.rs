//! The deadlines of a run: the timeout, the escalation to SIGKILL, and the end of the scrape.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long before `SCRIPT_DEADLINE` the run must be over: script_exporter kills its shell at that time, and Prometheus
/// gives up soon after. 250 ms are promised; ending a killed group and reporting take a moment.
const REPORT_MARGIN: Duration = Duration::from_millis(300);
/// How long to wait after SIGKILL for a command in uninterruptible sleep.
const UNKILLABLE_AFTER: Duration = Duration::from_secs(2);

/// Replaces a timeout that is longer than the clock can represent.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeline {
    pub start: Instant,
    /// When the exchange is abandoned, or the command's group gets SIGTERM.
    pub term_at: Instant,
    /// That is sooner than the timeout, because of `SCRIPT_DEADLINE`.
    pub is_cut: bool,
    /// The time from SIGTERM to SIGKILL.
    pub kill_after: Duration,
    pub revoke_limit: Duration,
    /// When the result must be reported, if there is a `SCRIPT_DEADLINE`.
    pub report_by: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// When the timeout began, by both clocks: before the first file was read that may be a pipe.
    pub began: (Instant, SystemTime),
    /// For exchange and command together.
    pub timeout: Duration,
    /// The time from SIGTERM to SIGKILL.
    pub kill_after: Duration,
    /// The time limit of the revocation; zero if nothing is revoked.
    pub revoke_limit: Duration,
    /// `SCRIPT_DEADLINE`: when the exporter stops waiting.
    pub script_deadline: Option<SystemTime>,
}

impl Timeline {
    /// When to give up on a command that got SIGKILL at `killed_at` and does not exit.
    pub(crate) fn give_up_at(&self, killed_at: Instant) -> Instant {
        let at = killed_at + UNKILLABLE_AFTER;
        // A process takes a moment to die; the rest of the margin is for the report.
        self.report_by.map_or(at, |by| at.min(by.max(killed_at) + REPORT_MARGIN / 2))
    }
}

impl Limits {
    /// The timeline of the run, or `None` if `SCRIPT_DEADLINE` had passed before it began.
    pub(crate) fn timeline(&self) -> Option<Timeline> {
        let (start, now) = self.began;
        let timeout_at = start.checked_add(self.timeout).unwrap_or(start + FOREVER);
        let mut timeline = Timeline {
            start,
            term_at: timeout_at,
            is_cut: false,
            kill_after: self.kill_after,
            revoke_limit: self.revoke_limit,
            report_by: None,
        };
        let Some(deadline) = self.script_deadline else { return Some(timeline) };
        let left = deadline.duration_since(now).ok().filter(|left| !left.is_zero())?;
        let usable = left.checked_sub(REPORT_MARGIN).unwrap_or(left / 2);
        let Some(report_by) = start.checked_add(usable) else { return Some(timeline) };
        let reserve = self.kill_after + self.revoke_limit;
        let run_for = usable.saturating_sub(reserve).max(usable / 2);
        // With little time left, the command gets half of it, and the two grace periods share the other half.
        let for_graces = usable.saturating_sub(run_for);
        if reserve > for_graces {
            let share = for_graces.as_secs_f64() / reserve.as_secs_f64();
            timeline.kill_after = self.kill_after.mul_f64(share);
            timeline.revoke_limit = self.revoke_limit.mul_f64(share);
        }
        if start + run_for < timeout_at {
            (timeline.term_at, timeline.is_cut) = (start + run_for, true);
        }
        timeline.report_by = Some(report_by);
        Some(timeline)
    }
}

/// `SCRIPT_DEADLINE` as script_exporter sets it: Unix seconds with a fraction. Other values are ignored. A time before
/// 1970 is in the past, like any other.
pub(crate) fn parse_script_deadline(value: &str) -> Option<SystemTime> {
    let seconds: f64 = value.trim().parse().ok().filter(|seconds: &f64| seconds.is_finite())?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds.max(0.0)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn begin(timeout: u32, kill_after: u32, revoke: u32, left: Option<Duration>) -> Option<Timeline> {
        let now = SystemTime::now();
        let limits = Limits {
            began: (Instant::now(), now),
            timeout: S * timeout,
            kill_after: S * kill_after,
            revoke_limit: S * revoke,
            script_deadline: left.map(|left| now + left),
        };
        limits.timeline()
    }

    #[test]
    fn term_kill_and_revocation_fit_before_the_report() {
        let t = begin(60, 5, 5, Some(20 * S + REPORT_MARGIN)).unwrap();
        assert_eq!(t.term_at - t.start, 10 * S);
        assert_eq!(t.report_by.unwrap() - t.start, 20 * S);
        assert_eq!((t.kill_after, t.revoke_limit), (5 * S, 5 * S));
    }

    #[test]
    fn with_little_time_left_term_comes_at_half_of_it() {
        let t = begin(60, 5, 5, Some(4 * S + REPORT_MARGIN)).unwrap();
        assert_eq!(t.term_at - t.start, 2 * S);
        assert_eq!((t.kill_after, t.revoke_limit), (S, S));
    }

    #[test]
    fn an_unkillable_command_is_given_up_before_the_script_deadline() {
        let t = begin(60, 5, 0, Some(20 * S)).unwrap();
        let killed_at = t.term_at + t.kill_after;
        assert!(t.give_up_at(killed_at) > killed_at);
        assert!(t.give_up_at(killed_at) < t.start + 20 * S);
        assert_eq!(t.give_up_at(t.start), t.start + UNKILLABLE_AFTER);
        let t = begin(60, 5, 0, None).unwrap();
        assert_eq!(t.give_up_at(t.term_at), t.term_at + UNKILLABLE_AFTER);
    }

    #[test]
    fn less_than_the_margin_is_still_used() {
        let t = begin(60, 5, 0, Some(Duration::from_millis(100))).unwrap();
        assert_eq!(t.term_at - t.start, Duration::from_millis(25));
    }
}
