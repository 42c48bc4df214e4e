//! The death of the parent process, and running as PID 1, the parent of all orphans.

use std::process::Command;
use std::thread;

use super::{Job, SlowLocate, is_alive, key, make_fifo, wait_until_gone, wait_until_open, without_exchange};
use crate::support::job::Folder;
use crate::support::namespace;

const BINARY: &str = env!("CARGO_BIN_EXE_monitoring-token");

/// A shell that starts the program in the background and waits, like script_exporter's.
fn under_a_shell(flags: &str, change: impl FnOnce(&mut Command)) -> Job {
    let script = format!(
        "\"$BINARY\" {flags} -- /bin/sh -c '
             trap \"exit 5\" USR1
             trap \"echo term >$D/end; exit 0\" TERM; echo $$ >$D/command; eval $WAIT' &
         echo $! >$D/us; wait"
    );
    Job::prepare(Command::new("/bin/sh"), &["-c", &script], |command| {
        command.env("BINARY", BINARY).env("MONITORING_SIGNER_KEY", key());
        change(command);
    })
}

#[test]
fn the_run_ends_with_the_parent() {
    let job = under_a_shell("-exchange=false -die-with-parent", |_| {});
    let (us, command) = (job.noted_pid("us"), job.noted_pid("command"));
    job.signal(libc::SIGKILL);
    assert_eq!(job.note("end"), "term");
    wait_until_gone(command);
    wait_until_gone(us);
}

