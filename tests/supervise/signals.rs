//! Signals go to the command's whole group and to no other process; during the exchange, they end the run.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{
    Job, SlowLocate, before_exec, check, is_alive, key, make_fifo, status_of, wait_until_gone,
    wait_until_open, without_exchange,
};
use crate::support::job::Folder;
use crate::support::{eventually, finish, start, token};

const FORWARDED: [(i32, &str); 8] = [
    (libc::SIGTERM, "TERM"),
    (libc::SIGINT, "INT"),
    (libc::SIGHUP, "HUP"),
    (libc::SIGQUIT, "QUIT"),
    (libc::SIGALRM, "ALRM"),
    (libc::SIGUSR1, "USR1"),
    (libc::SIGUSR2, "USR2"),
    (libc::SIGCONT, "CONT"),
];

/// Signals that end an exchange: all but SIGCONT.
const ENDING: [(i32, &str); 7] =
    [FORWARDED[0], FORWARDED[1], FORWARDED[2], FORWARDED[3], FORWARDED[4], FORWARDED[5], FORWARDED[6]];

/// "At once" on a machine under load; far below every timeout here.
const AT_ONCE: Duration = Duration::from_secs(10);

#[test]
fn each_signal_reaches_the_whole_group_once() {
    for (signal, name) in FORWARDED {
        // A shell runs its trap when its child has exited, so the grandchild comes first.
        let mut job = Job::start(
            &[],
            &format!(
                "trap 'echo leader >>$D/got' {name}
                 sh -c 'trap \"echo grandchild >>$D/got; exit\" {name}
                        echo >$D/ready; eval $WAIT'
                 exit 7"
            ),
        );
        job.note("ready");
        job.signal(signal);
        let ended = job.finish();
        assert_eq!((ended.status, ended.stderr.as_str()), (7, ""), "{name}");
        assert_eq!(job.note("got"), "grandchild\nleader", "{name}");
    }
}

#[test]
fn a_signal_that_kills_the_command_gives_128_plus_its_number() {
    for (signal, name) in ENDING {
        let mut job = Job::start(&[], "ulimit -c 0; echo >$D/ready; exec sleep $LONG");
        job.note("ready");
        job.signal(signal);
        let ended = job.finish();
        assert_eq!((ended.status, ended.stderr.as_str()), (128 + signal, ""), "{name}");
    }
}

#[test]
fn the_programs_own_group_is_never_signalled() {
    let mut job = Job::prepare(
        Command::new("/bin/sh"),
        &[
            "-c",
            // The shell leads the group of the program, so it would notice any signal to that group.
            "for name in TERM INT HUP QUIT USR1 USR2 CONT; do trap \"echo $name >>$D/shell\" $name; done
             \"$BINARY\" -exchange=false -timeout=$T -- /bin/sh -c '
                 for name in HUP USR1 USR2 CONT; do trap \"echo $name >>$D/command\" $name; done
                 echo >$D/ready; eval $WAIT' &
             echo $! >$D/us
             while [ -d $D ] && [ ! -e $D/end ]; do wait; sleep 0.02; done; exit 0",
        ],
        |command| {
            command
                .env("MONITORING_SIGNER_KEY", key())
                .env("BINARY", env!("CARGO_BIN_EXE_monitoring-token"))
                .env("T", "20s")
                .process_group(0);
        },
    );
    let us = job.noted_pid("us");
    job.note("ready");
    let mut expected = String::new();
    for (signal, name) in [(libc::SIGHUP, "HUP"), (libc::SIGUSR1, "USR1"), (libc::SIGUSR2, "USR2")] {
        crate::support::kill(us, signal);
        expected.push_str(name);
        eventually(&format!("{name} at the command"), || {
            let got = std::fs::read_to_string(job.path("command")).unwrap_or_default();
            got.replace('\n', "").replace("CONT", "").eq(&expected).then_some(())
        });
    }
    crate::support::kill(us, libc::SIGTERM);
    wait_until_gone(us);
    job.leave("end");
    assert_eq!(job.finish().status, 0);
    assert!(!job.has_note("shell"), "the shell got {}", job.note("shell"));
}

#[test]
fn the_timeout_does_not_reach_the_programs_own_group() {
    let mut job = Job::prepare(
        Command::new("/bin/sh"),
        &[
            "-c",
            "for name in TERM CONT; do trap \"echo $name >>$D/shell\" $name; done
             \"$BINARY\" -exchange=false -timeout=200ms -kill-after=200ms -- /bin/sh -c '
                 trap \"\" TERM; eval $WAIT'
             echo $? >$D/status",
        ],
        |command| {
            command
                .env("MONITORING_SIGNER_KEY", key())
                .env("BINARY", env!("CARGO_BIN_EXE_monitoring-token"))
                .process_group(0);
        },
    );
    assert_eq!(job.note("status"), "124");
    job.finish();
    assert!(!job.has_note("shell"));
}

