//! The timeout: SIGTERM, SIGKILL, and the rest of the group.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Job, key, wait_until_gone, without_exchange};
use crate::support::job::Folder;
use crate::support::{eventually, finish, kill, run, start, token};

#[test]
fn sigterm_comes_first_and_sigkill_after_the_grace() {
    let begun = Instant::now();
    let mut job = Job::start(
        &["-timeout=300ms", "-kill-after=700ms"],
        "trap 'echo term >>$D/got' TERM; echo $$ >$D/pid; eval $WAIT",
    );
    job.finish().failed_with(124, &["timed out", "300ms", "SIGKILL"]);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(job.note("got"), "term");
    wait_until_gone(job.noted_pid("pid"));
}

#[test]
fn without_a_grace_sigkill_comes_at_once() {
    let mut job =
        Job::start(&["-timeout=500ms", "-kill-after=0"], "trap 'echo term >>$D/got' TERM; eval $WAIT");
    job.finish().failed_with(124, &["SIGKILL"]);
    assert!(!job.has_note("got"));
}

#[test]
fn a_command_that_exits_0_on_sigterm_has_timed_out() {
    let mut job = Job::start(&["-timeout=300ms"], "trap 'exit 0' TERM; eval $WAIT");
    job.finish().failed_with(124, &["timed out", "exit status 0 after SIGTERM"]);
}

#[test]
fn grandchildren_that_ignore_sigterm_are_killed_after_a_timeout() {
    let mut job = Job::start(
        &["-timeout=500ms", "-kill-after=1s"],
        "sh -c 'trap \"\" TERM; echo $$ >$D/grandchild; eval $WAIT' &
         wait",
    );
    let grandchild = job.noted_pid("grandchild");
    job.finish().failed_with(124, &["SIGTERM"]);
    wait_until_gone(grandchild);
}

#[test]
fn a_stopped_group_dies_of_the_timeout() {
    for (kill_after, dies_of) in [("20s", "SIGTERM"), ("0", "SIGKILL")] {
        let flag = format!("-kill-after={kill_after}");
        let mut job = Job::start(
            &["-timeout=500ms", &flag],
            "sleep $LONG & echo $! >$D/grandchild; kill -STOP 0; exit 0",
        );
        let grandchild = job.noted_pid("grandchild");
        job.finish().failed_with(124, &["timed out", dies_of]);
        wait_until_gone(grandchild);
    }
}

/// The process that makes the group was stopped with it if it had not exited yet, and the run waited for it forever.
#[test]
fn a_command_that_stops_its_group_at_once_does_not_stop_the_run() {
    let start = |_| Job::start(&["-timeout=100ms", "-kill-after=0"], "kill -STOP 0");
    for _ in 0..8 {
        let jobs: Vec<Job> = (0..8).map(start).collect();
        for mut job in jobs {
            job.finish().failed_with(124, &["timed out"]);
        }
    }
}

#[test]
fn a_stopped_group_dies_of_a_forwarded_sigterm() {
    let mut job = Job::start(&[], "echo $$ >$D/pid; kill -STOP 0; sleep $LONG");
    let command = job.noted_pid("pid");
    crate::support::eventually("the stop", || (super::state(command) == Some('T')).then_some(()));
    job.signal(libc::SIGTERM);
    assert_eq!(job.finish().status, 143);
}

#[test]
fn leftovers_of_a_terminated_command_are_killed() {
    for (signal, name) in
        [(libc::SIGTERM, "TERM"), (libc::SIGINT, "INT"), (libc::SIGHUP, "HUP"), (libc::SIGQUIT, "QUIT")]
    {
        let mut job = Job::start(
            &["-kill-after=500ms"],
            &format!(
                "sh -c 'trap \"\" TERM INT HUP QUIT; echo $$ >$D/grandchild; eval $WAIT' &
                 trap 'exit 9' {name}; echo >$D/ready; eval $WAIT"
            ),
        );
        let grandchild = job.noted_pid("grandchild");
        job.note("ready");
        job.signal(signal);
        assert_eq!(job.finish().status, 9, "{name}");
        wait_until_gone(grandchild);
    }
}

/// A shell dies of the signal at once; its client got SIGKILL in the middle of its cleanup.
#[test]
fn the_rest_of_the_group_has_the_grace_period_too() {
    const CLEANUP: &str = "trap 'sleep 0.5; echo >$D/clean; exit' TERM INT; echo >$D/ready; eval $WAIT";
    for signal in [None, Some(libc::SIGTERM), Some(libc::SIGINT)] {
        let timeout = if signal.is_some() { "-timeout=60s" } else { "-timeout=1s" };
        let command = without_exchange(&[timeout, "-kill-after=20s"]);
        let words = ["/bin/sh", "-c", "sh -c \"$CLEANUP\"; :"];
        let mut job = Job::prepare(command, &words, |command| {
            command.env("CLEANUP", CLEANUP);
        });
        if let Some(signal) = signal {
            job.note("ready");
            job.signal(signal);
        }
        assert_eq!(job.finish().status, signal.map_or(124, |signal| 128 + signal));
        assert!(job.has_note("clean"), "{signal:?}");
    }
}

