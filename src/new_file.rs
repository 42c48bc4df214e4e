//! Creates and replaces files in one step: they are complete, or not there at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, system_error};
use crate::secret::{ExposeSecret as _, SecretString};

/// A new file. It is removed again unless it is [kept](NewFile::keep).
pub(crate) struct NewFile {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl NewFile {
    /// For a secret: 0600 from the first byte.
    pub(crate) fn private(path: &Path) -> io::Result<NewFile> {
        const MODE: u32 = 0o600;
        let new = NewFile::create(path, MODE)?;
        // The umask may have taken away more, and the owner must be able to read the key.
        new.file.set_permissions(Permissions::from_mode(MODE))?;
        Ok(new)
    }

    /// For everyone to read, subject to the umask.
    pub(crate) fn public(path: &Path) -> io::Result<NewFile> {
        NewFile::create(path, 0o644)
    }

    fn create(path: &Path, mode: u32) -> io::Result<NewFile> {
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        Ok(NewFile { path: path.to_owned(), file, kept: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the file of a secret before the secret, so that the secret cannot get lost. It is removed unless it is
    /// filled. `flag` named it.
    pub(crate) fn reserve(path: &Path, flag: &str) -> Result<NewFile, Failure> {
        NewFile::private(path).map_err(unwritten(path, flag))
    }

    pub(crate) fn fill(&mut self, secret: &SecretString, flag: &str) -> Result<(), Failure> {
        self.write_line(secret.expose_secret()).map_err(unwritten(&self.path, flag))?;
        self.keep();
        Ok(())
    }

    /// Writes `line` and a newline to the disk.
    pub(crate) fn write_line(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.file.sync_all()
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Moves it to `path`, which is in the same folder, and keeps it.
    pub(crate) fn rename(&mut self, path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, path)?;
        self.keep();
        Ok(())
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The failure to write to a path that `flag` named.
pub(crate) fn unwritten(path: &Path, flag: &str) -> impl Fn(io::Error) -> Failure {
    move |error| {
        let advice = match error.kind() {
            io::ErrorKind::AlreadyExists => "choose another file with",
            _ => "check",
        };
        Failure::unwritten(format!(
            "cannot write {}: {}; {advice} {flag}",
            path.display(),
            system_error(&error)
        ))
    }
}

/// Replaces `path` by a file with this text and mode, in one step. `temporary` is the prefix of the temporary file's
/// name. A relative path stays relative, because the absolute one may be longer than the system allows.
pub(crate) fn replace(path: &Path, temporary: &str, mode: u32, text: &[u8]) -> io::Result<()> {
    const TRIES: u32 = 100;
    let mut tries = 0..TRIES;
    let mut new = loop {
        let name = format!("{temporary}{:016x}", fastrand::u64(..));
        match NewFile::create(&path.with_file_name(name), mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries.next().is_some() => {}
            result => break result?,
        }
    };
    new.file.write_all(text)?;
    // Regardless of the umask.
    new.file.set_permissions(Permissions::from_mode(mode))?;
    new.rename(path)
}
