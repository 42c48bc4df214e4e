//! A run: credential, command, clean-up, exit status. This is the only module that knows both issuers and commands; a
//! [`Lease`](crate::issuer::Lease) connects them.

mod cached;
pub(crate) mod command;
pub(crate) mod locate;
pub(crate) mod token;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::Url;
use rustix::io::Errno;

use crate::child::{InputPolicy, OutputPolicy};
use crate::deadline::{Limits, Timeline};
use crate::failure::{ExitStatus, Failure, Reason, Stage, Warning};
use crate::http::{Client, LoadedHttp};
use crate::issuer::locate::{Granted, LocateConfig};
use crate::key::PrivateKey;
use crate::log::{Log, report_by};
use crate::metrics::{self, Figures, Labels};
use crate::sys::signal::Signals;
use crate::until::{Ended, Parent, Until, block_on};

pub(crate) struct RunConfig {
    pub command: Vec<OsString>,
    pub limits: Limits,
    pub input: InputPolicy,
    pub output: OutputPolicy,
    pub die_with_parent: bool,
    pub metrics_textfile: Option<PathBuf>,
    pub labels: Labels,
}

impl RunConfig {
    /// Until when a file may be read before the run begins.
    pub(crate) fn until<'a>(&self, signals: &'a Signals) -> Result<Until<'a>, Failure> {
        let Timeline { start, term_at, is_cut, .. } = self.timeline()?;
        Ok(Until { since: start, is_cut, ..Until::at(term_at) }.or_signal(signals))
    }

    fn timeline(&self) -> Result<Timeline, Failure> {
        self.limits.timeline().ok_or_else(|| {
            let message = "SCRIPT_DEADLINE had passed before the run began; nothing was run";
            Failure::timeout(Stage::Prepare, Reason::DeadlinePassed, message)
        })
    }

    /// Writes the metrics, if requested. If they cannot be written, returns a warning; the run goes on.
    fn write_metrics(&self, figures: impl FnOnce() -> Figures) -> Option<Warning> {
        metrics::write(self.metrics_textfile.as_ref()?, &self.labels, &figures()).err()
    }
}

/// Observes a run up to its command. `()` does nothing; `check` reports each step.
pub(crate) trait Observer {
    fn step<T>(&mut self, _step: &'static str, result: Result<T, Failure>) -> Result<T, Failure> {
        result
    }

    fn loaded(&mut self, _locate: &LocateConfig, _key: &PrivateKey) {}

    fn signed(&mut self, _locate: &LocateConfig, _key: &PrivateKey) {}

    fn read_credential(&mut self, _origin: &str) {}

    /// Roots and proxies for requests to this URL are known.
    fn set_up(&mut self, _http: &LoadedHttp, _url: &Url) -> Result<(), Failure> {
        Ok(())
    }

    /// A request to this URL has ended, which is this step. If it failed, a clock that is behind by `_fatal_lag` is to
    /// blame.
    fn answered<T>(
        &mut self,
        _step: &'static str,
        _client: &Client,
        _url: &Url,
        _fatal_lag: Option<Duration>,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        result
    }

    fn exchanged(&mut self, _locate: &LocateConfig, _client: &Client) {}

    fn chosen(&mut self, _granted: &Granted) {}
}

impl Observer for () {}

pub(crate) struct Run<'a> {
    config: &'a RunConfig,
    signals: &'a Signals,
    log: Log,
    pub(crate) timeline: Timeline,
    parent: Option<Parent>,
    report: Report,
}

