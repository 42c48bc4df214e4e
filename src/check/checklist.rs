//! The result of a check: a row for each step, as a table or as JSON.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::{ExitStatus, Failure, Reason};
use crate::log::Log;
use crate::secret::{clean, clean_json, scrub_stack};
use crate::sys::signal::Signals;

/// A step that has a row only if it fails, before all other rows.
const FLAGS: &str = "flags";

#[derive(Serialize)]
struct Row {
    /// The name of the step, as in `--json`; the table shows spaces instead of underscores.
    #[serde(rename = "step")]
    name: &'static str,
    /// `ok`, `warning` (the run goes on, but its command may fail), `failed`, or `skipped` (it was not reached, or does
    /// not apply).
    outcome: &'static str,
    /// The finding, or why the step failed. Never a secret.
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// Values for scripts.
    #[serde(skip_serializing_if = "Value::is_null")]
    data: Value,
}

pub(crate) struct Checklist {
    steps: &'static [&'static str],
    rows: Vec<Row>,
    /// The failure that would end the run before its command.
    pub failure: Option<Failure>,
}

impl Checklist {
    fn new(steps: &'static [&'static str]) -> Checklist {
        Checklist { steps, rows: Vec::new(), failure: None }
    }

    fn push(&mut self, name: &'static str, outcome: &'static str, detail: &str) -> &mut Row {
        debug_assert!(name == FLAGS || self.steps.contains(&name), "{name} is a step");
        self.rows.push(Row { name, outcome, detail: clean(detail), reason: None, data: Value::Null });
        self.rows.last_mut().expect("a row was added")
    }

    pub(super) fn ok(&mut self, name: &'static str, detail: impl AsRef<str>) {
        self.push(name, "ok", detail.as_ref());
    }

    /// As [`Checklist::ok`], with values for scripts: an object, which may hold text from a server.
    pub(super) fn ok_with(&mut self, name: &'static str, detail: impl AsRef<str>, data: Value) {
        self.push(name, "ok", detail.as_ref()).data = clean_json(data);
    }

    /// The step found a problem that does not end the run before its command.
    pub(super) fn warn(&mut self, name: &'static str, detail: impl AsRef<str>, data: Value) {
        self.push(name, "warning", detail.as_ref()).data = clean_json(data);
    }

    pub(super) fn skip(&mut self, name: &'static str, detail: &str) {
        self.push(name, "skipped", detail);
    }

    /// Records the failure of a step, and returns the result.
    pub(super) fn step<T>(&mut self, name: &'static str, result: Result<T, Failure>) -> Result<T, Failure> {
        result.inspect_err(|failure| {
            self.push(name, "failed", &failure.message).reason = Some(failure.reason.name());
        })
    }

    /// The list with all rows; steps that were not reached are marked as skipped.
    fn completed(mut self, result: Result<(), Failure>) -> Checklist {
        for name in self.steps {
            if !self.rows.iter().any(|row| row.name == *name) {
                self.skip(name, "");
            }
        }
        self.rows.sort_by_key(|row| self.steps.iter().position(|name| *name == row.name));
        Checklist { failure: result.err(), ..self }
    }

    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        let mut text = String::new();
        for row in &self.rows {
            let name = row.name.replace('_', " ");
            let line = format!("{name:width$}  {:7}  {}", row.outcome, row.detail);
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

/// The check of one kind of run.
pub(crate) struct Check<T> {
    pub(super) names: &'static [&'static str],
    /// Fills the rows.
    pub(super) steps: fn(T, &Signals, Log, &mut Checklist) -> Result<(), Failure>,
}

impl<T> Check<T> {
    pub(crate) fn make(&self, what: T, signals: &Signals, log: Log) -> Checklist {
        let mut list = Checklist::new(self.names);
        let result = (self.steps)(what, signals, log, &mut list);
        scrub_stack();
        list.completed(result)
    }

    /// The check of a command line that cannot be run.
    pub(crate) fn refused(&self, failure: Failure) -> Checklist {
        let step = ["key", "credential"].into_iter().find(|step| failure.reason.name().starts_with(step));
        let step = if failure.reason == Reason::StsConfigInvalid { Some("credential") } else { step };
        let mut list = Checklist::new(self.names);
        let result = list.step(step.unwrap_or(FLAGS), Err(failure));
        list.completed(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Stage;

    #[test]
    fn steps_after_a_failure_are_skipped_and_columns_align() {
        let mut list = Checklist::new(&["key", "key_id", "exchange"]);
        list.ok("key", "a\nb");
        let result = list.step("key_id", Err(Failure::failed(Stage::Sign, Reason::KeyInvalid, "no")));
        let checked = list.completed(result);
        let rows = "key       ok       a\\nb\nkey id    failed   no\nexchange  skipped\n";
        let advice = "For likely causes and what to check, run: monitoring-token explain key-invalid";
        assert_eq!(checked.table(), format!("{rows}\nThe reason is key-invalid. {advice}\n"));
    }
}
