//! FILE and its neighbors: `FILE.lock` and `FILE.state`, and what is to replace FILE and `FILE.state`.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::state::State;
use crate::failure::{Failure, Reason, Stage, system_error};
use crate::issuer::credential::token_in;
use crate::metrics::follow_links;
use crate::new_file::{self, NewFile};
use crate::owner::distrust;
use crate::read::{self, ReadError};
use crate::secret::{ExposeSecret as _, SecretString};
use crate::until::Until;

/// These files are small, and the directory is most likely local.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(5);
const MODE: u32 = 0o600;
/// Ends of names that no other file has: one that a killed process left is removed.
const NEW: &str = ".monitoring-token.new";
const NEW_STATE: &str = ".state.monitoring-token.new";
/// A state has a few hundred bytes; for a user with very many tokens it lists all their keys.
const MAX_STATE_BYTES: usize = 16 * 1024 * 1024;
/// More than any token has. This much disk space is reserved before a token is created.
const RESERVED_BYTES: usize = 1024;
/// Pause before trying again to lock a file that another process has locked.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Files {
    path: PathBuf,
}

/// Why `FILE.state` was not read.
pub(super) enum StateError {
    Unreadable(Failure),
    Damaged(Failure),
}

/// Released when it is dropped, or when the process dies.
pub(super) struct Lock {
    _file: File,
}