/// Ends its first thread, as pthread_exit(3) in `main` does.
#[test]
#[ignore = "a command for the next test"]
fn cleans_up_without_its_first_thread() {
    extern "C" fn end_thread(_: i32) {
        // SAFETY: this thread has nothing that the others need.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    // SAFETY: the pointers are to the set, which is valid, to an integer, or null.
    unsafe {
        let mut term: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut term, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const term, std::ptr::null_mut());
        libc::signal(libc::SIGUSR1, end_thread as extern "C" fn(i32) as libc::sighandler_t);
        std::thread::spawn(move || {
            libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::getpid(), libc::SIGUSR1);
            eventually("the end of the first thread", || {
                fs::read_to_string("/proc/self/stat").unwrap().contains(") Z ").then_some(())
            });
            fs::write("ready", "\n").unwrap();
            let mut signal = 0;
            libc::sigwait(&raw const term, &raw mut signal);
            std::thread::sleep(Duration::from_millis(300));
            fs::write("clean", "\n").unwrap();
            libc::_exit(0)
        });
    }
    end_thread(0);
}

/// It counted as dead, and got SIGKILL at once.
#[test]
fn a_client_without_its_first_thread_has_the_grace_period_too() {
    let client = std::env::current_exe().unwrap();
    let script = "\"$0\" --ignored --exact supervise::timeout::cleans_up_without_its_first_thread; :";
    let words = ["/bin/sh", "-c", script, client.to_str().unwrap()];
    let mut job = Job::prepare(without_exchange(&["-kill-after=20s"]), &words, |_| {});
    job.note("ready");
    job.signal(libc::SIGTERM);
    assert_eq!(job.finish().status, 143);
    assert!(job.has_note("clean"));
}

#[test]
fn after_a_normal_exit_background_processes_are_left_alone() {
    for signal in [None, Some(libc::SIGUSR1)] {
        let mut job = Job::start(
            &[],
            "trap '' USR1
             (while [ -d $D ] && [ ! -e $D/again ]; do sleep 0.02; done; echo >$D/alive) &
             echo >$D/ready; while [ ! -e $D/go ]; do sleep 0.02; done; exit 6",
        );
        job.note("ready");
        if let Some(signal) = signal {
            job.signal(signal);
        }
        job.leave("go");
        assert_eq!(job.finish().status, 6);
        job.leave("again");
        job.note("alive");
    }
}

#[test]
fn a_command_that_ends_in_time_is_not_waited_for() {
    let begun = Instant::now();
    let mut job = Job::start(&["-timeout=60s"], "exit 0");
    job.finish().succeeded();
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// A copy of a program that the system does not load while this file is open: its lease (fcntl(2)) is not given back. A
/// network file system that is down, and a virus scanner, do the same.
fn withheld(program: &Path) -> File {
    const F_SETSIG: libc::c_int = 10;
    run(Command::new("cp").arg("/bin/true").arg(program)).succeeded();
    let file = File::open(program).unwrap();
    let call = |command, argument: libc::c_int| {
        // SAFETY: these commands of fcntl take a number.
        unsafe { libc::fcntl(file.as_raw_fd(), command, argument) == 0 }
    };
    // The kernel asks for the lease by this signal, which is ignored. A child of another test may have the file open.
    eventually("a lease", || {
        (call(F_SETSIG, libc::SIGURG) && call(libc::F_SETLEASE, libc::F_WRLCK)).then_some(())
    });
    file
}

/// The deadline and signals did not count while execve waited.
#[test]
fn a_command_that_the_system_does_not_load_ends_at_the_timeout_or_at_a_signal() {
    let folder = Folder::new();
    let program = folder.path("program");
    let begin = |timeout| {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", key()).args([
            "-exchange=false",
            timeout,
            "-cache-failure-ttl=1h",
        ]);
        start(command.arg(format!("-cache-dir={}", folder.path("results").display())).arg(&program))
    };
    let lease = withheld(&program);
    let line =
        |what: &str| format!("{what} while the system loaded {}; check its file system", program.display());
    finish(begin("-timeout=1s")).failed_with(124, &[&line("timed out after 1s")]);
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let run = begin("-timeout=25s");
        std::thread::sleep(Duration::from_millis(300));
        kill(run.id(), signal);
        finish(run).failed_with(128 + signal, &["interrupted by SIG"]);
    }
    let run = begin("-timeout=25s");
    std::thread::sleep(Duration::from_millis(300));
    drop(lease);
    finish(run).succeeded();
}
