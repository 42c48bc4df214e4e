//! `SCRIPT_DEADLINE`: the exporter's time limit shortens the timeout.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Job, SlowLocate, without_exchange};

use crate::support::issuer::GAFAELFAWR;
use crate::support::{Sandbox, finish, full_pipe};

/// A `SCRIPT_DEADLINE`.
struct Deadline(SystemTime);

impl Deadline {
    fn after(duration: Duration) -> Deadline {
        Deadline(SystemTime::now() + duration)
    }

    /// The variable as script_exporter writes it.
    fn variable(&self) -> String {
        format!("{:.6}", self.0.duration_since(UNIX_EPOCH).unwrap().as_secs_f64())
    }

    #[track_caller]
    fn is_still_to_come(&self) {
        assert!(SystemTime::now() < self.0, "the exporter has given up");
    }
}

fn job(flags: &[&str], deadline: &str, script: &str) -> Job {
    Job::prepare(without_exchange(flags), &["/bin/sh", "-c", script], |command| {
        command.env("SCRIPT_DEADLINE", deadline);
    })
}

#[test]
fn a_deadline_that_has_passed_gives_124_without_a_run() {
    for deadline in ["0", "-1.5", "1.5", "1700000000.123456"] {
        let mut job = job(&[], deadline, "echo ran >$D/ran");
        job.finish().failed_with(124, &["SCRIPT_DEADLINE", "nothing was run"]);
        assert!(!job.has_note("ran"));
    }
}

#[test]
fn a_deadline_that_cannot_be_read_is_ignored() {
    for deadline in ["", "soon", "2026-01-01", "NaN", "inf", "-inf", "1e300"] {
        job(&[], deadline, "exit 0").finish().succeeded();
    }
}

#[test]
fn a_reader_that_has_stopped_does_not_delay_the_end_over_the_deadline() {
    let (_stdout, stdout) = full_pipe();
    let (_stderr, stderr) = full_pipe();
    let deadline = Deadline::after(Duration::from_secs(3));
    let mut command = without_exchange(&["-output=masked"]);
    command.args(["sh", "-c", "trap '' TERM; yes"]).env("SCRIPT_DEADLINE", deadline.variable());
    assert_eq!(finish(command.stdout(stdout).stderr(stderr).spawn().unwrap()).status, 124);
    deadline.is_still_to_come();
}

#[test]
fn with_little_time_left_sigterm_comes_at_half_of_it() {
    // Without the deadline, the command would have its 60 seconds; with the whole grace period after SIGTERM, there
    // would be no report before the deadline.
    let begun = Instant::now();
    let deadline = Deadline::after(Duration::from_secs(6));
    let mut job = job(&[], &deadline.variable(), "exec sleep $LONG");
    job.finish()
        .failed_with(124, &["timed out after", "s because of SCRIPT_DEADLINE; terminated", "SIGTERM"]);
    deadline.is_still_to_come();
    assert!(begun.elapsed() > Duration::from_secs(2), "not much sooner than at half of it");
}

#[test]
fn the_deadline_shortens_the_grace_too() {
    let begun = Instant::now();
    let deadline = Deadline::after(Duration::from_secs(2));
    let mut job = job(&["-kill-after=20s"], &deadline.variable(), "trap '' TERM; eval $WAIT");
    job.finish().failed_with(124, &["timed out", "SIGKILL"]);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn sigterm_sigkill_and_the_revocation_come_before_the_deadline() {
    let sandbox = Sandbox::start(&[]);
    // Half of it until SIGTERM, a quarter until SIGKILL; the whole grace period would end after it.
    let deadline = Deadline::after(Duration::from_secs(6));
    let mut exec = GAFAELFAWR.exec(&sandbox);
    exec.args(["-kill-after=5s", "--", "/bin/sh", "-c"]).env("SCRIPT_DEADLINE", deadline.variable());
    let mut job = Job::prepare(exec, &["trap '' TERM; echo >$D/ran; eval $WAIT"], |_| {});
    job.finish().failed_with(124, &["timed out", "SIGKILL"]);
    deadline.is_still_to_come();
    assert!(job.has_note("ran"));
    GAFAELFAWR.made_and_deleted(&sandbox);
}

#[test]
fn the_exchange_ends_before_the_deadline() {
    let locate = SlowLocate::start();
    let deadline = Deadline::after(Duration::from_secs(5));
    let mut job = Job::prepare(locate.token(&[]), &["/bin/sh", "-c", "echo ran >$D/ran"], |command| {
        command.env("SCRIPT_DEADLINE", deadline.variable());
    });
    job.finish().failed_with(124, &["timed out after", "s because of SCRIPT_DEADLINE while "]);
    deadline.is_still_to_come();
    assert!(!job.has_note("ran"));
}

#[test]
fn a_shorter_timeout_wins_over_the_deadline() {
    let deadline = Deadline::after(Duration::from_secs(50));
    let mut job = job(&["-timeout=200ms"], &deadline.variable(), "exec sleep $LONG");
    job.finish().failed_with(124, &["after 200ms; terminated"]);
}
