//! FILE and its neighbors: `FILE.lock`, `FILE.state` and `FILE.new`, the token before it is renamed to FILE.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::state::State;
use crate::credential::token_in;
use crate::error::{Failure, Reason, Stage};
use crate::read::{self, ReadError, Until};
use crate::secret::{ExposeSecret as _, SecretString};

const MODE: u32 = 0o600;
/// A state has a few hundred bytes; the keys of a user with very many tokens may be in it.
const MAX_STATE_BYTES: usize = 16 * 1024 * 1024;
/// More than any token has: that much is on the disk before a token is created.
const RESERVED_BYTES: usize = 1024;
/// Links are followed this often.
const MAX_LINKS: u32 = 40;
/// How long to wait before a lock that another process holds is tried again.
pub(super) const LOCK_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Files {
    path: PathBuf,
}

/// Held until it is dropped, or until the process dies.
pub(super) struct Lock {
    _file: File,
}

impl Files {
    /// A link stays a link: what it points to is replaced, and its neighbors are used, so that every name of
    /// one file has the same lock.
    pub(super) fn at(path: &Path) -> io::Result<Files> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Ok(target) = path.read_link() else {
                let name = path.file_name().ok_or(ErrorKind::IsADirectory)?;
                return Ok(Files { path: folder_of(&path).canonicalize()?.join(name) });
            };
            path = folder_of(&path).join(target);
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        name.push(suffix);
        PathBuf::from(name)
    }

    fn unwritten(&self, error: &io::Error) -> Failure {
        unwritten(&self.path, error)
    }

    /// Tries once; `None` if another process holds it. The file is never removed: whoever waits for it would
    /// wait for another one than whoever comes next. flock(2) on a file that is open for writing also holds
    /// between hosts that share an NFS mount.
    pub(super) fn try_lock(&self) -> io::Result<Option<Lock>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(MODE);
        let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(self.beside(".lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The token in FILE; `None` if FILE is missing or empty.
    pub(super) fn token(&self, until: &Until<'_>) -> Result<Option<SecretString>, Failure> {
        let at = self.path.display().to_string();
        match self.path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Ok(metadata) if !metadata.is_file() => {
                let message = format!("{at}: not a regular file; check --token-file");
                return Err(Failure::local(Reason::TokenFileRefused, message));
            }
            Ok(metadata) if metadata.len() == 0 => return Ok(None),
            _ => {}
        }
        token_in(read::open(&self.path), &at, "the token", "--token-file", until).map(Some)
    }

    /// `None` if there is none yet.
    pub(super) fn state(&self, until: &Until<'_>) -> Result<Option<State>, Failure> {
        let path = self.beside(".state");
        let bytes = read::open(&path).and_then(|file| read::all(file, MAX_STATE_BYTES, until));
        let refuse = |why: &str| {
            let path = path.display();
            Err(Failure::local(
                Reason::TokenFileRefused,
                format!(
                    "cannot read {path}: {why}; if you remove it, rotate no longer knows the tokens that it created"
                ),
            ))
        };
        match bytes {
            Ok(bytes) => {
                State::parse(&bytes).map_or_else(|| refuse("not a state of rotate"), |s| Ok(Some(s)))
            }
            Err(ReadError::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(ReadError::Io(error)) => refuse(&error.to_string()),
            Err(ReadError::TooLarge) => refuse("too large"),
            Err(ReadError::Ended(ended)) => Err(ended.failure(Stage::Sign, &path.display().to_string())),
        }
    }

    /// Replaces `FILE.state`.
    pub(super) fn save(&self, state: &State) -> Result<(), Failure> {
        let path = self.beside(".state");
        let save = || {
            let mut new = Replacement::create(&self.beside(".state.new"), &path)?;
            new.file.write_all(state.to_json().as_bytes())?;
            new.file.write_all(b"\n")?;
            new.install()
        };
        save().map_err(|error| unwritten(&path, &error))
    }

    /// Removes what a `rotate` that was killed has left; the token in it is deleted, too.
    pub(super) fn tidy(&self) -> Result<(), Failure> {
        for suffix in [".new", ".state.new"] {
            match std::fs::remove_file(self.beside(suffix)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(self.unwritten(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes the room for a new token, before one is created.
    pub(super) fn reserve(&self) -> Result<Replacement, Failure> {
        let reserve = || {
            let mut new = Replacement::create(&self.beside(".new"), &self.path)?;
            new.file.write_all(&[b'\n'; RESERVED_BYTES])?;
            new.file.sync_all()?;
            Ok(new)
        };
        reserve().map_err(|error: io::Error| self.unwritten(&error))
    }

    /// Puts the token into FILE. `Some`: it is there, but may not survive a power failure.
    pub(super) fn replace(
        &self,
        mut new: Replacement,
        token: &SecretString,
    ) -> Result<Option<Failure>, Failure> {
        let mut replace = || {
            // The room stays taken until the token is written over it.
            new.file.rewind()?;
            new.file.write_all(token.expose_secret().as_bytes())?;
            new.file.write_all(b"\n")?;
            let length = new.file.stream_position()?;
            new.file.set_len(length)?;
            new.install()
        };
        let result = replace();
        match result {
            Err(error) if new.is_installed => Ok(Some(self.unwritten(&error))),
            result => result.map(|()| None).map_err(|error| self.unwritten(&error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::local(
        Reason::OutputFailed,
        format!("cannot write {}: {error}; see --token-file", path.display()),
    )
}

/// A file that takes the place of another one; unless it does, it is removed.
pub(super) struct Replacement {
    file: File,
    path: PathBuf,
    target: PathBuf,
    is_installed: bool,
}

impl Replacement {
    fn create(path: &Path, target: &Path) -> io::Result<Replacement> {
        // The lock is held, so this one is of a process that was killed.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
        let new = Replacement { file, path: path.to_owned(), target: target.to_owned(), is_installed: false };
        // The umask may have taken more away.
        new.file.set_permissions(Permissions::from_mode(MODE))?;
        // Whoever could read the old file must be able to read the new one.
        if let (Ok(old), new_metadata) = (target.metadata(), new.file.metadata()?)
            && (old.uid(), old.gid()) != (new_metadata.uid(), new_metadata.gid())
        {
            let to_group = (old.gid() != new_metadata.gid()).then_some(old.gid());
            let to_user = (old.uid() != new_metadata.uid()).then_some(old.uid());
            match std::os::unix::fs::fchown(&new.file, to_user, to_group) {
                // A group that only the owner's file had makes no difference: the mode is 0600.
                Err(_) if to_user.is_none() => {}
                Err(_) => {
                    let why = format!("it belongs to uid {}; run rotate as that user", old.uid());
                    return Err(io::Error::new(ErrorKind::PermissionDenied, why));
                }
                Ok(()) => {}
            }
        }
        Ok(new)
    }

    fn install(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, &self.target)?;
        self.is_installed = true;
        // So that the name survives a power failure, too.
        File::open(folder_of(&self.target))?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_installed {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