#[test]
fn a_signal_ignored_at_start_stays_ignored_and_is_not_forwarded() {
    let mut job = Job::prepare(
        without_exchange(&[]),
        // The command would write a note if the signal were forwarded.
        &[
            "env",
            "--default-signal=HUP",
            "/bin/sh",
            "-c",
            "trap 'echo >$D/hup' HUP; trap 'exit 5' USR1; echo >$D/ready; eval $WAIT",
        ],
        |command| {
            before_exec(command, || {
                // SAFETY: to ignore a signal needs no handler.
                unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
                Ok(())
            });
        },
    );
    job.note("ready");
    let ignored = u64::from_str_radix(&status_of(job.pid(), "SigIgn"), 16).unwrap();
    assert_ne!(ignored & (1 << (libc::SIGHUP - 1)), 0, "we ignore it, too");
    job.signal(libc::SIGHUP);
    job.signal(libc::SIGUSR1);
    assert_eq!(job.finish().status, 5);
    assert!(!job.has_note("hup"));
}

#[test]
fn a_signal_in_the_exchange_ends_the_run_at_once() {
    for (signal, name) in ENDING {
        let locate = SlowLocate::start();
        let mut job = Job::prepare(locate.token(&[]), &["/bin/sh", "-c", "echo ran >$D/ran"], |_| {});
        locate.wait_until_asked();
        let sent = Instant::now();
        job.signal(signal);
        job.finish().failed_with(128 + signal, &[&format!("SIG{name}"), "the command was not run"]);
        assert!(sent.elapsed() < AT_ONCE, "{name}");
        assert!(!job.has_note("ran"), "{name}");
    }
}

#[test]
fn sigcont_in_the_exchange_does_not_end_it() {
    let locate = SlowLocate::start();
    let mut job = Job::prepare(locate.token(&[]), &["/bin/sh", "-c", "exit 3"], |_| {});
    locate.wait_until_asked();
    job.signal(libc::SIGCONT);
    let pid = job.pid();
    eventually("SIGCONT to be taken", || {
        let pending = u64::from_str_radix(&status_of(pid, "ShdPnd"), 16).ok()?;
        (pending & (1 << (libc::SIGCONT - 1)) == 0).then_some(())
    });
    locate.go_on.send(()).unwrap();
    assert_eq!(job.finish().status, 3);
}

#[test]
fn a_signal_ends_a_run_that_waits_for_its_key() {
    for with_writer in [true, false] {
        let folder = Folder::new();
        let fifo = make_fifo(&folder);
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", &fifo).args(["-exchange=false", "--", "true"]);
        let writer =
            with_writer.then(|| std::fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap());
        let child = start(&mut command);
        wait_until_open(child.id(), &fifo);
        crate::support::kill(child.id(), libc::SIGTERM);
        finish(child).failed_with(143, &["interrupted by SIGTERM while reading the key"]);
        drop(writer);
    }
}

#[test]
fn a_signal_ends_a_run_that_waits_for_its_ca_file_or_its_admin_token() {
    let exec = ["gafaelfawr", "exec", "-url=http://127.0.0.1:1", "-username=bot-a", "-scopes=a"];
    for (words, flag, what) in
        [(&[][..], "-ca-file", "the CA file"), (&exec, "-admin-token-file", "the admin token from")]
    {
        let folder = Folder::new();
        let fifo = make_fifo(&folder);
        let mut command = token();
        command.env("MONITORING_SIGNER_KEY", key()).args(words).arg(flag).arg(&fifo);
        let child = start(command.args(["--", "true"]));
        wait_until_open(child.id(), &fifo);
        crate::support::kill(child.id(), libc::SIGTERM);
        finish(child).failed_with(143, &[&format!("interrupted by SIGTERM while reading {what}")]);
    }
}

#[test]
fn the_timeout_ends_a_run_that_waits_for_its_key() {
    let (_writer, reader) = pipe();
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", "/dev/fd/0").stdin(std::process::Stdio::from(reader));
    let child = start(command.args(["-exchange=false", "-timeout=200ms", "--", "true"]));
    finish(child).failed_with(124, &["timed out", "/dev/fd/0"]);
}

