//! The command inherits everything as under `env`.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::process::Command;

use super::{Job, SlowLocate, before_exec, check, status_of, without_exchange};
use crate::support::job::Folder;
use crate::support::{run, serve_bytes, token};

/// Runs `words` under `env` and under the program, both prepared by `change`, and compares their output.
#[track_caller]
fn is_as_under_env(words: &[&str], change: impl Fn(&mut Command)) -> String {
    let mut env = Command::new("env");
    env.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).args(words);
    env.stdin(std::process::Stdio::null());
    change(&mut env);
    let under_env = run(&mut env);
    let mut ours = without_exchange(&["-output=inherit"]);
    ours.args(words);
    change(&mut ours);
    let under_us = run(&mut ours);
    assert_eq!((under_env.status, under_us.status), (0, 0), "{under_env:?} {under_us:?}");
    assert_ne!(under_us.stdout, "");
    assert_eq!(under_us.stdout, under_env.stdout);
    under_us.stdout
}

/// Ignores exactly these signals, and blocks those, by system calls: the C library hides 32 and 33.
fn ignore_and_block(command: &mut Command, ignored: &'static [i32], blocked: u64) {
    before_exec(command, move || {
        for signal in (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
            let handler = if ignored.contains(&signal) { libc::SIG_IGN } else { libc::SIG_DFL };
            let action = [handler, 0, 0, 0];
            // SAFETY: the kernel reads a struct sigaction of this size, with a set of eight bytes.
            check(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, 0, 8) })?;
        }
        // SAFETY: as above, for the set.
        check(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const blocked, 0, 8) })
    });
}

#[test]
fn signal_mask_and_ignored_signals_read_as_under_env() {
    let bit = |signal: i32| 1_u64 << (signal - 1);
    let some = &[libc::SIGPIPE, libc::SIGCHLD, 32, 33, libc::SIGUSR2, libc::SIGTERM, 64][..];
    let blocked = bit(32) | bit(33) | bit(libc::SIGHUP) | bit(libc::SIGCHLD) | bit(libc::SIGALRM) | bit(50);
    for (ignored, blocked) in [(&[][..], 0), (some, 0), (&[], blocked), (some, blocked)] {
        let shown =
            is_as_under_env(&["grep", "-E", "^Sig(Ign|Blk|Cgt|Pnd)", "/proc/self/status"], |command| {
                ignore_and_block(command, ignored, blocked);
            });
        let expected = ignored.iter().fold(0, |set, &signal| set | bit(signal));
        assert!(shown.contains(&format!("SigIgn:\t{expected:016x}\n")), "{shown}");
        assert!(shown.contains(&format!("SigBlk:\t{blocked:016x}\n")), "{shown}");
    }
}

#[test]
fn an_ignored_or_blocked_sigchld_does_not_lose_the_exit_status() {
    for (ignored, blocked) in
        [(&[libc::SIGCHLD][..], 0), (&[], 1 << (libc::SIGCHLD - 1)), (&[libc::SIGCHLD], u64::MAX)]
    {
        let mut command = without_exchange(&[]);
        ignore_and_block(command.args(["sh", "-c", "exit 42"]), ignored, blocked);
        assert_eq!(run(&mut command).status, 42);
    }
}

#[test]
fn an_ignored_real_time_signal_does_not_end_the_run() {
    let script = "echo $PPID >$D/ready; until [ -e $D/go ]; do sleep 0.05; done";
    let prepare = |ignored| {
        let mut command = without_exchange(&[]);
        ignore_and_block(&mut command, ignored, 0);
        Job::prepare(command, &["sh", "-c", script], |_| {})
    };
    for signal in [34, 50, 64] {
        let mut job = prepare(&[34, 50, 64]);
        job.note("ready");
        job.signal(signal);
        job.leave("go");
        assert_eq!(job.finish().status, 0, "{signal}");
        let mut job = prepare(&[]);
        job.note("ready");
        job.signal(signal);
        assert_eq!(job.finish().status, 128 + signal);
    }
}