impl Files {
    /// A symbolic link stays one: its target is replaced, and the other files are put next to the target, so that all
    /// names of one file share a lock.
    pub(super) fn at(path: &Path) -> Result<Files, Failure> {
        let resolve = || {
            let path = follow_links(path)?;
            let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
            Ok(folder_of(&path).canonicalize()?.join(name))
        };
        let path: PathBuf = resolve().map_err(unwritten(path))?;
        if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            let message = format!("{}: not a regular file; check --token-file", path.display());
            return Err(Failure::local(Reason::TokenFileRefused, message));
        }
        Ok(Files { path })
    }

    fn neighbor(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        name.push(suffix);
        PathBuf::from(name)
    }

    /// Tries once; `None` if another process holds the lock. The lock file is never removed: a process that waits for
    /// it would then hold another lock than the next one. flock(2) on a file that is open for writing also works
    /// between hosts that share an NFS mount.
    pub(super) fn try_lock(&self) -> Result<Option<Lock>, Failure> {
        let path = self.neighbor(".lock");
        let unlocked = |error: io::Error| {
            let found = path.metadata().ok().filter(|_| error.kind() == ErrorKind::PermissionDenied);
            let whose =
                found.map(|found| format!(" (it belongs to uid {})", found.uid())).unwrap_or_default();
            let why = system_error(&error);
            Failure::unwritten(format!("cannot lock {}: {why}{whose}; check --token-file", path.display()))
        };
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(MODE);
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = options.custom_flags(flags.bits().cast_signed()).open(&path).map_err(unlocked)?;
        let metadata = file.metadata().map_err(unlocked)?;
        check_trust(&path, &metadata)?;
        if is_new {
            // After a rotate of root, the owner of FILE must be able to rotate it.
            let _ = keep_owner(&file, &[&self.path]);
        }
        // A umask of 0777 would lock out the next rotate.
        if metadata.permissions().mode() & MODE != MODE {
            let _ = file.set_permissions(Permissions::from_mode(MODE));
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(unlocked(error)),
        }
    }

    /// The token in FILE; `None` if FILE is missing or blank: `echo > FILE` leaves a newline.
    pub(super) fn token(&self, until: &Until<'_>) -> Result<Option<SecretString>, Failure> {
        let at = self.path.display().to_string();
        match open_trusted(&self.path)? {
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            file => token_in(file, &at, "the token", "--token-file", until),
        }
    }

    /// `None` if there is no state file yet.
    pub(super) fn state(&self, until: &Until<'_>) -> Result<Option<State>, StateError> {
        let path = self.neighbor(".state");
        let shown = path.display();
        let file = open_trusted(&path).map_err(StateError::Unreadable)?;
        let bytes = file.and_then(|file| read::all(&file, MAX_STATE_BYTES, until));
        let refuse = |message| Failure::local(Reason::TokenFileRefused, message);
        match bytes {
            Ok(bytes) => State::parse(&bytes).map(Some).ok_or_else(|| {
                StateError::Damaged(refuse(format!("{shown} is damaged: not a state file of rotate")))
            }),
            Err(ReadError::TooLarge) => {
                Err(StateError::Damaged(refuse(format!("{shown} is damaged: too large"))))
            }
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(ReadError::Io(error)) => {
                let why = system_error(&error);
                Err(StateError::Unreadable(refuse(format!("cannot read {shown}: {why}; make it readable"))))
            }
            Err(ReadError::Ended(ended)) => {
                Err(StateError::Unreadable(ended.while_reading(Stage::Prepare, &shown.to_string())))
            }
        }
    }

    pub(super) fn save(&self, state: &State) -> Result<(), Failure> {
        let path = self.neighbor(".state");
        let save = || self.replacement(NEW_STATE, &path)?.install(&state.to_json());
        save().map_err(unwritten(&path))
    }

    /// A file with this suffix that will replace `target`.
    fn replacement(&self, suffix: &str, target: &Path) -> io::Result<Replacement> {
        let path = self.neighbor(suffix);
        // The lock is held, so this file is left from a process that was killed.
        remove(&path)?;
        let new = NewFile::private(&path)?;
        // Every user who could read the old file must be able to read the new one.
        keep_owner(new.file(), &[&self.path, target])?;
        Ok(Replacement { new, target: target.to_owned() })
    }

    /// Removes the temporary file of a `rotate` that was killed. Its token is deleted separately.
    pub(super) fn tidy(&self) -> Result<(), Failure> {
        [NEW, NEW_STATE]
            .map(|suffix| self.neighbor(suffix))
            .iter()
            .try_for_each(|path| remove(path).map_err(unwritten(path)))
    }

    /// Reserves disk space for a new token before it is created.
    pub(super) fn reserve(&self) -> Result<Replacement, Failure> {
        let new = self.replacement(NEW, &self.path);
        new.and_then(|new| new.reserve(RESERVED_BYTES)).map_err(unwritten(&self.neighbor(NEW)))
    }

    /// Reserves disk space for the state that will include the new token.
    pub(super) fn reserve_state(&self, state: &State) -> Result<Replacement, Failure> {
        let path = self.neighbor(".state");
        let new = self.replacement(NEW_STATE, &path);
        let bytes = state.to_json().len() + RESERVED_BYTES;
        new.and_then(|new| new.reserve(bytes)).map_err(unwritten(&path))
    }

    /// Replaces `FILE.state`, using the space that was reserved for it.
    pub(super) fn save_into(&self, mut new: Replacement, state: &State) -> Result<(), Failure> {
        new.install(&state.to_json()).map_err(unwritten(&self.neighbor(".state")))
    }

    /// Writes the token to FILE. `Some` means that it was written but may not survive a power failure.
    pub(super) fn replace(
        &self,
        mut new: Replacement,
        token: &SecretString,
    ) -> Result<Option<Failure>, Failure> {
        match new.install(token.expose_secret()) {
            Err(error) if new.new.is_kept() => Ok(Some(unwritten(&self.path)(error))),
            result => result.map(|()| None).map_err(unwritten(&self.path)),
        }
    }

    /// The expiry of the token in FILE, if `FILE.state` has it.
    pub(super) fn known_expiry(&self) -> Option<u64> {
        let until = Until::in_time(READ_LIMIT);
        let (state, token) = (self.state(&until).ok()??, self.token(&until).ok()??);
        state.tokens[state.position(&token)?].expires
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Opens FILE or a file beside it, unless another user may have put it there.
fn open_trusted(path: &Path) -> Result<Result<File, ReadError>, Failure> {
    let file = read::open_without_link(path);
    match &file {
        Ok(file) => check_trust(path, &file.metadata().map_err(unwritten(path))?)?,
        Err(ReadError::Io(error)) if Errno::from_io_error(error) == Some(Errno::LOOP) => {
            return Err(distrusted(path, "it is a symbolic link"));
        }
        Err(_) => {}
    }
    Ok(file)
}

fn check_trust(path: &Path, metadata: &Metadata) -> Result<(), Failure> {
    let why = distrust(path, metadata).map_err(unwritten(path))?;
    why.map_or(Ok(()), |why| Err(distrusted(path, &why)))
}

fn distrusted(path: &Path, why: &str) -> Failure {
    let message =
        format!("cannot trust {}: {why}; use a directory that no other user can write to", path.display());
    Failure::local(Reason::TokenFileRefused, message)
}

fn unwritten(path: &Path) -> impl Fn(io::Error) -> Failure {
    new_file::unwritten(path, "--token-file")
}

/// Gives `file` the owner of the first of `olds` that is there.
fn keep_owner(file: &File, olds: &[&Path]) -> io::Result<()> {
    let found = olds.iter().find_map(|path| Some((*path, path.symlink_metadata().ok()?)));
    let (Some((path, old)), new) = (found, file.metadata()?) else { return Ok(()) };
    if (old.uid(), old.gid()) == (new.uid(), new.gid()) {
        return Ok(());
    }
    // It may have been put there since it was read.
    if let Some(why) = distrust(path, &old)? {
        return Err(io::Error::other(why));
    }
    let to_group = (old.gid() != new.gid()).then_some(old.gid());
    let to_user = (old.uid() != new.uid()).then_some(old.uid());
    match std::os::unix::fs::fchown(file, to_user, to_group) {
        // If only the group could not be kept, nothing is lost: the mode is 0600.
        Err(_) if to_user.is_none() => Ok(()),
        Err(_) => {
            let why = format!("it belongs to uid {}; run rotate as that user", old.uid());
            Err(io::Error::new(ErrorKind::PermissionDenied, why))
        }
        Ok(()) => Ok(()),
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

/// A file that will replace another one. It is removed unless it does.
pub(super) struct Replacement {
    new: NewFile,
    target: PathBuf,
}

impl Replacement {
    fn reserve(self, bytes: usize) -> io::Result<Replacement> {
        self.new.file().write_all(&vec![b'\n'; bytes])?;
        self.new.file().sync_all()?;
        Ok(self)
    }

    fn install(&mut self, line: &str) -> io::Result<()> {
        // The reserved space stays allocated until the line is written over it.
        self.new.file().rewind()?;
        self.new.file().write_all(line.as_bytes())?;
        self.new.file().write_all(b"\n")?;
        let length = self.new.file().stream_position()?;
        self.new.file().set_len(length)?;
        self.new.file().sync_all()?;
        self.new.rename(&self.target)?;
        // So that the name survives a power failure, too.
        File::open(folder_of(&self.target))?.sync_all()
    }
}
