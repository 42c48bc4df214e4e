//! How commands end.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{as_nobody, has_other_users, offline, public_copy};
use crate::support::job::{Folder, Job, SlowLocate, before_exec, state};
use crate::support::{Sandbox, eventually, file_line, finish, kill, run, start};

/// Longer than any test waits.
const LONG: &str = "70";

fn noted_pid(path: &Path) -> u32 {
    file_line(path).trim().parse().unwrap()
}

/// Kills a process when dropped, even if the test fails.
struct Killed(u32);

impl Drop for Killed {
    fn drop(&mut self) {
        kill(self.0, libc::SIGKILL);
    }
}

/// Tried as a new user would: a command that crashed gave 139 without a message, so the on-call engineer took the
/// status for this program's own.
#[test]
fn a_command_that_dies_by_itself_is_named_with_its_signal() {
    for (script, status, words) in [
        ("ulimit -c 0; kill -SEGV $$", 139, "sh was killed by SIGSEGV"),
        ("ulimit -c 0; kill -ABRT $$", 134, "sh was killed by SIGABRT"),
        (
            "kill -KILL $$",
            137,
            "sh was killed by SIGKILL, which monitoring-token did not send; check whether the host or container ran out of memory",
        ),
        ("kill -TERM $$; sleep 5", 143, "sh was killed by SIGTERM"),
        ("ulimit -c 0; ulimit -S -t 1; while :; do :; done", 128 + libc::SIGXCPU, "sh was killed by SIGXCPU"),
    ] {
        run(offline(&["--", "sh", "-c"]).arg(script)).failed_with(status, &[words]);
    }
    let ended =
        run(&mut offline(&["-output=on-failure", "--", "sh", "-c", "echo why; ulimit -c 0; kill -SEGV $$"]));
    assert_eq!(
        (ended.status, ended.stderr.as_str()),
        (139, "why\nmonitoring-token: sh was killed by SIGSEGV: it crashed\n")
    );
    // A shell that reports the crash of its child exits normally.
    let ended = run(&mut offline(&["--", "sh", "-c", "ulimit -c 0; sh -c 'kill -SEGV $$'; exit $?"]));
    assert_eq!((ended.status, ended.stderr.as_str()), (139, ""));
}

/// The sender of a forwarded signal knows about it, so there is no line. For another signal there is one.
#[test]
fn a_command_that_dies_of_a_forwarded_signal_is_not_named() {
    let folder = Folder::new();
    for (script, signal, status, line) in [
        ("echo >ready; exec sleep $LONG", libc::SIGTERM, 143, ""),
        ("echo >ready; exec sleep $LONG", libc::SIGUSR1, 138, ""),
        (
            "trap 'ulimit -c 0; kill -SEGV $$' HUP; echo >ready; while :; do sleep 0.02; done",
            libc::SIGHUP,
            139,
            "monitoring-token: sh was killed by SIGSEGV: it crashed; run it with -output=on-failure to see what it prints\n",
        ),
    ] {
        let ready = folder.path("ready");
        let _ = std::fs::remove_file(&ready);
        let child = start(offline(&["--", "sh", "-c", script]).env("LONG", LONG).current_dir(&folder));
        file_line(&ready);
        kill(child.id(), signal);
        let ended = finish(child);
        assert_eq!((ended.status, ended.stderr.as_str()), (status, line));
    }
}

/// A program that becomes root, like sudo; `None` if this machine does not allow one.
fn sudo(folder: &Path) -> Option<PathBuf> {
    if !has_other_users() {
        return None;
    }
    let sudo = folder.join("sudo");
    let mut copy = Command::new("/bin/sh");
    run(copy.args(["-c", "cp \"$(command -v setpriv)\" \"$0\" && chmod 4755 \"$0\""]).arg(&sudo)).succeeded();
    let mut id = Command::new(&sudo);
    let id = run(as_nobody(id.args(BECOME_ROOT).args(["id", "-u"])));
    (id.stdout == "0\n").then_some(sudo).or_else(|| {
        eprintln!("not tried: set-uid programs do not work here");
        None
    })
}

