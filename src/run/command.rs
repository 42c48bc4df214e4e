//! The command of a run: started in the lease's environment, and what its end means.

use std::ffi::OsStr;
use std::time::Instant;

use super::Run;
use crate::child::{self, End, Job, Outcome, StartError};
use crate::duration;
use crate::error::{Failure, Stage, brief};
use crate::exit::ExitStatus;
use crate::log::write_stderr;
use crate::secret::scrub_bytes;
use crate::signal::Signal;
use crate::source::Lease;

impl Run<'_> {
    /// Runs the command in the lease's environment.
    pub(super) fn command(&mut self, lease: &Lease) -> Result<ExitStatus, Failure> {
        if let Some(signal) = self.signals.take_interrupt() {
            return Err(Failure::signal(Stage::Exchange, signal));
        }
        let job = Job {
            words: &self.config.command,
            set: &lease.set,
            remove: &lease.remove,
            input: self.config.input,
            output: self.config.output,
        };
        let name = shown(&self.config.command[0]);
        let words = || self.config.command.join(OsStr::new(" ")).display().to_string();
        tracing::debug!(command = words(), "running");
        let began = Instant::now();
        let started = job.start().map_err(|error| refuse_command(&name, &error))?;
        let outcome = child::supervise(started, self.signals, self.parent.as_ref(), &self.timeline);
        self.report.took(Stage::Command, began.elapsed());
        self.report.interrupted = outcome.forwarded.is_some() || outcome.orphaned;
        tracing::debug!(end = ?outcome.end, timed_out = outcome.timed_out, after = ?began.elapsed(), "the command has ended");
        if outcome.orphaned {
            let warning = "the parent process died, so the command was ended (-die-with-parent)";
            self.report.warnings.push(warning.to_owned());
        }
        if let Some(error) = &outcome.unwritten {
            self.report.warnings.push(format!("cannot write the output of {name}: {error}"));
        }
        let result = self.judge(&outcome);
        if !outcome.output.is_empty() && !matches!(result, Ok(status) if status.is_success()) {
            let mut shown = scrub_bytes(&outcome.output);
            if shown.last() != Some(&b'\n') {
                // What we say begins a line of its own.
                shown.push(b'\n');
            }
            write_stderr(&shown);
        }
        result
    }

    fn judge(&self, outcome: &Outcome) -> Result<ExitStatus, Failure> {
        let name = shown(&self.config.command[0]);
        if outcome.timed_out {
            let after = duration::show(self.timeline.term_at - self.timeline.start);
            let how = match outcome.end {
                End::Unkillable => "; not even SIGKILL ended it, and it is left behind".to_owned(),
                End::Died(signal) => format!(" ({signal})"),
                End::Exited(status) => format!(" (it exited with {status} after SIGTERM)"),
            };
            return Err(Failure::timeout(
                Stage::Command,
                format!("timed out: {name} was ended after {after}{how}"),
            ));
        }
        Ok(match outcome.end {
            End::Exited(status) => ExitStatus::Command(status),
            End::Died(signal) => ExitStatus::Signal(signal.number()),
            End::Unkillable => ExitStatus::Signal(Signal::KILL.number()),
        })
    }
}

/// COMMAND as messages show it; one without a name as `env` shows it.
fn shown(command: &OsStr) -> String {
    if command.is_empty() { "''".to_owned() } else { brief(command) }
}

fn refuse_command(name: &str, error: &StartError) -> Failure {
    let (status, message) = match error {
        StartError::NotFound => (
            ExitStatus::NotFound,
            format!(
                "cannot run {name}: not found; check COMMAND and PATH, or the interpreter in its first line"
            ),
        ),
        StartError::CannotRun(error) => (ExitStatus::CannotRun, format!("cannot run {name}: {error}")),
        StartError::Ours(error) => {
            let why = if error.kind() == std::io::ErrorKind::NotFound {
                ""
            } else {
                "this machine is out of resources: "
            };
            (ExitStatus::Failed, format!("cannot run {name}: {why}{error}"))
        }
    };
    Failure { stage: Some(Stage::Command), status, message }
}
