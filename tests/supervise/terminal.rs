//! At a terminal.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::{Command, Stdio};

use super::{Job, before_exec, check, without_exchange};
use crate::support::{Sandbox, finish};

struct Terminal {
    keyboard: File,
    screen: OwnedFd,
}

impl Terminal {
    fn new() -> Terminal {
        let (mut ours, mut theirs) = (-1, -1);
        let none = std::ptr::null_mut();
        // SAFETY: the pointers are to two integers, or null. The descriptors are new.
        unsafe {
            check(libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast())).unwrap();
            for fd in [ours, theirs] {
                check(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC)).unwrap();
            }
            Terminal { keyboard: File::from_raw_fd(ours), screen: OwnedFd::from_raw_fd(theirs) }
        }
    }

    /// Runs a script at this terminal, as the foreground job of the program's session.
    fn run(&self, script: &str) -> Job {
        self.start(without_exchange(&["-output=inherit"]), script)
    }

    /// Runs `command`, with a script, as the leader of this terminal's session.
    fn start(&self, command: Command, script: &str) -> Job {
        Job::prepare(command, &["/bin/sh", "-c", script], |command| {
            command.stdin(Stdio::from(self.screen.try_clone().unwrap()));
            before_exec(command, || {
                // SAFETY: no pointers.
                unsafe {
                    check(libc::setsid())?;
                    check(libc::ioctl(0, libc::TIOCSCTTY, 0))
                }
            });
        })
    }

    fn attributes(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        // SAFETY: zeroed memory is a valid termios, and the pointer is to it.
        unsafe {
            let mut attributes: libc::termios = std::mem::zeroed();
            check(libc::tcgetattr(self.screen.as_raw_fd(), &raw mut attributes)).unwrap();
            (attributes.c_iflag, attributes.c_oflag, attributes.c_cflag, attributes.c_lflag, attributes.c_cc)
        }
    }

    fn foreground(&self) -> u32 {
        // SAFETY: no pointers.
        let group = unsafe { libc::tcgetpgrp(self.keyboard.as_raw_fd()) };
        u32::try_from(group).unwrap()
    }
}

#[test]
fn ctrl_c_interrupts_the_command_once_and_leaves_the_terminal_in_order() {
    let mut terminal = Terminal::new();
    let before = terminal.attributes();
    let mut job = terminal.run(
        "trap 'echo interrupted >>$D/got' INT; trap 'exit 5' USR1; echo >$D/ready
         eval $WAIT",
    );
    job.note("ready");
    assert_eq!(terminal.foreground(), job.pid());
    terminal.keyboard.write_all(b"\x03").unwrap();
    job.note("got");
    assert_eq!(terminal.foreground(), job.pid());
    job.signal(libc::SIGUSR1);
    assert_eq!(job.finish().status, 5);
    assert_eq!(job.note("got"), "interrupted");
    assert_eq!(terminal.attributes(), before);
}

#[test]
fn ctrl_c_and_ctrl_backslash_end_a_command_that_does_not_catch_them() {
    for (key, status) in [(b"\x03", 130), (b"\x1c", 131)] {
        let mut terminal = Terminal::new();
        let mut job = terminal.run("ulimit -c 0; echo >$D/ready; exec sleep $LONG");
        job.note("ready");
        terminal.keyboard.write_all(key).unwrap();
        assert_eq!(job.finish().status, status);
    }
}

#[test]
fn a_terminal_that_disappears_ends_the_command() {
    let terminal = Terminal::new();
    let mut job = terminal.run("echo >$D/ready; exec sleep $LONG");
    job.note("ready");
    drop(terminal.keyboard);
    assert_eq!(job.finish().status, 129);
}

#[test]
fn a_command_that_opens_the_terminal_finds_none() {
    let terminal = Terminal::new();
    let mut job = terminal.run("if (read line </dev/tty) 2>/dev/null; then exit 1; fi; read line; exit 4");
    assert_eq!(job.finish().status, 4);
}

/// The kernel does not stop a group that has no parent in its session, because nothing could continue it; so the
/// command goes on, too. A shell's job is stopped: see `wild::supervision`.
#[test]
fn ctrl_z_lets_a_session_leader_and_its_command_go_on() {
    let mut terminal = Terminal::new();
    let mut job = terminal.run(
        "trap 'echo >$D/go_on' CONT; echo $$ >$D/pid; while [ ! -e $D/go_on ]; do sleep 0.02; done; exit 6",
    );
    job.noted_pid("pid");
    terminal.keyboard.write_all(b"\x1a").unwrap();
    assert_eq!(job.finish().status, 6);
}

/// Its background job read lines that were meant for the shell, passwords included.
#[test]
fn in_the_background_of_a_shell_the_command_does_not_read_its_terminal() {
    let sandbox = Sandbox::start(&[]);
    for (job, mine) in [("exec_a_token & wait $!", ""), ("exec_a_token", "typed")] {
        let mut terminal = Terminal::new();
        let mut command = Command::new("/usr/bin/env");
        command.env("BINARY", env!("CARGO_BIN_EXE_monitoring-token"));
        command.envs(["GAFAELFAWR_URL", "GAFAELFAWR_ADMIN_TOKEN"].map(|name| (name, sandbox.var(name))));
        let script = format!(
            "exec_a_token() {{ \"$BINARY\" gafaelfawr exec --username=bot-x --scopes=write:sasquatch -- \\
                 sh -c 'echo >$D/ready; read line; echo \"$line\" >$D/got'; }}
             set -m; {job}; exit 4"
        );
        let mut shell = terminal.start(command, &script);
        shell.note("ready");
        terminal.keyboard.write_all(b"typed\n").unwrap();
        assert_eq!(shell.finish().status, 4);
        assert_eq!(shell.note("got"), mine);
    }
}

/// A terminal has room for a byte, and a write of more waits until its other side reads. Neither the command's output
/// nor a line of this program waits for that longer than the run may take.
#[test]
fn a_terminal_that_nobody_reads_does_not_keep_a_run_from_its_end() {
    for flags in [&["-output=masked"][..], &["-output=masked", "-logx.debug"]] {
        let terminal = Terminal::new();
        let mut command = without_exchange(&[flags, &["-timeout=500ms", "-kill-after=0"]].concat());
        command.args(["yes", "a line that is longer than a byte"]);
        command.stdout(Stdio::from(terminal.screen.try_clone().unwrap()));
        let child = command.stderr(Stdio::from(terminal.screen.try_clone().unwrap())).spawn().unwrap();
        assert_eq!(finish(child).status, 124);
    }
}