const BECOME_ROOT: [&str; 3] = ["--reuid=0", "--regid=0", "--clear-groups"];

/// The binary as another user, in a folder that this user can write to.
fn nobodys(folder: &Path, flags: &[&str]) -> Command {
    let copy = folder.join("monitoring-token");
    if !copy.exists() {
        public_copy(folder);
        std::os::unix::fs::chown(folder, Some(super::NOBODY), None).unwrap();
    }
    let mut command = Command::new(copy);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("MONITORING_SIGNER_KEY", folder.join("key.json"));
    command.env("LONG", LONG).current_dir(folder).arg("-exchange=false").args(flags).arg("--");
    command
}

/// python-trio/trio#1209, Supervisor/supervisor#76 and nick-fields/retry#124: a command that becomes root (sudo,
/// set-uid) cannot be signaled. After SIGTERM the status was 137, as if it had been killed, with no line, and it ran
/// on; after the timeout it "was ended".
#[test]
fn a_command_that_runs_as_another_user_is_reported_as_running() {
    let folder = Folder::new();
    let Some(sudo) = sudo(folder.root()) else { return };
    let sudo = sudo.to_str().unwrap();
    let script = "echo $$ >\"$0\"; exec sleep 70";
    let run_as_root = |flags: &[&str], note: &Path| {
        let mut command = nobodys(folder.root(), flags);
        command.arg(sudo).args(BECOME_ROOT).args(["sh", "-c", script]).arg(note);
        command
    };
    // The timeout. There is nothing to wait for after a SIGKILL that cannot arrive.
    let note = folder.path("one");
    let metrics = folder.path("one.prom");
    let to_metrics = format!("-metrics-textfile={}", metrics.display());
    let flags = ["-timeout=500ms", "-kill-after=100ms", &to_metrics];
    let child = start(as_nobody(&mut run_as_root(&flags, &note)));
    let left = Killed(noted_pid(&note));
    let ended = finish(child);
    let text = std::fs::read_to_string(metrics).unwrap();
    let took =
        text.lines().find(|line| line.contains("stage=\"command\"") && line.contains("duration")).unwrap();
    let seconds: f64 = took.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(seconds < 1.9, "{took}");
    ended.failed_with(
        124,
        &["timed out after 500ms; cannot terminate ", "sudo: it runs as root and is still running"],
    );
    assert!(state(left.0).is_some_and(|state| state != 'Z'));
    // SIGTERM to the program.
    let note = folder.path("two");
    let child = start(as_nobody(&mut run_as_root(&["-kill-after=100ms"], &note)));
    let _left = Killed(noted_pid(&note));
    kill(child.id(), libc::SIGTERM);
    finish(child).failed_with(125, &["cannot terminate ", "sudo: it runs as root and is still running"]);
    // It exits by itself before the program gives up.
    let mut short = nobodys(folder.root(), &["-timeout=500ms", "-kill-after=5s"]);
    short.arg(sudo).args(BECOME_ROOT).args(["sh", "-c", "sleep 1; exit 3"]);
    run(as_nobody(&mut short))
        .failed_with(124, &["timed out after 500ms; terminated", "(exit status 3 after SIGTERM)"]);
}

/// The same for a process that the command has started: the command is gone, and only that process is reported.
#[test]
fn a_grandchild_that_runs_as_another_user_is_reported_as_running() {
    let folder = Folder::new();
    let Some(sudo) = sudo(folder.root()) else { return };
    let note = folder.path("left");
    let script = format!(
        "{} {} sh -c 'echo $$ >left; exec sleep $LONG' & wait",
        sudo.display(),
        BECOME_ROOT.join(" ")
    );
    let child = start(as_nobody(
        nobodys(folder.root(), &["-timeout=600ms", "-kill-after=100ms"]).args(["sh", "-c", &script]),
    ));
    let left = Killed(noted_pid(&note));
    finish(child).failed_with(
        124,
        &["terminated sh", &format!("; and left running: sleep (pid {}), which runs as root", left.0)],
    );
}

