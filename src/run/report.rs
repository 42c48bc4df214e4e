//! Collects the data of a run for its metrics and warnings.

use std::time::{Duration, Instant};

use crate::deadline::Timeline;
use crate::failure::{ExitStatus, Failure, Reason, Stage, Warning};
use crate::metrics::Figures;

#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Those that are known before the end of the run.
    pub figures: Figures,
    pub command_began: Option<Instant>,
    /// The host that got a token over plain HTTP, unless it is loopback.
    pub insecure: Option<String>,
    /// Problems that do not change the result.
    pub warnings: Vec<Warning>,
    /// The reason if a signal, or the death of the parent process, ended the run.
    pub interruption: Option<Reason>,
    /// The token could not be deleted, which the result does not say.
    pub revocation_failed: bool,
}

impl Report {
    pub(crate) fn took(&mut self, stage: Stage, duration: Duration) {
        self.figures.stage_seconds.push((stage, duration.as_secs_f64()));
    }

    /// The values for the metrics of a run that ends with `result` at `now`.
    pub(crate) fn figures(
        &self,
        result: &Result<ExitStatus, Failure>,
        timeline: &Timeline,
        now: Instant,
    ) -> Figures {
        let (status, failure) = match result {
            Ok(status) => (*status, self.reason(*status).map(|reason| (Stage::Command, reason))),
            Err(failure) => (failure.status, Some((failure.stage, failure.reason))),
        };
        // A command that was told to stop says nothing about the target, and the revocation itself did not fail.
        let told_to_stop =
            self.interruption.is_some() || failure == Some((Stage::Revoke, Reason::Interrupted));
        let left_behind = self.revocation_failed.then_some((Stage::Revoke, Reason::TokenNotDeleted));
        let failed = failure.filter(|_| !told_to_stop).into_iter().chain(left_behind);
        let left = timeline.term_at.saturating_duration_since(now).as_secs_f64();
        let over = now.saturating_duration_since(timeline.term_at).as_secs_f64();
        Figures {
            exit_status: status.code(),
            failed: failed.map(|(stage, _)| stage).collect(),
            failures: failure.into_iter().chain(left_behind).collect(),
            deadline_margin_seconds: (!self.figures.cached).then_some(left - over),
            ..self.figures.clone()
        }
    }

    /// The reason of a command that ended with this status; `None` for a success.
    fn reason(&self, status: ExitStatus) -> Option<Reason> {
        let reason = match status {
            ExitStatus::Signal(_) => Reason::CommandKilled,
            _ => Reason::CommandFailed,
        };
        (!status.is_success()).then_some(self.interruption.unwrap_or(reason))
    }
}