impl<'a> Run<'a> {
    /// Begins a run: the timeout starts, and the parent process is followed if requested. If the run cannot begin, the
    /// metrics are written anyway.
    pub(crate) fn begin(config: &'a RunConfig, signals: &'a Signals, log: Log) -> Result<Run<'a>, Failure> {
        Run::try_begin(config, signals, log).map_err(|failure| {
            let over = config.limits.script_deadline.and_then(|deadline| deadline.elapsed().ok());
            let warning = config.write_metrics(|| Figures {
                deadline_margin_seconds: over.map(|over| -over.as_secs_f64()),
                ..Figures::of_failure(&failure)
            });
            failure.with_warnings(warning)
        })
    }

    pub(crate) fn to_completion(
        config: &'a RunConfig,
        signals: &'a Signals,
        log: Log,
        make: impl FnOnce(&mut Run<'a>) -> Result<ExitStatus, Failure>,
    ) -> ExitStatus {
        match Run::begin(config, signals, log) {
            Ok(mut run) => {
                let result = make(&mut run);
                run.finish(result)
            }
            Err(failure) => {
                log.failure(&failure);
                failure.status
            }
        }
    }

    fn try_begin(config: &'a RunConfig, signals: &'a Signals, log: Log) -> Result<Run<'a>, Failure> {
        let timeline = config.timeline()?;
        if let Some(at) = timeline.report_by {
            report_by(at);
        }
        let mut report = Report::default();
        let parent = match config.die_with_parent.then(Parent::follow) {
            None => None,
            Some(Ok(parent)) => Some(parent),
            Some(Err(Errno::SRCH)) => return Err(Failure::orphaned(Stage::Prepare)),
            Some(Err(_)) => {
                let warning = "-die-with-parent: the parent process cannot be followed here; running without";
                report.warnings.push(Warning::new(Reason::System, warning));
                None
            }
        };
        Ok(Run { config, signals, log, timeline, parent, report })
    }

    pub(crate) fn until(&self) -> Until<'_> {
        Until {
            since: self.timeline.start,
            deadline: self.timeline.term_at,
            is_cut: self.timeline.is_cut,
            signals: Some(self.signals),
            parent: self.parent.as_ref().map(AsFd::as_fd),
        }
    }

    /// Blames what came before the command for a timeout, if that took more than half of the time: then the target may be
    /// well. Returns the stage, the reason, and the time that was left for the command.
    fn lost_time(&self) -> Option<(Stage, Reason, Duration)> {
        let Timeline { start, term_at, .. } = self.timeline;
        let began = self.report.command_began?;
        let (lost, left) = (began.saturating_duration_since(start), term_at.saturating_duration_since(began));
        if lost <= left {
            return None;
        }
        let took_most = |stage| self.report.seconds_of(stage) * 2.0 > lost.as_secs_f64();
        let (stage, reason) = if took_most(Stage::Exchange) {
            (Stage::Exchange, Reason::TimeoutExchange)
        } else if took_most(Stage::Sign) {
            (Stage::Sign, Reason::TimeoutFile)
        } else {
            // The rest is waiting for another process.
            (Stage::Prepare, Reason::TimeoutCache)
        };
        Some((stage, reason, left))
    }

    /// Runs `work` until it finishes, or until the timeout, a signal or the death of the parent process ends the run.
    pub(crate) fn attempt<T>(
        &self,
        stage: Stage,
        work: impl Future<Output = Result<T, Failure>>,
        doing: impl FnOnce() -> String,
    ) -> Result<T, Failure> {
        let until = self.until();
        block_on(stage, async {
            tokio::select! {
                biased;
                ended = until.ended() => Err(Run::ended_early(stage, &ended, doing)),
                result = work => result,
            }
        })?
    }

    /// The failure of a run that ended before its command, in [`Run::attempt`].
    fn ended_early(stage: Stage, ended: &Ended, doing: impl FnOnce() -> String) -> Failure {
        match ended {
            Ended::Interrupted(signal) => Failure::signal(stage, *signal),
            Ended::Timeout(_) | Ended::Orphaned => ended.failure(stage, Reason::TimeoutExchange, &doing()),
        }
    }

    /// The end of every run: reports failure and warnings, and writes the metrics.
    pub(crate) fn finish(mut self, result: Result<ExitStatus, Failure>) -> ExitStatus {
        let warning =
            self.config.write_metrics(|| self.report.figures(&result, &self.timeline, Instant::now()));
        self.report.warnings.extend(warning);
        let insecure = self.report.insecure.as_deref();
        match result {
            Ok(status) => {
                self.report.warnings.extend(insecure.map(plain_http_warning));
                for warning in &self.report.warnings {
                    self.log.warning(warning);
                }
                status
            }
            Err(failure) => {
                let failure = noting_plain_http(failure, insecure).with_warnings(self.report.warnings);
                self.log.failure(&failure);
                failure.status
            }
        }
    }
}

/// The data of a run for its metrics and warnings.
#[derive(Debug, Default)]
struct Report {
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
    fn took(&mut self, stage: Stage, duration: Duration) {
        self.figures.stage_seconds.push((stage, duration.as_secs_f64()));
    }

    fn seconds_of(&self, stage: Stage) -> f64 {
        self.figures
            .stage_seconds
            .iter()
            .filter(|(known, _)| *known == stage)
            .map(|(_, seconds)| seconds)
            .sum()
    }

    /// The values for the metrics of a run that ends with `result` at `now`.
    fn figures(&self, result: &Result<ExitStatus, Failure>, timeline: &Timeline, now: Instant) -> Figures {
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

    /// The reason of a command that ended with this status; `None` for a success. One that was told to end did not
    /// succeed, whatever its status.
    fn reason(&self, status: ExitStatus) -> Option<Reason> {
        self.interruption.or(match status {
            status if status.is_success() => None,
            ExitStatus::Signal(_) => Some(Reason::CommandKilled),
            _ => Some(Reason::CommandFailed),
        })
    }
}

pub(crate) fn plain_http_warning(host: &str) -> Warning {
    format!("token sent to {host} over plain HTTP; use https").into()
}

/// Adds to a failure that a token is sent to `host` over plain HTTP.
pub(crate) fn noting_plain_http(failure: Failure, host: Option<&str>) -> Failure {
    match host {
        None => failure,
        Some(host) => failure
            .and(&format!("and note that tokens are sent to {host} over plain HTTP, where they can be read")),
    }
}
