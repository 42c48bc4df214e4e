//! The result of a check: a row for each step, as a table or as JSON.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::child;
use crate::deadline::Timeline;
use crate::failure::{ExitStatus, Failure, Reason, Stage, brief};
use crate::go::duration;
use crate::http::Client;
use crate::log::Log;
use crate::run::command::{refuse_command, shown};
use crate::secret::{clean, clean_json, scrub_stack};
use crate::sys::signal::Signals;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Ok,
    /// The run goes on, but its command may fail.
    Warning,
    Failed,
    /// It was not reached, or does not apply.
    Skipped,
}

/// A step that has a row only if it fails, before all other rows.
const FLAGS: &str = "flags";

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// The name of the step, as in `--json`; the table shows spaces instead of underscores.
    #[serde(rename = "step")]
    pub name: &'static str,
    pub outcome: Outcome,
    /// The finding, or why the step failed. Never a secret.
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Values for scripts.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

pub(super) struct Checklist {
    steps: &'static [&'static str],
    rows: Vec<Row>,
}

impl Checklist {
    pub(super) fn new(steps: &'static [&'static str]) -> Checklist {
        Checklist { steps, rows: Vec::new() }
    }

    fn push(&mut self, name: &'static str, outcome: Outcome, detail: &str, data: Map<String, Value>) {
        debug_assert!(name == FLAGS || self.steps.contains(&name), "{name} is a step");
        // It may hold text from a server.
        let data = data.into_iter().map(|(name, value)| (name, clean_json(value))).collect();
        self.rows.push(Row { name, outcome, detail: clean(detail), reason: None, data });
    }

    pub(super) fn ok(&mut self, name: &'static str, detail: impl Into<String>) {
        self.push(name, Outcome::Ok, &detail.into(), Map::new());
    }

    /// As [`Checklist::ok`], with values for scripts: an object.
    pub(super) fn ok_with(&mut self, name: &'static str, detail: impl Into<String>, data: Value) {
        let Value::Object(data) = data else { return self.ok(name, detail) };
        self.push(name, Outcome::Ok, &detail.into(), data);
    }

    /// The step found a problem that does not end the run before its command.
    pub(super) fn warn(&mut self, name: &'static str, detail: impl Into<String>) {
        self.push(name, Outcome::Warning, &detail.into(), Map::new());
    }

    pub(super) fn skip(&mut self, name: &'static str, detail: impl Into<String>) {
        self.push(name, Outcome::Skipped, &detail.into(), Map::new());
    }

    /// Records the failure of a step, and returns the result.
    pub(super) fn step<T>(&mut self, name: &'static str, result: Result<T, Failure>) -> Result<T, Failure> {
        result.inspect_err(|failure| {
            self.push(name, Outcome::Failed, &failure.message, Map::new());
            if let Some(row) = self.rows.last_mut() {
                row.reason = Some(failure.reason.name());
            }
        })
    }

    /// All rows; steps that were not reached are marked as skipped.
    pub(super) fn rows(mut self) -> Vec<Row> {
        for name in self.steps {
            if !self.rows.iter().any(|row| row.name == *name) {
                self.skip(name, "");
            }
        }
        self.rows.sort_by_key(|row| self.steps.iter().position(|name| *name == row.name));
        self.rows
    }
}

/// The check of one kind of run.
pub(crate) struct Check<T> {
    pub(super) names: &'static [&'static str],
    /// Fills the rows.
    pub(super) steps: fn(T, &Signals, Log, &mut Checklist) -> Result<(), Failure>,
}

impl<T> Check<T> {
    pub(crate) fn make(&self, what: T, signals: &Signals, log: Log) -> Checked {
        let mut list = Checklist::new(self.names);
        let failure = (self.steps)(what, signals, log, &mut list).err();
        scrub_stack();
        Checked { rows: list.rows(), failure }
    }

    /// The check of a command line that cannot be run.
    pub(crate) fn refused(&self, failure: Failure) -> Checked {
        let step = ["key", "credential"].into_iter().find(|step| failure.reason.name().starts_with(step));
        let step = if failure.reason == Reason::StsConfigInvalid { Some("credential") } else { step };
        let mut list = Checklist::new(self.names);
        let failure = list.step(step.unwrap_or(FLAGS), Err::<(), _>(failure)).err();
        Checked { rows: list.rows(), failure }
    }
}