/// Own case: a child that leaves the process group but not the session survived the timeout in silence.
#[test]
fn a_child_that_has_left_the_group_is_reported_as_running() {
    for script in [
        // Job control gives each job a group of its own.
        "set -m; sleep $LONG & echo $! >$D/left; wait",
        "timeout 60 sleep $LONG & echo $! >$D/left; wait",
        "perl -e 'setpgrp(0, 0); open(F, \">$ENV{D}/left\"); print F \"$$\\n\"; close(F); sleep 60' & wait",
    ] {
        let command = offline(&["-timeout=1s", "-kill-after=0", "--"]);
        let mut job = Job::prepare(command, &["bash", "-c", script], |_| {});
        let left = Killed(job.noted_pid("left"));
        job.finish().failed_with(
            124,
            &[
                "timed out after 1s; terminated bash",
                "; and left running: ",
                &format!("(pid {}), which has left the command's process group", left.0),
            ],
        );
    }
    // A command that was not told to stop may leave processes behind.
    let script = "set -m; sleep $LONG >/dev/null 2>&1 & echo $! >$D/left";
    let mut job = Job::prepare(offline(&["--"]), &["bash", "-c", script], |_| {});
    job.finish().succeeded();
    drop(Killed(job.noted_pid("left")));
}

/// Own case: a parent that blocks SIGTERM. The signal still ends the run; the command inherits the block, as under
/// `env`, and ends by SIGKILL.
#[test]
fn a_blocked_sigterm_is_acted_on() {
    let blocked = |flags: &[&str]| {
        let mut command = offline(flags);
        before_exec(command.arg("--"), || {
            // SAFETY: the pointers are to a set, or null.
            unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&raw mut set);
                libc::sigaddset(&raw mut set, libc::SIGTERM);
                libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            }
            Ok(())
        });
        let job = Job::prepare(command, &["bash", "-c", "echo >ready; exec sleep $LONG"], |_| {});
        job.note("ready");
        job
    };
    let mut job = blocked(&["-kill-after=200ms"]);
    job.signal(libc::SIGTERM);
    assert_eq!(job.finish().status, 137);
    blocked(&["-timeout=500ms", "-kill-after=200ms"])
        .finish()
        .failed_with(124, &["terminated bash (SIGKILL)"]);
    let mut job = blocked(&[]);
    job.signal(libc::SIGINT);
    assert_eq!(job.finish().status, 130);
}

/// A job as a shell starts it: in its own process group, with a parent in its session.
fn shell_job(mut command: Command) -> Job {
    command.process_group(0);
    let script = "echo $$ >pid; while [ ! -e stop ]; do echo >>ticks; sleep 0.02; done; exit 6";
    Job::prepare(command, &["sh", "-c", script], |_| {})
}

/// A shell whose child is stopped between vfork and exec waits for it (D).
#[track_caller]
fn wait_for_state(pid: u32, stopped: bool) {
    let is_it = |state| if stopped { matches!(state, 'T' | 'D') } else { state != 'T' };
    eventually("a change of state", || is_it(state(pid)?).then_some(()));
}