#[test]
fn the_death_of_the_parent_is_the_reason_in_json_and_metrics() {
    let flags = "-exchange=false -die-with-parent -log-format=json -metrics-textfile=$D/m.prom";
    let mut job = under_a_shell(flags, |_| {});
    let us = job.noted_pid("us");
    job.noted_pid("command");
    job.signal(libc::SIGKILL);
    wait_until_gone(us);
    let metrics = std::fs::read_to_string(job.path("m.prom")).unwrap();
    let ended = job.finish();
    assert!(ended.stderr.contains(r#""level":"WARN""#), "{ended:?}");
    assert!(ended.stderr.contains(r#""reason":"parent-died""#), "{ended:?}");
    assert!(metrics.contains(r#"reason="parent-died""#), "{metrics}");
    // The command exits with 0 when it is told to stop.
    assert!(
        metrics.contains("monitoring_token_run_success{machine=\"\",service=\"ndt/ndt5\"} 0"),
        "{metrics}"
    );
}

#[test]
fn the_exchange_ends_with_the_parent() {
    let locate = SlowLocate::start();
    let job = under_a_shell("-die-with-parent", |command| {
        command.env("LOCATE_URL", &locate.url);
    });
    let us = job.noted_pid("us");
    locate.wait_until_asked();
    job.signal(libc::SIGKILL);
    wait_until_gone(us);
    assert!(!job.has_note("command"));
}

#[test]
fn the_wait_for_a_key_ends_with_the_parent() {
    let folder = Folder::new();
    let fifo = make_fifo(&folder);
    let mut job = under_a_shell("-die-with-parent", |command| {
        command.env("MONITORING_SIGNER_KEY", &fifo);
    });
    let us = job.noted_pid("us");
    wait_until_open(us, &fifo);
    job.signal(libc::SIGKILL);
    wait_until_gone(us);
    let ended = job.finish();
    assert!(ended.stderr.contains("the parent process died before the command was run"), "{ended:?}");
    assert!(!job.has_note("command"));
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_the_parent_died() {
    let mut job = Job::prepare(
        Command::new("/bin/sh"),
        &[
            "-c",
            "\"$BINARY\" -exchange=false -die-with-parent=true -kill-after=100ms -- /bin/sh -c '
                 trap \"\" TERM; echo $$ >$D/command; eval $WAIT' &
             wait",
        ],
        |command| {
            command.env("BINARY", BINARY).env("MONITORING_SIGNER_KEY", key());
        },
    );
    let command = job.noted_pid("command");
    job.signal(libc::SIGKILL);
    wait_until_gone(command);
    let ended = job.finish();
    assert!(ended.stderr.contains("parent process died"), "{ended:?}");
}

#[test]
fn without_the_flag_the_run_outlives_the_parent() {
    let job = under_a_shell("-exchange=false", |_| {});
    let (us, command) = (job.noted_pid("us"), job.noted_pid("command"));
    job.signal(libc::SIGKILL);
    wait_until_gone(job.pid());
    assert!(is_alive(us));
    // It still forwards signals, so it has not begun to end.
    crate::support::kill(us, libc::SIGUSR1);
    wait_until_gone(command);
    wait_until_gone(us);
    assert!(!job.has_note("end"));
}

#[test]
fn the_end_of_the_starting_thread_changes_nothing() {
    let job = thread::spawn(|| {
        Job::prepare(
            without_exchange(&["-die-with-parent"]),
            &[
                "/bin/sh",
                "-c",
                "trap 'echo term >$D/end' TERM; trap 'exit 5' USR1; echo >$D/ready; eval $WAIT",
            ],
            |_| {},
        )
    });
    let mut job = job.join().unwrap();
    job.note("ready");
    job.signal(libc::SIGUSR1);
    assert_eq!(job.finish().status, 5);
    assert!(!job.has_note("end"));
}

/// The program as PID 1 of a namespace of its own, which ends with it.
fn as_pid_1(flags: &[&str], script: &str) -> Job {
    let mut command = namespace(&["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.args([BINARY, "-exchange=false"]).args(flags).args(["--", "/bin/sh", "-c"]);
    Job::prepare(command, &[script], |command| {
        command.env("MONITORING_SIGNER_KEY", key());
    })
}

#[test]
fn pid_1_reaps_orphans() {
    // Each orphan's parent exits at once, so PID 1 inherits the orphan; a zombie would stay in /proc.
    let mut job = as_pid_1(
        &[],
        "for i in 1 2 3; do sh -c 'sh -c \"while [ ! -e $D/go ]; do sleep 0.02; done\" & echo $!' >>$D/orphans; done
         for pid in $(cat $D/orphans); do
             read pid comm state parent rest </proc/$pid/stat; [ $parent = 1 ] || exit 8
         done
         echo >$D/go
         for pid in $(cat $D/orphans); do
             tries=0
             while [ -e /proc/$pid ]; do tries=$((tries+1)); [ $tries -gt 500 ] && exit 9; sleep 0.02; done
         done
         exit 3",
    );
    let ended = job.finish();
    assert_eq!((ended.status, ended.stderr.as_str()), (3, ""));
    assert_eq!(job.note("orphans").lines().count(), 3);
}

#[test]
fn pid_1_forwards_signals_and_keeps_the_timeout() {
    let mut job = as_pid_1(&["-timeout=500ms"], "sleep $LONG");
    job.finish().failed_with(124, &["timed out"]);
    let mut job = as_pid_1(&[], "trap 'exit 4' USR1; kill -USR1 1; eval $WAIT");
    assert_eq!(job.finish().status, 4);
}

#[test]
fn a_parent_in_another_namespace_cannot_be_followed() {
    let mut job = as_pid_1(&["-die-with-parent"], "exit 0");
    let ended = job.finish();
    assert_eq!(ended.status, 0);
    assert!(ended.stderr.contains("warning: -die-with-parent"), "{ended:?}");
}

#[test]
fn children_inherited_from_before_exec_do_not_disturb() {
    // The command runs until the inherited child has exited and was reaped.
    let script = "
        while [ ! -e $D/go ]; do sleep 0.02; done & echo $! >$D/born
        exec \"$BINARY\" -exchange=false -- sh -c '
            echo >$D/go; read born <$D/born; while [ -e /proc/$born ]; do sleep 0.02; done; exit 6'";
    let mut job = Job::prepare(Command::new("/bin/sh"), &["-c", script], |command| {
        command.env("BINARY", BINARY).env("MONITORING_SIGNER_KEY", key());
    });
    assert_eq!(job.finish().status, 6);
}
