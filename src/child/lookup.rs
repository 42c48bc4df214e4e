//! Finds COMMAND as Go's `exec.LookPath` does: in `PATH`, and never through a relative entry.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::StartError;

/// The file to execute for `word`. A word with a slash is already a path, and only `execve` decides whether it works.
pub(crate) fn find(word: &OsStr) -> Result<PathBuf, StartError> {
    if word.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(word));
    }
    let path = std::env::var_os("PATH").ok_or(StartError::PathIsUnset)?;
    let mut cannot_run = None;
    for entry in std::env::split_paths(&path).filter(|_| !word.is_empty()) {
        // An empty entry is the current directory.
        let entry = if entry.as_os_str().is_empty() { PathBuf::from(".") } else { entry };
        let candidate = entry.join(word);
        match check_executable(&candidate) {
            Ok(()) if candidate.is_absolute() => return Ok(candidate),
            Ok(()) => return Err(StartError::RelativeEntry(candidate)),
            // The user may not execute this file; directories are skipped.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && candidate.is_file() => {
                cannot_run.get_or_insert(StartError::CannotRun(candidate, error));
            }
            Err(_) => {}
        }
    }
    Err(cannot_run.unwrap_or(StartError::NotFound))
}

/// Fails if this user may not execute `path`.
pub(crate) fn check_executable(path: &Path) -> io::Result<()> {
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        let errno = if metadata.is_dir() { Errno::ISDIR } else { Errno::ACCESS };
        return Err(errno.into());
    }
    match accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS) {
        // Containers may forbid the call; the mode is then the best guess, as in Go.
        Err(Errno::NOSYS | Errno::PERM) => {
            let executable = metadata.permissions().mode() & 0o111 != 0;
            if executable { Ok(()) } else { Err(Errno::ACCESS.into()) }
        }
        result => Ok(result?),
    }
}

/// The interpreter that keeps a script from being executed, with what is wrong with it: its own, or the one of an
/// interpreter that is a script, too.
pub(crate) fn broken_interpreter(script: &Path) -> Option<(PathBuf, io::Error)> {
    /// As many scripts after each other as the kernel executes (BINPRM_MAX_RECURSION).
    const MAX_SCRIPTS: usize = 5;
    let mut path = interpreter(script)?;
    for _ in 1..MAX_SCRIPTS {
        if let Err(error) = check_executable(&path) {
            return Some((path, error));
        }
        match interpreter(&path) {
            Some(next) => path = next,
            None if is_program(&path) => return None,
            None => return Some((path, Errno::NOEXEC.into())),
        }
    }
    Some((path, io::Error::other("it needs too many interpreters that are scripts")))
}

/// The interpreter that the first line of a script names, as the kernel reads it.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let mut beginning = Vec::new();
    File::open(script).ok()?.take(256).read_to_end(&mut beginning).ok()?;
    let mut words = beginning.strip_prefix(b"#!")?.split(|byte| b" \t\n\0".contains(byte));
    let path = words.find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(path)))
}

/// True if the file begins as one that the kernel executes (a script with an interpreter, or ELF), or cannot be read.
pub(crate) fn is_program(path: &Path) -> bool {
    let mut beginning = [0_u8; 4];
    let read = File::open(path).and_then(|mut file| file.read(&mut beginning));
    read.map_or(true, |length| {
        let beginning = &beginning[..length];
        beginning.starts_with(b"#!") || beginning == b"\x7fELF"
    })
}