/// Yelp/dumb-init#25 and watchexec/watchexec#386: Ctrl-Z stopped the wrapper alone. The command ran on, past its
/// timeout, with nobody to enforce it.
#[test]
fn the_command_stops_and_goes_on_with_its_wrapper() {
    let mut job = shell_job(offline(&["--"]));
    let (us, command) = (job.pid(), job.noted_pid("pid"));
    for _ in 0..3 {
        kill(us, libc::SIGTSTP);
        wait_for_state(us, true);
        wait_for_state(command, true);
        let ticks = std::fs::metadata(job.path("ticks")).unwrap().len();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(std::fs::metadata(job.path("ticks")).unwrap().len(), ticks, "it does nothing");
        kill(us, libc::SIGCONT);
        wait_for_state(us, false);
        wait_for_state(command, false);
        eventually("the command to go on", || {
            (std::fs::metadata(job.path("ticks")).ok()?.len() > ticks).then_some(())
        });
    }
    job.leave("stop");
    let ended = job.finish();
    assert_eq!((ended.status, ended.stderr.as_str()), (6, ""));
}

/// The kernel discards a pending SIGCONT when a process stops, and nothing continued it then.
#[test]
fn a_sigcont_right_after_a_sigtstp_wins() {
    let jobs: Vec<_> = (0..40).map(|_| start(offline(&["--", "sleep", "1"]).process_group(0))).collect();
    for job in &jobs {
        eventually("the command", || {
            let children = format!("/proc/{0}/task/{0}/children", job.id());
            (!std::fs::read_to_string(children).ok()?.is_empty()).then_some(())
        });
    }
    for job in &jobs {
        kill(job.id(), libc::SIGTSTP);
        kill(job.id(), libc::SIGCONT);
    }
    for job in jobs {
        finish(job).succeeded();
    }
}

/// The time during a stop counts: if the timeout passes, the command is terminated when it continues.
#[test]
fn the_time_of_a_stop_counts() {
    let mut job = shell_job(offline(&["-timeout=2s", "--"]));
    let (us, command) = (job.pid(), job.noted_pid("pid"));
    kill(us, libc::SIGTSTP);
    wait_for_state(command, true);
    std::thread::sleep(Duration::from_millis(2200));
    assert_eq!(state(us), Some('T'));
    kill(us, libc::SIGCONT);
    job.finish().failed_with(124, &["timed out after 2s; terminated sh"]);
    assert!(state(command).is_none_or(|state| state == 'Z'));
}

/// A stopped job that is told to end does so when it continues; before the command runs, there is nothing else to stop.
#[test]
fn a_stop_in_the_exchange_and_an_end_while_stopped() {
    let locate = SlowLocate::start();
    let mut job = shell_job(locate.token(&[]));
    let us = job.pid();
    locate.wait_until_asked();
    kill(us, libc::SIGTSTP);
    wait_for_state(us, true);
    kill(us, libc::SIGCONT);
    locate.go_on.send(()).unwrap();
    let command = job.noted_pid("pid");
    kill(us, libc::SIGTSTP);
    wait_for_state(command, true);
    wait_for_state(us, true);
    kill(us, libc::SIGTERM);
    kill(us, libc::SIGCONT);
    assert_eq!(job.finish().status, 143);
}

/// A limit on CPU time, or another process's signal, must not leave a token behind.
#[test]
fn an_uncaught_signal_ends_the_run_and_deletes_the_token() {
    for (signal, name) in [
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGVTALRM, "SIGVTALRM"),
        (libc::SIGIO, "SIGIO"),
        (40, "signal 40"),
    ] {
        let sandbox = Sandbox::start(&[]);
        let mut exec = sandbox.token();
        exec.args(["gafaelfawr", "exec", "--username=bot-x", "--scopes=write:sasquatch", "--"]);
        let mut job = Job::prepare(exec, &["sh", "-c", "echo $$ >ready; exec sleep $LONG"], |_| {});
        let command = job.noted_pid("ready");
        job.signal(signal);
        job.finish().failed_with(128 + signal, &[&format!("interrupted by {name}; terminated sh")]);
        assert!(state(command).is_none_or(|state| state == 'Z'));
        let deletions =
            sandbox.requests().into_iter().filter(|request| request.starts_with("DELETE")).count();
        assert_eq!(deletions, 1, "{name}");
    }
}
