//! The lock of one entry, and the note that its holder leaves for the processes that wait.

use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::CacheKey;
use super::entry::{Entry, FILE_MODE, is_ours, open};

/// How often the lock file may be removed between opening and locking it.
const MAX_TRIES: u32 = 100;

/// A lock, released when it is dropped or the process dies. The command does not inherit it.
pub(super) struct Lock(File);

impl Lock {
    /// Tries once; `None` if another process holds it.
    pub(super) fn acquire(path: &Path) -> io::Result<Option<Lock>> {
        for _ in 0..MAX_TRIES {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
            let file = open(path, &mut options)?;
            check_ours(&file.metadata()?)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, path) => return Ok(Some(Lock(file))),
                // It was removed between opening and locking; other processes lock the new one.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("its lock files keep disappearing"))
    }

    pub(super) fn read(&self, key: &CacheKey) -> Option<Entry> {
        (&self.0).rewind().ok()?;
        Entry::read_from(&self.0).filter(|entry| entry.is_of(key))
    }

    pub(super) fn write(&self, entry: &Entry) -> io::Result<()> {
        self.clear()?;
        (&self.0).write_all(&entry.to_json()?)
    }

    /// Removes the note, so that none is there if this process dies.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.0.set_len(0)?;
        (&self.0).rewind()
    }
}

/// Fails for a file with another owner or another name: the lock file is written to, and this may be a link to some
/// other file.
fn check_ours(metadata: &Metadata) -> io::Result<()> {
    if !is_ours(metadata) || metadata.nlink() > 1 {
        return Err(io::Error::other("a lock file in it has another owner or another name, too; remove it"));
    }
    Ok(())
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
