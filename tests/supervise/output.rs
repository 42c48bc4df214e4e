//! `-output`; and a process that holds a pipe cannot delay the run.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Job, key, without_exchange};
use crate::support::{finish, kill, run, start, token};

/// Much less than the time for which a pipe is held open, even on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(15);

const SAYS_BOTH: &str = "echo to stdout; echo to stderr >&2; exit 3";

#[test]
fn output_is_thrown_away() {
    let ended = run(without_exchange(&[]).args(["sh", "-c", SAYS_BOTH]));
    assert_eq!((ended.status, ended.stdout.as_str(), ended.stderr.as_str()), (3, "", ""));
}

#[test]
fn output_inherit_leaves_it_where_it_goes() {
    for flags in [&["-output=inherit"][..], &["-output", "inherit"], &["-logx.debug"]] {
        let ended = run(without_exchange(flags).args(["sh", "-c", SAYS_BOTH]));
        assert_eq!((ended.status, ended.stdout.as_str()), (3, "to stdout\n"));
        assert!(ended.stderr.contains("to stderr\n"), "{ended:?}");
    }
    let ended = run(without_exchange(&["-logx.debug", "-output=discard"]).args(["sh", "-c", SAYS_BOTH]));
    assert!(!ended.stdout.contains("to stdout") && !ended.stderr.contains("to stderr\n"), "{ended:?}");
}

#[test]
fn the_variable_stands_in_for_the_flag() {
    let mut command = without_exchange(&[]);
    let ended = run(command.env("MONITORING_TOKEN_OUTPUT", "inherit").args(["echo", "shown"]));
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "shown\n"));
    let mut command = without_exchange(&[]);
    command.env("MONITORING_TOKEN_KILL_AFTER", "0").args(["sh", "-c", "trap '' TERM; sleep 25"]);
    run(command.env("TIMEOUT", "300ms")).failed_with(124, &["SIGKILL"]);
}

#[test]
fn on_failure_shows_output_when_the_command_fails() {
    for (script, status) in [(SAYS_BOTH, 3), ("echo to stdout; echo to stderr; kill -9 $$", 137)] {
        let ended = run(without_exchange(&["-output=on-failure"]).args(["sh", "-c", script]));
        assert_eq!((ended.status, ended.stdout.as_str()), (status, ""));
        assert!(ended.stderr.starts_with("to stdout\nto stderr\n"), "{ended:?}");
    }
    let ended = run(without_exchange(&["-output=on-failure"]).args(["sh", "-c", "echo fine; exit 0"]));
    ended.succeeded();
    assert_eq!(ended.stdout, "");
}

#[test]
fn on_failure_shows_output_after_a_timeout_too() {
    let ended = run(without_exchange(&["-output=on-failure", "-timeout=500ms"]).args([
        "sh",
        "-c",
        "echo working on it; exec sleep 25",
    ]));
    assert_eq!(ended.status, 124);
    assert!(ended.stderr.contains("working on it\n") && ended.stderr.contains("timed out"), "{ended:?}");
}

#[test]
fn on_failure_keeps_the_last_64_kib() {
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; exit 1";
    let ended = run(without_exchange(&["-output=on-failure"]).args(["sh", "-c", script]));
    assert_eq!(ended.status, 1);
    assert_eq!(ended.stderr.len(), 64 * 1024);
    assert!(ended.stderr.ends_with("line 19999\nline 20000\n"));
}

#[test]
fn an_open_pipe_does_not_delay_the_exit() {
    let begun = Instant::now();
    let mut job = Job::start(
        &["-output=on-failure"],
        "setsid sh -c 'echo $$ >$D/holder; exec sleep $LONG' &
         while [ ! -s $D/holder ]; do sleep 0.02; done; echo oops >&2; exit 3",
    );
    let ended = job.finish();
    assert_eq!((ended.status, ended.stderr.as_str()), (3, "oops\n"));
    assert!(begun.elapsed() < AT_ONCE);
    kill(job.noted_pid("holder"), libc::SIGKILL);
}

#[test]
fn an_open_pipe_does_not_delay_the_exit_after_a_timeout() {
    let begun = Instant::now();
    let mut job = Job::start(
        &["-output=on-failure", "-timeout=1s", "-kill-after=0"],
        "setsid sh -c 'trap \"\" TERM; echo $$ >$D/holder; exec sleep $LONG' & wait",
    );
    job.finish().failed_with(124, &["timed out"]);
    assert!(begun.elapsed() < AT_ONCE);
    kill(job.noted_pid("holder"), libc::SIGKILL);
}

#[test]
fn endless_output_does_not_delay_the_exit() {
    let begun = Instant::now();
    let mut job = Job::start(
        &["-output=on-failure"],
        // More than a pipe holds, so that it is read.
        "setsid sh -c 'echo $$ >$D/writer; yes | head -c 1000000; echo >$D/written; exec yes' &
         while [ ! -e $D/written ]; do sleep 0.02; done; exit 3",
    );
    let ended = job.finish();
    assert_eq!(ended.status, 3);
    assert!(ended.stderr.len() <= 64 * 1024);
    assert!(begun.elapsed() < AT_ONCE);
    // Its reader is gone, so it dies of SIGPIPE.
    super::wait_until_gone(job.noted_pid("writer"));
}

#[test]
fn an_unread_stderr_does_not_delay_the_exit() {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while rustix::io::write(&writer, &[b'.'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", key());
    command.args(["-exchange=false", "-logx.debug", "-output=on-failure", "--", "sh", "-c"]);
    let child = command
        .arg("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done; exit 3")
        .stdout(Stdio::null())
        .stderr(writer)
        .spawn()
        .unwrap();
    drop(command);
    assert_eq!(finish(child).status, 3);
    drop(reader);
}

#[test]
fn closed_and_full_outputs_change_nothing() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for flags in [&["-logx.debug"][..], &["-output=on-failure", "-log-format=json"], &["-output=inherit"]] {
        let mut command = without_exchange(flags);
        command.args(["sh", "-c", "exit 3"]).stdout(full()).stderr(full());
        assert_eq!(finish(command.spawn().unwrap()).status, 3);
        let mut command = without_exchange(flags);
        super::before_exec(command.args(["sh", "-c", "exit 3"]), || {
            // SAFETY: close has no memory to be unsafe with.
            (0..3).for_each(|fd| unsafe {
                libc::close(fd);
            });
            Ok(())
        });
        assert_eq!(finish(command.spawn().unwrap()).status, 3);
    }
    // A failure that cannot be printed keeps its status.
    let mut command = token();
    assert_eq!(finish(command.arg("true").stderr(full()).spawn().unwrap()).status, 125);
}

#[test]
fn unwritable_requested_output_is_a_failure() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = token().arg("-help").stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    finish(child).failed_with(125, &["cannot write to stdout"]);
}

#[test]
fn standard_input_is_empty() {
    let mut command = without_exchange(&["-output=inherit"]);
    command.args(["sh", "-c", "readlink /proc/self/fd/0; cat"]).stdin(Stdio::piped());
    let child = start(&mut command);
    let ended = finish(child);
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "/dev/null\n"));
}
