//! Problems of real users of similar tools, tried on this program. Each test's header tells the story and its public
//! source; each has variations of its own.
//!
//! | situation | public source | what is right here | test |
//! |---|---|---|---|
//! | an empty, foreign, truncated or `#!`-less file as COMMAND | ricoberger/script_exporter#17, kubernetes/node-problem-detector#797 | 126 and one line, and never a shell | `command` |
//! | `-service-url true` runs `/bin/true` | tried as a new user would | a usage error that suggests `=` | `command` |
//! | `setsid CMD` exits 0 at once, also behind `env`, `timeout` or a script | util-linux/util-linux#518 | the status of CMD; signals and the timeout reach it | `command` |
//! | `help`, `chek`, `-servise` | tried as a new user would | help, and suggestions | `command` |
//! | an environment that is too large with the URL in it | vm0-ai/vm0#12117, JuliaLang/julia#53412 | 125, with the size | `command` |
//! | a variable that is not UTF-8 | uutils/coreutils#9701, secretspec#140 | refused by name, never taken for unset | `environment` |
//! | an interpreter that is missing or cannot be run | own cases | named | `command` |
//! | `\r` and stray blanks in variables | warden#380 | refused, and shown as `\r` | `environment` |
//! | `${PROJECT}` in a URL, not expanded | systemd/systemd#2123 | a usage error: invalid host | `environment` |
//! | no HOME, and systemd's `CACHE_DIRECTORY` | sentriz/gonic#391 | that one is used; without any, a warning and a run | `files` |
//! | umask 0177; a very deep directory | own cases | the cache works; a relative path stays relative | `files` |
//! | EMFILE while the key is read; `-h=false` | own cases | one true cause; help | `files`, `command` |
//! | a crash of the command | tried as a new user would | one line that names the signal | `supervision` |
//! | a command that runs as another user | python-trio/trio#1209, Supervisor/supervisor#76, nick-fields/retry#124 | said, with the user; not the status of a SIGKILL | `supervision` |
//! | Ctrl-Z | Yelp/dumb-init#25, watchexec/watchexec#386 | the command stops and goes on with the program | `supervision` |
//! | SIGTERM blocked by the parent; a child that left the group | own cases | documented; said | `supervision` |
//! | a host that cannot be reached by the command | tried as a new user would | `check` ends with a step `target` | `target` |
//! | files of other users | own review | not trusted | `files` |

mod command;
mod environment;
mod files;
mod supervision;
mod target;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::job::before_exec;
use crate::support::{run, testdata, token};

/// A user other than root. Root of a user namespace without other users cannot become one.
pub(crate) const NOBODY: u32 = 65534;

/// The binary, with a key and without an exchange.
fn offline(flags: &[&str]) -> Command {
    let mut command = token();
    command.env("MONITORING_SIGNER_KEY", testdata("keys/eddsa.json"));
    command.arg("-exchange=false").args(flags);
    command
}

/// Writes a program, with a shell: a concurrent test could start its program while this process has the file open for
/// writing, and then nobody could run it (ETXTBSY).
fn write_executable(path: &Path, text: &[u8]) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut child = shell.spawn().expect("a shell");
    child.stdin.take().unwrap().write_all(text).unwrap();
    assert!(child.wait().unwrap().success());
}

/// True if tests can act as another user: root can, but not in a namespace without other users.
pub(crate) fn has_other_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let has_nobody = map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers[..], [first, _, count] if (first..first + count).contains(&u64::from(NOBODY)))
    });
    // SAFETY: geteuid has no conditions.
    let can = unsafe { libc::geteuid() } == 0 && has_nobody;
    if !can {
        eprintln!("not tried: this needs root, and another user");
    }
    can
}

/// A copy of the binary that every user may run, in a folder that every user may enter.
fn public_copy(folder: &Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let copy = folder.join("monitoring-token");
    run(Command::new("cp").arg(env!("CARGO_BIN_EXE_monitoring-token")).arg(&copy)).succeeded();
    run(Command::new("cp").arg(testdata("keys/eddsa.json")).arg(folder.join("key.json"))).succeeded();
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// Lets a program run as [`NOBODY`].
fn as_nobody(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    // SAFETY: no pointers but to an empty list of groups.
    unsafe {
        command.pre_exec(|| {
            let result = |done: i32| if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) };
            result(libc::setgroups(0, std::ptr::null()))?;
            result(libc::setgid(NOBODY))?;
            result(libc::setuid(NOBODY))
        })
    }
}