pub(crate) struct Checked {
    rows: Vec<Row>,
    /// The failure that would end the run before its command.
    pub failure: Option<Failure>,
}

impl Checked {
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        let mut text = String::new();
        for row in &self.rows {
            let outcome = json!(row.outcome);
            let outcome = outcome.as_str().unwrap_or_default();
            let name = row.name.replace('_', " ");
            let line = format!("{name:width$}  {outcome:7}  {}", row.detail);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        if let Some(failure) = &self.failure {
            let reason = failure.reason.name();
            let _ = writeln!(
                text,
                "\nThe reason is {reason}. For likely causes and what to check, run: monitoring-token explain {reason}"
            );
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        let status = self.failure.as_ref().map_or(ExitStatus::SUCCESS, |failure| failure.status);
        let failure = self.failure.as_ref();
        let object = json!({
            "ok": failure.is_none(),
            "exit_status": status.code(),
            "error": failure.map(|failure| clean(&failure.message)),
            "reason": failure.map(|failure| failure.reason.name()),
            "stage": failure.map(|failure| failure.stage.label()),
            "advice": failure.map(|failure| failure.reason.advice()),
            "steps": self.rows,
        });
        format!("{object:#}\n")
    }
}

/// Adds the row `command`: whether a run would find it.
pub(super) fn report_command(list: &mut Checklist, command: &[OsString]) {
    let Some(word) = command.first() else { return list.skip("command", "no command was given") };
    match child::examine(word) {
        Ok(path) => list.ok("command", brief(path.as_os_str())),
        Err(error) => list.warn("command", refuse_command(&shown(word), &error).message),
    }
}

/// Adds the row `timeout`; returns the time at which the run must end.
pub(super) fn report_timeout(list: &mut Checklist, timeline: &Timeline) -> Instant {
    let limit = duration::show(timeline.term_at - timeline.start);
    let by = if timeline.report_by.is_some() { ", within SCRIPT_DEADLINE" } else { "" };
    list.ok("timeout", format!("{limit} for the requests and the command{by}"));
    timeline.term_at
}

/// Adds the row `clock`. The clock is at fault if the request failed and the local clock is behind by `fatal_lag` or
/// more: the token had then expired before the server got it. `None` is for a request that succeeded, or that does not
/// depend on the clock.
pub(super) fn report_clock(list: &mut Checklist, client: &Client, fatal_lag: Option<Duration>) {
    let Some(offset) = client.clock_offset_seconds() else {
        list.skip("clock", "no response had a Date");
        return;
    };
    let by = Duration::from_secs(offset.unsigned_abs());
    let is_fatal = offset < 0 && fatal_lag.is_some_and(|lag| by >= lag);
    let by = duration::show(by);
    let detail = match offset {
        0 => "in sync with the server".to_owned(),
        1.. => format!("{by} ahead of the server"),
        _ => format!("{by} behind the server"),
    };
    if is_fatal {
        let why = format!("{detail}: every token has expired when it arrives there");
        let _ = list.step("clock", Err::<(), _>(Failure::failed(Stage::Exchange, Reason::ClockSkew, why)));
    } else {
        list.ok_with("clock", detail, json!({"offset_seconds": offset}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_after_a_failure_are_skipped_and_columns_align() {
        let mut list = Checklist::new(&["key", "key_id", "exchange"]);
        list.ok("key", "a\nb");
        let result: Result<(), Failure> =
            list.step("key_id", Err(Failure::failed(Stage::Sign, Reason::KeyInvalid, "no")));
        let checked = Checked { rows: list.rows(), failure: result.err() };
        let rows = "key       ok       a\\nb\nkey id    failed   no\nexchange  skipped\n";
        let advice = "For likely causes and what to check, run: monitoring-token explain key-invalid";
        assert_eq!(checked.table(), format!("{rows}\nThe reason is key-invalid. {advice}\n"));
        let json: Value = serde_json::from_str(&checked.json()).unwrap();
        assert_eq!(json["exit_status"], 125);
        assert_eq!(json["steps"][1]["outcome"], "failed");
        assert_eq!(json["steps"][1]["reason"], "key-invalid");
        assert_eq!(json["reason"], "key-invalid");
    }
}
