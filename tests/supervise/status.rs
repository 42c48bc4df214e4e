//! The exit status.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::{key, without_exchange};
use crate::support::job::Folder;
use crate::support::{run, serve_bytes, token};

/// Writes a program, with a shell: a concurrent test could start its program while this process has the file open for
/// writing, and then nobody could run it (ETXTBSY).
fn write_executable(path: &Path, line: &str) {
    let mut shell = Command::new("/bin/sh");
    run(shell.args(["-c", "echo \"$1\" >\"$0\"; chmod 755 \"$0\""]).arg(path).arg(line)).succeeded();
}

#[test]
fn every_exit_status_of_the_command_is_passed_on() {
    for status in 0..=255 {
        let ended = run(without_exchange(&[]).args(["sh", "-c", &format!("exit {status}")]));
        assert_eq!((ended.status, ended.stderr.as_str()), (status, ""));
    }
}

#[test]
fn a_command_that_died_of_a_signal_gives_128_plus_its_number() {
    let (first_real_time, last) = (34, 64);
    let stop_or_nothing = [17, 18, 19, 20, 21, 22, 23, 28];
    for signal in (1..32).filter(|signal| !stop_or_nothing.contains(signal)).chain([first_real_time, last]) {
        let script = format!("ulimit -c 0; kill -{signal} $$; sleep 5; exit 99");
        let ended = run(without_exchange(&[]).args(["sh", "-c", &script]));
        ended.failed_with(128 + signal, &["sh was killed by "]);
    }
}

#[test]
fn the_timeout_gives_124_and_names_the_command() {
    let ended = run(without_exchange(&["-timeout=200ms"]).args(["sleep", "25"]));
    ended.failed_with(124, &["timed out", "sleep", "200ms", "SIGTERM"]);
}

#[test]
fn the_timeout_of_the_exchange_gives_124_and_the_command_is_not_run() {
    let locate = super::SlowLocate::start();
    let mut job = super::Job::prepare(
        locate.token(&["-timeout=300ms"]),
        &["/bin/sh", "-c", "echo ran >$D/ran"],
        |_| {},
    );
    job.finish().failed_with(124, &["timed out after", "127.0.0.1"]);
    assert!(!job.has_note("ran"));
}

#[test]
fn a_failed_exchange_exits_with_125_without_running_the_command() {
    let locate = serve_bytes(crate::support::http("500 Internal Server Error", "", ""));
    let folder = Folder::new();
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", key()).env("LOCATE_URL", format!("http://{locate}/"));
    run(command.arg("touch").arg(folder.path("ran"))).failed_with(125, &["HTTP 500"]);
    assert!(!folder.path("ran").exists());
}

#[test]
fn a_command_that_cannot_run_exits_with_126() {
    let folder = Folder::new();
    let plain = folder.path("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
    for path in [plain.to_str().unwrap(), folder.root().to_str().unwrap(), "/etc/passwd/x"] {
        run(without_exchange(&[]).arg(path)).failed_with(126, &["cannot run", path]);
    }
}

#[test]
fn a_missing_command_exits_with_127() {
    let folder = Folder::new();
    let script = folder.path("script");
    write_executable(&script, "#!/proc/nonexistent/interpreter");
    for name in ["no-such-command", "./no/such/path", script.to_str().unwrap()] {
        run(without_exchange(&[]).arg(name)).failed_with(127, &["cannot run", name, "not found"]);
    }
}

#[test]
fn bad_usage_gives_2() {
    for (flags, word) in [
        (&["-nope"][..], "-nope"),
        (&["-timeout=5"], "-timeout"),
        (&["-timeout=0"], "-timeout"),
        (&["-timeout=-1s"], "-timeout"),
        (&["-kill-after=-1s"], "-kill-after"),
        (&["-output=elsewhere"], "-output"),
        (&["-die-with-parent=perhaps"], "-die-with-parent"),
    ] {
        let ended = run(without_exchange(flags).arg("true"));
        ended.failed_with(2, &[word]);
    }
    run(&mut without_exchange(&[])).failed_with(2, &["missing command to run"]);
}
