//! `SCRIPT_DEADLINE`: the exporter's time limit shortens ours.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Job, SlowLocate, without_exchange};

/// The variable as script_exporter writes it.
fn in_the_future(duration: Duration) -> String {
    let at = SystemTime::now() + duration;
    format!("{:.6}", at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64())
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
    for deadline in ["", "soon", "2026-01-01", "NaN", "inf"] {
        job(&[], deadline, "exit 0").finish().succeeded();
    }
}

#[test]
fn with_little_time_left_sigterm_comes_at_half_of_it() {
    // Without the deadline the command would have its 60 seconds, and with the whole grace after
    // SIGTERM there would be no report before the deadline.
    let deadline = Duration::from_secs(4);
    let begun = Instant::now();
    let mut job = job(&[], &in_the_future(deadline), "exec sleep $LONG");
    job.finish().failed_with(124, &["timed out", "SIGTERM"]);
    assert!(begun.elapsed() > Duration::from_secs(1));
    assert!(begun.elapsed() < deadline);
}

#[test]
fn sigkill_comes_before_the_deadline_too() {
    let begun = Instant::now();
    let mut job =
        job(&["-kill-after=20s"], &in_the_future(Duration::from_secs(2)), "trap '' TERM; eval $WAIT");
    job.finish().failed_with(124, &["timed out", "SIGKILL"]);
    // The whole grace would take 20 s; the bound leaves room for a machine under load.
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[test]
fn the_exchange_ends_before_the_deadline() {
    let locate = SlowLocate::start();
    let mut job = Job::prepare(locate.token(&[]), &["/bin/sh", "-c", "echo ran >$D/ran"], |command| {
        command.env("SCRIPT_DEADLINE", in_the_future(Duration::from_secs(2)));
    });
    job.finish().failed_with(124, &["timed out after"]);
    assert!(!job.has_note("ran"));
}

#[test]
fn a_shorter_timeout_wins_over_the_deadline() {
    let mut job = job(&["-timeout=200ms"], &in_the_future(Duration::from_secs(50)), "exec sleep $LONG");
    job.finish().failed_with(124, &["after 200ms"]);
}
