//! Collects the data of a run for its metrics and warnings.

use std::time::{Duration, Instant};

use crate::deadline::Timeline;
use crate::failure::{ExitStatus, Failure, Reason, Stage, Warning};
use crate::metrics::Figures;

#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Those that are known before the end of the run.
    pub figures: Figures,
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
        let (status, stage) = match result {
            Ok(status) if status.is_success() => (*status, None),
            Ok(status) => (*status, Some(Stage::Command)),
            // The revocation itself did not fail.
            Err(Failure { stage: Stage::Revoke, reason: Reason::Interrupted, status, .. }) => (*status, None),
            Err(failure) => (failure.status, Some(failure.stage)),
        };
        let mut failures = Vec::new();
        match result {
            Ok(status) => failures.extend(self.reason(*status).map(|reason| (Stage::Command, reason))),
            Err(failure) => failures.push((failure.stage, failure.reason)),
        }
        if self.revocation_failed {
            failures.push((Stage::Revoke, Reason::TokenNotDeleted));
        }
        let left = timeline.term_at.saturating_duration_since(now).as_secs_f64();
        let over = now.saturating_duration_since(timeline.term_at).as_secs_f64();
        Figures {
            exit_status: status.code(),
            // A command that was told to stop says nothing about the target.
            failed: stage
                .filter(|_| self.interruption.is_none())
                .into_iter()
                .chain(self.revocation_failed.then_some(Stage::Revoke))
                .collect(),
            failures,
            deadline_margin_seconds: left - over,
            ..self.figures.clone()
        }
    }

    /// The reason of a command that ended with this status; `None` for a success.
    fn reason(&self, status: ExitStatus) -> Option<Reason> {
        match status {
            status if status.is_success() => None,
            _ if self.interruption.is_some() => self.interruption,
            ExitStatus::Signal(_) => Some(Reason::CommandKilled),
            ExitStatus::Command(_) => Some(Reason::CommandFailed),
            ExitStatus::Usage => Some(Reason::Usage),
            ExitStatus::Timeout => Some(Reason::TimeoutCommand),
            ExitStatus::Failed => Some(Reason::System),
            ExitStatus::CannotRun => Some(Reason::CommandNotExecutable),
            ExitStatus::NotFound => Some(Reason::CommandNotFound),
        }
    }
}