#[test]
fn a_signal_ends_a_run_whose_name_lookup_hangs() {
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", key()).env("LOCATE_URL", "http://locate.example/");
    command.args(["--", "true"]);
    with_a_silent_resolver(&mut command);
    let child = start(&mut command);
    let pid = child.id();
    // A socket that is connected to port 53 of 127.0.0.1.
    let sockets = format!("/proc/{pid}/net/udp");
    eventually("the question", || {
        std::fs::read_to_string(&sockets).ok()?.contains(" 0100007F:0035 01").then_some(())
    });
    let sent = Instant::now();
    crate::support::kill(pid, libc::SIGTERM);
    finish(child).failed_with(143, &["SIGTERM", "the command was not run"]);
    assert!(sent.elapsed() < AT_ONCE);
}

#[test]
fn the_timeout_ends_a_run_whose_name_lookup_hangs() {
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", key()).env("LOCATE_URL", "http://locate.example/");
    command.args(["-timeout=300ms", "--", "true"]);
    with_a_silent_resolver(&mut command);
    finish(start(&mut command)).failed_with(124, &["timed out", "resolving the host name", "locate.example"]);
}

#[test]
fn killing_the_program_terminates_the_command() {
    let mut job = Job::start(&[], "trap 'echo got SIGTERM >$D/end; exit' TERM; echo $$ >$D/pid; eval $WAIT");
    let command = job.noted_pid("pid");
    job.signal(libc::SIGKILL);
    assert_eq!(job.finish().status, -1);
    assert_eq!(job.note("end"), "got SIGTERM");
    wait_until_gone(command);
}

#[test]
fn a_stopped_command_goes_on_with_sigcont() {
    let mut job = Job::start(&[], "echo $$ >$D/pid; kill -STOP $$; exit 4");
    let command = job.noted_pid("pid");
    eventually("the command to be stopped", || (super::state(command) == Some('T')).then_some(()));
    assert!(is_alive(job.pid()));
    job.signal(libc::SIGCONT);
    assert_eq!(job.finish().status, 4);
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (writer, reader)
}

/// Gives the command a resolver that never responds: in its own network and mount namespaces, which end with it.
fn with_a_silent_resolver(command: &mut Command) {
    let mut resolv_conf = tempfile::NamedTempFile::new().unwrap();
    resolv_conf.write_all(b"nameserver 127.0.0.1\noptions timeout:20 attempts:2\n").unwrap();
    // The system cleans the folder; the file must outlive the start.
    let (_, path) = resolv_conf.keep().unwrap();
    let source = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: geteuid has no conditions.
    let user = if unsafe { libc::geteuid() } == 0 { 0 } else { libc::CLONE_NEWUSER };
    before_exec(command, move || {
        // SAFETY: system calls with C strings and with structures of their own size.
        unsafe {
            check(libc::unshare(user | libc::CLONE_NEWNS | libc::CLONE_NEWNET))?;
            let none = std::ptr::null();
            check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
            check(libc::mount(
                source.as_ptr(),
                c"/etc/resolv.conf".as_ptr(),
                none,
                libc::MS_BIND,
                none.cast(),
            ))?;
            check(libc::unlink(source.as_ptr()))?;
            let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
            check(socket)?;
            let mut interface: libc::ifreq = std::mem::zeroed();
            interface.ifr_name[0] = b'l'.cast_signed();
            interface.ifr_name[1] = b'o'.cast_signed();
            interface.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).unwrap_or_default();
            check(libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const interface))?;
            let address = libc::sockaddr_in {
                sin_family: u16::try_from(libc::AF_INET).unwrap_or_default(),
                sin_port: 53_u16.to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
                sin_zero: [0; 8],
            };
            let size = u32::try_from(size_of::<libc::sockaddr_in>()).unwrap_or_default();
            // It stays open and is inherited; nothing reads from it.
            check(libc::bind(socket, (&raw const address).cast(), size))
        }
    });
}

#[test]
fn a_command_that_ignores_a_forwarded_sigterm_is_killed_after_the_grace() {
    let mut job = Job::start(&["-kill-after=300ms"], "trap '' TERM; echo $$ >$D/ready; eval $WAIT");
    let command = job.noted_pid("ready");
    job.signal(libc::SIGTERM);
    let ended = job.finish();
    assert_eq!((ended.status, ended.stderr.as_str()), (128 + libc::SIGKILL, ""));
    wait_until_gone(command);
    // After SIGHUP, a command may go on; then its group is left alone.
    let mut job = Job::start(
        &["-kill-after=10ms"],
        "trap 'echo int >$D/got' INT; echo >$D/ready; until [ -e $D/got ]; do sleep 0.02; done; sleep 0.5; exit 6",
    );
    job.note("ready");
    job.signal(libc::SIGINT);
    assert_eq!(job.finish().status, 6);
}