#[test]
fn umask_directory_and_limits_are_as_under_env() {
    let folder = Folder::new();
    let shown = is_as_under_env(&["sh", "-c", "umask; pwd; ulimit -c; ulimit -n; nice"], |command| {
        before_exec(command.current_dir(&folder), || {
            let limit = libc::rlimit { rlim_cur: 4096 * 7, rlim_max: 4096 * 9 };
            // SAFETY: the pointer is to a limit.
            unsafe {
                libc::umask(0o027);
                check(libc::setrlimit(libc::RLIMIT_CORE, &raw const limit))
            }
        });
    });
    // In blocks of 512 bytes.
    assert!(shown.starts_with("0027\n") && shown.contains("\n56\n"), "{shown}");
}

#[test]
fn the_environment_is_as_under_env_plus_the_credential() {
    let mut command = without_exchange(&["-output=inherit"]);
    command.env("PLAIN", "kept").env("EMPTY", "").env("SERVICE_URL", "wss://other/");
    let ended = run(command.args(["env", "-0"]));
    let mut shown: Vec<&str> = ended.stdout.trim_end_matches('\0').split('\0').collect();
    shown.retain(|entry| !entry.starts_with("PATH=") && !entry.starts_with("HOME="));
    shown.sort_unstable();
    assert!(shown[1].starts_with("MONITORING_URL=http://localhost:8080/"), "{shown:?}");
    shown.remove(1);
    assert_eq!(shown, ["EMPTY=", "PLAIN=kept", "SERVICE_URL=wss://other/"]);
}

/// The descriptors of the listing command, except the one that it lists with.
const LIST: &str = "for fd in /proc/self/fd/*; do echo ${fd##*/}; done";

#[test]
fn inherited_descriptors_pass_through_and_internal_ones_do_not() {
    let file = File::open("/etc/passwd").unwrap();
    let pass = |command: &mut Command| {
        let fd = file.as_raw_fd();
        before_exec(command, move || {
            // SAFETY: dup2 has no memory to be unsafe with.
            check(unsafe { libc::dup2(fd, 97) })
        });
    };
    is_as_under_env(&["sh", "-c", "readlink /proc/self/fd/97"], pass);
    is_as_under_env(&["sh", "-c", LIST], pass);
}

#[test]
fn nothing_of_an_exchange_is_left_in_the_command() {
    let urls = r#"{"target":{"urls":{"wss:///x":"wss://127.0.0.1/x?access_token=a.b.c"}}}"#;
    let locate = serve_bytes(crate::support::http("200 OK", "", urls));
    for flags in [&["-output=inherit"][..], &["-output=on-failure"]] {
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", super::key());
        // A name, so that it is looked up.
        command.env("LOCATE_URL", format!("http://localhost:{}/", locate.port()));
        let list = ["sh", "-c", &format!("exec >&2; {LIST}; exit 3")];
        let ended = run(command.args(flags).args(["-die-with-parent", "--"]).args(list));
        let under_env = run(Command::new("env").args(list).stdin(std::process::Stdio::null()));
        assert_eq!((ended.status, ended.stderr), (3, under_env.stderr));
    }
}

#[test]
fn the_program_has_one_thread_while_the_command_runs() {
    let locate = SlowLocate::start();
    let port = locate.url.trim_end_matches('/').rsplit(':').next().unwrap();
    let mut command = locate.token(&[]);
    command.env("LOCATE_URL", format!("http://localhost:{port}/"));
    let mut job = Job::prepare(
        command,
        &["/bin/sh", "-c", "echo >$D/ready; while [ ! -e $D/go ]; do sleep 0.02; done"],
        |_| {},
    );
    locate.wait_until_asked();
    locate.go_on.send(()).unwrap();
    job.note("ready");
    assert_eq!(status_of(job.pid(), "Threads"), "1");
    job.leave("go");
    job.finish().succeeded();
}

#[test]
#[ignore = "a command for the next test"]
fn prints_whether_it_may_dump_core() {
    // SAFETY: PR_GET_DUMPABLE takes no pointer.
    println!("dumpable={}", unsafe { libc::prctl(libc::PR_GET_DUMPABLE) });
}

#[test]
fn the_command_may_dump_core() {
    let mut command = without_exchange(&["-output=inherit"]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture"]);
    command.arg("supervise::inherit::prints_whether_it_may_dump_core");
    let ended = run(&mut command);
    assert!(ended.stdout.contains("dumpable=1\n"), "{ended:?}");
}
