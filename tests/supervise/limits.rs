//! A machine that has run out of something, or refuses writes.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use super::{Job, before_exec, check, key, without_exchange};
use crate::support::filter::{children, system_calls};
use crate::support::job::Folder;
use crate::support::{namespace, run, serve_bytes, token};

fn limit(resource: libc::__rlimit_resource_t, to: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: the pointer is to a limit.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

fn locate() -> std::net::SocketAddr {
    let urls = r#"{"target":{"urls":{"wss:///x":"wss://127.0.0.1/x?access_token=a.b.c"}}}"#;
    serve_bytes(crate::support::http("200 OK", "", urls))
}

#[test]
fn exhausted_descriptors_are_a_local_failure() {
    let locate = locate();
    for exchange in ["-exchange=false", "-exchange=true"] {
        let mut failures = 0;
        // With fewer, neither program's loader could open the C library.
        for descriptors in 4..24 {
            let mut command = token();
            command.env("MONITORING_SIGNER_KEY", key());
            command.env("LOCATE_URL", format!("http://localhost:{}/", locate.port()));
            command.args([exchange, "-retries=0", "-output=on-failure", "--", "/bin/sh", "-c", "exit 3"]);
            before_exec(&mut command, move || limit(libc::RLIMIT_NOFILE, descriptors));
            let ended = run(&mut command);
            if ended.status == 125 {
                failures += 1;
                ended.failed_with(125, &[]);
            } else {
                assert_eq!((ended.status, ended.stderr.as_str()), (3, ""), "{descriptors} descriptors");
            }
        }
        assert!((1..19).contains(&failures), "{exchange}: {failures} failures");
    }
}

/// A copy of the binary that every user may run, and the command that runs it as a user without processes. Only the
/// superuser needs one, because limits do not apply to it.
fn as_another_user(folder: &Folder) -> Command {
    let copy = folder.path("monitoring-token");
    // Not by this process: a concurrent test could start its program while the copy is open for writing, and then
    // nobody could run it (ETXTBSY).
    run(Command::new("cp").arg(env!("CARGO_BIN_EXE_monitoring-token")).arg(&copy)).succeeded();
    std::fs::set_permissions(folder.root(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(copy);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("MONITORING_SIGNER_KEY", key());
    command.stdin(std::process::Stdio::null()).current_dir("/");
    before_exec(&mut command, || {
        // SAFETY: no pointers but to an empty list of groups, and to C strings.
        unsafe {
            if libc::geteuid() != 0 {
                return Ok(());
            }
            let none = std::ptr::null();
            if libc::setgroups(0, none) == 0 && libc::setgid(54321) == 0 && libc::setuid(54321) == 0 {
                return Ok(());
            }
            // In a user namespace, root has no other user; a nested one provides a name.
            check(libc::unshare(libc::CLONE_NEWUSER))?;
            let map = libc::open(c"/proc/self/uid_map".as_ptr(), libc::O_WRONLY);
            let line = c"54321 0 1";
            check(i64::try_from(libc::write(map, line.as_ptr().cast(), line.count_bytes())).unwrap_or(-1))?;
            check(libc::close(map))
        }
    });
    command
}

#[test]
fn a_full_process_table_is_a_local_failure() {
    let folder = Folder::new();
    let mut command = as_another_user(&folder);
    before_exec(&mut command, || limit(libc::RLIMIT_NPROC, 0));
    let ended = run(command.args(["-exchange=false", "--", "true"]));
    ended.failed_with(125, &["cannot run true", "out of resources"]);
}

/// They were blamed on the command: 126, "make it executable".
#[test]
fn a_system_call_that_a_sandbox_forbids_is_a_local_failure() {
    let forbid = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    for call in [libc::SYS_setsid, libc::SYS_pipe2, libc::SYS_clone] {
        let mut command = without_exchange(&[]);
        system_calls(&mut command, &[call], forbid);
        let ended = run(command.arg("true"));
        ended.failed_with(125, &["cannot run true: a sandbox forbids a system call"]);
    }
}

/// The command was taken for still running, until the timeout.
#[test]
fn the_end_of_a_command_is_seen_without_waitid() {
    let mut command = without_exchange(&["-timeout=20s"]);
    system_calls(&mut command, &[libc::SYS_waitid], libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs());
    assert_eq!(run(command.args(["sh", "-c", "exit 3"])).status, 3);
}

/// A forbidden call may return -1 or 0 for a process or group, and a signal to these reaches every process.
#[test]
fn no_sandbox_makes_a_signal_reach_other_processes() {
    for call in [
        #[cfg(target_arch = "x86_64")] // the only one with this system call
        libc::SYS_getpgrp,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_gettid,
        libc::SYS_setsid,
        libc::SYS_getpgid,
        libc::SYS_getsid,
    ] {
        for error in [0, libc::EPERM.unsigned_abs(), libc::ENOSYS.unsigned_abs()] {
            let mut job = namespace(&["--pid", "--fork", "--kill-child"]);
            job.args(["sh", "-c", "sleep 60 & \"$@\" 2>&1; echo; kill -0 $! && echo alive", "sh"]);
            job.arg(env!("CARGO_BIN_EXE_monitoring-token"));
            job.args(["-exchange=false", "-timeout=1s", "-kill-after=1s", "-monitoring-signer-key"]);
            job.arg(key()).args(["sleep", "30"]);
            system_calls(&mut job, &[call], libc::SECCOMP_RET_ERRNO | error);
            let ended = run(&mut job);
            assert!(ended.stdout.ends_with("\nalive\n"), "{call} {error}: {ended:?}");
        }
    }
}

/// It was explained as a file that is not executable.
#[test]
fn file_capabilities_that_are_not_allowed_are_named() {
    let script = format!(
        r#"mount -t tmpfs none "$D" && cp /bin/true "$D/probe" &&
           perl -e 'my ($file, $name, $caps) = ("$ENV{{D}}/probe", "security.capability", pack("V5", 0x2000001, 1 << 21, 0, 0, 0));
                    exit(syscall({}, $file, $name, $caps, 20, 0) ? 1 : 0)' &&
           exec setpriv --bounding-set -sys_admin "$BINARY" -exchange=false -- "$D/probe""#,
        libc::SYS_setxattr
    );
    let folder = Folder::new();
    let mut command = namespace(&["--mount", "sh", "-c", &script]);
    command
        .env("D", folder.root())
        .env("BINARY", env!("CARGO_BIN_EXE_monitoring-token"))
        .env("MONITORING_SIGNER_KEY", key());
    let ended = run(&mut command);
    ended.failed_with(126, &["Operation not permitted; if getcap shows capabilities"]);
}

/// qemu-user, under which images for another processor run, knows few kinds of children.
#[test]
fn without_the_first_child_the_command_leads_its_group() {
    for (mask, with) in [(libc::CLONE_PARENT.unsigned_abs(), true), (0xff, false)] {
        let mut command = without_exchange(&[]);
        children(&mut command, mask, with);
        let script = r#"test "$(ps -o pgid= -p $$ | tr -d ' ')" = $$ && exit 3"#;
        assert_eq!(run(command.args(["sh", "-c", script])).status, 3, "{mask:#x}");
    }
}

/// runc#1914, moby#20096: under a pids limit, a lookup that needs a thread failed, and DNS was blamed. Now it needs
/// none.
#[test]
fn a_lookup_needs_no_thread() {
    let folder = Folder::new();
    for first in [&[][..], &["check"]] {
        let mut command = as_another_user(&folder);
        before_exec(&mut command, || limit(libc::RLIMIT_NPROC, 0));
        let ended =
            run(command.args(first).args(["-locate-url=http://localhost:9/", "-retries=0", "--", "true"]));
        ended.failed_with(125, &["cannot connect to http://localhost:9: connection refused"]);
    }
}

#[test]
fn other_processes_of_the_user_cannot_read_memory_or_environment() {
    let folder = Folder::new();
    let notes = Folder::new();
    std::fs::set_permissions(notes.root(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = as_another_user(&folder);
    let script = "echo $$ >$D/ready; while [ ! -e $D/go ]; do sleep 0.02; done";
    command.args(["-exchange=false", "--", "/bin/sh", "-c", script]).env("D", notes.root());
    let child = crate::support::start(&mut command);
    let command: u32 = crate::support::file_line(&notes.path("ready")).trim().parse().unwrap();
    let owner = |pid: u32| std::fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid();
    // proc(5): the files belong to root if the process is not dumpable, and to its user if it is.
    assert_ne!(owner(child.id()), owner(command));
    std::fs::write(notes.path("go"), "").unwrap();
    crate::support::finish(child).succeeded();
}

#[test]
fn a_read_only_file_system_changes_nothing() {
    let locate = locate();
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", key()).env("LOCATE_URL", format!("http://{locate}/"));
    // SAFETY: geteuid has no conditions.
    let user = if unsafe { libc::geteuid() } == 0 { 0 } else { libc::CLONE_NEWUSER };
    before_exec(&mut command, move || {
        let none = std::ptr::null();
        // SAFETY: system calls with C strings.
        unsafe {
            check(libc::unshare(user | libc::CLONE_NEWNS))?;
            check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
            let read_only = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY;
            check(libc::mount(none, c"/".as_ptr(), none, read_only, none.cast()))
        }
    });
    let script = "touch /monitoring-token-test 2>/dev/null && exit 9; exit 3";
    assert_eq!(run(command.args(["--", "/bin/sh", "-c", script])).status, 3);
}

#[test]
fn a_missing_dev_null_is_a_local_failure() {
    let mut command = without_exchange(&[]);
    // SAFETY: geteuid has no conditions.
    let user = if unsafe { libc::geteuid() } == 0 { 0 } else { libc::CLONE_NEWUSER };
    before_exec(command.arg("true"), move || {
        let none = std::ptr::null();
        // SAFETY: system calls with C strings.
        unsafe {
            check(libc::unshare(user | libc::CLONE_NEWNS))?;
            check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
            check(libc::mount(c"none".as_ptr(), c"/dev".as_ptr(), c"tmpfs".as_ptr(), 0, none.cast()))
        }
    });
    run(&mut command).failed_with(125, &["cannot run true", "/dev/null"]);
}

#[test]
fn a_key_that_is_too_large_for_a_key_is_not_read_to_its_end() {
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", "/dev/zero");
    run(command.args(["-exchange=false", "--", "true"]))
        .failed_with(125, &["/dev/zero", "larger than 64 KiB"]);
}

#[test]
fn a_very_long_command_is_shown_by_its_beginning() {
    let folder = Folder::new();
    let name = "x".repeat(200);
    let program = folder.path(&name);
    let shell = Path::new("/bin/sh");
    std::os::unix::fs::symlink(shell, &program).unwrap();
    let cases: [(&[&str], i32, &str); 2] =
        [(&["-c", "exec sleep 70"], 124, "timed out after "), (&["-c", "exit"], 127, "cannot run ")];
    for (arguments, status, words) in cases {
        let mut command = without_exchange(&["-timeout=300ms", "-kill-after=0"]);
        let there = if status == 127 { program.with_extension("none") } else { program.clone() };
        let ended = run(command.arg(&there).args(arguments));
        ended.failed_with(status, &[words, "…"]);
        assert!(!ended.stderr.contains(&name), "{ended:?}");
    }
}

#[test]
fn many_arguments_and_variables_arrive_whole() {
    let mut command = without_exchange(&["-output=inherit"]);
    let words: Vec<String> = (0..20_000).map(|n| format!("word{n}")).collect();
    command.args(["sh", "-c", "echo $# ${#BIG}", "sh"]).args(&words).env("BIG", "x".repeat(100_000));
    let mut job = Job::prepare(command, &[], |_| {});
    let ended = job.finish();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "20000 100000\n"));
}

#[test]
fn a_file_that_may_not_grow_ends_neither_the_run_nor_its_result() {
    let folder = Folder::new();
    let metrics = format!("-metrics-textfile={}", folder.path("x.prom").display());
    for (script, status) in [("exit 0", 0), ("exit 3", 3)] {
        let mut command = without_exchange(&[&metrics]);
        command.args(["sh", "-c", script]);
        before_exec(&mut command, || limit(libc::RLIMIT_FSIZE, 0));
        run(&mut command).said(status, &["warning: cannot write the metrics to", "File too large"]);
    }
    assert_eq!(std::fs::read_dir(folder.root()).unwrap().count(), 0, "nothing half-written is left");
}
