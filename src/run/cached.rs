//! A run whose result may be known already.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Run;
use crate::cache::{Cache, Kept, Key, Way};
use crate::duration;
use crate::error::{Failure, Stage};
use crate::exit::ExitStatus;

impl Run<'_> {
    /// Gives the result that is kept for `key`, or else makes the run, and keeps its result.
    pub(super) fn through_cache(
        &mut self,
        cache: &Cache,
        key: &Key,
        make: impl FnOnce(&mut Self) -> Result<ExitStatus, Failure>,
    ) -> Result<ExitStatus, Failure> {
        let timeout = self.config.limits.timeout;
        let turn = match cache.enter(key, timeout, |pause| self.pause(pause))? {
            Way::Known(kept) => {
                self.report.cached = true;
                self.report.ended = SystemTime::now().checked_sub(kept.age());
                let age = duration::show(kept.age());
                tracing::debug!(exit_status = kept.exit_status, age, "the result is known; nothing is run");
                return replay(kept, &age);
            }
            Way::Ours(turn) => turn,
            Way::Without(error) => {
                self.warn_of(cache, &error);
                return make(self);
            }
        };
        let result = make(self);
        if let Err(error) = turn.end(self.worth_keeping(&result)) {
            self.warn_of(cache, &error);
        }
        result
    }

    fn warn_of(&mut self, cache: &Cache, error: &std::io::Error) {
        let dir = cache.dir().display();
        self.report.warnings.push(format!(
            "cannot keep results in {dir}: {error}; running without the cache, set -cache-dir"
        ));
    }

    /// What a result says about the target, if it does: a failure of ours, a timeout of the exchange, and
    /// a run that a signal ended say nothing.
    fn worth_keeping(&self, result: &Result<ExitStatus, Failure>) -> Option<Kept> {
        if self.report.interrupted {
            return None;
        }
        // Who had less time than was asked for says nothing to those who have it.
        let shortened = self.timeline.term_at < self.timeline.start + self.config.limits.timeout;
        match result {
            Err(failure) if failure.status == ExitStatus::Timeout && shortened => None,
            // A command that is this program itself has not tested anything either.
            Ok(status) if *status == ExitStatus::Command(ExitStatus::Failed.code()) => None,
            Ok(ExitStatus::Command(code)) => Some(Kept::now(*code, None)),
            Ok(_) => None,
            Err(failure) => match (failure.stage, failure.status) {
                (
                    Some(Stage::Command),
                    ExitStatus::Timeout | ExitStatus::CannotRun | ExitStatus::NotFound,
                ) => {
                    let kept = Kept::now(failure.status.code(), Some(failure.message.clone()));
                    let timed_out = failure.status == ExitStatus::Timeout;
                    Some(if timed_out { kept.within(self.config.limits.timeout) } else { kept })
                }
                _ => None,
            },
        }
    }

    /// Waits while another process makes the same run: until `at_most` has passed, or until the time is
    /// up, or a signal or the death of our parent ends the run.
    fn pause(&self, at_most: Duration) -> Result<(), Failure> {
        const DOING: &str = "while waiting for the result of the same run, which another process makes";
        let ended = |status, message| Failure { stage: None, status, message };
        let left = self.timeline.term_at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let after = duration::show(self.timeline.start.elapsed());
            return Err(ended(ExitStatus::Timeout, format!("timed out after {after} {DOING}")));
        }
        let mut fds = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        fds.extend(
            self.parent.as_ref().map(|parent| PollFd::from_borrowed_fd(parent.as_fd(), PollFlags::IN)),
        );
        // An error (EINTR, no memory) means to look at everything again.
        let _ = poll(&mut fds, Timespec::try_from(at_most.min(left)).ok().as_ref());
        let parent_gone = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if let Some(signal) = self.signals.take_interrupt() {
            return Err(ended(ExitStatus::Signal(signal.number()), format!("ended by {signal} {DOING}")));
        }
        if parent_gone {
            return Err(Failure { stage: None, ..Failure::orphaned(Stage::Command) });
        }
        Ok(())
    }
}

/// The result as it was, told again.
fn replay(kept: Kept, age: &str) -> Result<ExitStatus, Failure> {
    let status = match kept.exit_status {
        code if kept.message.is_none() => return Ok(ExitStatus::Command(code)),
        code if code == ExitStatus::Timeout.code() => ExitStatus::Timeout,
        code if code == ExitStatus::CannotRun.code() => ExitStatus::CannotRun,
        code if code == ExitStatus::NotFound.code() => ExitStatus::NotFound,
        code => ExitStatus::Command(code),
    };
    let message = format!("{} (the result of {age} ago)", kept.message.unwrap_or_default());
    Err(Failure { stage: Some(Stage::Command), status, message })
}
